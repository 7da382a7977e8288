"""The lens driven by mouse and keys, and on paper."""

from __future__ import annotations

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QFontMetricsF
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording

from loopscope.core.measures.lens import READINGS, Reading, Readings
from loopscope.core.options import settings_of
from loopscope.core.selection import Selection
from loopscope.core.views.lens.compute import NOT_YET, Options, compute
from loopscope.core.views.lens.data import Data
from loopscope.widgets.figures.lens import draw
from loopscope.widgets.figures.style import Page
from loopscope.widgets.kit.settings_form import SettingsForm
from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.plots.matrix_steps import labelled
from loopscope.widgets.views.answers.lens import LensView

LEFT = Qt.MouseButton.LeftButton
QUANTITIES = ("top", "entropy", "divergence", "chance", "rank")
AT = Selection(3, 1, 0, 2)


def reading(r: int, layers: int, t: int, seed: int = 0) -> Reading:
    """Random numbers in their ranges; the top answer of the last layer is the final one soon."""
    rng = np.random.default_rng(seed)
    shape = (r, layers, t)
    ids = rng.integers(0, 10, (*shape, 5))
    ids[r // 3 :, -1, :, 0] = ids[-1, -1, :, 0]
    p = np.sort(rng.dirichlet(np.ones(6), shape)[..., :5], -1)[..., ::-1].astype(np.float32)
    entropy, divergence, own = rng.random((3, *shape)).astype(np.float32)
    chances = rng.random((*shape, 10)).astype(np.float32)
    ranks = rng.integers(1, 11, (*shape, 10)).astype(np.float32)
    return Reading(ids, p, 3 * entropy, 1e-5 + divergence, np.arange(10), chances, ranks, own,
                   ranks[..., 0])  # fmt: skip


def data_of(
    r: int = 6, layers: int = 2, t: int = 5, options: Options | None = None,
    selection: Selection = AT, words: str | list[str] = "klmnopqrst", labels=None,
) -> Data:  # fmt: skip
    labels = labels or [chr(97 + i % 26) for i in range(t)]
    recording = synthetic_recording(recurrences=r, n_block=layers, tokens=t, labels=labels)
    recording.label = words.__getitem__
    if r:
        options = options or Options()
        recording.keep(READINGS, Readings().put(options.lens, reading(r, layers, t)))
    return compute(recording, selection, options or Options())


class Desk:
    def __init__(
        self, qtbot: QtBot, data: Data, size: tuple[int, int] = (720, 330),
        selection: Selection = AT,
    ) -> None:  # fmt: skip
        self.qtbot, self.view = qtbot, LensView()
        self.picked: list[dict[str, int]] = []
        self.hovered: list[dict[str, int]] = []
        self.said: list[str] = []
        self.view.select_requested.connect(self.picked.append)
        self.view.hover_changed.connect(self.hovered.append)
        self.view.message.connect(self.said.append)
        qtbot.addWidget(self.view)
        self.view.resize(*size)
        self.view.show()
        self.data = data
        self.view.show_data(data)
        self.view.show_selection(selection, {})
        QApplication.processEvents()
        self.canvas = self.view.canvas


def test_a_click_selects_recurrence_layer_and_token(qtbot: QtBot) -> None:
    desk = Desk(qtbot, data_of())
    qtbot.mouseClick(desk.canvas, LEFT, pos=desk.canvas.cell_centre(3, 8))
    assert desk.picked == [{"recurrence": 4, "layer": 1, "token": 3}]
    where = desk.canvas.layout_
    below = QPoint(desk.canvas.cell_centre(0, 3).x(), int(where.column_labels.center().y()))
    qtbot.mouseClick(desk.canvas, LEFT, pos=below)
    row = QPoint(int(where.row_labels.center().x()), desk.canvas.cell_centre(1, 1).y())
    qtbot.mouseClick(desk.canvas, LEFT, pos=row)
    assert desk.picked[1:] == [{"recurrence": 2, "layer": 0}, {"token": 1}]


def test_by_layer_a_column_is_another_place(qtbot: QtBot) -> None:
    desk = Desk(qtbot, data_of(options=Options(order="layer")))
    qtbot.mouseClick(desk.canvas, LEFT, pos=desk.canvas.cell_centre(3, 8))
    assert desk.picked == [{"recurrence": 2, "layer": 1, "token": 3}]
    assert desk.canvas.cursor_cell == (2, 9)
    desk.view.show_selection(AT, {"recurrence": 5, "layer": 0, "token": 1})
    assert desk.canvas.hover_cell == (1, 5)
    desk.view.show_selection(Selection(0, 0, 0, 4), {"recurrence": 5})
    assert desk.canvas.cursor_cell == (4, None)
    assert desk.canvas.hover_cell == (None, None)


def test_hovering_tells_answers_numbers_and_formula(qtbot: QtBot) -> None:
    data = data_of(options=Options(quantity="divergence"))
    desk = Desk(qtbot, data)
    qtbot.mouseMove(desk.canvas, desk.canvas.cell_centre(1, 5))
    qtbot.waitUntil(lambda: bool(desk.said))
    assert desk.hovered[-1] == {"recurrence": 3, "layer": 0, "token": 1}
    text = desk.said[-1]
    first = data.text(int(data.ids[4, 1, 0]))
    assert text.startswith(
        f"Recurrence 3, layer 0, token 1 'b': {first} {data.probabilities[4, 1, 0]:.3g}, "
    )
    assert f"entropy {data.entropy[4, 1]:.3g} nats" in text
    assert f"KL to the last {data.divergence[4, 1]:.3g} nats" in text
    assert f"p {data.chance[4, 1]:.3g}, rank {data.rank[4, 1]:.0f}" in text
    assert "Σ p log(p / p_last)" in text
    row = QPoint(int(desk.canvas.layout_.row_labels.center().x()),
                 desk.canvas.cell_centre(1, 1).y())  # fmt: skip
    qtbot.mouseMove(desk.canvas, row)
    qtbot.waitUntil(lambda: "final answer" in desk.said[-1])
    assert (
        f"since {data.since(1)}, at recurrence ends since {data.final_recurrence[1]}"
        in (desk.said[-1])
    )
    qtbot.mouseMove(desk.canvas, desk.canvas.layout_.legend.center().toPoint())
    qtbot.waitUntil(lambda: "final since" in desk.said[-1])
    assert desk.hovered[-1] == {}


def test_the_default_shade_tells_where_its_probability_comes_from(qtbot: QtBot) -> None:
    desk = Desk(qtbot, data_of())
    qtbot.mouseMove(desk.canvas, desk.canvas.cell_centre(0, 2))
    qtbot.waitUntil(lambda: bool(desk.said))
    assert "softmax(head(coda(close(x[r,l]))))" in desk.said[-1]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_cursors_cell_is_outlined_in_the_accent(qtbot: QtBot, theme) -> None:
    desk = Desk(qtbot, data_of(), selection=Selection(3, 1, 0, 2))
    desk.view.set_theme(theme)
    assert desk.canvas.cursor_cell == (2, 6)
    cell, image = desk.canvas.layout_.cell(2, 5), desk.canvas.grab().toImage()
    edge = QPoint(round(cell.left()), round(cell.center().y()))
    assert QColor(theme.accent) in [image.pixelColor(edge + QPoint(d, 0)) for d in (-1, 0, 1)]


def test_up_and_down_go_through_the_tokens(qtbot: QtBot) -> None:
    desk = Desk(qtbot, data_of())
    qtbot.keyClick(desk.view, Qt.Key.Key_Down)
    qtbot.keyClick(desk.view, Qt.Key.Key_Up)
    assert desk.picked == [{"token": 3}, {"token": 1}]


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_the_shade_is_the_quantitys_level(qtbot: QtBot, quantity: str) -> None:
    data = data_of(r=1, layers=2, t=2, options=Options(quantity=quantity))
    desk = Desk(qtbot, data)
    levels = data.shade.levels(data.values)
    image = desk.canvas.grab().toImage()

    def lightness(row: int, column: int) -> float:
        cell = desk.canvas.layout_.cell(row, column)
        return image.pixelColor(QPoint(round(cell.right() - 5), round(cell.top() + 5))).lightnessF()

    flat = {(r, c): float(levels[c, r]) for r in range(2) for c in range(2)}
    dark, bright = min(flat, key=flat.get), max(flat, key=flat.get)
    if flat[bright] - flat[dark] > 0.1:
        assert lightness(*bright) > lightness(*dark)


@pytest.mark.parametrize("size", [(300, 200), (520, 330), (1600, 1000)])
@pytest.mark.parametrize(("r", "layers", "t"), [(1, 1, 1), (12, 4, 30), (200, 8, 9), (1, 48, 9)])
@pytest.mark.parametrize("numbers", [True, False])
@pytest.mark.parametrize("order", ["depth", "layer"])
def test_nothing_overlaps(
    qtbot: QtBot, size: tuple[int, int], r: int, layers: int, t: int, numbers: bool, order: str
) -> None:
    options = Options(quantity="rank", numbers=numbers, order=order)
    desk = Desk(qtbot, data_of(r, layers, t, options), size)
    where = desk.canvas.layout_
    desk.canvas.grab()
    whole = desk.canvas.rect().toRectF()
    parts = [where.legend, where.cells, where.column_labels, where.row_labels]
    parts += [where.side] if where.side else []
    for part in parts:
        assert whole.contains(part)
    for i, one in enumerate(parts):
        for other in parts[i + 1 :]:
            assert not one.adjusted(1, 1, -1, -1).intersects(other.adjusted(1, 1, -1, -1))
    # Labels do not touch, and round recurrences keep theirs.
    names = [desk.data.column_labels[i] for i in labelled(
        desk.data.n_columns, where.column_stride, True, desk.data.first_number)]  # fmt: skip
    number = desk.canvas.fonts[1]
    widest = max(map(QFontMetricsF(number).horizontalAdvance, desk.data.column_labels))
    if len(names) > 1:
        assert where.column_stride * where.column_width > widest
    if order == "depth" and r == 200 and where.column_stride > layers:
        assert all(name.endswith(":0") for name in names)


def test_options_are_in_the_form_and_text_is_taken(qtbot: QtBot) -> None:
    names = [o.name for o in settings_of(Options)]
    assert names == ["lens", "quantity", "target", "token", "order", "numbers"]
    form = SettingsForm(Options())
    qtbot.addWidget(form)
    seen: list[Options] = []
    form.changed.connect(seen.append)
    for name, index in (("lens", 1), ("quantity", 4), ("target", 2), ("order", 1)):
        form.controls[name].setCurrentIndex(index)
        form.controls[name].activated.emit(index)
    form.controls["token"].setText("m")
    form.controls["token"].editingFinished.emit()
    form.controls["numbers"].click()
    wanted = Options("logit", "rank", "written", "m", "layer", True)
    assert seen[-1] == wanted
    data = data_of(options=wanted)
    assert data.shade.label == "rank of 'm'"
    assert data.lens_label == "logit lens"


def test_empty_says_what_would_fill_it(qtbot: QtBot) -> None:
    desk = Desk(qtbot, data_of(r=0))
    assert desk.canvas.empty_text == f"{NOT_YET} Press “Read out every layer”."
    desk.view.show_data(data_of())
    assert desk.canvas.data is not None
    desk.view.reset_view()
    desk.view.show_data(replace(data_of(), missing="Write the token"))
    assert desk.canvas.empty_text == "Write the token"
    qtbot.mouseClick(desk.canvas, LEFT, pos=QPoint(100, 100))
    assert desk.picked == []
    desk.view.clear()
    assert desk.view.data is None


def test_many_tokens_scroll_to_the_cursor(qtbot: QtBot) -> None:
    selection = Selection(5, 0, 0, 60)
    desk = Desk(qtbot, data_of(6, 2, 64, selection=selection), selection=selection)
    assert desk.canvas.scroll_bar.isVisible()
    assert desk.canvas.layout_.cells.contains(QPointF(desk.canvas.cell_centre(60, 9)))


# ---- paper ----
def drawn(data: Data, preset: str = "one column") -> Figure:
    page = Page(preset)
    with mpl.rc_context(page.rc):
        figure = Figure(figsize=(page.width, 2))
        draw(data, figure, page)
        figure.draw_without_rendering()
    return figure


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["one column", "two columns", "slide"])
@pytest.mark.parametrize(("r", "layers", "t"), [(0, 2, 3), (1, 1, 1), (20, 4, 24), (200, 8, 5)])
@pytest.mark.parametrize("quantity", ["top", "rank"])
def test_nothing_leaves_the_page(preset: str, r: int, layers: int, t: int, quantity: str) -> None:
    figure = drawn(data_of(r, layers, t, Options(quantity=quantity)), preset)
    renderer = FigureCanvasAgg(figure).get_renderer()
    width, height = figure.bbox.size
    for ax in figure.axes:
        box = ax.get_tightbbox(renderer)
        if ax.axison and box is not None:
            assert box.x0 >= -1
            assert box.y0 >= -1
            assert box.x1 <= width + 1
            assert box.y1 <= height + 1


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_the_page_has_the_numbers_answers_and_axes_of_the_screen(quantity: str) -> None:
    data = data_of(options=Options(quantity=quantity))
    figure = drawn(data)
    ax = figure.axes[0]
    np.testing.assert_array_equal(ax.images[0].get_array(), data.values.T)
    assert "recurrence:layer, along effective depth" in ax.get_xlabel()
    assert "final from here" in ax.get_xlabel()
    assert [t.get_text() for t in ax.get_xticklabels()][:3] == ["1:0", "1:1", "2:0"]
    assert data.shade.whole in figure.axes[1].get_xlabel()
    written = [t.get_text() for t in ax.texts]
    assert len(written) == sum(1 for _ in data.spans()) or len(written) == data.top.size


def test_bright_is_sure_on_paper_too() -> None:
    figure = drawn(data_of(options=Options(quantity="rank")))
    image = figure.axes[0].images[0]
    assert sum(image.to_rgba(1.0)[:3]) > 1.8 > sum(image.to_rgba(image.norm.vmax)[:3])


def test_a_divergence_of_nothing_is_drawn_as_the_smallest() -> None:
    data = data_of(options=Options(quantity="divergence"))
    data.values[-1] = 0
    image = drawn(data).axes[0].images[0]
    shown = image.to_rgba(image.get_array())[0, -1]
    assert shown == pytest.approx(image.cmap(0.0))
