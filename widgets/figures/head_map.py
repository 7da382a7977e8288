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
    recurrence_ticks,
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
    image = measured(ax, data.values, data.measure, data.far)
    bar_above(ax, image, measure_label(data.measure))
    ax.set_aspect("equal")
    ticks = recurrence_ticks(n, side, page)
    ax.set_xticks(ticks)
    ax.set_yticks([t - 1 for t in ticks], [str(t) for t in ticks])
    ax.set_xlabel("recurrence r′")
    ax.set_ylabel("recurrence r")
    ax.set_title(f"head {data.name}", loc="left", fontsize=page.rc["font.size"])
