"""The recurrences that views show: by wheel, by drag, on the scrub bar, by keys; saved and drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot
from window_desk import Key, press, said, wait

from loopscope.app.bench.bench import Bench
from loopscope.app.bench.saving import saved_session
from loopscope.app.cli.main import main
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.core.selection import RecurrenceRange
from loopscope.core.sessions.file import read_session, write_session
from loopscope.widgets.palette import LIGHT

pytestmark = pytest.mark.slow

PROMPT = "ab bc ca ? 2 : a b c"
R = 40
Shift, Ctrl = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier
Left = Qt.MouseButton.LeftButton


@pytest.fixture
def window(qtbot: QtBot):
    settings = Settings()
    settings.size = [1280, 800]
    window = Window(Bench(), settings, LIGHT, remember=False)
    window.show()
    window.opening.open("bundled:looped", FirstRun(PROMPT, R), device="cpu")
    wait(qtbot, window, R)
    yield window
    window.close()
    window.deleteLater()
    QApplication.processEvents()


def wheel(widget: QWidget, at: QPoint, steps: int, keys=Qt.KeyboardModifier.NoModifier) -> None:
    where = QPointF(at)
    event = QWheelEvent(
        where, QPointF(widget.mapToGlobal(at)), QPoint(), QPoint(0, 120 * steps),
        Qt.MouseButton.NoButton, keys, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(widget, event)


def matrix(window: Window, key: str):
    return window.bench.displays[key].view.matrix


def columns(window: Window, key: str) -> tuple[int, int]:
    labels = matrix(window, key).content.column_labels
    return int(labels[0]), int(labels[-1])


def test_the_wheel_over_one_map_zooms_all_of_them(window: Window, qtbot: QtBot) -> None:
    heads = matrix(window, "heads")
    wheel(heads, heads.cell_centre(0, 3), 3, Ctrl)
    first, last = window.bench.session.shown_range.ends(R)
    assert first <= 4 <= last < 30
    wait(qtbot, window)
    assert columns(window, "heads") == (max(first, 1), last)
    assert columns(window, "distance") == (first, min(last, R - 1))
    assert f"r = {first} to {last} of {R}" in said(window)
    readout = window.bench.displays["readout"].view.data
    assert (readout.first, readout.n_columns) == (max(first, 1), last - max(first, 1) + 1)
    plot = window.bench.displays["settling"].view.plot
    left, right = plot.getViewBox().viewRange()[0]
    assert left == pytest.approx(max(first, 1), abs=1)
    assert right == pytest.approx(last, abs=1)
    # A click in what is shown in part goes where it says.
    QTest.mouseClick(heads, Left, pos=heads.cell_centre(2, 4))
    assert window.bench.session.selection.recurrence == max(first, 1) + 4
    assert heads.marks.cursor_column == 4


def test_shift_and_drag_over_a_map_shows_these_recurrences(window: Window, qtbot: QtBot) -> None:
    cursor = window.bench.session.selection
    heads = matrix(window, "heads")
    QTest.mousePress(heads, Left, Shift, heads.cell_centre(1, 4))
    QTest.mouseMove(heads, heads.cell_centre(1, 9))
    QTest.mouseRelease(heads, Left, Shift, heads.cell_centre(1, 9))
    assert window.bench.session.shown_range == RecurrenceRange(5, 10)
    assert window.bench.session.selection == cursor  # no click
    wait(qtbot, window)
    assert columns(window, "heads") == (5, 10)


def test_the_scrub_bar_has_the_range(window: Window, qtbot: QtBot) -> None:
    bar, cursor = window.bars.transport.scrub, window.bench.session.selection
    at = [QPoint(round(bar.x_of(r)), round(bar.groove_y)) for r in (6, 20)]
    QTest.mousePress(bar, Left, Shift, at[0])
    QTest.mouseMove(bar, at[1])
    QTest.mouseRelease(bar, Left, Shift, at[1])
    assert window.bench.session.shown_range == RecurrenceRange(6, 20)
    assert window.bench.session.selection == cursor
    assert bar.shown == (6, 20)
    wheel(bar, at[0], -2, Ctrl)
    assert bar.shown[1] > 20
    QTest.mouseDClick(bar, Left, Shift, at[0])
    assert window.bench.session.shown_range.whole
    assert bar.shown is None


def test_keys_zoom_about_the_cursor_and_back(window: Window, qtbot: QtBot) -> None:
    window.bench.session.scrub(8)
    QTest.keyClick(window, Key.Key_Z)
    assert window.bench.session.shown_range.ends(R) == (4, 24)
    QTest.keyClick(window, Key.Key_Z, Shift)
    assert window.bench.session.shown_range.whole
    QTest.keyClick(window, Key.Key_Z)
    press(window, "reset_views")
    assert window.bench.session.shown_range.whole


def test_g_puts_recurrences_on_a_log_axis(window: Window, qtbot: QtBot) -> None:
    heads = matrix(window, "heads")
    even = heads.where.column(0).width()
    QTest.keyClick(window, Key.Key_G)
    wait(qtbot, window)
    widths = [heads.where.column(c).width() for c in range(R)]
    assert widths[0] > 4 * even
    assert widths == sorted(widths, reverse=True)
    assert window.commands["log_r"].isChecked()
    # The cell under a pixel is the one that is drawn there.
    for column in (0, 5, 20):
        assert heads.place_at(heads.cell_centre(2, column).toPointF()) == ("cell", 2, column)
    plot = window.bench.displays["settling"].view.plot
    window.bench.session.scrub(10)
    wait(qtbot, window)
    assert plot.marks.cursor_line.value() == pytest.approx(1)  # log10
    QTest.keyClick(window, Key.Key_G)
    wait(qtbot, window)
    assert heads.where.column(0).width() == pytest.approx(even, abs=1)


def test_a_view_that_is_opened_later_shows_the_range(window: Window, qtbot: QtBot) -> None:
    window.docks.show("depth")
    wait(qtbot, window)
    window.docks.by_key["depth"].close()
    window.bench.session.show_between(5, 15)
    wait(qtbot, window)
    window.docks.show("depth")
    wait(qtbot, window)
    left, right = window.bench.displays["depth"].view.plot.getViewBox().viewRange()[0]
    assert (round(left), round(right)) == (5, 15)


def test_a_range_goes_on_with_the_run(window: Window, qtbot: QtBot) -> None:
    window.bench.session.show_between(30, R)
    wait(qtbot, window)
    window.bench.transport.step_recurrence()
    wait(qtbot, window, R + 1)
    assert columns(window, "heads") == (30, R + 1)


def test_a_session_keeps_it(window: Window, qtbot: QtBot, tmp_path: Path) -> None:
    window.bench.session.show_between(5, 15)
    window.bench.session.set_log(True)
    window.bench.session.two_runs = "difference"
    saved = saved_session(window.bench)
    assert saved is not None
    write_session(tmp_path / "x.loopscope.json", saved)
    again = read_session(tmp_path / "x.loopscope.json")
    assert again.shown_range == RecurrenceRange(5, 15, log=True)
    assert again.two_runs == "difference"


def test_figures_are_of_the_range(tmp_path: Path) -> None:
    asked = ["figures", "bundled:looped", "--prompt", PROMPT, "--recurrences", "12"]
    for name, options in (("whole", []), ("part", ["--range", "2:6"]), ("log", ["--log-r"])):
        out = ["-o", str(tmp_path / name), "--format", "svg,csv"]
        assert main([*asked, *options, *out]) == 0
    pictures = {name: (tmp_path / name / "heads.svg").read_text() for name in ("whole", "part")}
    assert ">12<" in pictures["whole"]
    assert ">12<" not in pictures["part"]
    assert "recurrences shown: r = 2 to 6 of 12" in pictures["part"]
    # The numbers are all there.
    rows = [
        [
            line
            for line in (tmp_path / name / "heads.csv").read_text().splitlines()
            if line[0] != "#"
        ]
        for name in ("whole", "part", "log")
    ]
    assert rows[0] == rows[1] == rows[2]
    assert main([*asked, "--range", "6:2", "-o", str(tmp_path / "no")]) == 2


def test_the_state_space_shows_the_range_and_draws_nothing_of_the_rest(
    window: Window, qtbot: QtBot
) -> None:
    view = window.bench.displays["state_space"].view
    axes = view.data.basis
    spread = view.canvas.box.viewRange()
    window.bench.session.scrub(2)
    window.bench.session.show_between(10, 20)
    wait(qtbot, window)
    assert (view.data.recurrences[0], view.data.newest) == (10, 20)
    assert view.data.basis is axes
    assert view.cursor_pixel() is None  # the cursor is not among them
    assert "r = 10" in [entry.text for entry in view.legend.entries]
    # What is left fills the plot.
    narrow = view.canvas.box.viewRange()
    assert narrow[0][1] - narrow[0][0] < spread[0][1] - spread[0][0]
    window.bench.session.scrub(15)
    assert view.cursor_pixel() is not None
    press(window, "all_recurrences")
    wait(qtbot, window)
    assert view.data.newest == R
    assert view.canvas.box.viewRange()[0] == pytest.approx(spread[0])
