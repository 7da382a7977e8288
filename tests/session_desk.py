"""Windows whose sessions are saved and opened: in folders of their own, with a small model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from models import tiny_architecture, tiny_checkpoint
from PySide6.QtWidgets import QApplication, QFileDialog
from pytestqt.qtbot import QtBot
from window_desk import branch, wait

from loopscope.app.bench.bench import Bench
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.widgets.palette import LIGHT

PROMPT = "ab bc cd de ea ? 3 : a b c d e"
OTHER = "xy yz zx xw wx ? 2 : z x y w z"
Make = Callable[..., Window]


@contextmanager
def windows(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Give what makes windows that show a run; all of them are closed at the end, unasked."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    made: list[Window] = []
    tiny_checkpoint(tmp_path / "models" / "m", tiny_architecture(n_block=2))

    def make(*, attended: bool = False, path: str = "", n: int = 9) -> Window:
        window = Window(Bench(), Settings(), LIGHT, remember=False, attended=attended)
        window.resize(1280, 800)
        window.show()
        window.activateWindow()
        made.append(window)
        path = path or str(tmp_path / "models" / "m")
        window.opening.open(path, FirstRun(PROMPT, n), device="cpu")
        wait(qtbot, window, n)
        window.setFocus()
        return window

    yield make
    for window in made:
        window._close_unasked()
        window.deleteLater()
    QApplication.processEvents()


def choose(monkeypatch: pytest.MonkeyPatch, path: Path | str) -> None:
    """What the file dialogs of the system answer from now on."""
    for name in ("getSaveFileName", "getOpenFileName"):
        monkeypatch.setattr(QFileDialog, name, lambda *_: (str(path), ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(path))


def saved(qtbot, window: Window, path: Path) -> None:
    """A session with a branch, saved."""
    branch(qtbot, window, 4)
    assert window.sessions.save_to(path)
    wait(qtbot, window)
