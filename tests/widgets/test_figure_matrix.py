"""Matrices on paper: which end of a colour bar is the same, and which colour it has."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from recordings import synthetic_recording

from loopscope.core.measures.heads import MEASURES
from loopscope.core.selection import Selection
from loopscope.core.views import head_map, similarity
from loopscope.widgets.figures import head_map as head_map_page
from loopscope.widgets.figures import similarity as similarity_page
from loopscope.widgets.figures.matrix import measure_bar_beside, measure_label, measured
from loopscope.widgets.figures.style import Page, log_axis

PAGE = Page()


def figure() -> Figure:
    made = Figure(figsize=(3, 3))
    FigureCanvasAgg(made)
    return made


def top_and_bottom(bar: Colorbar) -> tuple[float, float]:
    """Values at the upper and the lower end of an upright bar, as they come out on the page."""
    bar.ax.figure.draw_without_rendering()
    height = {v: bar.ax.transData.transform((0.5, v))[1] for v in bar.ax.get_ylim()}
    return max(height, key=height.get), min(height, key=height.get)


@pytest.mark.parametrize("key", sorted(MEASURES))
def test_what_is_the_same_is_bright_and_at_the_top(key: str) -> None:
    measure = MEASURES[key]
    far = 3.0 if measure.is_distance else 0.25
    with rc_context(PAGE.rc):
        ax = figure().add_subplot()
        image = measured(ax, np.array([[far, measure.identical]]), measure, far)
        bar = measure_bar_beside(ax, image, measure)
        assert top_and_bottom(bar) == (measure.identical, far)
    brightness = image.to_rgba(np.array([far, measure.identical]))[:, :3].mean(1)
    assert brightness[1] > 0.6 > 0.3 > brightness[0]
    assert bar.ax.get_ylabel() == measure_label(measure)


def test_the_pages_of_a_distance_are_the_right_way_up() -> None:
    """The bar of each whole page: 0, which is the same, above what is far."""
    recording = synthetic_recording()
    for module, page, options in (
        (head_map, head_map_page, head_map.Options(measure="frobenius")),
        (similarity, similarity_page, similarity.Options(measure="attention")),
    ):
        data = module.compute(recording, Selection(recurrence=3), options)
        assert data.measure.is_distance
        with rc_context(PAGE.rc):
            made = figure()
            page.draw(data, made, PAGE)
            made.draw_without_rendering()
            image = next(ax for ax in made.axes if ax.images)
            bar = image.images[0].colorbar
            assert top_and_bottom(bar) == (0.0, pytest.approx(data.far))


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
