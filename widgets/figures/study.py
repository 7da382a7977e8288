"""A study on paper: means along one axis, or over two."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from loopscope.core.sweeps.axes import AXES
from loopscope.core.sweeps.picture import StudyMap, StudyPicture
from loopscope.widgets.figures.curves import draw_curves, name_ticks, short_name
from loopscope.widgets.figures.matrix import (
    TALLEST,
    bar_above,
    cells,
    empty,
    every,
    font_size,
    hatch_absent,
)
from loopscope.widgets.figures.style import Page
from loopscope.widgets.palette import SIMILARITY_MAP

# Characters of a place's name.
NAME = 30


def draw(data: StudyPicture, figure: Figure, page: Page) -> None:
    """Draw what a panel shows."""
    if isinstance(data, StudyMap):
        _draw_map(data, figure, page)
    else:
        draw_curves(data, figure, page)


def _draw_map(data: StudyMap, figure: Figure, page: Page) -> None:
    figure.set_layout_engine("constrained")
    if data.missing:
        empty(figure, data.missing)
        return
    down = [short_name(name, NAME) for name in data.names[1]]
    line = font_size(page) / 72
    figure.set_figheight(min(max(len(down) * 1.5 * line, 1.6) + 11 * line, TALLEST))
    ax = figure.add_subplot()
    known = data.values[np.isfinite(data.values)]
    norm = Normalize(float(known.min()), float(known.max())) if len(known) else Normalize(0, 1)
    image = cells(ax, data.values, SIMILARITY_MAP, norm, first=0)
    if len(known) < data.values.size:
        hatch_absent(ax)
    bar_above(ax, image, f"{data.formula.name} [{data.formula.unit}], mean")
    room = figure.get_figheight() - 11 * line
    step = every(len(down), room, 1.25 * line)
    ax.set_yticks(range(0, len(down), step), down[::step])
    name_ticks(ax, data.names[0], page)
    ax.set_xlabel(AXES[data.along])
    ax.set_ylabel(AXES[data.by])
