"""`python -m loopscope.app`."""

import sys

from loopscope.app.cli.main import main

sys.exit(main())
