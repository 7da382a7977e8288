"""The difference map of answers, on the screen and on paper: where two runs answer differently."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PySide6.QtCore import QPoint
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording

from loopscope.app.views import BY_KEY
from loopscope.core.run.pairing import Pairing
from loopscope.core.selection import Selection
from loopscope.core.views.difference import Difference
from loopscope.core.views.second_run import SecondRun
from loopscope.widgets.figures.difference import draw
from loopscope.widgets.figures.style import Page
from loopscope.widgets.views.difference import DifferenceView

AT = Selection(recurrence=3, layer=1, token=0)


@pytest.fixture
def made() -> Difference:
    """Five tokens, eight recurrences; answers differ in token 1 at 2 to 4 and in token 3 at 8."""
    one, other = synthetic_recording(recurrences=8), synthetic_recording(recurrences=8, seed=1)
    pairing = Pairing(one.info.architecture, other.info.architecture)
    spec = BY_KEY["readout"]
    data = spec.difference(one, SecondRun(other, "other", pairing, AT), AT, spec.options())
    assert isinstance(data, Difference)
    here = np.full(data.values.shape, "same")
    there = here.copy()
    there[1, 1:4] = there[3, 7] = "not"
    values = np.linspace(-0.4, 0.4, here.size).reshape(here.shape)
    return replace(data, values=values, answers=(here, there))


def test_cells_with_other_answers_are_underlined(qtbot: QtBot, made: Difference) -> None:
    view = DifferenceView()
    qtbot.addWidget(view)
    view.resize(700, 330)
    view.show_data(made)
    view.show()
    qtbot.waitExposed(view)
    matrix = view.matrix
    assert matrix.marks.feet == ((1, 1, 3), (3, 7, 7))
    assert matrix.content.title.endswith("underlined: answers differ")
    where, image = matrix.layout_, matrix.grab().toImage()

    def black(row: int, column: int) -> bool:
        foot = QPoint(round(where.column(column).center().x()), round(where.row(row).bottom()) - 1)
        return "#000000" in {image.pixelColor(foot + QPoint(0, k)).name() for k in (-1, 0, 1)}

    underlined = {(r, c) for r in range(5) for c in range(8) if black(r, c)}
    assert underlined == {(1, 1), (1, 2), (1, 3), (3, 7)}


def test_pointing_says_both_answers(qtbot: QtBot, made: Difference) -> None:
    view = DifferenceView()
    qtbot.addWidget(view)
    view.show_data(made)
    said: list[str] = []
    view.message.connect(said.append)
    view.matrix.pointed.emit("cell", 1, 2)
    view.matrix.pointed.emit("cell", 0, 2)
    assert said[0].startswith("answers 'same', second 'not' · difference of probability of the")
    assert said[1].startswith("both answer 'same' · ")


def test_on_paper_they_are_underlined_too(made: Difference) -> None:
    page = Page()
    with rc_context(page.rc):
        figure = Figure(figsize=(3.4, 3))
        FigureCanvasAgg(figure)
        draw(made, figure, page)
        ax = figure.axes[0]
        drawn = {(tuple(line.get_xdata()), line.get_ydata()[0]) for line in ax.get_lines()}
    assert drawn == {((1.5, 4.5), 1.4), ((7.5, 8.5), 3.4)}
    assert "Line at the foot of a cell" in made.drawn_words
