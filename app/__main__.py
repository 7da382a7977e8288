"""`python -m loopscope.app`."""

import sys

from loopscope.app.main import main

sys.exit(main())
