"""Where the nodes of one run's computation graph stand on the screen.

The loop and its unrolling are columns from left to right: what comes before the loop, one column
for each copy of what is repeated (the loop has one), what comes after. Within a column the stream
runs downward. The injected input runs along a rail on top. Of a nested loop every pass is written
out; its slow state is held at the column's left and goes into each sum, its fast state goes on at
the right. Units: a column is 1 wide, a row 1 high.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from loopscope.core.model.graph import REPEATED, Node, runs_at
from loopscope.core.views.graph.data import BRANCHES, Data

BOX = 0.74
ROW = 0.72
BRANCH_ROW = 0.78
RAIL = -0.42
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A node (or, with ``branch``, what attention 0 or the MLP 1 wrote in it) at a place.

    times : recurrences that it stands for, ``recurrence`` being the first.
    """

    node: Node
    recurrence: int | None
    x: float
    y: float
    height: float
    branch: int | None = None
    times: int = 1

    @property
    def label(self) -> str:
        """Words inside the box."""
        return self.node.label if self.branch is None else BRANCHES[self.branch]


@dataclass(frozen=True, slots=True)
class Wire:
    """A path with an arrow at its end (unless it only leads to others); corners in order."""

    points: tuple[Point, ...]
    kind: Literal["stream", "injection", "held", "back"]
    arrow: bool = True


def column_of(
    nodes: list[Node], x: float, y: float, recurrence: int | None, opened: Callable[[Node], bool],
    times: int = 1,
) -> list[Box]:  # fmt: skip
    """Stack nodes from ``y`` downward; opened ones with their two branches beneath."""
    boxes = []
    left = x + (1 - BOX) / 2
    for node in nodes:
        boxes.append(Box(node, recurrence, left, y + (1 - ROW) / 2, ROW, times=times))
        if opened(node):
            for branch in (0, 1):
                top = y + 1 - (1 - ROW) / 2 + branch * BRANCH_ROW
                boxes.append(Box(node, recurrence, left, top, BRANCH_ROW, branch, times))
        y += row_height(opened(node))
    return boxes


def row_height(opened: bool) -> float:
    """Height of a node's row."""
    return 1 + (2 * BRANCH_ROW if opened else 0)


class Layout:
    """Places of one looped run; cheap to make, columns are laid out when they are asked for.

    Parameters
    ----------
    data
        What is drawn.
    aligned
        Stand beside another model: every column begins at the top, and the layers of the coda in
        the rows of the block's, so many in a column, since by depth they go on where it ends.
    """

    def __init__(self, data: Data, aligned: bool = False) -> None:
        self.data, self.aligned = data, aligned
        before = ("embedding", "prelude", "start")
        self._before = [n for n in data.nodes if n.part in before]
        self._repeated = [n for n in data.nodes if n.part in REPEATED]
        after = [n for n in data.nodes if n not in self._before + self._repeated]
        self.injected = any(e.kind == "injection" for e in data.edges)
        coda, n = [x for x in after if x.part == "coda"], data.n_layers
        self._tail = [after]
        if aligned and len(coda) > n:
            chunks = [coda[i : i + n] for i in range(0, len(coda), n)]
            self._tail = [*chunks[:-1], [*chunks[-1], *after[len(coda) :]]]
        self.height = 0.0
        columns = [self._before, self._repeated, *self._tail]
        self.height = max(self._column_height(c) for c in columns)
        if aligned:
            self.height = max(b.y + b.height for c in self.tail(0) for b in c)
            self.height = max(self.height, *map(self._column_height, columns[:2]))

    @property
    def n_columns(self) -> int:
        """Columns of what is repeated: one for each recurrence."""
        return self.data.n_copies

    def column_number(self, recurrence: int, layer: int) -> int:
        """In which of them a place is."""
        return recurrence

    def breaks(self) -> set[int]:
        """Recurrences that do not look like the one before."""
        data = self.data
        recurrences = {data.n_complete + 1, data.n_copies + 1}
        if data.layers_done > data.n_complete * data.n_layers:
            recurrences.add(data.n_complete + 2)  # the one before has run in part
        if data.architecture.skip_first_injection:
            recurrences.add(2)
        return recurrences.union(*(cut.breaks() for cut in data.cuts))

    def _column_height(self, nodes: list[Node]) -> float:
        return sum(row_height(self.data.is_expanded(n)) for n in nodes)

    def _top(self, nodes: list[Node]) -> float:
        return 0.0 if self.aligned else (self.height - self._column_height(nodes)) / 2

    # ---- boxes ----
    def before(self, x: float = 0) -> list[Box]:
        """Embedding, prelude and start state, in the column at ``x``."""
        top = self._top(self._before)
        return column_of(self._before, x, top, None, self.data.is_expanded)

    def copy(self, x: float, recurrence: int | None, times: int = 1) -> list[Box]:
        """One copy of what is repeated, in the column at ``x``."""
        arch = self.data.architecture
        nodes = [n for n in self._repeated if runs_at(arch, n, recurrence)]
        top = self._top(nodes)
        if self.aligned and len(nodes) < len(self._repeated):
            top = self._column_height([n for n in self._repeated if n not in nodes])
        return column_of(nodes, x, top, recurrence, self.data.is_expanded, times)

    def tail(self, x: float) -> list[list[Box]]:
        """Coda, final norm and head, in columns from ``x`` on."""
        if not self.aligned:
            top = self._top(self._tail[0])
            return [column_of(self._tail[0], x, top, None, self.data.is_expanded)]
        return [
            column_in_rows(c, x + i, self.rows(), None, self.data.is_expanded)
            for i, c in enumerate(self._tail)
        ]

    def rows(self) -> list[float]:
        """Where the row of each layer of the block begins."""
        boxes = self.copy(0, None)
        return [b.y - (1 - ROW) / 2 for b in boxes if b.branch is None and b.node.part == "block"]

    # ---- wires ----
    def down(self, boxes: list[Box]) -> list[Wire]:
        """The stream down one column; a start state of its own is no part of it."""
        apart = ("gate",) if self.data.start == "embedding" else ("start", "gate")
        whole = [b for b in boxes if b.branch is None and b.node.kind not in apart]
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

    def rail(self, before: list[Box] | None, columns: list[list[Box]], start: float) -> list[Wire]:
        """The injected input: from the prelude's end along the rail into each injection.

        ``start`` is where the rail begins when the prelude (``before``) is out of sight.
        """
        takes = self.data.architecture.takes_input
        into = (b for c in columns for b in c if b.node.kind == "injection")
        targets = [b for b in into if takes(b.node.step)]
        if not self.injected or not targets:
            return []
        wires = []
        if before is not None:
            source = [b for b in before if b.branch is None and b.node.kind != "start"][-1]
            start = source.x + BOX + (1 - BOX) / 6
            y = source.y + source.height / 2
            path = ((source.x + BOX, y), (start, y), (start, RAIL))
            wires.append(Wire(path, "injection", arrow=False))
        xs = [target.x + BOX / 2 for target in targets]
        wires.append(Wire(((start, RAIL), (max(xs), RAIL)), "injection", arrow=False))
        wires += [
            Wire(((x, RAIL), (x, target.y)), "injection")
            for x, target in zip(xs, targets, strict=True)
        ]
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


def column_in_rows(
    nodes: list[Node], x: float, rows: list[float], recurrence: int | None,
    opened: Callable[[Node], bool],
) -> list[Box]:  # fmt: skip
    """Stack nodes with the first of them in given rows, the others below."""
    boxes: list[Box] = []
    for i, node in enumerate(nodes):
        y = rows[i] if i < len(rows) else boxes[-1].y + boxes[-1].height + (1 - ROW) / 2
        boxes += column_of([node], x, y, recurrence, opened)
    return boxes


def _bottom(boxes: list[Box], box: Box) -> float:
    """Lower end of a layer, its opened branches included."""
    return max(b.y + b.height for b in boxes if b.node is box.node)


def _middle(boxes: list[Box], box: Box) -> float:
    return box.y + box.height / 2
