"""A deep model's layers on paper, in columns that stand under those of the loop beside it."""

from __future__ import annotations

from dataclasses import replace

from loopscope.core.model.graph import Node
from loopscope.core.views.graph.cuts import CutMark, cuts_at
from loopscope.core.views.graph.deep import DeepLayout
from loopscope.widgets.figures.graph_layout import Parts
from loopscope.widgets.figures.graph_sheet import GREY, PALE, Sheet
from loopscope.widgets.figures.graph_slots import Slot


def deep_parts(layout: DeepLayout) -> Parts:
    """Rows of a deep model: before the columns, of the first of them, and under the last."""
    grid, layers = layout.grid, layout.layers
    embedding = [n for n in layout.data.nodes if n.part == "embedding"]
    before = [(n, False) for n in (*embedding, *layers[: grid.prelude])]
    after = [(n, layout.opened(n, i)) for i, n in enumerate(layout.tail_layers)]
    after += [(n, False) for n in layout.after]
    first = column_layers(layout, 1) if layout.n_columns else ()
    return before, [(n, layout.opened(n, i)) for i, n in enumerate(first)], after


def column_layers(layout: DeepLayout, column: int) -> tuple[Node, ...]:
    """Layers of one column, from 1."""
    first = layout.grid.prelude + (column - 1) * layout.grid.n_rows
    return layout.layers[first : first + layout.grid.n_rows]


class DeepSheet(Sheet):
    """Draws the layers of a deep model from left to right."""

    def draw(self, layout: DeepLayout, name: str) -> None:
        """Draw all of it with its title."""
        where, data = self.where, self.data
        trained = "" if data.has_run else ", not run yet"
        self.text(2, -self.size, "deep", GREY)
        title = f"{len(layout.layers)} layers run once · {name}{trained}"
        self.text(where.left, -self.size, title, GREY)
        ends = GREY if data.has_run else PALE
        first, last = where.centre(1), where.centre(max(where.n, 1))
        self.down(where.before, first, ends)
        for row in where.before:
            self.node(row, where.copy_box(row, 1), 1, dim=self._dim(row.node))
        lowest = where.before[-1].bottom
        if where.repeated:
            self.line((first, lowest), (first, where.repeated[0].top), colour=ends)
            lowest = where.repeated[-1].bottom
        for place, slot in enumerate(self.slots, 1):
            self._column(layout, place, slot)
        self.line((last, lowest), (last, where.after[0].top), colour=ends)
        self.down(where.after, last, ends)
        for row in where.after:
            self.node(row, where.copy_box(row, max(where.n, 1)), 1, dim=self._dim(row.node))

    def _column(self, layout: DeepLayout, place: int, slot: Slot) -> None:
        where, x = self.where, self.where.centre(place)
        nodes = column_layers(layout, slot.first)
        edge = PALE if self._dim(nodes[0]) else GREY
        entry = where.copy_box(where.repeated[0], place)
        if place > 1:
            self.join(place, where.repeated[0].middle, entry.x, edge)
        if not slot.drawn:
            self.left_out(place, f"{slot.n * layout.grid.n_rows} layers", edge)
            return
        self.down(where.repeated, x, edge)
        for row, node in zip(where.repeated, nodes, strict=True):
            own = replace(row, node=node)
            self.node(own, where.copy_box(row, place), 1, dim=self._dim(node))
            self.cut(x - where.copy_width / 2, row.top, self._cuts(node))

    def _cuts(self, node: Node) -> tuple[CutMark, ...]:
        return cuts_at(self.data.cuts, node, 1)

    def _dim(self, node: Node) -> bool:
        """Whether a node has not run."""
        if node.part == "block":
            return not self.data.ran(node, 1)
        return not self.data.has_run
