"""The quality view by mouse, and its mark of the trained recurrences on screen and page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyqtgraph as pg
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PySide6.QtCore import Qt
from recordings import synthetic_recording

from loopscope.core.measures.intervals import wilson_share
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.measures.quality import QUALITY, Quality, perplexity_of
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.selection import Selection
from loopscope.core.views.quality import Data, Options, compute
from loopscope.widgets.figures.curves import draw_curves
from loopscope.widgets.figures.style import Page
from loopscope.widgets.views.prompt_curves import PromptCurvesView
from loopscope.widgets.views.prompt_list import FIRST

R = 16


@pytest.fixture
def view(qtbot):
    view = PromptCurvesView(Options())
    qtbot.addWidget(view)
    view.resize(900, 500)
    view.show()
    qtbot.waitExposed(view)
    return view


def data_of(recurrences: int = R, **options: object) -> Data:
    n = 5
    prompts = PromptSet("p.jsonl", "p.jsonl", tuple(
        Item(f"prompt {i}", "a", i + 1) for i in range(n)
    ))  # fmt: skip
    rng = np.random.default_rng(0)
    right = (rng.random((n, recurrences)) < np.linspace(0.2, 1, recurrences)).astype(float)
    nll, tokens = rng.gamma(2, 1, (n, recurrences)), np.full(n, 2.0)
    recording = synthetic_recording(recurrences=2)
    arch = replace(recording.info.architecture, task="hops")
    recording.info = replace(recording.info, architecture=arch)
    recording.shared.prompts = prompts
    quality = Quality(
        prompts, HowRun(recurrences), "in place", "space", "answers", right, nll, tokens,
        tuple(f"opens {i}" for i in range(n)), ("",) * n, wilson_share(right),
        perplexity_of(nll, tokens),
    )  # fmt: skip
    recording.keep(QUALITY, quality)
    return compute(recording, Selection(), Options(**{"answers": "in place"} | options))


def test_a_click_opens_the_prompt_with_what_was_run(view, qtbot) -> None:
    view.show_data(data_of())
    model = view.prompt_list.model_of_rows
    spot = view.prompt_list.visualRect(model.index(1, FIRST)).center()
    with qtbot.waitSignal(view.run_requested) as got:
        qtbot.mouseClick(view.prompt_list.viewport(), Qt.MouseButton.LeftButton, pos=spot)
    assert got.args[0]["prompt"] == "opens 1"
    assert got.args[0]["recurrences"] == R


def test_a_click_on_the_curve_moves_the_cursor_and_the_list(view, qtbot) -> None:
    data = data_of()
    view.show_data(data)
    curve = view.data.curves[0]
    at = view.plot.pixel_of(curve.x[6], curve.y[6]).toPoint()
    with qtbot.waitSignal(view.select_requested) as got:
        qtbot.mouseClick(view.plot.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert got.args[0] == {"recurrence": 7}
    view.show_selection(Selection(recurrence=7), {})
    shown = [float(view.prompt_list.model_of_rows.number(i, FIRST)) for i in range(5)]
    assert shown == data.result.right[:, 6].tolist()


def marks(view: PromptCurvesView) -> list[pg.InfiniteLine]:
    plot = view.plot
    fixed = (plot.marks.cursor_line, plot.marks.hover_line)
    return [i for i in plot.getPlotItem().items
            if isinstance(i, pg.InfiniteLine) and i not in fixed]  # fmt: skip


def test_the_trained_recurrences_are_marked_where_they_were_run(view) -> None:
    view.show_data(data_of())  # trained to 12
    (mark,) = marks(view)
    assert mark.value() == 12
    assert mark.label.format == "trained R = 12"
    view.show_data(data_of(recurrences=8))
    assert marks(view) == []


def test_pointing_tells_the_value_with_its_interval(view) -> None:
    data = data_of()
    view.show_data(data)
    said = []
    view.message.connect(said.append)
    view.plot.pointed.emit(0, 3)
    c = data.curves[0]
    assert f"accuracy {c.y[3]:.3g} [share]" in said[-1]
    assert f"{c.low[3]:.3g}" in said[-1]
    assert data.formula.formula in said[-1]


@pytest.mark.parametrize("metric", ["accuracy", "perplexity"])
@pytest.mark.parametrize("preset", ["one column", "two columns", "slide"])
def test_on_paper(metric: str, preset: str) -> None:
    data = data_of(metric=metric)
    page = Page(preset)
    figure = Figure(figsize=(page.width, 3))
    FigureCanvasAgg(figure)
    draw_curves(data, figure, page)
    figure.canvas.draw()
    ax = figure.axes[0]
    curve, mark = ax.get_lines()
    np.testing.assert_array_equal(curve.get_ydata(), data.curves[0].y)
    assert mark.get_xdata()[0] == 12
    assert len(ax.collections) == 1  # the interval
    assert ax.get_yscale() == ("log" if metric == "perplexity" else "linear")
    without = replace(data, curves=(), missing="Why there is nothing.")
    figure = Figure(figsize=(page.width, 3))
    FigureCanvasAgg(figure)
    draw_curves(without, figure, page)
    assert figure.axes[0].texts[0].get_text() == "Why there is nothing."
