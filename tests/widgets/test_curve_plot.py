"""The plot of curves: how far the pointer reaches, how many bands are drawn, its axes' titles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from PySide6.QtCore import QPointF
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from work import calls

from loopscope.core.formula import Formula
from loopscope.core.views.curves_data import Curve, Curves, Role
from loopscope.widgets.figures.curves import draw_on
from loopscope.widgets.palette import DARK, LIGHT, Theme
from loopscope.widgets.plots.bands import Band, Bands
from loopscope.widgets.plots.curve_plot import (
    DOT,
    MANY,
    REACH,
    CurvePlot,
    colour_of,
    colours_of,
)  # fmt: skip
from loopscope.widgets.plots.kept_picture import KeptCurves
from loopscope.widgets.plots.plot_marks import set_lines

X = np.arange(1.0, 11.0)


def curves(n: int = 2, *, bands: bool = False, **changes: object) -> Curves:
    made = []
    for i in range(n):
        y = np.full(10, 1.0 + i)
        ends = {"low": y - 0.2, "high": y + 0.2} if bands else {}
        made.append(Curve(f"c{i}", X, y, role="token", index=i, count=n, **ends))
    labels = {"x_label": "recurrence r", "y_label": "a measure [unit]"} | changes
    return Curves("", (), tuple(made), formula=Formula("a", "b", "unit", "c"), **labels)


def shown(qtbot: QtBot, data: Curves, size: tuple[int, int] = (600, 400)) -> CurvePlot:
    plot = CurvePlot()
    qtbot.addWidget(plot)
    plot.resize(*size)
    plot.show()
    plot.show_data(data)
    qtbot.waitUntil(lambda: plot.getViewBox().sceneBoundingRect().width() > 50)
    return plot


def test_the_pointer_reaches_thirty_pixels(qtbot: QtBot) -> None:
    plot = shown(qtbot, curves(1))
    at = plot.pixel_of(5.0, 1.0)
    assert REACH == 30
    for off, found in ((0, (0, 4)), (20, (0, 4)), (29, (0, 4)), (32, (-1, -1)), (120, (-1, -1))):
        assert plot.place_at(at + QPointF(0, off)) == found  # above it is little room


def test_of_two_curves_the_nearer_is_meant(qtbot: QtBot) -> None:
    plot = shown(qtbot, curves(2))
    low, high = plot.pixel_of(3.0, 1.0), plot.pixel_of(3.0, 2.0)
    assert plot.place_at(low + QPointF(2, -4)) == (0, 2)
    assert plot.place_at(high + QPointF(-3, 5)) == (1, 2)
    assert plot.place_at(QPointF(-10, -10)) == (-1, -1)


def bands_of(plot: CurvePlot) -> list[Band]:
    return [b for i in plot.getPlotItem().items if isinstance(i, Bands) for b in i.bands]


@pytest.mark.parametrize(("n", "alpha"), [(1, 50), (3, 50), (4, 24), (12, 24), (13, 24), (40, 24)])
def test_so_many_bands_are_drawn_and_no_more(qtbot: QtBot, n: int, alpha: int) -> None:
    plot = shown(qtbot, curves(n, bands=True))
    bands = bands_of(plot)
    assert len(bands) == min(n, 12)
    assert {band.colour.alpha() for band in bands} == {alpha}


@pytest.mark.parametrize(("n", "alpha"), [(1, 0.18), (3, 0.18), (4, 0.08), (12, 0.08)])
def test_the_page_draws_several_bands_fainter(n: int, alpha: float) -> None:
    figure = Figure()
    draw_on(figure.add_subplot(), curves(n, bands=True))
    (axes,) = figure.axes
    bands = [own for own in axes.collections if isinstance(own, PolyCollection)]
    assert len(bands) == n
    assert {own.get_alpha() for own in bands} == {alpha}


def test_bands_are_where_the_intervals_are(qtbot: QtBot) -> None:
    plot = shown(qtbot, curves(1, bands=True))
    (band,) = bands_of(plot)
    path = band.outline().boundingRect()
    (item,) = (i for i in plot.getPlotItem().items if isinstance(i, Bands))
    assert item.boundingRect() == path
    assert (path.top(), path.bottom()) == pytest.approx((0.8, 1.2))
    assert (path.left(), path.right()) == pytest.approx((1.0, 10.0))


def test_bands_are_painted_there(qtbot: QtBot) -> None:
    plot = shown(qtbot, curves(1, bands=True))
    ground = plot.grab().toImage()
    inside, outside = (plot.pixel_of(4.5, y).toPoint() for y in (1.15, 1.25))
    assert ground.pixelColor(inside) != ground.pixelColor(outside)


# ---- colours ----
@pytest.mark.parametrize("role", ["token", "layer", "recurrence", "reference", "only"])
@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_colours_of_many_are_those_of_each(role: Role, theme: Theme) -> None:
    many = [
        replace(curve, role=role, index=i, count=count)
        for count in (1, 40)
        for i, curve in enumerate(curves(count).curves)
    ]
    assert colours_of(many, theme) == [colour_of(curve, theme) for curve in many]


def test_another_curve_among_many_is_a_few_calls(qtbot: QtBot) -> None:
    """A thousand are shown in a few milliseconds; looking each colour up took ten times as long."""
    plot = shown(qtbot, curves(MANY + 1))
    few, many = (calls(lambda n=n: plot.show_data(curves(n))) for n in (100, 400))
    assert (many - few) / 300 < 40


# ---- titles of axes ----
def middle_of_title(plot: CurvePlot, side: str) -> tuple[float, float]:
    """Middle of the title and of the axis, along the axis, in pixels."""
    axis = plot.getPlotItem().getAxis(side)
    title = axis.label.mapRectToScene(axis.label.boundingRect()).center()
    whole = axis.mapRectToScene(axis.rect()).center()
    return (title.x(), whole.x()) if side == "bottom" else (title.y(), whole.y())


@pytest.mark.parametrize("side", ["left", "bottom"])
def test_titles_stay_in_the_middle(qtbot: QtBot, side: str) -> None:
    """At each size, and when another title comes without one."""
    plot = shown(qtbot, curves())
    for label in ("short", "a far longer name of the measure"):
        plot.show_data(curves(x_label=label, y_label=label))
        for size in ((900, 700), (300, 300), (600, 400)):
            plot.resize(*size)
            for _ in range(3):
                QApplication.processEvents()
            title, axis = middle_of_title(plot, side)
            assert title == pytest.approx(axis, abs=4)


def test_a_title_gives_up_its_unit_before_its_name(qtbot: QtBot) -> None:
    label = "a measure with quite a long name [and a unit that is longer than all]"
    plot = shown(qtbot, curves(y_label=label), (500, 900))
    axis = plot.getPlotItem().getAxis("left")
    qtbot.waitUntil(lambda: axis.labelText == label)
    plot.resize(500, 330)
    qtbot.waitUntil(lambda: axis.labelText == "a measure with quite a long name")
    plot.resize(500, 230)
    qtbot.waitUntil(lambda: axis.labelText == "a measure with<br>quite a long name")
    plot.resize(500, 110)  # a part of it says nothing
    qtbot.waitUntil(lambda: axis.labelText == "")
    plot.resize(500, 900)
    qtbot.waitUntil(lambda: axis.labelText == label)


def test_a_title_gives_up_what_it_is_a_median_of_before_its_name(qtbot: QtBot) -> None:
    plot = shown(qtbot, curves(y_label="relative step of layer l, median over tokens"), (500, 600))
    axis = plot.getPlotItem().getAxis("left")
    plot.resize(500, 260)
    qtbot.waitUntil(lambda: axis.labelText == "relative step of layer l")


def test_a_title_gives_up_its_bracket_before_the_number_in_it(qtbot: QtBot) -> None:
    plot = shown(qtbot, curves(x_label="mean recurrences used (the full run: 12)"), (900, 300))
    axis = plot.getPlotItem().getAxis("bottom")
    for width, title in ((900, plot.data.x_label), (240, "mean recurrences used")):
        plot.resize(width, 300)
        for _ in range(3):
            QApplication.processEvents()
        assert axis.labelText == title


@pytest.mark.parametrize("height", [100, 160, 500])
def test_a_dot_on_the_highest_value_is_seen_whole(qtbot: QtBot, height: int) -> None:
    plot = shown(qtbot, curves(), (600, 400))
    plot.resize(600, height)
    area = plot.getViewBox().sceneBoundingRect
    qtbot.waitUntil(lambda: area().height() < height)
    QApplication.processEvents()
    # The highest curve is at 2, the lowest at 1.
    assert plot.pixel_of(1.0, 2.0).y() - area().top() >= DOT - 1
    assert area().bottom() - plot.pixel_of(1.0, 1.0).y() >= DOT - 1


@pytest.mark.parametrize("first", [0, 1])
def test_an_axis_that_counts_has_a_tick_where_its_curves_begin(qtbot: QtBot, first: int) -> None:
    x = np.arange(first, 9.0)
    plot = shown(qtbot, replace(curves(), curves=(Curve("c", x, x),)))
    axis = plot.getPlotItem().getAxis("bottom")
    ((_, at),) = axis.tickValues(first - 0.2, 8.2, 600)
    assert at == list(range(first, 9))
    ((_, at),) = axis.tickValues(-0.5, 8.2, 600)
    assert at[0] == first


def test_a_tick_below_zero_has_a_minus_sign(qtbot: QtBot) -> None:
    axis = shown(qtbot, curves()).getPlotItem().getAxis("left")
    assert axis.tickStrings([-1.0, 0.0, 1.0], 1.0, 1.0) == ["−1", "0", "1"]


def test_titles_are_no_markup_and_upright_norms_keep_two_bars(qtbot: QtBot) -> None:
    plot = shown(qtbot, curves(x_label="‖<b>‖", y_label="‖<s>‖"))
    axes = [plot.getPlotItem().getAxis(side) for side in ("bottom", "left")]
    assert [axis.label.toPlainText().strip() for axis in axes] == ["‖<b>‖", "∥<s>∥"]


def test_no_two_of_the_first_twenty_four_layers_look_alike() -> None:
    layers = [Curve(f"layer {k}", X, X, role="layer", index=k, count=48) for k in range(24)]
    assert len({(k.index % 8, k.line) for k in layers}) == 24


def test_a_mark_that_moves_has_no_curve_stroked_again(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    stroked: list[KeptCurves] = []
    real = KeptCurves._stroke
    monkeypatch.setattr(
        KeptCurves, "_stroke", lambda item, painter: stroked.append(item) or real(item, painter)
    )
    plot = shown(qtbot, curves(30))
    plot.grab()
    before = len(stroked)
    assert before
    for r in range(1, 9):
        plot.mark(float(r), None, (r, r))
        plot.grab()
    assert len(stroked) == before
    kept = stroked[-1]
    set_lines(kept.curves[0], [(X, X)])
    kept.changed()
    plot.grab()
    assert len(stroked) > before
    before = len(stroked)
    plot.getViewBox().setXRange(2, 4)  # zoomed: the picture is of other pixels
    plot.grab()
    assert len(stroked) > before


def test_a_flat_curve_is_seen(qtbot: QtBot) -> None:
    plot = shown(qtbot, curves(1))
    at = plot.pixel_of(5.5, 1.0)
    picture = plot.grab().toImage()
    ratio = picture.devicePixelRatio()
    near = {
        picture.pixelColor(round(at.x() * ratio), round(at.y() * ratio) + off).name()
        for off in range(-3, 4)
    }
    assert len(near) > 1


def test_many_curves_are_solid_and_few_are_told_apart(qtbot: QtBot) -> None:
    def styles(n: int) -> set[object]:
        plot = shown(qtbot, curves(n))
        kept = next(i for i in plot.getPlotItem().items if isinstance(i, KeptCurves))
        return {curve.opts["pen"].style() for curve in kept.curves}

    assert len(styles(MANY)) > 1
    assert len(styles(MANY + 1)) == 1


@pytest.mark.parametrize(
    ("value", "low", "high"), [(1.0, 0.5, 1.0), (0.0, 0.0, 1.0), (-4.0, -4.0, -2.0)]
)
def test_all_of_one_value_is_no_reason_for_ticks_beyond_it(
    qtbot: QtBot, value: float, low: float, high: float
) -> None:
    flat = Curve("c", X, np.full(10, value))
    plot = shown(qtbot, replace(curves(), curves=(flat,)))
    bottom, top = plot.getViewBox().viewRange()[1]
    span = high - low
    assert low - 0.2 * span < bottom < low
    assert high < top < high + 0.2 * span
