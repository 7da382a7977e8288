"""Where everything in the computation graph's figure goes: rows shared by both graphs, columns.

A row is one node of the looped graph; its copies lie in the same row, so that the unrolling is
visibly the block again and again. Lengths are points.
"""

from __future__ import annotations

from dataclasses import dataclass

from loopscope.core.model.graph import REPEATED, Node
from loopscope.core.views.graph.data import Data

# Heights relative to that of a layer.
_HEIGHTS = {"embedding": 0.85, "injection": 0.85, "norm": 0.75, "head": 0.85}
_BRANCH, _GAP, _TURN = 0.85, 0.5, 0.45

Parts = tuple[list[tuple[Node, bool]], list[tuple[Node, bool]], list[tuple[Node, bool]]]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: left, top, width, height; y grows downwards."""

    x: float
    y: float
    w: float
    h: float

    @property
    def cx(self) -> float:
        """Middle of its width."""
        return self.x + self.w / 2

    @property
    def cy(self) -> float:
        """Middle of its height."""
        return self.y + self.h / 2

    @property
    def right(self) -> float:
        """Right edge."""
        return self.x + self.w

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return self.y + self.h


@dataclass(frozen=True, slots=True)
class Row:
    """One node of the looped graph and where its row is."""

    node: Node
    top: float
    height: float
    expanded: bool

    @property
    def middle(self) -> float:
        """Middle of its height."""
        return self.top + self.height / 2

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return self.top + self.height


@dataclass(frozen=True, slots=True)
class Sizes:
    """Lengths to lay out with.

    unit : least and largest height of a layer.  looped : width of the looped graph's nodes.
    pitch : least and largest distance between copies.  gap : between copies.
    start : room for ``s_0``.  numbers : room for the recurrences' numbers.
    """

    unit: tuple[float, float]
    looped: float
    pitch: tuple[float, float]
    gap: float
    start: float
    numbers: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows, and columns of the unrolling.

    before, repeated, after : rows that run once, at each recurrence, once.
    looped : left edge and width of the looped graph's nodes.  left : where the unrolling begins.
    first : centre of column 1.  pitch, copy_width : of columns.  n : columns.
    bus : height at which ``e`` goes to every copy.  turn : height at which ``s_r`` turns.
    unit, radius : height of a layer, radius of the circle of ``s_0``.  height : of everything.
    right : edge of the page.
    """

    before: tuple[Row, ...]
    repeated: tuple[Row, ...]
    after: tuple[Row, ...]
    looped: tuple[float, float]
    left: float
    first: float
    pitch: float
    copy_width: float
    n: int
    bus: float
    turn: float
    unit: float
    radius: float
    height: float
    right: float

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, from the top."""
        return self.before + self.repeated + self.after

    def centre(self, column: int) -> float:
        """Middle of a column, from 1."""
        return self.first + (column - 1) * self.pitch

    def looped_box(self, row: Row) -> Box:
        """A node of the looped graph."""
        return Box(self.looped[0], row.top, self.looped[1], row.height)

    def copy_box(self, row: Row, column: int) -> Box:
        """A copy in the unrolled graph; what runs once lies over the first and below the last."""
        width, x = self.copy_width, self.centre(column)
        if row in self.repeated:
            return Box(x - width / 2, row.top, width, row.height)
        # What runs once has no neighbours and may be wider, but not beyond the page.
        wide = min(max(width, 0.75 * self.looped[1]), 2 * (self.right - x))
        return Box(x - wide / 2, row.top, wide, row.height)

    def looped_start(self) -> tuple[float, float]:
        """Centre of ``s_0`` beside the loop."""
        return self.radius + 1, self.repeated[0].middle

    def copy_start(self) -> tuple[float, float]:
        """Centre of ``s_0`` beside the first copy."""
        return self.left + self.radius + 1, self.repeated[0].middle

    def branches(self, row: Row, box: Box) -> tuple[Box, Box]:
        """Attention and MLP inside an expanded layer."""
        h, inset = _BRANCH * self.unit, min(3.0, box.w * 0.05)
        top = box.bottom - 2 * h - inset / 2
        width = box.w - 2 * inset
        attention = Box(box.x + inset, top, width, h - inset / 2)
        return attention, Box(box.x + inset, top + h, width, h - inset / 2)


def looped_parts(data: Data) -> Parts:
    """Rows of a loop and its unrolling, and which of them are opened."""
    nodes = [(x, data.is_expanded(x)) for x in data.nodes if x.kind != "start"]
    repeated = [at for at in nodes if at[0].part in REPEATED]
    first = nodes.index(repeated[0])
    return nodes[:first], repeated, nodes[first + len(repeated) :]


def lay_out(parts: Parts, width: float, height: float, sizes: Sizes, n: int) -> Layout:
    """Fit the rows of what runs before, again and after into ``height``, ``n`` columns into width.

    ``parts`` are three lists of nodes, each with whether it is opened.
    """
    nodes = [at for part in parts for at in part]
    units = [_HEIGHTS.get(x.kind, 1.0) + (2 * _BRANCH if o else 0) for x, o in nodes]
    gaps = _GAP * (len(nodes) - 1) + _TURN
    # The recurrences' numbers stand between the bus of e and the block.
    unit = (height - sizes.numbers) / (sum(units) + gaps)
    unit = min(max(unit, sizes.unit[0]), sizes.unit[1])
    rows: tuple[list[Row], list[Row], list[Row]] = ([], [], [])
    y, bus, turn = 0.0, 0.0, 0.0
    heights = iter(units)
    for which, part in enumerate(parts):
        if which == 1:
            bus = y - 0.5 * _GAP * unit
            y += sizes.numbers
        if which == 2:
            turn = y - 0.25 * _GAP * unit
            y += _TURN * unit
        for node, is_open in part:
            high = next(heights)
            rows[which].append(Row(node, y, high * unit, is_open))
            y += (high + _GAP) * unit
    left = sizes.start + sizes.looped + 1.65 * sizes.gap
    # The last column's nodes that run once are wider than its copies.
    room = width - left - sizes.start + 0.9 * sizes.gap
    room -= max(0.0, 0.375 * sizes.looped - (room / n - sizes.gap) / 2)
    pitch = min(max(room / n, sizes.pitch[0]), sizes.pitch[1])
    copy_width = pitch - sizes.gap
    return Layout(
        tuple(rows[0]), tuple(rows[1]), tuple(rows[2]), (sizes.start, sizes.looped), left,
        left + sizes.start + copy_width / 2, pitch, copy_width, n, bus, turn, unit,
        min(0.42 * unit, sizes.start * 0.38), y - _GAP * unit, width + 1,
    )  # fmt: skip
