"""The whole picture: one strip for each model, in columns that the strips share.

A strip is the unrolling of a looped model or the layers of a deep one, from left to right: column
0 is what comes before, then the columns of the block (some of them folded), then what follows.
Strips of models with equally deep blocks share their columns; otherwise each has its own and they
are stretched so that equal effective depth stands at equal x.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from loopscope.core.model.graph import REPEATED, Node
from loopscope.core.selection import Selection
from loopscope.core.views.graph.columns import Column, Columns, columns
from loopscope.core.views.graph.cuts import CutMark, cuts_at
from loopscope.core.views.graph.data import Data
from loopscope.core.views.graph.deep import DeepLayout, Grid
from loopscope.core.views.graph.layout import BOX, RAIL, Box, Layout, Point, Wire


@dataclass(frozen=True, slots=True)
class Mark:
    """Where cuts act: at the corner of a box, or on a wire.

    point : in columns and rows.  cuts : those that act there.
    """

    point: Point
    cuts: tuple[CutMark, ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring columns that look alike.

    index : of the first.  boxes : of the first.  left, right : where they begin and end.
    """

    index: int
    boxes: list[Box]
    left: float
    right: float


class Strip:
    """One model's columns from left to right.

    Parameters
    ----------
    layout
        Places of the nodes.
    cols
        Columns of the block; those beyond the model's own are left empty.
    lead, wide
        How far column 0 is from the left, and the width of a column of the block.
    """

    def __init__(
        self, layout: Layout | DeepLayout, cols: Columns, lead: float = 0.0, wide: float = 1.0
    ) -> None:
        self.layout, self.cols, self.lead, self.wide = layout, cols, lead, wide
        self.data = layout.data
        self.last = cols.place(layout.n_columns)
        self._n_tail = len(layout.tail(0))
        # Columns once laid out are kept: scrolling comes back to them.
        self._boxes: dict[int, list[Box]] = {}
        self._wires: dict[tuple[int, bool], list[Wire]] = {}

    @property
    def end(self) -> int:
        """Index of the last column."""
        return self.last + self._n_tail

    @property
    def width(self) -> float:
        """Where the last column ends."""
        return self.x(self.end) + 1

    def x(self, i: int) -> float:
        """Left edge of a column's nodes."""
        if i == 0:
            return self.lead
        if i <= self.last:
            return self.lead + 1 + (i - 1) * self.wide + (self.wide - 1) / 2
        return self.lead + 1 + self.last * self.wide + (i - self.last - 1)

    def index_at(self, x: float) -> int:
        """Column at a place; the nearest one outside the strip."""
        x -= self.lead + 1
        if x < 0:
            return 0
        if x < self.last * self.wide:
            return 1 + int(x / self.wide)
        return min(self.end, self.last + 1 + int(x - self.last * self.wide))

    def index_of(self, recurrence: int, layer: int) -> int:
        """Column in which a place of the block is drawn; recurrence 0 is before."""
        if recurrence < 1:
            return 0
        column = self.layout.column_number(recurrence, layer)
        if column > self.layout.n_columns:
            return self.end
        return self.cols.place(column)

    def index_of_node(self, node: Node, recurrence: int | None) -> int:
        """Column in which a node is drawn; ``recurrence`` counts where it repeats."""
        if node.part == "block" or (recurrence is not None and node.part in REPEATED):
            return self.index_of(recurrence or 1, node.layer or 0)
        # In the middle stand layers that a deep checkpoint has before or after its block.
        order: list[int] = [0, *range(self.last, self.end + 1), *range(1, self.last)]
        for i in order:
            if any(b.node.key == node.key for b in self.boxes(i)):
                return i
        return self.end

    def column(self, i: int) -> Column | None:
        """Which recurrences a column stands for; None for what runs once."""
        return self.cols.at(i) if 1 <= i <= self.last else None

    def boxes(self, i: int) -> list[Box]:
        """Nodes of a column."""
        if i not in self._boxes:
            self._boxes[i] = self._laid_out(i)
        return self._boxes[i]

    def _laid_out(self, i: int) -> list[Box]:
        column = self.column(i)
        if column is not None:
            return self.layout.copy(self.x(i), column.first, column.times)
        if i == 0:
            return self.layout.before(self.x(0))
        return self.layout.tail(self.x(self.last + 1))[i - self.last - 1]

    def wires(self, first: int, last: int) -> list[Wire]:
        """Wires of the columns ``first`` to ``last`` and between them."""
        wires = [wire for i in range(first, last + 1) for wire in self._wires_of(i, i < last)]
        columns = [self.boxes(i) for i in range(first, min(last + 1, self.last) + 1)]
        before = self.boxes(0) if first == 0 else None
        # The rail leads on to columns that are out of sight.
        return wires + self.layout.rail(before, columns, self.x(first) - 1)

    def _wires_of(self, i: int, on: bool) -> list[Wire]:
        """Wires down a column and, where it goes ``on``, to the next."""
        if (i, on) not in self._wires:
            boxes = self.boxes(i)
            wires = self.layout.down(boxes)
            self._wires[i, on] = wires + (self.layout.joins(boxes, self.boxes(i + 1)) if on else [])
        return self._wires[i, on]

    def marks(self, i: int) -> list[Mark]:
        """Cuts that act in a column."""
        column, boxes = self.column(i), self.boxes(i)
        return marks_of(self.layout, boxes, column.first if column else None, column is not None)

    def stretches(self, first: int, last: int) -> list[Stretch]:
        """Columns ``first`` to ``last``, alike ones together."""
        starts, breaks = [], self.layout.breaks()
        for i in range(first, last + 1):
            column = self.column(i)
            before = self.column(i - 1)
            fold = any(c is not None and c.times > 1 for c in (column, before))
            if i <= max(first, 1) or column is None or column.first in breaks or fold:
                starts.append(i)
        ends = [*(s - 1 for s in starts[1:]), last]
        half = (self.wide - 1) / 2
        return [
            Stretch(a, self.boxes(a), self.x(a) - half, self.x(b) + 1 + half)
            for a, b in zip(starts, ends, strict=True)
        ]


def marks_of(
    layout: Layout | DeepLayout, boxes: list[Box], recurrence: int | None, repeated: bool
) -> list[Mark]:
    """Cuts that act on nodes, into the injection, or on the state that leaves a column.

    ``recurrence`` None with ``repeated`` is the loop's own column: cuts of any recurrence.
    """
    cuts = layout.data.cuts
    if not cuts:
        return []
    marks = []
    for box in boxes:
        here = cuts_at(cuts, box.node, box.recurrence) if box.branch is None else ()
        if here and box.node.kind == "injection":
            marks.append(Mark((box.x + BOX / 2, (RAIL + box.y) / 2), here))
        elif here:
            marks.append(Mark((box.x, box.y), here))
    at_end = tuple(c for c in cuts if repeated and c.at("end", recurrence))
    deep_end = isinstance(layout, DeepLayout) and all(
        b.node.layer != layout.data.n_layers - 1 or b.node.part != "block" for b in boxes
    )
    if at_end and not deep_end:
        last = boxes[-1]
        marks.append(Mark((last.x + BOX + (1 - BOX) / 4, last.y + last.height / 2), at_end))
    return marks


class Picture:
    """Strips of one `Data`, first run first; columns are chosen when the width is known."""

    def __init__(self, data: Data) -> None:
        self.data = data
        models = [data] if data.contrast is None else [data, data.contrast.data]
        aligned = len(models) > 1
        loops = [None if aligned and m.deep else Layout(m, aligned) for m in models]
        guide = next((loop for loop in loops if loop is not None), None)
        n = max(len(m.layers) for m in models)
        grid = Grid.of_loop(guide) if guide is not None else Grid.alone(n, data.options)
        self.layouts: list[Layout | DeepLayout] = [
            DeepLayout(m, grid) if loop is None else loop
            for m, loop in zip(models, loops, strict=True)
        ]
        # (layers before, layers of a column): equal ones share their columns.
        self._steps = [
            (grid.prelude, grid.n_rows)
            if isinstance(layout, DeepLayout)
            else (layout.data.architecture.n_prelude, layout.data.n_layers)
            for layout in self.layouts
        ]
        self.shared = len(set(self._steps)) == 1
        self.n_columns = max(layout.n_columns for layout in self.layouts)
        every = Columns.of(Column(r, r) for r in range(1, self.n_columns + 1))
        # In columns, when nothing is folded.
        self.whole_width = max(strip.width for strip in self.strips(every))
        self.breaks = set[int]().union(*(layout.breaks() for layout in self.layouts))

    def places(self, selection: Selection) -> list[tuple[int, int]]:
        """(recurrence, layer) of the cursor in each strip."""
        own = selection.recurrence, selection.layer
        contrast = self.data.contrast
        return [own] if contrast is None else [own, contrast.place(selection)]

    def columns_of(self, places: Iterable[tuple[int, int]]) -> list[int]:
        """Columns in which places, one for each strip, are."""
        return [
            layout.column_number(r, layer) if r else 0
            for layout, (r, layer) in zip(self.layouts, places, strict=True)
        ]

    def row_key(self, model: int, node: Node) -> str | None:
        """Key under which a layer is opened: that of the loop's layer whose row it stands in."""
        layout = self.layouts[model]
        if isinstance(layout, DeepLayout) and node.depth is not None:
            column, row = layout.grid.place(node.depth)
            return f"block.{row}" if column else None
        return node.key if node.part == "block" else None

    @property
    def row_keys(self) -> set[str]:
        """Keys of all rows that can be opened."""
        n = max(len(layout.rows()) for layout in self.layouts)
        return {f"block.{i}" for i in range(n)}

    def columns(self, room: int, kept: Iterable[int]) -> Columns:
        """Columns that the strips share, folded as the options ask; see `columns`."""
        fold = self.data.options.fold if self.shared else "never"
        return columns(self.n_columns, self.breaks, fold, room, kept)

    def strips(self, cols: Columns) -> list[Strip]:
        """Lay out the strips."""
        if self.shared:
            return [Strip(layout, cols) for layout in self.layouts]
        first = min(prelude for prelude, _ in self._steps)
        unit = min(n for _, n in self._steps)
        return [
            Strip(
                layout,
                Columns.of(Column(r, r) for r in range(1, layout.n_columns + 1)),
                (prelude - first) / unit,
                n / unit,
            )
            for layout, (prelude, n) in zip(self.layouts, self._steps, strict=True)
        ]


def loop_picture(layout: Layout) -> tuple[list[Box], list[Wire], list[Mark]]:
    """The loop: what comes before, the block with its back edge, what comes after."""
    before, block, tail = layout.before(), layout.copy(1, None), layout.tail(2)
    wires = [*layout.down(before), *layout.down(block), *layout.joins(before, block)]
    for a, b in pairwise([block, *tail]):
        wires += [*layout.joins(a, b), *layout.down(b)]
    wires += layout.rail(before, [block], 0)
    if not layout.data.deep:
        wires += layout.back(block)
    marks = [
        *marks_of(layout, before, None, False),
        *marks_of(layout, block, None, True),
    ]
    return [*before, *block, *(b for c in tail for b in c)], wires, marks
