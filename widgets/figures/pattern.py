"""The selected head's attention pattern on paper."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from loopscope.core.views.pattern import LOG_DECADES, Data
from loopscope.widgets.figures.matrix import (
    TALLEST,
    bar_above,
    cells,
    empty,
    every,
    font_size,
    set_log_ticks,
)
from loopscope.widgets.figures.style import Page
from loopscope.widgets.figures.words import fit
from loopscope.widgets.palette import SIMILARITY_MAP


def draw(data: Data, figure: Figure, page: Page) -> None:
    """Draw the pattern of the cursor's recurrence, square."""
    figure.set_layout_engine("constrained")
    if data.missing:
        empty(figure, data.missing)
        return
    n, size = len(data.labels), font_size(page)
    line, width = size / 72, figure.get_figwidth()
    recurrence = data.shown_recurrence(page.recurrence)
    longest = 0.2 * width * 72
    labels = [fit(text, size, longest) for text in data.labels]
    # What is left of the width beside the labels and the axis title.
    taken = 0.6 * size * max(map(len, labels)) / 72
    side = min(max(width - taken - 4 * line, 1.0), 0.62 * TALLEST, max(n * 4 * line, 1.2))
    figure.set_figheight(side + min(taken, longest / 72) + 11 * line)
    ax = figure.add_subplot()
    outside = np.triu(np.full((n, n), data.causal), 1)
    values = np.where(outside, np.nan, data.patterns[recurrence - 1].astype(np.float64))
    floor = 10.0**-LOG_DECADES
    norm = LogNorm(floor, 1) if data.scale == "log" else Normalize(0, data.far)
    if data.scale == "log":
        values = np.where(np.isnan(values), np.nan, np.maximum(values, floor))
    image = cells(ax, values, SIMILARITY_MAP, norm)
    ax.set_aspect("equal")
    log = data.scale == "log"
    bar = bar_above(ax, image, f"attention (probability{', log scale' if log else ''})")
    if log:
        set_log_ticks(bar)
    step = every(n, side, 1.25 * line)
    upright = max(map(len, labels)) > 2
    at = range(0, n, step)
    ax.set_xticks([i + 1 for i in at], labels[::step], rotation=90 if upright else 0)
    ax.set_yticks(list(at), labels[::step])
    ax.set_xlabel("key token")
    ax.set_ylabel("query token")
    title = f"head {data.name} at recurrence {recurrence}"
    ax.set_title(title, loc="left", fontsize=page.rc["font.size"])
