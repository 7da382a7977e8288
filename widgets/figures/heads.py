"""The head consistency matrix on paper."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loopscope.core.views.heads import Data
from loopscope.widgets.figures.matrix import (
    TALLEST,
    bar_above,
    empty,
    every,
    font_size,
    measure_label,
    measured,
    recurrence_axis,
    set_log_ticks,
)
from loopscope.widgets.figures.style import Page
from loopscope.widgets.plots.matrix_steps import head_steps

# The statistics beside the matrix on a wide page: field, header.
_SIDE = {
    "entropy": "entropy\n(nats)",
    "sink": "sink",
    "previous": "previous\ntoken",
    "own": "self",
    "induction": "induction",
}


def draw(data: Data, figure: Figure, page: Page) -> None:
    """Draw the matrix; a wide page gets the statistics at the cursor's recurrence beside it."""
    figure.set_layout_engine("constrained")
    if data.missing:
        empty(figure, data.missing)
        return
    values = data.rows(data.values)
    n_rows, n = values.shape
    line = font_size(page) / 72
    around = 13 * line
    height = max(min(n_rows * 1.9 * line + around, TALLEST), 20 * line)
    figure.set_figheight(height)
    step = every(n_rows, height - around, 1.25 * line, head_steps(data.values.shape[2]))
    recurrence = min(page.recurrence, len(data.statistics.entropy))
    wide = page.preset != "one column" and data.show_statistics and recurrence >= 1
    if wide:
        ax, side = figure.subplots(1, 2, width_ratios=(2, 1))
        _draw_statistics(data, side, page, step, recurrence)
    else:
        ax = figure.add_subplot()
    numbers = range(data.first, data.first + n)
    log = numbers if data.log_r else ()
    image = measured(ax, values, data.measure, data.far, log, near=data.near)
    label = measure_label(data.measure, f" to {data.reference}", log=bool(data.near))
    bar = bar_above(ax, image, label)
    if data.near:
        set_log_ticks(bar)
    room = figure.get_figwidth() * (0.5 if wide else 0.8)
    recurrence_axis(ax, "x", numbers, data.log_r, room, page)
    ax.set_yticks(range(0, n_rows, step), data.row_labels[::step])
    ax.set_xlabel("recurrence r")
    ax.set_ylabel("head (layer.head)")
    _draw_groups(data, ax)


def _draw_groups(data: Data, ax: Axes) -> None:
    """Name each group at the right of its rows, a white line between."""
    groups = data.row_groups
    if not groups:
        return
    for first, _, _ in groups[1:]:
        ax.axhline(first - 0.5, color="white", lw=1.2)
    names = ax.secondary_yaxis("right")
    names.set_yticks([(a + b) / 2 for a, b, _ in groups], [name for _, _, name in groups])
    names.tick_params(length=0)
    names.spines[:].set_visible(False)


def _draw_statistics(data: Data, ax: Axes, page: Page, step: int, recurrence: int) -> None:
    """Write the statistics at ``recurrence``, in line with the rows of the matrix."""
    n_rows, size = data.order.size, font_size(page)
    ax.set_xlim(0, len(_SIDE))
    ax.set_ylim(n_rows - 0.5, -0.5)
    ax.spines[:].set_visible(False)
    ax.set_yticks([])
    ax.set_xticks(np.arange(len(_SIDE)) + 0.5, list(_SIDE.values()))
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.set_xlabel(f"statistics at recurrence {recurrence}")
    for k, key in enumerate(_SIDE):
        column = getattr(data.statistics, key)[recurrence - 1].ravel()[data.order]
        for row in range(0, n_rows, step):
            text = "–" if np.isnan(column[row]) else f"{column[row]:.3f}"
            ax.text(k + 0.5, row, text, ha="center", va="center", fontsize=size)
