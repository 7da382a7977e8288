"""The distance to the end on paper."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from loopscope.core.labels import at_position
from loopscope.core.views.distance import Data
from loopscope.widgets.figures.matrix import cells, recurrence_axis
from loopscope.widgets.figures.style import Page
from loopscope.widgets.figures.words import fit
from loopscope.widgets.palette import DISTANCE_MAP
from loopscope.widgets.plots.ticks import log_ticks

# No taller than a printed page, in inches.
_TALLEST = 8.8


def draw(data: Data, figure: Figure, page: Page) -> None:
    """Draw the token by recurrence map; ``figure`` gets a height that fits the tokens."""
    figure.set_layout_engine("constrained")
    ax = figure.add_subplot()
    if data.missing:
        figure.set_figheight(0.6)
        ax.set_axis_off()
        ax.text(0.5, 0.5, data.missing, ha="center", va="center", wrap=True)
        return
    n_rows, n = data.distances.shape
    size = float(str(page.rc["xtick.labelsize"]))
    around = 14 * size / 72
    height = min(n_rows * 1.6 * size / 72 + around, _TALLEST)
    size = min(size, 72 * (height - around) / n_rows / 1.2)
    figure.set_figheight(height)
    low, high = (data.low, data.high) if math.isfinite(data.low) else (0.1, 1.0)
    if low == high:
        low, high = low / 1.5, high * 1.5
    # A distance of exactly 0 is as near as the scale goes; only NaN is left blank.
    distances = np.ma.masked_invalid(np.where(data.distances < low, low, data.distances))
    numbers = range(data.first, data.first + n)
    log = numbers if data.log_r else ()
    image = cells(
        ax, distances.filled(np.nan), DISTANCE_MAP, LogNorm(low, high), log, first=data.first
    )
    labels = [
        at_position(t, fit(x, size, 8 * size))
        for t, x in zip(data.tokens, data.labels, strict=True)
    ]
    ax.set_yticks(range(n_rows), labels, fontsize=size)
    recurrence_axis(ax, "x", numbers, data.log_r, 0.75 * page.width, page, data.first)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("recurrence r")
    ax.set_ylabel("token")
    # On top, where its label has room however few the tokens are.
    bar = figure.colorbar(image, ax=ax, location="top", pad=0.02, aspect=36, shrink=0.8)
    unit = f" ({data.unit})" if data.unit else ""
    bar.set_label(f"{data.formula.name} {data.symbol}{unit}")
    bar.outline.set_visible(False)
    ticks = log_ticks(low, high, 6)
    bar.set_ticks([v for v, _ in ticks], labels=[text for _, text in ticks])
    bar.minorticks_off()
