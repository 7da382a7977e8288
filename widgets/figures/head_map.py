"""One head at every recurrence against every other, on paper."""

from __future__ import annotations

from matplotlib.figure import Figure

from loopscope.core.views.head_map import Data
from loopscope.widgets.figures.matrix import (
    bar_above,
    empty,
    font_size,
    measure_label,
    measured,
    recurrence_axis,
    set_log_ticks,
)
from loopscope.widgets.figures.style import Page


def draw(data: Data, figure: Figure, page: Page) -> None:
    """Draw the map, square."""
    figure.set_layout_engine("constrained")
    if data.missing:
        empty(figure, data.missing)
        return
    n, line = len(data.values), font_size(page) / 72
    width = figure.get_figwidth()
    side = min(width - 7 * line, 5.0)
    figure.set_figheight(side + 11 * line)
    ax = figure.add_subplot()
    numbers = range(data.first, data.first + n)
    log = numbers if data.log_r else ()
    image = measured(ax, data.values, data.measure, data.far, log, log, data.near)
    bar = bar_above(ax, image, measure_label(data.measure, log=bool(data.near)))
    if data.near:
        set_log_ticks(bar)
    ax.set_aspect("equal")
    for axis in ("x", "y"):
        recurrence_axis(ax, axis, numbers, data.log_r, side, page)
    ax.set_xlabel("recurrence r′")
    ax.set_ylabel("recurrence r")
    ax.set_title(f"head {data.name}", loc="left", fontsize=page.rc["font.size"])
