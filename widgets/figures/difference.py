"""The difference of two runs on paper."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from loopscope.core.views.difference import SHOWN, Difference, Side
from loopscope.widgets.figures.matrix import (
    TALLEST,
    bar_above,
    cells,
    empty,
    every,
    font_size,
    hatch_absent,
    recurrence_axis,
)
from loopscope.widgets.figures.style import Page
from loopscope.widgets.figures.words import fit
from loopscope.widgets.plots.matrix_steps import STEPS, head_steps, labelled, log_edges


def draw(data: Difference, figure: Figure, page: Page) -> None:
    """Draw the map; no difference is the middle of the colour bar."""
    figure.set_layout_engine("constrained")
    if data.missing:
        empty(figure, data.missing)
        return
    n_rows = len(data.values)
    line, width = font_size(page) / 72, figure.get_figwidth()
    around = 13 * line
    square = data.symmetric or data.rows.title == "query token"
    height = 0.75 * width if square else min(n_rows * 1.9 * line, TALLEST - around)
    height = max(height, 7 * line)
    figure.set_figheight(height + around)
    ax = figure.add_subplot()
    far = data.far or 1.0
    columns_at = data.columns.recurrences if data.log_r else ()
    rows_at = data.rows.recurrences if data.log_r else ()
    image = cells(ax, data.values, "diverging", Normalize(-far, far), columns_at, rows_at)
    hatch_absent(ax)
    _draw_feet(ax, data)
    if square:
        ax.set_aspect("equal")
    bar = bar_above(ax, image, f"{data.formula.name}, {SHOWN} − second run ({data.formula.unit})")
    ends = [-far, 0.0, far] if data.far else [0.0]
    bar.set_ticks(ends, labels=[f"{v:+.3g}".replace("-", "−") if v else "0" for v in ends])
    longest = 0.2 * width * 72
    rows = [fit(text, font_size(page), longest) for text in data.rows.labels]
    at = _labelled(data.rows, height, 1.25 * line)
    ax.set_yticks(at, [rows[i] for i in at])
    columns = [fit(text, font_size(page), longest) for text in data.columns.labels]
    words = data.columns.first is None and max(map(len, columns)) > 2
    wide = 1.25 * line if words else (max(map(len, columns)) + 1.5) * 0.6 * line
    at = _labelled(data.columns, 0.75 * width, wide)
    ax.set_xticks([i + 1 for i in at], [columns[i] for i in at], rotation=90 if words else 0)
    if columns_at:
        recurrence_axis(ax, "x", columns_at, True, 0.75 * width, page)
    if rows_at:
        recurrence_axis(ax, "y", rows_at, True, height, page)
    ax.set_xlabel(data.columns.title)
    ax.set_ylabel(data.rows.title)


def _draw_feet(ax: Axes, data: Difference) -> None:
    """Underline cells at which the two runs answer differently."""
    edges = log_edges(data.columns.recurrences, len(data.columns.labels)) if data.log_r else None
    for row, first, last in data.spans_apart():
        ends = (first, last + 1) if edges is None else (float(edges[first]), float(edges[last + 1]))
        for colour, thick in (("white", 1.6), ("black", 0.8)):
            ax.plot(
                [end + 0.5 for end in ends], [row + 0.4] * 2, color=colour, linewidth=thick,
                solid_capstyle="butt",
            )  # fmt: skip


def _labelled(side: Side, room: float, needed: float) -> list[int]:
    """Which rows or columns are labelled on a side of ``room`` inches."""
    n = len(side.labels)
    step = every(n, room, needed, head_steps(side.group) if side.group else STEPS)
    return labelled(n, step, side.first is not None, side.first or 0)
