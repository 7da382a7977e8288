"""Two runs in one window: one scale, one scroll, the difference, and room to be read, by keys."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from window_desk import Key, branch, said, wait

from loopscope.app.bench.bench import Bench
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.core.views.difference import Difference
from loopscope.widgets.kit.panes import LEAST_PANE, pane_room
from loopscope.widgets.palette import LIGHT

pytestmark = pytest.mark.slow

PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"
ACROSS, DOWN = Qt.Orientation.Horizontal, Qt.Orientation.Vertical


@pytest.fixture
def window(qtbot: QtBot):
    settings = Settings()
    settings.size = [1280, 800]
    window = Window(Bench(), settings, LIGHT, remember=False)
    window.show()
    window.opening.open("bundled:looped", FirstRun(PROMPT, 6), device="cpu")
    wait(qtbot, window, 6)
    window.docks.apply("Heads")
    branch(qtbot, window, 2)
    wait(qtbot, window, 6)
    yield window
    window.close()
    window.deleteLater()
    QApplication.processEvents()


def test_two_drawings_have_one_scale_and_one_scroll(window: Window, qtbot: QtBot) -> None:
    display, frame = window.bench.displays["heads"], window.views.frames["heads"]
    one, other = (drawing.view for drawing in display.drawings)
    assert frame.panes.shown_pane is None
    assert one.isVisible()
    assert other.isVisible()
    assert one.data.far == other.data.far
    assert one.matrix.content.bar == other.matrix.content.bar
    # Each still has its own numbers.
    assert not np.array_equal(one.data.values, other.data.values, equal_nan=True)
    window.docks.maximise("readout")
    wait(qtbot, window)
    window.resize(1000, 560)
    wait(qtbot, window)
    one, other = (d.view.canvas.scroll_bar for d in window.bench.displays["readout"].drawings)
    assert one.maximum() > 0
    one.setValue(one.maximum() // 2)
    assert other.value() == one.value()
    other.setValue(0)
    assert one.value() == 0


def test_d_shows_the_difference_and_d_again_both(window: Window, qtbot: QtBot) -> None:
    QTest.keyClick(window, Key.Key_D)
    wait(qtbot, window)
    assert "difference" in said(window)
    display, frame = window.bench.displays["heads"], window.views.frames["heads"]
    first, second = (drawing.data for drawing in display.drawings)
    assert isinstance(second, Difference)
    assert not display.view.isVisible()
    runs = [d.stepper.recording for d in (window.bench.session.run, window.bench.session.second)]
    spec = display.spec
    a, b = (spec.compute(run, window.bench.session.selection, display.options) for run in runs)
    np.testing.assert_allclose(second.values, a.rows(a.values) - b.rows(b.values))
    # The title speaks of what is in sight.
    assert frame.title_bar.statement.whole() == second.statement
    assert frame.panes.captions[1].whole() == "● branch 1 − ○ run 1"
    # A click moves the one cursor.
    matrix = display.second.view.matrix
    QTest.mouseClick(matrix, Qt.MouseButton.LeftButton, pos=matrix.cell_centre(5, 3))
    at = window.bench.session.selection
    assert (at.layer, at.head, at.recurrence) == (1, 1, 4)
    assert matrix.marks.cursor_row == 5
    assert matrix.marks.cursor_column == 3
    # The pattern's difference follows the cursor.
    wait(qtbot, window)
    shown = window.bench.displays["pattern"].second.data
    x, y = (run.patterns_of(4, 4)[0, 1, 1].astype(float) for run in runs)
    below = np.tril(np.ones(x.shape, bool))
    np.testing.assert_allclose(shown.values[below], (x - y)[below])
    QTest.keyClick(window, Key.Key_D)
    wait(qtbot, window)
    assert display.view.isVisible()
    assert type(display.second.data) is type(first)
    assert frame.title_bar.statement.whole() == display.data.statement


def test_o_shows_the_other_run_alone(window: Window, qtbot: QtBot) -> None:
    display, frame = window.bench.displays["heads"], window.views.frames["heads"]
    QTest.keyClick(window, Key.Key_O)
    wait(qtbot, window)
    assert not display.view.isVisible()
    assert display.second.view.isVisible()
    assert frame.title_bar.statement.whole() == display.second.data.statement
    QTest.keyClick(window, Key.Key_O)
    wait(qtbot, window)
    assert display.view.isVisible()
    assert not display.second.view.isVisible()
    assert frame.title_bar.statement.whole() == display.data.statement
    QTest.keyClick(window, Key.Key_O)
    assert display.view.isVisible()
    assert display.second.view.isVisible()


def test_where_two_have_no_room_one_is_shown_and_the_key_named(window, qtbot) -> None:
    frame, display = window.views.frames["head_map"], window.bench.displays["head_map"]
    assert frame.panes.shown_pane == 0
    assert frame.panes.captions[0].whole() == "● branch 1   key O: ○ run 1"
    window.docks.maximise("head_map")
    qtbot.waitUntil(lambda: frame.panes.shown_pane is None)
    wait(qtbot, window)
    assert display.second.view.isVisible()
    assert frame.panes.captions[0].whole() == "● branch 1"


def test_the_second_run_taken_away_gives_the_view_its_own_scale_back(window, qtbot) -> None:
    display, frame = window.bench.displays["heads"], window.views.frames["heads"]
    QTest.keyClick(window, Key.Key_D)
    wait(qtbot, window)
    QTest.keyClick(window, Key.Key_X, Qt.KeyboardModifier.ShiftModifier)
    wait(qtbot, window)
    assert display.second is None
    assert display.view.isVisible()
    assert frame.title_bar.statement.whole() == display.data.statement
    own = display.spec.compute(
        window.bench.session.recording, window.bench.session.selection, display.options
    )
    assert display.view.data.far == own.far
    assert not window.commands["difference"].isEnabled()


def test_the_better_way_round() -> None:
    wide, high = LEAST_PANE
    assert pane_room(2 * wide, high) == (ACROSS, True)
    assert pane_room(wide, 2 * high) == (DOWN, True)
    assert pane_room(2 * wide - 2, high)[1] is False
    assert pane_room(wide, 2 * high - 2)[1] is False
    # Of two that fit, the one that leaves more room.
    assert pane_room(4 * wide, 2 * high) == (ACROSS, True)
    assert pane_room(2 * wide, 6 * high) == (DOWN, True)
