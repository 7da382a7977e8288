"""Shared fixtures: offscreen Qt, and a check that no test leaves a thread behind."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("MPLBACKEND", "agg")
# The models of the tests are tiny: threads that wait for each other only cost time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    """Fail a test that leaves one of our threads running."""
    yield
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        left = [t.name for t in threading.enumerate() if t.name.startswith("loopscope")]
        if not left:
            return
        time.sleep(0.01)
    pytest.fail(f"threads left running: {left}; close the Runner or Bench in the test")
