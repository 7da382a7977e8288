"""The computation graph on paper: the loop, and beside it the run unrolled."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle
from matplotlib.textpath import TextPath

from loopscope.core.graph import Node, runs_at
from loopscope.core.views.graph_data import BRANCHES, Data, summary
from loopscope.widgets.figures.graph_layout import (
    Box,
    Layout,
    Row,
    Sizes,
    lay_out,
    short_label,
)
from loopscope.widgets.figures.style import Page
from loopscope.widgets.graph_colours import weights_colour

_INK, _GREY, _PALE = "#1C1C1E", "#6A6A70", "#B5B5B2"
# Up to this many copies are all drawn, else so many first and last ones.
ALL, FIRST, LAST = 8, 3, 2
_TALLEST = 8.6 * 72


def columns(n: int) -> list[int]:
    """Recurrences to draw from left to right; 0 stands for those left out."""
    if n <= ALL:
        return list(range(1, n + 1))
    return [*range(1, FIRST + 1), 0, *range(n - LAST + 1, n + 1)]


def draw(data: Data, figure: Figure, page: Page) -> None:
    """Draw both graphs and their sizes; ``figure`` gets the height that the rows need."""
    size = float(str(page.rc["ytick.labelsize"]))
    width = page.width * 72 - 4
    slots = columns(data.n_copies)
    unit = 2.1 * size
    one = (0.13 if len(slots) > 4 else 0.19) * width
    sizes = Sizes(
        unit=(1.3 * size, unit), looped=one, pitch=(20.0, 0.2 * width),
        gap=(1.2 if len(slots) > 4 else 1.55) * size, start=2.3 * size, numbers=1.6 * size,
    )  # fmt: skip
    lines = 5 * 1.5 * size
    top = 1.9 * size
    where = lay_out(data, width, _TALLEST - lines - top, sizes, len(slots))
    height = top + where.height + lines + 0.6 * size
    figure.set_figheight(height / 72)
    figure.set_layout_engine("none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_xlim(-2, width + 2)
    ax.set_ylim(height - top, -top)
    ax.set_axis_off()
    _Page(ax, data, where, slots, size).draw(width)


class _Page:
    """Draws one layout on one axes whose unit is the point."""

    def __init__(self, ax: Axes, data: Data, where: Layout, slots: list[int], size: float) -> None:
        self.ax, self.data, self.where, self.slots, self.size = ax, data, where, slots, size

    def draw(self, width: float) -> None:
        where = self.where
        self.text(2, -self.size, "looped", _GREY)
        trained = "" if self.data.has_run else ", as trained"
        self.text(where.left, -self.size, f"unrolled × {self.data.n_copies}{trained}", _GREY)
        self.looped()
        self.unrolled()
        self.sizes_below(width)

    # ---- pieces ----
    def text(
        self, x: float, y: float, text: str, colour: str = _INK, ha: str = "left", size: float = 0
    ) -> None:
        self.ax.text(
            x, y, text, color=colour, ha=ha, va="center_baseline", fontsize=size or self.size,
            parse_math=False,
        )  # fmt: skip

    def line(self, *points: tuple[float, float], arrow: bool = True, colour: str = _GREY,
             width: float = 0.6) -> None:  # fmt: skip
        xs, ys = zip(*points, strict=True)
        self.ax.plot(xs, ys, color=colour, lw=width, solid_joinstyle="round", zorder=1)
        if arrow:
            self.ax.annotate(
                "", points[-1], points[-2], zorder=1,
                arrowprops={"arrowstyle": "-|>,head_width=0.13,head_length=0.26", "color": colour,
                            "lw": width, "shrinkA": 0, "shrinkB": 0},
            )  # fmt: skip

    def down(self, rows: tuple[Row, ...], x: float, colour: str) -> None:
        for a, b in pairwise(row for row in rows if row.node.kind != "gate"):
            self.line((x, a.bottom), (x, b.top), colour=colour)

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

    def node(self, row: Row, box: Box, recurrence: int, *, dim: bool = False) -> None:
        node = row.node
        ink = _GREY if dim else _INK
        if node.kind == "injection" and not node.weights:
            r = box.h / 2
            self.ax.add_patch(Circle((box.cx, box.cy), r, fc="white", ec=ink, lw=0.6, zorder=2))
            self.ax.plot([box.cx - r, box.cx + r], [box.cy] * 2, color=ink, lw=0.6, zorder=3)
            self.ax.plot([box.cx] * 2, [box.cy - r, box.cy + r], color=ink, lw=0.6, zorder=3)
            return
        colour = weights_colour(self.data, node) or _GREY
        lit = (
            self.data.now is not None
            and node.part == "block"
            and (self.data.now == (recurrence, node.layer))
        )
        self.ax.add_patch(
            FancyBboxPatch(
                (box.x, box.y), box.w, box.h, zorder=2,
                boxstyle=f"round,pad=0,rounding_size={min(1.6, box.h / 4)}",
                fc=_tint(colour, 0.15 if dim else 0.5), ec=_INK if lit else _tint(colour, 0.5 if dim
                else 1), lw=1.3 if lit else 0.6,
            )
        )  # fmt: skip
        title = box.y + self.where.unit / 2 if row.expanded else box.cy
        label, size = self.fitted(node, box.w - 2)
        self.text(box.cx, title, label, ink, "center", size)
        if row.expanded:
            for branch, inner in enumerate(self.where.branches(row, box)):
                self.branch(node, inner, branch, recurrence, colour)

    def branch(self, node: Node, box: Box, branch: int, recurrence: int, colour: str) -> None:
        """Attention or the MLP, with the norm of what it wrote."""
        self.ax.add_patch(Rectangle((box.x, box.y), box.w, box.h, fc="white", ec="none", zorder=3))
        name = BRANCHES[branch]
        norm = math.nan
        if node.part == "block":
            norm = self.data.norm(recurrence, node.layer or 0, branch)
        number = f"{norm:.3g}" if math.isfinite(norm) else ""
        size = 0.8 * self.size
        for short in (name, ("attn", "MLP")[branch], "AM"[branch]):
            name = short
            if _width(f"{name} {number}", size) <= box.w - 2:
                break
        while size > 3 and _width(f"{name} {number}", size) > box.w - 2:
            size -= 0.25
        self.text(box.x + 1, box.cy, name, _GREY, size=size)
        if number:
            self.text(box.right - 1, box.cy, number, _INK, "right", size)
            length = box.w * min(1.0, norm / self.data.norm_scale)
            self.ax.add_patch(
                Rectangle((box.x, box.bottom - 1.2), length, 1.2, fc=colour, ec="none", zorder=3)
            )

    def fitted(self, node: Node, room: float) -> tuple[str, float]:
        """A label and the size at which it fits; not smaller than three quarters."""
        long = "cat[s, e] → adapter" if node.kind == "injection" else node.label
        for label in dict.fromkeys((long, node.label, short_label(node))):
            width = _width(label, self.size)
            if width <= room:
                return label, self.size
        size = self.size * room / width
        if size >= 0.75 * self.size or not label[-1].isdigit():
            return label, max(size, 3.5)
        # "layer 12" where only its number fits.
        return label.rsplit(" ", 1)[-1], self.size * 0.9

    def start(self, x: float, y: float) -> None:
        r = self.where.radius
        self.ax.add_patch(Circle((x, y), r, fc="white", ec=_GREY, lw=0.6, zorder=2))
        self.text(x, y, "$s_0$", _INK, "center")
        self.ax.texts[-1].set_parse_math(True)

    # ---- the two graphs ----
    def looped(self) -> None:
        data, where = self.data, self.where
        x, width = where.looped
        cx, sx, sy = x + width / 2, *where.looped_start()
        entry, end = where.repeated[0], where.repeated[-1]
        side = self.entry_box(entry, where.looped_box(entry))
        below = end.bottom
        from_e = where.before[-1].bottom
        for rows in (where.before, where.repeated, where.after):
            self.down(rows, cx, _GREY)
        self.line((cx, below), (cx, where.after[0].top))
        self.line((sx + where.radius, sy), (side.x, sy))
        if data.architecture.injection != "none":
            self.line((cx, from_e), (cx, entry.top))
            self.text(cx + 3, where.bus + 0.2 * self.size, "e", _GREY)
        if data.start == "embedding":
            self.line((cx, from_e), (cx, where.bus), (sx, where.bus), (sx, sy - where.radius))
        out = x + width + 0.9 * self.size
        self.line((cx, where.turn), (out, where.turn), (out, sy), (side.right, sy),
                  colour=_INK, width=1.1)  # fmt: skip
        self.text(out + 0.3 * self.size, (sy + where.turn) / 2, "R×")
        for row in where.after:
            if row.node.kind == "gate":
                self.gate(cx, where.looped_box(row), _GREY)
        if data.architecture.inner_cycles:
            self.held(where.looped_box, x - 0.6 * self.size, _GREY)
            fast = where.looped_box(self.fast_end())
            turn = fast.right + 0.45 * self.size
            self.line((fast.right, fast.cy), (turn, fast.cy), (turn, sy + 0.3 * side.h),
                      (side.right, sy + 0.3 * side.h))  # fmt: skip
        self.start(sx, sy)
        shown = data.now[0] if data.now else 0
        for row in where.rows:
            self.node(row, where.looped_box(row), shown)

    @staticmethod
    def entry_box(row: Row, box: Box) -> Box:
        """Draw what arrows meet: a sum is only a circle."""
        if row.node.kind == "injection" and not row.node.weights:
            return Box(box.cx - box.h / 2, box.y, box.h, box.h)
        return box

    def unrolled(self) -> None:
        data, where = self.data, self.where
        begun = -(-data.layers_done // data.n_layers)
        injects = data.architecture.injection != "none"
        entry, end = where.repeated[0], where.repeated[-1]
        below = end.bottom
        from_e = where.before[-1].bottom
        sx, sy = where.copy_start()
        ends = _GREY if data.has_run else _PALE
        for place, r in enumerate(self.slots, 1):
            x = where.centre(place)
            edge = _GREY if 0 < r <= begun or (r == 0 and data.has_run) else _PALE
            side = self.entry_box(entry, where.copy_box(entry, place))
            if place == 1:
                self.down(where.before, x, ends)
                self.line((sx + where.radius, sy), (side.x, sy), colour=edge)
                self.start(sx, sy)
                if injects:
                    self.line((x, from_e), (x, where.bus), arrow=False, colour=edge)
                if data.start == "embedding":
                    bent = (sx, where.bus), (sx, sy - where.radius)
                    self.line((x, from_e), (x, where.bus), *bent, colour=edge)
            else:
                gap, before = x - where.pitch / 2, x - where.pitch
                points = [(before, below), (before, where.turn), (gap, where.turn), (gap, sy)]
                if not self.slots[place - 2]:
                    points = [(gap, where.turn), (gap, sy)]
                if r:
                    self.line(*points, (side.x, sy), colour=edge)
                else:
                    self.line(*points[:2], (gap, where.turn), arrow=False, colour=edge)
                if injects:
                    self.line((before, where.bus), (x, where.bus), arrow=False, colour=edge)
            if r == 0:
                self.left_out(x, where.turn, edge)
                continue
            if injects:
                self.line((x, where.bus), (x, entry.top), colour=edge)
            self.down(where.repeated, x, edge)
            if data.architecture.inner_cycles:
                self.nested(place, side, edge)
            self.text(x - 0.4 * self.size, where.bus + 0.9 * self.size, str(r), _GREY, "right")
            for row in where.repeated:
                runs = data.ran(row.node, r) and runs_at(data.architecture, row.node, r)
                self.node(row, where.copy_box(row, place), r, dim=not runs)
        last = where.centre(where.n)
        self.line((last, below), (last, where.after[0].top), colour=ends)
        self.down(where.after, last, ends)
        for row in where.after:
            if row.node.kind == "gate":
                self.gate(last, where.copy_box(row, where.n), ends)
        for rows, place in ((where.before, 1), (where.after, where.n)):
            for row in rows:
                self.node(row, where.copy_box(row, place), 0, dim=not data.has_run)

    def nested(self, place: int, entry: Box, colour: str) -> None:
        """Both states of a nested loop in one copy: the slow one held, the fast one brought in."""
        where = self.where
        gap = where.pitch - where.copy_width
        left = where.centre(place) - where.copy_width / 2
        self.held(lambda row: where.copy_box(row, place), left - 0.5 * gap, colour)
        if place > 1 and self.slots[place - 2]:
            fast = where.copy_box(self.fast_end(), place - 1)
            x, y = left - 0.25 * gap, entry.cy + 0.3 * entry.h
            self.line((fast.right, fast.cy), (x, fast.cy), (x, y), (entry.x, y), colour=colour)

    def left_out(self, x: float, turn: float, colour: str) -> None:
        """Say how many copies are not drawn; the state passes beneath."""
        half = self.where.pitch / 2
        middle = (self.where.repeated[0].middle + turn) / 2
        self.line((x - half, turn), (x + half, turn), arrow=False, colour=colour)
        k = self.data.n_copies - FIRST - LAST
        self.text(x, middle - 0.8 * self.size, "…", _INK, "center")
        self.text(x, middle + 0.6 * self.size, f"× {k}", _INK, "center")

    def sizes_below(self, width: float) -> None:
        """Exact sizes of loop, unrolling and a deep model, as a small table."""
        y = self.where.height + 2.0 * self.size
        rights = [width * share for share in (0.42, 0.57, 0.77, 0.98)]
        heads = ("unique depth", "eff. depth", "parameters", "FLOPs per token")
        for right, head in zip(rights, heads, strict=True):
            self.text(right, y, head, _GREY, "right", 0.88 * self.size)
        for row in summary(self.data):
            y += 1.5 * self.size
            self.text(2, y, row.name, _INK, size=0.88 * self.size)
            values = (row.unique_depth, row.effective_depth, row.parameters, row.flops)
            for right, value in zip(rights, values, strict=True):
                self.text(right, y, f"{value:,}", _INK, "right", 0.88 * self.size)


def _width(text: str, size: float) -> float:
    """Width of a text in points."""
    font = FontProperties(family="DejaVu Sans")
    return float(TextPath((0, 0), text, size=size, prop=font).get_extents().width)


def _tint(colour: str, share: float) -> tuple[float, float, float]:
    r, g, b = (share * part + 1 - share for part in to_rgb(colour))
    return r, g, b
