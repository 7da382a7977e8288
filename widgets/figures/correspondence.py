"""Correspondence of two models, on paper."""

from __future__ import annotations

from matplotlib.figure import Figure

from loopscope.core.views.correspondence import Data
from loopscope.widgets.figures.matrix import (
    TALLEST,
    bar_above,
    empty,
    every,
    font_size,
    measure_label,
    measured,
)
from loopscope.widgets.figures.style import Page
from loopscope.widgets.matrix_steps import head_steps


def draw(data: Data, figure: Figure, page: Page) -> None:
    """Draw the matrix with the best monotone alignment on it."""
    figure.set_layout_engine("constrained")
    if data.missing or data.found is None:
        empty(figure, data.missing)
        return
    n, m = data.values.shape
    line = font_size(page) / 72
    width = figure.get_figwidth() - 8 * line
    around = 13 * line
    height = min(max(n * 1.3 * line, 0.45 * width), TALLEST - around)
    figure.set_figheight(height + around)
    ax = figure.add_subplot()
    image = measured(ax, data.shown, data.measure, data.far)
    bar_above(ax, image, measure_label(data.measure))
    rows = every(n, height, 1.25 * line, head_steps(data.row_group))
    columns = every(m, width, 1.5 * line, head_steps(data.column_group))
    ax.set_yticks(range(0, n, rows), data.rows[::rows])
    ax.set_xticks([i + 1 for i in range(0, m, columns)], data.columns[::columns], rotation=90)
    if data.path:
        xs = [j + 1 for j in data.path]
        ax.plot(xs, range(n), color="black", lw=2.2, solid_joinstyle="round")
        ax.plot(xs, range(n), color="white", lw=1, marker=".", ms=3, label="alignment")
    suffix = ".head" if data.what == "heads" else ""
    place = f"layer{suffix}, recurrence {data.recurrence}" if suffix else "recurrence.layer"
    ax.set_xlabel(f"{data.found.other}: recurrence.layer{suffix}", parse_math=False)
    ax.set_ylabel(f"{data.found.one}: {place}", parse_math=False)
