"""A window at work: opening and closing it, waiting for it, cutting branches, pressing commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from loopscope.app.bench.bench import Bench
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.core.interventions.states import Noise
from loopscope.widgets.palette import LIGHT, Theme

Key, Mod = Qt.Key, Qt.KeyboardModifier
Left, Ctrl = Qt.MouseButton.LeftButton, Mod.ControlModifier


@contextmanager
def desk(
    width: int = 1280, height: int = 800, *, settings: Settings | None = None,
    theme: Theme = LIGHT, remember: bool = False,
) -> Iterator[Window]:  # fmt: skip
    """A window that is shown, with a bench of its own; closed and deleted at the end."""
    window = Window(Bench(), settings or Settings(), theme, remember=remember)
    window.resize(width, height)
    window.show()
    try:
        yield window
    finally:
        window.close()
        window.deleteLater()
        QApplication.processEvents()


def wait(qtbot: QtBot, window: Window, recurrences: int = 0) -> None:
    """Wait until a run has so many recurrences and every view in sight shows it."""

    def done() -> bool:
        recording = window.bench.session.recording
        return (
            recording is not None
            and recording.n_recurrences >= recurrences
            and window.bench.settled_down
        )

    qtbot.waitUntil(done, timeout=60_000)


def said(window: Window) -> str:
    """What stands in the status line."""
    return window.statusBar().currentMessage()


def press(window: Window, name: str) -> None:
    """Trigger a command as its menu entry does."""
    action = window.commands[name]
    assert action.isEnabled(), name
    action.trigger()


def branch(qtbot: QtBot, window: Window, at: int, size: float = 0.5) -> None:
    """Cut a branch off the run shown, with noise at the end of a recurrence."""
    n = len(window.bench.runs.tree)
    window.bench.session.scrub(at)
    window.bench.runs.branch((Noise(recurrence=at, last=at, layer=-1, size=size),))
    qtbot.waitUntil(lambda: len(window.bench.runs.tree) == n + 1, timeout=20_000)
    wait(qtbot, window, 4)


def undo(window: Window) -> str:
    """Press Ctrl+Z; returns what is said to be undone, as the menu had announced it."""
    announced = window.commands["undo"].text().removeprefix("Undo ")
    QTest.keyClick(window, Key.Key_Z, Ctrl)
    assert said(window) == f"Undone: {announced}"
    return announced
