"""The similarity map driven by the mouse, and on paper."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording

from loopscope.core.options import settings_of
from loopscope.core.selection import Selection
from loopscope.core.views.similarity import Data, Options, compute
from loopscope.widgets.figures.similarity import draw
from loopscope.widgets.figures.style import Page
from loopscope.widgets.kit.settings_form import SettingsForm
from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.views.similarity import SimilarityView

AT = Selection(recurrence=3, layer=1)


def data_of(options: Options | None = None, **kwargs: object) -> Data:
    recording = synthetic_recording(**{"recurrences": 8, **kwargs})
    return compute(recording, AT, options or Options(measure="cosine"))


def shown(qtbot: QtBot, data: Data, size: tuple[int, int] = (620, 430)) -> SimilarityView:
    view = SimilarityView()
    qtbot.addWidget(view)
    view.resize(*size)
    view.show_data(data)
    view.show_selection(AT, {})
    view.show()
    qtbot.waitExposed(view)
    return view


def test_a_click_selects_the_columns_place_and_the_tooltip_says_so(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    asked: list[dict[str, int]] = []
    view.select_requested.connect(asked.append)
    for point in (view.matrix.cell_centre(1, 10), view.matrix.row_label_centre(7)):
        qtbot.mouseClick(view.matrix, Qt.MouseButton.LeftButton, pos=point)
    assert asked == [{"recurrence": 6, "layer": 0}, {"recurrence": 4, "layer": 1}]
    assert "column's recurrence and layer" in view.matrix.toolTip()


def test_by_layer_the_same_cell_is_another_place(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of(Options(measure="cosine", order="layer")))
    asked: list[dict[str, int]] = []
    view.select_requested.connect(asked.append)
    point = view.matrix.cell_centre(1, 10)
    qtbot.mouseClick(view.matrix, Qt.MouseButton.LeftButton, pos=point)
    assert asked == [{"recurrence": 3, "layer": 1}]
    assert view.matrix.cursor_row == view.matrix.marks.cursor_column == 10


def test_hovering_tells_both_places_the_value_and_its_formula(qtbot: QtBot) -> None:
    data = data_of()
    view = shown(qtbot, data)
    hovers: list[dict[str, int]] = []
    said: list[str] = []
    view.hover_changed.connect(hovers.append)
    view.message.connect(said.append)
    qtbot.mouseMove(view.matrix, view.matrix.cell_centre(1, 10))
    qtbot.waitUntil(lambda: bool(said))
    assert hovers[-1] == {"recurrence": 6, "layer": 0}
    assert f"{data.values[1, 10]:.3g}" in said[-1]
    assert "recurrence 1, layer 1 against recurrence 6, layer 0" in said[-1]
    assert "cos(x[r,l,t], x[r′,l′,t])" in said[-1]
    bar = view.matrix.layout_.bar.center().toPoint()
    qtbot.mouseMove(view.matrix, bar)
    qtbot.waitUntil(lambda: "cycle contrast" in said[-1])
    assert hovers[-1] == {}


def test_the_cursor_is_a_cross_in_the_accent(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    where, image = view.matrix.layout_, view.matrix.grab().toImage()
    on_row = QPoint(round(where.column(12).center().x()), round(where.row(5).top()))
    on_column = QPoint(round(where.column(5).left()), round(where.row(12).center().y()))
    for point, across in ((on_row, QPoint(0, 1)), (on_column, QPoint(1, 0))):
        near = {image.pixelColor(point + across * k).name() for k in (-1, 0, 1)}
        assert LIGHT.accent.lower() in near
    view.show_selection(Selection(recurrence=0), {"recurrence": 4, "layer": 0})
    assert view.matrix.cursor_row is None
    assert view.matrix.marks.hover_column == 6


def test_equal_layers_are_bright_and_different_ones_dark(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of(rate=0.1))
    image = view.matrix.grab().toImage()
    assert image.pixelColor(view.matrix.cell_centre(8, 12)).lightnessF() > 0.5
    assert image.pixelColor(view.matrix.cell_centre(8, 13)).lightnessF() < 0.3


@pytest.mark.parametrize("order", ["depth", "layer"])
@pytest.mark.parametrize("n_block", [1, 2, 8])
def test_labels_are_readable_at_two_hundred_recurrences(
    qtbot: QtBot, order: str, n_block: int
) -> None:
    options = Options(measure="cosine", order=order)
    data = data_of(options, recurrences=200, tokens=3, n_block=n_block)
    view = shown(qtbot, data)
    matrix = view.matrix
    where, content = matrix.layout_, matrix.content
    line, wide = matrix.fontMetrics().height(), matrix.fontMetrics().horizontalAdvance("200:1")
    assert where.row_stride * where.row_height >= 0.8 * line
    assert where.column_stride * where.column_width >= 0.8 * wide
    assert content.n_rows == len(data.order) <= 512
    # Whole groups are labelled by round recurrences of layer 0.
    if order == "depth" and where.row_stride > n_block:
        from loopscope.widgets.plots.matrix_steps import labelled

        names = [content.row_labels[i] for i in labelled(content.n_rows, where.row_stride, True,
                                                         content.first_row)]  # fmt: skip
        assert names[0] == "1:0"
        assert all(int(name.split(":")[0]) % 5 == 0 or data.places.step > 1 for name in names[1:])
        assert {name.split(":")[1] for name in names} == {"0"}
    assert not matrix.grab().isNull()


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_one_recurrence_and_none(qtbot: QtBot, theme) -> None:
    view = shown(qtbot, data_of(recurrences=1))
    view.set_theme(theme)
    assert view.matrix.content.row_labels == ("1:0", "1:1")
    view.grab()
    view.show_data(data_of(recurrences=0))
    assert "Press Space" in view.matrix.empty_text
    view.show_data(data_of(Options(), tokens=1))
    assert "1 token is shown" in view.matrix.empty_text
    view.clear()
    assert view.data is None


def test_every_option_is_in_the_form_and_changes_the_map(qtbot: QtBot) -> None:
    assert [o.name for o in settings_of(Options)] == [
        "measure",
        "form",
        "massive",
        "order",
        "scale",
        "colours",
    ]
    form = SettingsForm(Options())
    qtbot.addWidget(form)
    seen = []
    form.changed.connect(seen.append)
    for name, index in (("measure", 3), ("order", 1), ("scale", 1)):
        form.controls[name].setCurrentIndex(index)
        form.controls[name].activated.emit(index)
    assert seen[-1] == Options(measure="attention", order="layer", scale="bound")
    data = data_of(seen[-1])
    assert data.measure.label == "Attention distance"
    view = shown(qtbot, data)
    assert view.matrix.content.bar.label == "Attention distance (0 = same)"
    # A distance of 0 is the bright end.
    assert view.matrix.levels[0, 0] == 1


# ---- paper ----
def drawn(preset: str, options: Options | None = None, **kwargs: object) -> tuple[Data, Figure]:
    data, page = data_of(options, **kwargs), Page(preset)
    with mpl.rc_context(page.rc):
        figure = Figure(figsize=(page.width, 2))
        draw(data, figure, page)
        figure.draw_without_rendering()
    return data, figure


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["one column", "two columns", "slide"])
@pytest.mark.parametrize(
    "kwargs",
    [{"recurrences": 0}, {"recurrences": 1}, {"recurrences": 200, "tokens": 3, "n_block": 4}],
)
@pytest.mark.parametrize("order", ["depth", "layer"])
def test_nothing_leaves_the_page(preset: str, kwargs: dict[str, int], order: str) -> None:
    _, figure = drawn(preset, Options(measure="cosine", order=order), **kwargs)
    renderer = FigureCanvasAgg(figure).get_renderer()
    width, height = figure.bbox.size
    for ax in figure.axes:
        box = ax.get_tightbbox(renderer)
        if ax.axison and box is not None:
            assert box.x0 >= -1
            assert box.y0 >= -1
            assert box.x1 <= width + 1
            assert box.y1 <= height + 1


def test_the_page_shows_the_numbers_of_the_screen_and_the_same_is_bright() -> None:
    data, figure = drawn("one column", Options(measure="attention", order="layer"))
    image = figure.axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), data.drawn())
    assert sum(image.to_rgba(0.0)[:3]) > 1.8 > sum(image.to_rgba(image.norm.vmax)[:3])
