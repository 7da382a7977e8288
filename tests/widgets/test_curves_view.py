"""The generic view of curves, by mouse, on the screen and on paper."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PySide6.QtCore import Qt
from recordings import synthetic_recording

from loopscope.core.selection import Selection
from loopscope.core.views.depth import Options, compute
from loopscope.widgets.figures.curves import draw_curves
from loopscope.widgets.figures.style import Page
from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.plots.curves_view import CurvesView


@pytest.fixture
def view(qtbot):
    view = CurvesView(Options())
    qtbot.addWidget(view)
    view.resize(640, 420)
    view.show()
    return view


def data_of(recurrences: int = 8, selection: Selection | None = None, **options):
    recording = synthetic_recording(recurrences=recurrences, n_block=3)
    return compute(recording, selection or Selection(), Options(**options))


@pytest.mark.parametrize("grouping", ["layer", "recurrence", "depth"])
def test_a_click_on_a_point_selects_its_place(view, qtbot, grouping: str) -> None:
    view.show_data(data_of(grouping=grouping, measure="residual_norm"))
    curve = view.data.curves[-1]
    at = view.plot.pixel_of(curve.x[1], curve.y[1]).toPoint()
    with qtbot.waitSignal(view.select_requested) as got:
        qtbot.mouseClick(view.plot.viewport(), Qt.MouseButton.LeftButton, pos=at)
    expected = {"layer": {"layer": 2, "recurrence": 2}, "recurrence": {"recurrence": 8, "layer": 1},
                "depth": {"recurrence": 1, "layer": 1}}[grouping]  # fmt: skip
    assert got.args[0] == expected


def test_pointing_tells_value_place_and_formula(view, qtbot) -> None:
    data = data_of()
    view.show_data(data)
    said = []
    view.message.connect(said.append)
    c = data.curves[1]
    view.plot.pointed.emit(1, 3)
    assert f"{c.y[3]:.3g}" in said[-1]
    assert data.formula.formula in said[-1]
    assert "layer 1, recurrence r 4" in said[-1]
    view.plot.pointed.emit(-1, -1)
    assert said[-1] == ""


def test_the_cursor_stands_on_its_recurrence_and_layer(view) -> None:
    view.show_data(data_of())
    view.show_selection(Selection(recurrence=5, layer=2), {})
    assert view.plot.marks.cursor_line.value() == 5
    x, y = view.plot.marks.dot.getData()
    assert x[0] == 5
    assert y[0] == pytest.approx(np.log10(view.data.curves[2].y[4]))


def test_empty_says_what_would_fill_it(view) -> None:
    view.show_data(data_of(recurrences=1))
    assert "needs 2 recurrences" in view.plot.empty_text
    view.clear()
    assert "Press Space" in view.plot.empty_text


def test_many_recurrences_become_a_scale_and_few_are_named(view) -> None:
    view.show_data(data_of(recurrences=4, grouping="recurrence", measure="residual_norm"))
    assert [e.name for e in view.legend.entries] == ["r = 1", "r = 2", "r = 3", "r = 4"]
    view.show_data(data_of(recurrences=60, grouping="recurrence", measure="residual_norm"))
    assert [e.name for e in view.legend.entries] == ["r = 1 to r = 60"]


def test_zoom_is_kept_until_reset(view) -> None:
    view.show_data(data_of())
    view.plot.getViewBox().setXRange(2, 3, padding=0)
    view.plot._on_zoomed()
    view.show_data(data_of(9))
    assert view.plot.getViewBox().viewRange()[0] == [2, 3]
    view.reset_view()
    assert view.plot.getViewBox().viewRange()[0][1] > 8


def test_themes_change_the_ground(view) -> None:
    view.show_data(data_of(measure="entropy"))
    for theme in (DARK, LIGHT):
        view.set_theme(theme)
        image = view.grab().toImage()
        assert (
            image.pixelColor(image.width() - 3, image.height() // 2).name() == theme.panel.lower()
        )


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["one column", "two columns", "slide"])
@pytest.mark.parametrize("recurrences", [1, 2, 8, 60])
@pytest.mark.parametrize("grouping", ["layer", "recurrence", "depth"])
def test_on_paper_the_curves_are_the_datas(preset: str, recurrences: int, grouping: str) -> None:
    data = data_of(recurrences, grouping=grouping, measure="residual_norm")
    page = Page(preset)
    figure = Figure(figsize=(page.width, 3))
    FigureCanvasAgg(figure)
    draw_curves(data, figure, page)
    figure.canvas.draw()
    lines = figure.axes[0].get_lines()
    assert len(lines) == len(data.curves)
    np.testing.assert_array_equal(lines[-1].get_ydata(), data.curves[-1].y)
    box = figure.axes[0].get_tightbbox()
    assert box.x0 >= -1
    assert box.y0 >= -1
