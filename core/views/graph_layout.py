"""Where the nodes of the computation graph stand, for the screen and the page alike.

Both pictures are columns from left to right: what comes before the loop, one column for each copy
of what is repeated (the loop has one), what comes after. Within a column the stream runs downward.
The injected input runs along a rail on top. Of a nested loop every pass is written out; its slow
state is held at the column's left and goes into each sum, its fast state goes on at the right.
Units: a column is 1 wide, a row 1 high.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from loopscope.core.graph import REPEATED, Node, runs_at
from loopscope.core.views.graph import BRANCHES, Data

BOX = 0.74
ROW = 0.72
BRANCH_ROW = 0.78
RAIL = -0.42
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A node (or, with ``branch``, what attention 0 or the MLP 1 wrote in it) at a place."""

    node: Node
    recurrence: int | None
    x: float
    y: float
    height: float
    branch: int | None = None

    @property
    def label(self) -> str:
        """Words inside the box."""
        return self.node.label if self.branch is None else BRANCHES[self.branch]


@dataclass(frozen=True, slots=True)
class Wire:
    """A path with an arrow at its end; corners in order."""

    points: tuple[Point, ...]
    kind: Literal["stream", "injection", "held", "back"]


class Layout:
    """Places of one `Data`; cheap to make, columns are laid out when they are asked for."""

    def __init__(self, data: Data) -> None:
        self.data = data
        before = ("embedding", "prelude", "start")
        self._before = [n for n in data.nodes if n.part in before]
        self._repeated = [n for n in data.nodes if n.part in REPEATED]
        self._after = [n for n in data.nodes if n not in self._before + self._repeated]
        self.injected = any(e.kind == "injection" for e in data.edges)
        columns = (self._before, self._repeated, self._after)
        self.height = max(self._column_height(c) for c in columns)

    def _row_height(self, node: Node) -> float:
        return 1 + (2 * BRANCH_ROW if self.data.is_expanded(node) else 0)

    def _column_height(self, nodes: list[Node]) -> float:
        return sum(self._row_height(n) for n in nodes)

    def _column(self, nodes: list[Node], x: float, recurrence: int | None) -> list[Box]:
        boxes = []
        y = (self.height - self._column_height(nodes)) / 2
        left = x + (1 - BOX) / 2
        for node in nodes:
            boxes.append(Box(node, recurrence, left, y + (1 - ROW) / 2, ROW))
            if self.data.is_expanded(node):
                for branch in (0, 1):
                    top = y + 1 - (1 - ROW) / 2 + branch * BRANCH_ROW
                    boxes.append(Box(node, recurrence, left, top, BRANCH_ROW, branch))
            y += self._row_height(node)
        return boxes

    # ---- boxes ----
    def before(self) -> list[Box]:
        """Column 0: embedding, prelude, start state."""
        return self._column(self._before, 0, None)

    def copy(self, x: float, recurrence: int | None) -> list[Box]:
        """One copy of what is repeated, in the column at ``x``."""
        arch = self.data.architecture
        return self._column(
            [n for n in self._repeated if runs_at(arch, n, recurrence)], x, recurrence
        )

    def after(self, x: float) -> list[Box]:
        """Coda, final norm and head, in the column at ``x``."""
        return self._column(self._after, x, None)

    # ---- wires ----
    def down(self, boxes: list[Box]) -> list[Wire]:
        """The stream down one column; the start state is no part of it."""
        whole = [b for b in boxes if b.branch is None and b.node.kind not in ("start", "gate")]
        return self._held(boxes) + [
            Wire(((a.x + BOX / 2, _bottom(boxes, a)), (b.x + BOX / 2, b.y)), "stream")
            for a, b in pairwise(whole)
        ]

    def across(self, left: list[Box], right: list[Box]) -> Wire:
        """The state from the end of one column to the head of the next."""
        a, b = left[-1], next(box for box in right if box.branch is None)
        ya, yb = _middle(left, a), b.y + b.height / 2
        corner = b.x - (1 - BOX) / 2
        points = ((a.x + BOX, ya), (corner, ya), (corner, yb), (b.x, yb))
        return Wire(points, "stream")

    def joins(self, left: list[Box], right: list[Box]) -> list[Wire]:
        """All that passes from one column to the next: the state, a fast state, into a gate."""
        wires = [self.across(left, right)]
        a, corner = left[-1], right[0].x - (1 - BOX) / 2
        ya = _middle(left, a)
        for gate in (b for b in right if b.node.kind == "gate"):
            y = gate.y + gate.height / 2
            path = ((a.x + BOX, ya), (corner, ya), (corner, y), (gate.x, y))
            wires.append(Wire(path, "stream"))
        fast, entry = self._fast_end(left), right[0]
        if fast is not None and entry.node.part == "injection":
            x, y = corner + (1 - BOX) / 5, fast.y + fast.height / 2
            head = entry.y + 0.8 * entry.height
            wires.append(Wire(((fast.x + BOX, y), (x, y), (x, head), (entry.x, head)), "stream"))
        return wires

    def _fast_end(self, boxes: list[Box]) -> Box | None:
        """The norm that ends the last inner pass of a nested loop's column."""
        inner = self.data.architecture.inner_cycles
        norms = [b for b in boxes if b.node.part == "closing norm"]
        return norms[inner - 1] if inner and norms else None

    def _held(self, boxes: list[Box]) -> list[Wire]:
        """The slow state of a nested loop, held at the left of its column, into each sum."""
        sums = [b for b in boxes if b.node.kind == "injection"]
        if not self.data.architecture.inner_cycles or not sums:
            return []
        x, y = sums[0].x - (1 - BOX) / 2, sums[0].y + sums[0].height / 2
        ends = ((b, b.y + b.height / 2) for b in sums[1:])
        return [Wire(((x, y), (x, end), (b.x, end)), "held") for b, end in ends]

    def rail(self, before: list[Box], columns: list[list[Box]]) -> list[Wire]:
        """The injected input: from the prelude's end along the rail into each injection."""
        if not self.injected:
            return []
        source = [b for b in before if b.branch is None and b.node.kind != "start"][-1]
        x0 = source.x + BOX + (1 - BOX) / 6
        y0 = source.y + source.height / 2
        wires = []
        for boxes in columns:
            target = next((b for b in boxes if b.node.kind == "injection"), None)
            if target is not None:
                x = target.x + BOX / 2
                path = ((source.x + BOX, y0), (x0, y0), (x0, RAIL), (x, RAIL), (x, target.y))
                wires.append(Wire(path, "injection"))
        return wires

    def back(self, boxes: list[Box]) -> list[Wire]:
        """The loop's back edges: the state out below the block, round its left, in at its head.

        The fast state of a nested loop goes back at the right.
        """
        first, last = next(b for b in boxes if b.branch is None), boxes[-1]
        x = first.x + BOX / 2
        low = last.y + last.height
        left = first.x - (1 - BOX) / 2.6
        y = first.y + first.height / 2
        points = ((x, low), (x, low + 0.3), (left, low + 0.3), (left, y), (first.x, y))
        wires = [Wire(points, "back")]
        fast = self._fast_end(boxes)
        if fast is not None:
            right, out = first.x + BOX, first.x + BOX + (1 - BOX) / 2.6
            end = fast.y + fast.height / 2
            wires.append(Wire(((right, end), (out, end), (out, y), (right, y)), "back"))
        return wires


def _bottom(boxes: list[Box], box: Box) -> float:
    """Lower end of a layer, its opened branches included."""
    return max(b.y + b.height for b in boxes if b.node is box.node)


def _middle(boxes: list[Box], box: Box) -> float:
    return box.y + box.height / 2
