"""The process ends with the window, whatever its threads do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loopscope.app.cli.leaving import leave

SCRIPT = """
import sys, threading, time
import PySide6.QtWidgets
from loopscope.app.cli.leaving import leave
threading.Thread(target=time.sleep, args=(3600,), name="loopscope-analysis").start()
print("said before the end", end="")
leave(3)
"""


@pytest.mark.slow
def test_a_thread_at_work_does_not_keep_a_process_that_had_a_window() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=600, check=False,
        env={**os.environ, "PYTHONPATH": str(root / ".dev")},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (3, "said before the end", "")


def test_without_a_window_it_is_an_ordinary_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "PySide6.QtWidgets", raising=False)
    with pytest.raises(SystemExit) as ended:
        leave(2)
    assert ended.value.code == 2
