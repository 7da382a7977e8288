"""How many examples a fuzzer tries: 1,000 in the gate, as many as ``LOOPSCOPE_FUZZ`` says else."""

from __future__ import annotations

import os

EXAMPLES = int(os.environ.get("LOOPSCOPE_FUZZ", "1000"))
