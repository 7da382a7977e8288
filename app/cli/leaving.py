"""How the process ends."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import NoReturn

# Seconds that threads of ours have to end what they do: an analysis, a file under way.
MOST_WAIT = 1.5


def leave(code: int) -> NoReturn:
    """End the process; after a window without tearing Qt and torch down piece by piece.

    That takes up to half a minute on a busy machine, in which the process seems to hang; by then
    everything is written, and files appear whole or not at all.
    """
    if "PySide6.QtWidgets" not in sys.modules:
        sys.exit(code)
    end = time.monotonic() + MOST_WAIT
    for thread in threading.enumerate():
        if thread.name.startswith("loopscope"):
            thread.join(max(0.0, end - time.monotonic()))
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass  # whoever read it has gone
    os._exit(code)
