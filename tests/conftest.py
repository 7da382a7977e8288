"""Shared fixtures: offscreen Qt, settings of nobody, and a check that no test leaves a thread."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("MPLBACKEND", "agg")
# The models of the tests are tiny: threads that wait for each other only cost time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What else is installed here adds nothing; tests of plug-ins switch them on.
os.environ["LOOPSCOPE_PLUGINS"] = "off"
sys.path.insert(0, str(Path(__file__).parent))
# Another checkout of Loopscope that the environment was installed from is not what is tested.
_OWN = Path(__file__).resolve().parents[1] / ".dev"
sys.path[:] = [p for p in sys.path if Path(p).name != ".dev" or Path(p).resolve() == _OWN]

# No test reads or writes the settings of whoever runs it, nor those of a process beside this one.
_HOME = tempfile.TemporaryDirectory(prefix="loopscope-tests-")
os.environ["XDG_CONFIG_HOME"] = _HOME.name
os.environ["XDG_DATA_HOME"] = f"{_HOME.name}/share"

# The same examples each time, and no clock: a busy machine fails nothing. `.ci/full` looks further.
hypothesis.settings.register_profile("gate", deadline=None, derandomize=True)
hypothesis.settings.register_profile("full", deadline=None, max_examples=5000)
hypothesis.settings.load_profile("gate")


class PatientBot(QtBot):
    """Waits as long as a busy machine needs: the limit is against a test that hangs."""

    def waitUntil(self, callback: Callable[[], object], *, timeout: int = 0) -> None:
        """Process events until ``callback`` is true or passes its assertions."""
        super().waitUntil(callback, timeout=max(timeout, 240_000))


@pytest.fixture
def qtbot(qapp: QApplication, request: pytest.FixtureRequest) -> QtBot:
    """pytest-qt's robot, patient."""
    return PatientBot(request)


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    """Fail a test that leaves one of our threads running."""
    yield
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        left = [t.name for t in threading.enumerate() if t.name.startswith("loopscope")]
        if not left:
            return
        time.sleep(0.01)
    pytest.fail(f"threads left running: {left}; close the Runner or Bench in the test")


@pytest.fixture(autouse=True)
def _own_priority(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave threads at the tests' priority: beside other test processes a lower one would starve.

    A test of the priority itself is marked ``priority``; benchmarks measure what it does.
    """
    kept = request.node.get_closest_marker("priority") or request.node.get_closest_marker(
        "benchmark"
    )
    if hasattr(os, "setpriority") and not kept:
        monkeypatch.setattr(os, "setpriority", lambda *arguments: None)
