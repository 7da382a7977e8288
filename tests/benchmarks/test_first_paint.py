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
# Both end at once, without the interpreter's clearing up.
IMPORTS = "import os, PySide6.QtWidgets, PySide6.QtGui, pyqtgraph; os._exit(0)"
PAINT = """
import os
from argparse import Namespace
from PySide6.QtWidgets import QApplication
from loopscope.app.cli import desktop
options = Namespace(theme="light", size=(1280, 800))
window = desktop.make_window(options, remember=True)
window.when_painted(lambda: os._exit(0))  # the window and its views have been painted
window.show()
QApplication.exec()
"""


@pytest.mark.benchmark
def test_first_paint(say, tmp_path: Path) -> None:
    env = os.environ | {
        "PYTHONPATH": str(ROOT / ".dev"),
        "QT_QPA_PLATFORM": "offscreen",
        "XDG_CONFIG_HOME": str(tmp_path),
        "LOOPSCOPE_PLUGINS": "",  # looked for, as at every start
        # As after pip, which compiles what it installs: a tree is otherwise compiled at each start.
        "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled"),
        "PYTHONDONTWRITEBYTECODE": "",
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
