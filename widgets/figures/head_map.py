"""One head at every recurrence against every other, on paper."""

from __future__ import annotations

from matplotlib.figure import Figure

from loopscope.core.views.head_map import Data
from loopscope.widgets.figures.matrix import (
    empty,
    font_size,
    measure_bar_beside,
    measured,
    recurrence_axis,
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
    side = min(width - 12 * line, 5.0)
    figure.set_figheight(side + 6 * line)
    ax = figure.add_subplot()
    numbers = range(data.first, data.first + n)
    log = numbers if data.log_r else ()
    image = measured(ax, data.values, data.measure, data.far, log, log, data.near)
    measure_bar_beside(ax, image, data.measure, data.near)
    ax.set_aspect("equal")
    for axis in ("x", "y"):
        recurrence_axis(ax, axis, numbers, data.log_r, side, page)
    ax.set_xlabel("recurrence r′")
    ax.set_ylabel("recurrence r")
    ax.set_title(f"head {data.name}", loc="left", fontsize=page.rc["font.size"])
