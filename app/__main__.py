"""`python -m loopscope.app`."""

from loopscope.app.cli.main import run

run()
