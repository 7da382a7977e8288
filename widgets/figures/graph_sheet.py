"""The pieces that the computation graph's figure is drawn of: text, lines, nodes, marks."""

from __future__ import annotations

import math
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle
from matplotlib.textpath import TextPath

from loopscope.core.model.graph import Node
from loopscope.core.views.graph.cuts import CutMark, Site
from loopscope.core.views.graph.data import BRANCHES, Data
from loopscope.widgets.figures.graph_layout import Box, Layout, Row
from loopscope.widgets.figures.graph_slots import Slot
from loopscope.widgets.views.graph.colours import weights_colour
from loopscope.widgets.views.graph.short_labels import longest_labels, short_label, stem

INK, GREY, PALE = "#1C1C1E", "#6A6A70", "#B5B5B2"


class Sheet:
    """Draws one model on one axes whose unit is the point.

    slots : columns of the unrolling.  size : of the text, in points.
    """

    def __init__(self, ax: Axes, data: Data, where: Layout, slots: list[Slot], size: float) -> None:
        self.ax, self.data, self.where, self.slots, self.size = ax, data, where, slots, size
        self._longest = longest_labels(node.label for node in data.nodes)

    def text(
        self, x: float, y: float, text: str, colour: str = INK, ha: str = "left", size: float = 0
    ) -> None:
        """Write a line of text with its middle at ``y``."""
        self.ax.text(
            x, y, text, color=colour, ha=ha, va="center_baseline", fontsize=size or self.size,
        )  # fmt: skip

    def line(self, *points: tuple[float, float], arrow: bool = True, colour: str = GREY,
             width: float = 0.6) -> None:  # fmt: skip
        """Draw a path through points, with an arrow at its end."""
        xs, ys = zip(*points, strict=True)
        self.ax.plot(xs, ys, color=colour, lw=width, solid_joinstyle="round", zorder=1)
        if arrow:
            self.ax.annotate(
                "", points[-1], points[-2], zorder=1,
                arrowprops={"arrowstyle": "-|>,head_width=0.13,head_length=0.26", "color": colour,
                            "lw": width, "shrinkA": 0, "shrinkB": 0},
            )  # fmt: skip

    def node(self, row: Row, box: Box, recurrence: int, *, dim: bool = False) -> None:
        """Draw a row's node in a box; ``dim`` when it has not run."""
        node = row.node
        ink = GREY if dim else INK
        if node.kind == "injection" and not node.weights:
            r = box.h / 2
            self.ax.add_patch(Circle((box.cx, box.cy), r, fc="white", ec=ink, lw=0.6, zorder=2))
            self.ax.plot([box.cx - r, box.cx + r], [box.cy] * 2, color=ink, lw=0.6, zorder=3)
            self.ax.plot([box.cx] * 2, [box.cy - r, box.cy + r], color=ink, lw=0.6, zorder=3)
            return
        colour = weights_colour(self.data, node) or GREY
        self.ax.add_patch(
            FancyBboxPatch(
                (box.x, box.y), box.w, box.h, zorder=2,
                boxstyle=f"round,pad=0,rounding_size={min(1.6, box.h / 4)}",
                fc=_tint(colour, 0.15 if dim else 0.5), ec=_tint(colour, 0.5 if dim else 1),
                lw=0.6,
            )
        )  # fmt: skip
        title = box.y + self.where.unit / 2 if row.expanded else box.cy
        label, size = self.fitted(node, self.narrowest(row, box) - 2)
        self.text(box.cx, title, label, ink, "center", size)
        if row.expanded:
            for branch, inner in enumerate(self.where.branches(row, box)):
                self.branch(node, inner, branch, recurrence, colour)

    def narrowest(self, row: Row, box: Box) -> float:
        """Width of the narrowest box of a row: its name is spelled alike in all of them."""
        return min(box.w, self.where.looped_box(row).w, self.where.copy_box(row, 1).w)

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
            if text_width(f"{name} {number}", size) <= box.w - 2:
                break
        while size > 3 and text_width(f"{name} {number}", size) > box.w - 2:
            size -= 0.25
        self.text(box.x + 1, box.cy, name, GREY, size=size)
        if number:
            self.text(box.right - 1, box.cy, number, INK, "right", size)
            length = box.w * min(1.0, norm / self.data.norm_scale)
            self.ax.add_patch(
                Rectangle((box.x, box.bottom - 1.2), length, 1.2, fc=colour, ec="none", zorder=3)
            )

    def fitted(self, node: Node, room: float) -> tuple[str, float]:
        """A label and the size at which it fits; not smaller than three quarters."""
        long = "cat[s, e] → adapter" if node.kind == "injection" else node.label
        longest = self._longest[stem(node.label)]
        digits = longest.removeprefix(stem(longest))
        for label in dict.fromkeys((long, node.label, short_label(node.label))):
            # As wide as the longest of its kind, so that all of them are spelled alike.
            width = text_width(stem(label) + digits, self.size)
            if width <= room:
                return label, self.size
        size = self.size * room / width
        number = label.removeprefix("layer ")
        if size >= 0.75 * self.size or number == label:
            return label, max(size, 3.5)
        # "layer 12" where only its number fits.
        return number, self.size * 0.9

    def start(self, x: float, y: float) -> None:
        """The circle of the initial state."""
        r = self.where.radius
        self.ax.add_patch(Circle((x, y), r, fc="white", ec=GREY, lw=0.6, zorder=2))
        self.text(x, y, "s₀", INK, "center")

    def down(self, rows: tuple[Row, ...], x: float, colour: str) -> None:
        """The stream down one column."""
        for a, b in pairwise(row for row in rows if row.node.kind != "gate"):
            self.line((x, a.bottom), (x, b.top), colour=colour)

    def join(self, place: int, y: float, entry: float, colour: str) -> None:
        """The state from below the column before to the first node of this one, at ``entry``."""
        where = self.where
        x = where.centre(place)
        gap, before, below = x - where.pitch / 2, x - where.pitch, where.repeated[-1].bottom
        points = [(before, below), (before, where.turn), (gap, where.turn), (gap, y)]
        if not self.slots[place - 2].drawn:
            points = [(gap, where.turn), (gap, y)]
        if self.slots[place - 1].drawn:
            self.line(*points, (entry, y), colour=colour)
        else:
            self.line(*points[:2], (gap, where.turn), arrow=False, colour=colour)

    def left_out(self, place: int, words: str, colour: str) -> None:
        """Say in ``words`` how much is not drawn; the state passes beneath."""
        where = self.where
        x, half = where.centre(place), where.pitch / 2
        middle = (where.repeated[0].middle + where.turn) / 2
        self.line((x - half, where.turn), (x + half, where.turn), arrow=False, colour=colour)
        self.text(x, middle - 0.8 * self.size, "…", INK, "center")
        size = self.size * min(1.0, 0.98 * where.pitch / text_width(words, self.size))
        self.text(x, middle + 0.6 * self.size, words, INK, "center", size)

    def cuts_at_site(self, site: Site, recurrence: int | None) -> tuple[CutMark, ...]:
        """Cuts that act on what is no node of its own."""
        return tuple(c for c in self.data.cuts if c.at(site, recurrence))

    def cut(self, x: float, y: float, cuts: tuple[CutMark, ...]) -> None:
        """A cut: a cross on a disc, or on a square where only the second run has it."""
        if not cuts:
            return
        of_second_run = all(c.run for c in cuts)
        r = 0.38 * self.size
        fill, stroke = ("white", INK) if of_second_run else (INK, "white")
        corner = (x - r, y - r)
        frame = Rectangle(corner, 2 * r, 2 * r) if of_second_run else Circle((x, y), r)
        frame.set(facecolor=fill, edgecolor=INK, linewidth=0.6, zorder=5)
        self.ax.add_patch(frame)
        d = 0.45 * r
        for sign in (1, -1):
            self.ax.plot([x - d, x + d], [y - sign * d, y + sign * d], color=stroke, lw=0.7,
                         zorder=6)  # fmt: skip


def text_width(text: str, size: float) -> float:
    """Width of a text in points."""
    font = FontProperties(family="DejaVu Sans")
    return float(TextPath((0, 0), text, size=size, prop=font).get_extents().width)


def _tint(colour: str, share: float) -> tuple[float, float, float]:
    r, g, b = (share * part + 1 - share for part in to_rgb(colour))
    return r, g, b
