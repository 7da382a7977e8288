"""First paint against importing PySide6 and pyqtgraph alone, in turn, as whole processes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPORTS = "import PySide6.QtWidgets, PySide6.QtGui, pyqtgraph"
# Ends the process at the first paint event that the window has been given.
PAINT = """
import os, sys
from argparse import Namespace
from PySide6.QtCore import QEvent, QObject
from loopscope.app import desktop
options = Namespace(path=None, prompt=None, token_ids=None, recurrences=None, seed=0,
                    device="auto", dtype="float32", theme="light", size=(1280, 800))
window = desktop.make_window(options, remember=True)
class Painted(QObject):
    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Paint:
            os._exit(0)
        return False
filter = Painted()
window.installEventFilter(filter)
window.show()
desktop._open_first(window, options, None, scripted=False)
window.application.exec()
"""


@pytest.mark.benchmark
def test_first_paint(say, tmp_path: Path) -> None:
    env = os.environ | {
        "PYTHONPATH": str(ROOT / ".dev"),
        "QT_QPA_PLATFORM": "offscreen",
        "XDG_CONFIG_HOME": str(tmp_path),
    }

    def seconds(script: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", script], check=True, env=env, capture_output=True)
        return time.perf_counter() - started

    for script in (IMPORTS, PAINT):
        seconds(script)
    pairs = [(seconds(PAINT), seconds(IMPORTS)) for _ in range(9)]
    ratio = statistics.median(a / b for a, b in pairs)
    say(
        "first paint over importing PySide6 and pyqtgraph",
        ratio=round(ratio, 3),
        first_paint_s=round(statistics.median(a for a, _ in pairs), 3),
        imports_s=round(statistics.median(b for _, b in pairs), 3),
    )
    assert ratio < 1.6
