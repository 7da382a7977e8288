"""Two drawings in one figure, one above the other: a view of two runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import GridSpec

from loopscope.widgets.figures.style import Page

# Inches that the name above each drawing takes.
NAME_HEIGHT = 0.22

Draw = Callable[[Figure, Page], None]


class Part(SubFigure):
    """A part of a page that drawings take for a whole one: it has the size they were given."""

    def __init__(self, parent: Figure, grid: Any, width: float, height: float) -> None:
        super().__init__(parent, grid)
        self._size = (width, height)
        parent.subfigs += [self]

    def set_layout_engine(self, *args: Any, **kwargs: Any) -> None:
        """Leave the layout to the whole page, which is laid out at once."""

    def set_figheight(self, height: float) -> None:
        """Leave the height: it was made for the drawing."""

    def get_figheight(self) -> float:
        """Height in inches."""
        return self._size[1]

    def get_figwidth(self) -> float:
        """Width in inches."""
        return self._size[0]


def draw_both(figure: Figure, page: Page, drawings: Sequence[tuple[str, Draw]]) -> None:
    """Draw each under its name; the figure gets the height of all of them."""
    heights = []
    for _, draw in drawings:
        alone = Figure(figsize=(page.width, page.width * 0.7))
        draw(alone, page)
        heights.append(float(alone.get_figheight()) + NAME_HEIGHT)
    figure.set_layout_engine("constrained")
    figure.set_figheight(sum(heights))
    grid = GridSpec(len(drawings), 1, figure, height_ratios=heights)
    for i, (name, draw) in enumerate(drawings):
        part = Part(figure, grid[i], page.width, heights[i])
        draw(part, page)  # type: ignore[arg-type]
        part.suptitle(name, x=0.02, ha="left", fontsize=str(page.rc["axes.labelsize"]))
