"""Similarity between all places of a run, on paper."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from loopscope.core.views.similarity import Data
from loopscope.widgets.figures.matrix import (
    bar_above,
    empty,
    every,
    font_size,
    measure_label,
    measured,
    set_log_ticks,
)
from loopscope.widgets.figures.style import Page
from loopscope.widgets.plots.matrix_steps import head_steps, labelled, log_edges, on_log_axis

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
    depths = data.places.depths if data.log_r else ()
    image = measured(ax, data.drawn(), data.measure, data.far, depths, depths, data.near)
    bar = bar_above(ax, image, measure_label(data.measure, log=bool(data.near)))
    if data.near:
        set_log_ticks(bar)
    ax.set_aspect("equal")
    first = 0 if data.places.step > 1 else group if data.by == "depth" else 1
    at = labelled(n, every(n, side, 1.3 * line, head_steps(group)), True, first)
    middles = np.array(at, float)
    if depths:
        edges = log_edges(depths, n)
        numbers = [(k - 1) // group + 1 for k in depths]
        at = on_log_axis(edges, numbers, None, lambda _: 1.3 * line / side * n)
        middles = ((edges[:-1] + edges[1:]) / 2 - 0.5)[at]
    tick_labels = [labels[i] for i in at]
    ax.set_xticks(middles + 1, tick_labels, rotation=90)
    ax.set_yticks(middles, tick_labels)
    if group * side / n >= _LEAST_GROUP and not depths:
        between = range(group, n, group)
        ax.hlines([i - 0.5 for i in between], 0.5, n + 0.5, colors="white", linewidths=0.4)
        ax.vlines([i + 0.5 for i in between], -0.5, n - 0.5, colors="white", linewidths=0.4)
    ax.set_xlabel("recurrence′:layer′")
    along = "along effective depth" if data.by == "depth" else "layer by layer"
    ax.set_ylabel(f"recurrence:layer, {along}")
