"""First paint against importing PySide6 and pyqtgraph alone, in turn, as whole processes.

Two moments: the window has been painted, with its bars and the titles of its views, as the command
shows it; and the views in sight have been made and painted as well.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# All end at once, without the interpreter's clearing up.
IMPORTS = "import os, PySide6.QtWidgets, PySide6.QtGui, pyqtgraph; os._exit(0)"
PAINT = """
import os
from argparse import Namespace
from PySide6.QtWidgets import QApplication
from loopscope.app.cli import desktop
options = Namespace(theme="light", size=(1280, 800))
window = desktop.make_window(options, remember=True)
make_views = window.docks.hold()
def views():
    make_views()
    QApplication.processEvents()
    os._exit(0)
window.when_painted({})
window.show()
QApplication.exec()
"""
SCRIPTS = {
    "imports": IMPORTS,
    "window": PAINT.format("lambda: os._exit(0)"),
    "views": PAINT.format("views"),
}


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

    for script in SCRIPTS.values():
        seconds(script)
    turns = [{name: seconds(script) for name, script in SCRIPTS.items()} for _ in range(9)]
    ratios = {
        name: statistics.median(turn[name] / turn["imports"] for turn in turns) for name in SCRIPTS
    }
    say(
        "first paint over importing PySide6 and pyqtgraph",
        ratio=round(ratios["window"], 3),
        with_views=round(ratios["views"], 3),
        first_paint_s=round(statistics.median(turn["window"] for turn in turns), 3),
        with_views_s=round(statistics.median(turn["views"] for turn in turns), 3),
        imports_s=round(statistics.median(turn["imports"] for turn in turns), 3),
    )
    assert ratios["window"] < 1.5
    assert ratios["views"] < 2.0
