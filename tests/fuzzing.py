"""How many examples a fuzzer tries: few in the gate, as many as ``LOOPSCOPE_FUZZ`` says else."""

from __future__ import annotations

import os

_ASKED = os.environ.get("LOOPSCOPE_FUZZ", "")
EXAMPLES = int(_ASKED or "1000")
# Of the command line, each of which may run a model.
ARGUMENT_LISTS = int(_ASKED or "300")
