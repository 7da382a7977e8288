"""Where does it live, by mouse: its controls beside the button, its points, its legend."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording

from loopscope.core.measures.intervals import two_way_mean
from loopscope.core.measures.probe import Condition, Lives, Outcome, Probe
from loopscope.core.selection import Selection
from loopscope.core.views.probe import LACKS, NOT_YET, REQUEST, Options, compute, picture
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.kit.frame import ViewFrame
from loopscope.widgets.palette import LIGHT
from loopscope.widgets.plots.curves_view import CurvesView

LEFT, Key = Qt.MouseButton.LeftButton, Qt.Key


def outcome(lives: Lives, group: str, size: float, lost: float, moved: float, r: int) -> Outcome:
    scores = np.ones((2, 8, 5))
    scores[:, r - 1 :] -= lost
    lasting = lives == "parameters"
    c = Condition(lives, group, f"{group}, {size:g}", size, "ε", ((),), r, lasting=lasting)
    return Outcome(c, scores, None, np.full((2, 5), moved), two_way_mean(1 - scores[:, -1]))


FOUND = Probe(
    "m", "0" * 64, "hops", 6, 8, 2, 5, 0.2, np.ones((8, 5)), np.ones((16, 5)),
    (
        outcome("parameters", "weights", 0.1, 0.0, 0.05, 1),
        outcome("parameters", "weights", 1.0, 0.6, 0.7, 1),
        outcome("graph", "back edge cut after 2", math.nan, 0.2, 1.0, 2),
        outcome("trajectory", "a random state at 5", math.nan, 0.5, 1.1, 5),
    ),
)  # fmt: skip


EMPTY = empty_text(NOT_YET, LACKS)


@pytest.fixture
def frame(qtbot: QtBot) -> ViewFrame:
    holder = QWidget()
    qtbot.addWidget(holder)
    frame = ViewFrame(
        "Where does it live", CurvesView(Options(), empty=EMPTY, names_all=True), holder
    )
    frame.title_bar.setParent(holder)
    frame.resize(640, 460)
    holder.resize(640, 480)
    frame.set_options(Options())
    frame.set_request(REQUEST)
    frame.set_theme(LIGHT)
    frame.options_changed.connect(
        lambda options: frame.view.show_data(picture(FOUND, options.picture, options.cut))
    )
    holder.show()
    frame.holder = holder
    return frame


def choose(frame: ViewFrame, name: str, value: str) -> None:
    combo = frame.quick.controls[name]
    combo.setFocus()
    QTest.keyClick(combo, Key.Key_Home)
    for _ in range(combo.findData(value)):
        QTest.keyClick(combo, Key.Key_Down)
    combo.activated.emit(combo.currentIndex())
    QApplication.processEvents()


def names(frame: ViewFrame) -> list[str]:
    return [c.name for c in frame.view.data.curves]


def test_empty_it_says_what_fills_it_and_the_button_does(frame: ViewFrame, qtbot: QtBot) -> None:
    assert frame.view.plot.empty_text == EMPTY
    assert frame.measuring.button.text() in EMPTY
    with qtbot.waitSignal(frame.measure_requested):
        qtbot.mouseClick(frame.measuring.button, LEFT)
    frame.measuring.show_progress(0.25)
    assert not frame.measuring.button.isEnabled()
    assert frame.measuring.bar.value() == 250
    with qtbot.waitSignal(frame.measure_cancelled):
        qtbot.mouseClick(frame.measuring.cancel, LEFT)
    frame.measuring.show_progress(None)
    assert frame.measuring.button.isEnabled()
    # Of a model that does not know the task it says why not.
    data = compute(synthetic_recording(), Selection(), Options())
    frame.view.show_data(data)
    assert "not trained on" in frame.view.plot.empty_text


def test_the_picture_is_chosen_beside_the_button(frame: ViewFrame) -> None:
    choose(frame, "picture", "displacement")
    assert frame.view.data.picture == "displacement"
    assert set(names(frame)) == {"parameters", "graph", "trajectory"}
    choose(frame, "picture", "recovery")
    assert names(frame) == ["uncut", "back edge cut after 2, nan", "guessing"]
    choose(frame, "cut", "late")
    assert names(frame) == ["uncut", "a random state, nan", "guessing"]
    choose(frame, "cut", "both")
    assert len(names(frame)) == 4
    choose(frame, "picture", "sizes")
    assert names(frame) == ["weights"]


def test_a_click_on_a_recovery_moves_the_cursor(frame: ViewFrame, qtbot: QtBot) -> None:
    choose(frame, "picture", "recovery")
    view = frame.view
    c = view.data.curves[1]
    at = view.plot.pixel_of(c.x[3], c.y[3]).toPoint()
    with qtbot.waitSignal(view.select_requested) as got:
        qtbot.mouseClick(view.plot.viewport(), LEFT, pos=at)
    assert got.args[0] == {"recurrence": 5}  # the first is that of the cut, 2


def test_pointing_names_the_cut_and_its_interval(frame: ViewFrame) -> None:
    choose(frame, "picture", "displacement")
    view, said = frame.view, []
    view.message.connect(said.append)
    i = [c.name for c in view.data.curves].index("parameters")
    view.plot.pointed.emit(i, 1)
    assert "accuracy lost 0.6" in said[-1]
    assert "weights, 1" in said[-1]
    assert " to " in said[-1]


def test_a_low_panel_gives_its_height_to_the_curves(frame: ViewFrame, qtbot: QtBot) -> None:
    choose(frame, "picture", "recovery")
    choose(frame, "cut", "both")
    frame.resize(330, 460)
    qtbot.waitUntil(lambda: frame.view.legend.height() > 30, timeout=3000)
    tall = frame.view.legend.height()
    frame.resize(330, 150)
    qtbot.waitUntil(lambda: frame.view.height() < 180, timeout=3000)
    QApplication.processEvents()
    assert frame.view.legend.height() < tall
    assert frame.view.legend.most_rows == 1


def test_the_legend_names_every_curve_and_the_axis_keeps_its_name(
    frame: ViewFrame, qtbot: QtBot
) -> None:
    cuts = tuple(
        outcome("graph", f"layer {i} of the recurrent block skipped", size, 0.1, 1.0, 1)
        for i in range(14)
        for size in (0.1, 0.2)
    )
    found = Probe(
        "m", "0" * 64, "hops", 6, 8, 2, 5, 0.2, np.ones((8, 5)), np.ones((16, 5)), cuts
    )  # fmt: skip
    view = frame.view
    view.show_data(picture(found, "sizes"))
    legend = view.legend
    qtbot.waitUntil(lambda: 60 < legend.height() == legend.sizeHint().height(), timeout=3000)
    placed, more = view.legend.placed()
    # And what the bands are.
    assert (len(placed), more) == (15, 0)
    assert view.plot.height() > view.height() / 2
    axis = view.plot.getPlotItem().getAxis("left")
    assert axis.labelText == "accuracy lost [share of answers]"
    frame.resize(640, 340)
    qtbot.waitUntil(lambda: "[" not in axis.labelText, timeout=3000)
    assert axis.labelText == "accuracy lost"
