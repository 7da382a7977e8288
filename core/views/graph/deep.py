"""Where the layers of a deep model stand beside a loop: in columns of the loop's block.

The layer that goes with (recurrence r, layer l) by effective depth stands in column r, in the row
of layer l; as many layers as the loop's prelude has come before. So it is all the same whether the
deep checkpoint calls its layers prelude, block and coda or has all of them in its block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

from loopscope.core.model.graph import Node
from loopscope.core.views.graph.data import Data, Options
from loopscope.core.views.graph.layout import (
    BOX,
    Box,
    Layout,
    Wire,
    column_in_rows,
    column_of,
    row_height,
)


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows and columns by effective depth.

    prelude : layers before column 1.  rows : where the row of each layer of a column begins.
    beneath : whether what follows the last layer stands under it even in a full column, since the
        loop's coda fills one.
    """

    prelude: int
    rows: tuple[float, ...]
    beneath: bool

    @staticmethod
    def of_loop(layout: Layout) -> Grid:
        """Return the grid that a loop's layers stand in."""
        arch = layout.data.architecture
        beneath = arch.n_coda > 0 and arch.n_coda % arch.n_block == 0
        return Grid(arch.n_prelude, tuple(layout.rows()), beneath)

    @staticmethod
    def alone(n_layers: int, options: Options) -> Grid:
        """Return the grid of deep models that no loop stands beside: as high as it is wide."""
        n = max(1, math.ceil(math.sqrt(n_layers)))
        rows, y = [], 0.0
        for i in range(n):
            rows.append(y)
            y += row_height(row_opened(options, i))
        return Grid(0, tuple(rows), False)

    @property
    def n_rows(self) -> int:
        """Layers of one column, ``L``."""
        return len(self.rows)

    def place(self, depth: int) -> tuple[int, int]:
        """(column, row) of the layer at a depth; column 0 is what comes before."""
        if depth < self.prelude:
            return 0, depth
        column, row = divmod(depth - self.prelude, self.n_rows)
        return column + 1, row


def row_opened(options: Options, row: int) -> bool:
    """Whether the layers of a row are drawn as attention and MLP."""
    return options.expand or f"block.{row}" in options.expanded


class DeepLayout:
    """Places of one deep model in a `Grid`; the same methods as `Layout`.

    layers : all of them, as they run.  tail_layers : those under which the head stands.
    after : what follows the last layer.
    """

    def __init__(self, data: Data, grid: Grid) -> None:
        self.data, self.grid = data, grid
        self.layers = data.layers
        self._before = [n for n in data.nodes if n.part == "embedding"]
        self.after = [n for n in data.nodes if n.part in ("final norm", "head", "exit gate")]
        columns = -(-max(0, len(self.layers) - grid.prelude) // grid.n_rows)
        last = max(0, len(self.layers) - grid.prelude) % grid.n_rows
        # The layers of a last column that is not full stand over the final norm and the head.
        self.tail_layers: tuple[Node, ...] = ()
        if columns and (last or grid.beneath):
            columns -= 1
            self.tail_layers = self.layers[grid.prelude + columns * grid.n_rows :]
        self.n_columns = columns
        ends = [b.y + b.height for c in (self.before(0), *self.tail(0)) for b in c]
        ends += [b.y + b.height for b in (self.copy(0, 1) if columns else [])]
        self.height = max(ends)

    def column_number(self, recurrence: int, layer: int) -> int:
        """In which column a layer of the block is."""
        return self.grid.place(self.data.architecture.n_prelude + layer)[0]

    def breaks(self) -> set[int]:
        """Columns that do not look like the one before: all of them."""
        return set(range(1, self.n_columns + len(self.tail(0)) + 2))

    def opened(self, node: Node, row: int) -> bool:
        """Whether a layer is drawn as attention and MLP: those of the block are recorded."""
        return node.part == "block" and row_opened(self.data.options, row)

    def rows(self) -> list[float]:
        """Where the row of each layer of a column begins."""
        return list(self.grid.rows)

    def before(self, x: float = 0) -> list[Box]:
        """Embedding and as many layers as the loop's prelude has."""
        nodes = [*self._before, *self.layers[: self.grid.prelude]]
        return _numbered(column_of(nodes, x, 0.0, None, lambda node: False))

    def copy(self, x: float, column: int, times: int = 1) -> list[Box]:
        """Layers of one column, from 1."""
        first = self.grid.prelude + (column - 1) * self.grid.n_rows
        return self._in_rows(self.layers[first : first + self.grid.n_rows], (), x)

    def tail(self, x: float) -> list[list[Box]]:
        """The final norm and the head, under the layers of a last column that is not full."""
        return [self._in_rows(self.tail_layers, tuple(self.after), x)]

    def _in_rows(self, layers: tuple[Node, ...], after: tuple[Node, ...], x: float) -> list[Box]:
        opened = {n.id for i, n in enumerate(layers) if self.opened(n, i)}
        return _numbered(
            column_in_rows([*layers, *after], x, self.rows(), None, lambda node: node.id in opened)
        )

    def down(self, boxes: list[Box]) -> list[Wire]:
        """The stream down one column."""
        whole = [b for b in boxes if b.branch is None and b.node.kind != "gate"]
        ends = {b.node.id: b.y + b.height for b in boxes}  # the last box of a layer, its MLP
        return [
            Wire(((a.x + BOX / 2, ends[a.node.id]), (b.x + BOX / 2, b.y)), "stream")
            for a, b in pairwise(whole)
        ]

    def joins(self, left: list[Box], right: list[Box]) -> list[Wire]:
        """The stream from the end of one column to the head of the next."""
        a, b = left[-1], right[0]
        ya, yb, corner = a.y + a.height / 2, b.y + b.height / 2, b.x - (1 - BOX) / 2
        points = ((a.x + BOX, ya), (corner, ya), (corner, yb), (b.x, yb))
        return [Wire(points, "stream")]

    def rail(self, before: list[Box] | None, columns: list[list[Box]], start: float) -> list[Wire]:
        """Nothing is injected."""
        return []


def _numbered(boxes: list[Box]) -> list[Box]:
    """The layers of the block are those of recurrence 1."""
    return [replace(b, recurrence=1) if b.node.part == "block" else b for b in boxes]
