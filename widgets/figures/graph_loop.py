"""The loop and its unrolling on paper."""

from __future__ import annotations

from collections.abc import Callable

from loopscope.core.model.graph import runs_at
from loopscope.core.views.graph.cuts import cuts_at
from loopscope.core.views.graph.layout import Layout
from loopscope.widgets.figures.graph_layout import Box, Row
from loopscope.widgets.figures.graph_sheet import GREY, INK, PALE, Sheet
from loopscope.widgets.figures.graph_slots import Slot


class LoopSheet(Sheet):
    """Draws a loop at the left and its unrolling in ``slots`` at the right.

    breaks : recurrences that do not look like the one before.
    """

    breaks: set[int]

    def draw(self, layout: Layout, name: str) -> None:
        """Draw both, with titles; ``name`` is that of the model where there are two."""
        self.breaks = layout.breaks()
        trained = "" if self.data.has_run else ", as trained"
        of = f" · {name}" if name else ""
        self.text(2, -self.size, "deep, run once" if self.data.deep else "looped", GREY)
        self.text(
            self.where.left, -self.size, f"unrolled × {self.data.copies_said}{of}{trained}", GREY
        )
        self.looped()
        self.unrolled()

    def gate(self, x: float, box: Box, colour: str) -> None:
        """The exit gate reads the state beside the head: round the left of what is above it."""
        left = box.x - 0.6 * self.size
        below = self.where.repeated[-1].bottom
        bend = (below + self.where.after[0].top) / 2
        self.line((x, bend), (left, bend), (left, box.cy), (box.x, box.cy), colour=colour)

    def held(self, box_of: Callable[[Row], Box], left: float, colour: str) -> None:
        """The slow state of a nested loop into the sum of each pass but the first."""
        sums = [row for row in self.where.repeated if row.node.kind == "injection"]
        top = self.where.repeated[0].middle
        for row in sums[1:]:
            box = self.entry_box(row, box_of(row))
            self.line((left, top), (left, box.cy), (box.x, box.cy), colour=colour)

    def fast_end(self) -> Row:
        """The norm that ends the last inner pass."""
        norms = [row for row in self.where.repeated if row.node.kind == "norm"]
        return norms[self.data.architecture.inner_cycles - 1]

    # ---- the two graphs ----
    def looped(self) -> None:
        """The loop with its back edge."""
        data, where = self.data, self.where
        x, width = where.looped
        cx, sx, sy = x + width / 2, *where.looped_start()
        entry, end = where.repeated[0], where.repeated[-1]
        side = self.entry_box(entry, where.looped_box(entry))
        below = end.bottom
        from_e = where.before[-1].bottom
        for rows in (where.before, where.repeated, where.after):
            self.down(rows, cx, GREY)
        self.line((cx, below), (cx, where.after[0].top))
        self.line((sx + where.radius, sy), (side.x, sy))
        if self.injects:
            self.line((cx, from_e), (cx, entry.top))
            self.text(cx + 3, where.bus + 0.2 * self.size, "e", GREY)
        if data.start == "embedding":
            self.line((cx, from_e), (cx, where.bus), (sx, where.bus), (sx, sy - where.radius))
        out = x + width + 0.9 * self.size
        if not data.deep:
            self.line((cx, where.turn), (out, where.turn), (out, sy), (side.right, sy),
                      colour=INK, width=1.1)  # fmt: skip
            self.text(out + 0.3 * self.size, (sy + where.turn) / 2, "R×")
        for row in where.after:
            if row.node.kind == "gate":
                self.gate(cx, where.looped_box(row), GREY)
        if data.architecture.inner_cycles:
            self.held(where.looped_box, x - 0.6 * self.size, GREY)
            fast = where.looped_box(self.fast_end())
            turn = fast.right + 0.45 * self.size
            self.line((fast.right, fast.cy), (turn, fast.cy), (turn, sy + 0.3 * side.h),
                      (side.right, sy + 0.3 * side.h))  # fmt: skip
        self.start(sx, sy)
        recurrence = data.now[0] if data.now else 0
        for row in where.rows:
            self.node(row, where.looped_box(row), recurrence)

    @staticmethod
    def entry_box(row: Row, box: Box) -> Box:
        """Draw what arrows meet: a sum is only a circle."""
        if row.node.kind == "injection" and not row.node.weights:
            return Box(box.cx - box.h / 2, box.y, box.h, box.h)
        return box

    def unrolled(self) -> None:
        """A copy of the block for each slot, the layers before and after at the ends."""
        data, where = self.data, self.where
        ends = GREY if data.has_run else PALE
        begun = -(-data.layers_done // data.n_layers)
        self.down(where.before, where.centre(1), ends)
        for place, slot in enumerate(self.slots, 1):
            self.copy(place, slot, GREY if slot.first <= begun else PALE)
        last = where.centre(where.n)
        self.line((last, where.repeated[-1].bottom), (last, where.after[0].top), colour=ends)
        self.down(where.after, last, ends)
        for row in where.after:
            if row.node.kind == "gate":
                self.gate(last, where.copy_box(row, where.n), ends)
        sx, sy = where.copy_start()
        self.cut(sx, sy - where.radius, self.cuts_at_site("start", None))
        for rows, place in ((where.before, 1), (where.after, where.n)):
            for row in rows:
                self.node(row, where.copy_box(row, place), 0, dim=not data.has_run)

    def copy(self, place: int, slot: Slot, edge: str) -> None:
        """One slot: what enters it, and its copy of the block or how many are left out."""
        data, where = self.data, self.where
        x, r, entry = where.centre(place), slot.first, where.repeated[0]
        side = self.entry_box(entry, where.copy_box(entry, place))
        if place == 1:
            self.first_entry(side, edge)
        else:
            self.next_entry(place, side, edge)
        if not slot.drawn:
            alike = not any(slot.first < b <= slot.last for b in self.breaks)
            self.left_out(place, f"× {slot.n}" if alike else f"{slot.n} more", edge)
            return
        if self.injects:
            self.line((x, where.bus), (x, entry.top), colour=edge)
        self.down(where.repeated, x, edge)
        if data.architecture.inner_cycles:
            self.nested(place, side, edge)
        self.text(x - 0.4 * self.size, where.bus + 0.9 * self.size, str(r), GREY, "right")
        self.cuts(x, r)
        for row in where.repeated:
            runs = data.ran(row.node, r) and runs_at(data.architecture, row.node, r)
            self.node(row, where.copy_box(row, place), r, dim=not runs)

    @property
    def injects(self) -> bool:
        """Whether the prelude's output enters each recurrence."""
        return self.data.architecture.injection != "none"

    def first_entry(self, side: Box, edge: str) -> None:
        """The initial state into the first copy, and where it and the injection come from."""
        where, x = self.where, self.where.centre(1)
        sx, sy = where.copy_start()
        from_e = where.before[-1].bottom
        self.line((sx + where.radius, sy), (side.x, sy), colour=edge)
        self.start(sx, sy)
        if self.injects:
            self.line((x, from_e), (x, where.bus), arrow=False, colour=edge)
        if self.data.start == "embedding":
            bent = (sx, where.bus), (sx, sy - where.radius)
            self.line((x, from_e), (x, where.bus), *bent, colour=edge)

    def next_entry(self, place: int, side: Box, edge: str) -> None:
        """The state of the copy before into this one, and the injection along the bus."""
        where, x = self.where, self.where.centre(place)
        self.join(place, where.copy_start()[1], side.x, edge)
        if self.injects:
            self.line((x - where.pitch, where.bus), (x, where.bus), arrow=False, colour=edge)

    def cuts(self, x: float, recurrence: int) -> None:
        """Cuts that act in one copy: on layers, into the injection, on the state that leaves."""
        where, width = self.where, self.where.copy_width
        for row in where.repeated:
            here = cuts_at(self.data.cuts, row.node, recurrence)
            if row.node.kind == "injection":
                self.cut(x, (where.bus + row.top) / 2, here)
            else:
                self.cut(x - width / 2, row.top, here)
        below = (where.repeated[-1].bottom + where.turn) / 2
        self.cut(x, below, self.cuts_at_site("end", recurrence))

    def nested(self, place: int, entry: Box, colour: str) -> None:
        """Both states of a nested loop in one copy: the slow one held, the fast one brought in."""
        where = self.where
        gap = where.pitch - where.copy_width
        left = where.centre(place) - where.copy_width / 2
        self.held(lambda row: where.copy_box(row, place), left - 0.5 * gap, colour)
        if place > 1 and self.slots[place - 2].drawn:
            fast = where.copy_box(self.fast_end(), place - 1)
            x, y = left - 0.25 * gap, entry.cy + 0.3 * entry.h
            self.line((fast.right, fast.cy), (x, fast.cy), (x, y), (entry.x, y), colour=colour)
