"""Similarity between all places of a run, on paper."""

from __future__ import annotations

from matplotlib.figure import Figure

from loopscope.core.views.similarity import Data
from loopscope.widgets.figures.matrix import (
    bar_above,
    empty,
    every,
    font_size,
    measure_label,
    measured,
)
from loopscope.widgets.figures.style import Page
from loopscope.widgets.plots.matrix_steps import head_steps, labelled

# Inches of a group of rows that has a line after it.
_LEAST_GROUP = 0.08


def draw(data: Data, figure: Figure, page: Page) -> None:
    """Draw the map, square."""
    figure.set_layout_engine("constrained")
    if data.missing:
        empty(figure, data.missing)
        return
    n, line, group = len(data.order), font_size(page) / 72, data.group
    labels = data.labels
    longest = 0.6 * line * max(map(len, labels))
    side = min(figure.get_figwidth() - longest - 5 * line, 5.0)
    figure.set_figheight(side + longest + 10 * line)
    ax = figure.add_subplot()
    image = measured(ax, data.drawn(), data.measure, data.far)
    bar_above(ax, image, measure_label(data.measure))
    ax.set_aspect("equal")
    first = 0 if data.places.step > 1 else group if data.by == "depth" else 1
    at = labelled(n, every(n, side, 1.3 * line, head_steps(group)), True, first)
    tick_labels = [labels[i] for i in at]
    ax.set_xticks([i + 1 for i in at], tick_labels, rotation=90)
    ax.set_yticks(at, tick_labels)
    if group * side / n >= _LEAST_GROUP:
        between = range(group, n, group)
        ax.hlines([i - 0.5 for i in between], 0.5, n + 0.5, colors="white", linewidths=0.4)
        ax.vlines([i + 0.5 for i in between], -0.5, n - 0.5, colors="white", linewidths=0.4)
    ax.set_xlabel("recurrence′:layer′")
    along = "along effective depth" if data.by == "depth" else "layer by layer"
    ax.set_ylabel(f"recurrence:layer, {along}")
