"""Matrices on paper: which end of a colour bar is the same, and which colour it has."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from recordings import synthetic_recording

from loopscope.app.views import BY_KEY
from loopscope.core.measures.heads import MEASURES
from loopscope.core.selection import Selection
from loopscope.widgets.figures.matrix import bar_above, measure_label, measured
from loopscope.widgets.figures.style import WIDTHS, CountLocator, Page, log_axis

PAGE = Page()


def figure() -> Figure:
    made = Figure(figsize=(3, 3))
    FigureCanvasAgg(made)
    return made


def ends(bar: Colorbar) -> tuple[float, float]:
    """Values at the left and the right end of a bar, as they come out on the page."""
    bar.ax.figure.draw_without_rendering()
    place = {v: bar.ax.transData.transform((v, 0.5))[0] for v in bar.ax.get_xlim()}
    return min(place, key=place.get), max(place, key=place.get)


@pytest.mark.parametrize("key", sorted(MEASURES))
def test_what_is_the_same_is_bright(key: str) -> None:
    measure = MEASURES[key]
    far = 3.0 if measure.is_distance else 0.25
    with rc_context(PAGE.rc):
        ax = figure().add_subplot()
        image = measured(ax, np.array([[far, measure.identical]]), measure, far)
        bar = bar_above(ax, image, measure_label(measure))
        assert ends(bar) == tuple(sorted((measure.identical, far)))
    brightness = image.to_rgba(np.array([far, measure.identical]))[:, :3].mean(1)
    assert brightness[1] > 0.6 > 0.3 > brightness[0]
    assert bar.ax.get_xlabel() == measure_label(measure)


@pytest.mark.parametrize("key", sorted(MEASURES))
def test_on_a_log_scale_what_is_almost_the_same_is_bright(key: str) -> None:
    measure = MEASURES[key]
    away = 1.0 if measure.is_distance else -1.0
    near, far = 1e-4, measure.identical + 0.5 * away
    values = measure.identical + away * np.array([near, 1e-2, 0.5])
    with rc_context(PAGE.rc):
        ax = figure().add_subplot()
        image = measured(ax, values[None], measure, far, near=near)
        bar_above(ax, image, measure_label(measure, log=True))
    drawn = np.asarray(image.get_array()).ravel()
    np.testing.assert_allclose(drawn, [near, 1e-2, 0.5], rtol=1e-6)
    brightness = image.to_rgba(drawn)[:, :3].mean(1)
    assert brightness[0] > 0.6 > brightness[1] > brightness[2]
    assert brightness[2] < 0.3


@pytest.mark.parametrize(
    "key", ["heads", "head_map", "pattern", "similarity", "distance", "readout"]
)
def test_bars_stand_in_one_place_above_the_cells(key: str) -> None:
    spec = BY_KEY[key]
    data = spec.compute(synthetic_recording(), Selection(recurrence=3), spec.options())
    with rc_context(PAGE.rc):
        made = figure()
        spec.draw(data, made, PAGE)
        made.draw_without_rendering()
        cells = next(ax for ax in made.axes if ax.images)
        bar = cells.images[0].colorbar.ax.get_tightbbox()
        over = cells.get_tightbbox()
        assert bar.y0 > cells.get_window_extent().y1
        assert bar.y1 <= made.bbox.height
        assert over.x1 <= made.bbox.width
        # And a title between them lies on neither.
        title = cells._left_title.get_window_extent()
        assert not cells._left_title.get_text() or title.y1 <= bar.y0


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (1e-7, 1.0, ["10⁻⁷", "10⁻⁶", "10⁻⁵", "10⁻⁴", "10⁻³", "10⁻²", "0.1", "1"]),
        (0.01, 2000.0, ["10⁻²", "0.1", "1", "10", "100", "10³"]),
        (2.0, 7.0, ["2", "5"]),
    ],
)
def test_ticks_of_a_log_axis_read_as_on_the_screen(
    low: float, high: float, texts: list[str]
) -> None:
    with rc_context(PAGE.rc):
        made = figure()
        ax = made.add_subplot()
        log_axis(ax, most=8)
        ax.set_ylim(low, high)
        made.draw_without_rendering()
        shown = [label.get_text() for label in ax.get_yticklabels()]
        assert shown == texts
        assert not any(label.get_text() for label in ax.get_yticklabels(minor=True))
        values = ax.yaxis.get_majorticklocs()
    superscripts = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    for value, text in zip(values, shown, strict=True):
        power = text.startswith("10") and len(text) > 2 and not text[2:].isascii()
        said = 10.0 ** int(text[2:].translate(superscripts)) if power else float(text)
        assert said == pytest.approx(value)


@pytest.mark.parametrize("preset", sorted(WIDTHS))
def test_the_longest_name_of_a_colour_bar_is_whole(preset: str) -> None:
    """Above narrow cells it takes two lines."""
    page = Page(preset)
    with rc_context(page.rc):
        sheet = Figure(figsize=(page.width, 3))
        FigureCanvasAgg(sheet)
        sheet.set_layout_engine("constrained")
        ax = sheet.add_subplot()
        image = ax.imshow(np.zeros((3, 3)))
        label = "log ratio of distance to the end, this run − second run (decades)"
        bar = bar_above(ax, image, label)
        sheet.canvas.draw()
        box = bar.ax.xaxis.label.get_window_extent()
    assert bar.ax.get_xlabel().replace("\n", " ") == label
    assert box.x0 >= 0
    assert box.x1 <= sheet.bbox.width


def test_an_axis_that_counts_from_one_says_so_on_paper() -> None:
    counts = CountLocator()
    assert counts.tick_values(0.8, 6.2) == [1, 2, 3, 4, 5, 6]
    assert counts.tick_values(-99, 2099) == [1, 500, 1000, 1500, 2000]
    assert counts.tick_values(99, 205) == [100, 120, 140, 160, 180, 200]
