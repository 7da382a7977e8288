"""The computation graph on paper: the loop, the run unrolled, and beneath it a model beside.

Each model is drawn on axes of its own, one under the other; columns of equal recurrence stand
under each other where the models' blocks are equally deep.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loopscope.core.views.graph.data import Data, summary
from loopscope.core.views.graph.deep import DeepLayout
from loopscope.core.views.graph.layout import Layout as LoopLayout
from loopscope.core.views.graph.picture import Picture
from loopscope.widgets.figures.graph_deep import DeepSheet, deep_parts
from loopscope.widgets.figures.graph_layout import Layout, Sizes, lay_out, looped_parts
from loopscope.widgets.figures.graph_loop import LoopSheet
from loopscope.widgets.figures.graph_sheet import GREY, INK, Sheet
from loopscope.widgets.figures.graph_slots import Slot, choose_slots
from loopscope.widgets.figures.style import Page

# Up to this many columns are all drawn; a longer run alone is drawn in fewer, wider ones.
ALL, LONG = 8, 6
_TALLEST = 8.6 * 72
# Room above each model for its title, in lines of text.
_TITLE = 1.9


@dataclass(frozen=True, slots=True)
class Band:
    """One model's part of the page."""

    layout: LoopLayout | DeepLayout
    where: Layout
    slots: list[Slot]
    name: str


def slots_of(picture: Picture, model: int) -> tuple[list[Slot], int]:
    """Columns to draw of one model, and how many columns the page is divided into."""
    layouts = picture.layouts if picture.shared else [picture.layouts[model]]
    n = max(layout.n_columns for layout in layouts)
    breaks = set[int]().union(*(layout.breaks() for layout in layouts))
    cuts = [cut.cut.recurrence for layout in layouts for cut in layout.data.cuts]
    room = LONG if n > ALL and len(picture.layouts) == 1 else ALL
    ends = [*(layout.n_columns for layout in layouts), *cuts]
    every = choose_slots(n, breaks, room, ALL, ends)
    own = picture.layouts[model].n_columns
    slots = [Slot(s.first, min(s.last, own)) for s in every if s.first <= own]
    return slots, len(every)


def draw(data: Data, figure: Figure, page: Page) -> None:
    """Draw every graph and their sizes; ``figure`` gets the height that the rows need."""
    size = float(str(page.rc["ytick.labelsize"]))
    width = page.width * 72 - 4
    bands = _bands(data, width, size)
    table = (1.5 * (1 + len(summary(data))) + 1.6) * size
    heights = [_TITLE * size + band.where.height + 0.8 * size for band in bands]
    height = sum(heights) + table
    figure.set_figheight(height / 72)
    figure.set_layout_engine("none")
    y = height
    for band, high in zip(bands, heights, strict=True):
        y -= high
        ax = _axes(figure, width, y / height, high / height)
        ax.set_ylim(high - _TITLE * size, -_TITLE * size)
        if isinstance(band.layout, DeepLayout):
            DeepSheet(ax, band.layout.data, band.where, band.slots, size).draw(
                band.layout, band.name
            )
        else:
            LoopSheet(ax, band.layout.data, band.where, band.slots, size).draw(
                band.layout, band.name
            )
    ax = _axes(figure, width, 0, table / height)
    ax.set_ylim(table, 0)
    _sizes(Sheet(ax, data, bands[0].where, [], size), width)


def _axes(figure: Figure, width: float, bottom: float, height: float) -> Axes:
    ax = figure.add_axes((0, bottom, 1, height))
    ax.set_xlim(-2, width + 2)
    ax.set_axis_off()
    return ax


def _bands(data: Data, width: float, size: float) -> list[Band]:
    picture = Picture(data)
    names = [""] if data.contrast is None else [data.name, data.contrast.name]
    tallest = (_TALLEST - 9 * size) / len(names) - 3 * size
    bands = []
    for i, (layout, name) in enumerate(zip(picture.layouts, names, strict=True)):
        slots, n = slots_of(picture, i)
        many = n > 4
        sizes = Sizes(
            unit=(1.3 * size, 2.1 * size), looped=(0.13 if many else 0.19) * width,
            pitch=(20.0, 0.2 * width), gap=(1.2 if many else 1.55) * size, start=2.3 * size,
            numbers=1.6 * size,
        )  # fmt: skip
        deep = isinstance(layout, DeepLayout)
        parts = deep_parts(layout) if isinstance(layout, DeepLayout) else looped_parts(layout.data)
        if deep:
            sizes = replace(sizes, numbers=0.0)
        where = lay_out(parts, width, tallest, sizes, max(n, 1))
        bands.append(Band(layout, replace(where, n=len(slots)), slots, name))
    return bands


def _sizes(sheet: Sheet, width: float) -> None:
    """Exact sizes of all that is drawn, as a small table."""
    small = 0.88 * sheet.size
    y = 0.8 * sheet.size
    rights = [width * share for share in (0.42, 0.57, 0.77, 0.98)]
    heads = ("unique depth", "eff. depth", "parameters", "FLOPs per token")
    for right, head in zip(rights, heads, strict=True):
        sheet.text(right, y, head, GREY, "right", small)
    for row in summary(sheet.data):
        y += 1.5 * sheet.size
        sheet.text(2, y, row.name, INK, size=small)
        values = (row.unique_depth, row.effective_depth, row.parameters, row.flops)
        for right, value in zip(rights, values, strict=True):
            sheet.text(right, y, f"{value:,}", INK, "right", small)
