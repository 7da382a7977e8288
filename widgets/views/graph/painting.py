"""Paint the boxes, wires and marks of the computation graph."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import lru_cache

from PySide6.QtCore import QLineF, QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPainterPath, QPen, QStaticText

from loopscope.core.views.graph.data import Data
from loopscope.core.views.graph.layout import Box, Wire
from loopscope.widgets.palette import Theme
from loopscope.widgets.views.graph.colours import weights_colour
from loopscope.widgets.views.graph.geometry import label_room
from loopscope.widgets.views.graph.short_labels import longest_labels, short_label, stem

# Labels for narrow boxes.
FADED = 0.35


def mixed(colour: QColor, other: QColor, share: float) -> QColor:
    """``share`` of ``other`` in ``colour``."""
    channels = (QColor.red, QColor.green, QColor.blue)
    pairs = ((channel(colour), channel(other)) for channel in channels)
    return QColor(*(round(a + share * (b - a)) for a, b in pairs))


def add_rounded(path: QPainterPath, points: list[QPointF], radius: float) -> None:
    """Add a line through ``points`` with round corners."""
    path.moveTo(points[0])
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        path.lineTo(_towards(corner, before, radius))
        path.quadTo(corner, _towards(corner, after, radius))
    path.lineTo(points[-1])


def _towards(a: QPointF, b: QPointF, length: float) -> QPointF:
    dx, dy = b.x() - a.x(), b.y() - a.y()
    whole = max((dx * dx + dy * dy) ** 0.5, 1e-9)
    share = min(length / whole, 0.5)
    return QPointF(a.x() + dx * share, a.y() + dy * share)


def add_arrow(path: QPainterPath, start: QPointF, end: QPointF, size: float) -> None:
    """Add a head at ``end``, pointing away from ``start``."""
    dx, dy = end.x() - start.x(), end.y() - start.y()
    whole = max((dx * dx + dy * dy) ** 0.5, 1e-9)
    ux, uy = dx / whole * size, dy / whole * size
    path.moveTo(end)
    path.lineTo(end.x() - 1.5 * ux + 0.7 * uy, end.y() - 1.5 * uy - 0.7 * ux)
    path.lineTo(end.x() - 1.5 * ux - 0.7 * uy, end.y() - 1.5 * uy + 0.7 * ux)
    path.closeSubpath()


def fitted_label(label: str, metrics: QFontMetricsF, room: float, longest: str = "") -> str:
    """A label cut to ``room`` pixels; a known short form comes before an ellipsis.

    longest : of those that have this one's form; "coda 9" is not written out beside "c 10".
    """
    longest = longest or label
    if metrics.horizontalAdvance(longest) > room - 4:
        label, longest = short_label(label), short_label(longest)
        if metrics.horizontalAdvance(longest) > room:
            label = label.removeprefix("layer ").replace("coda ", "c ")
    cut = metrics.elidedText(label, Qt.TextElideMode.ElideRight, room)
    return cut if cut == label or len(cut) > 4 else ""


@lru_cache(maxsize=4096)
def spelling_room(label: str, font: str, room: int, rooms: tuple[int, ...], longest: str) -> int:
    """The narrowest of the ``rooms`` that shows the name whole: its spelling there holds in all.

    A room of its own for a label of which no narrower one shows more than its number.
    """
    of = QFont()
    of.fromString(font)
    metrics = QFontMetricsF(of)
    for other in sorted(r for r in rooms if r < room):
        text = fitted_label(label, metrics, other, longest)
        if text and "…" not in text and not text.isdigit():
            return other
    return room


@lru_cache(maxsize=4096)
def static_label(label: str, font: str, room: int, longest: str) -> tuple[QStaticText, QSizeF]:
    """A label as `fitted_label` has it, laid out once, with its size."""
    of = QFont()
    of.fromString(font)
    metrics = QFontMetricsF(of)
    cut = fitted_label(label, metrics, room, longest)
    text = QStaticText(cut)
    text.setTextFormat(Qt.TextFormat.PlainText)
    text.setPerformanceHint(QStaticText.PerformanceHint.AggressiveCaching)
    return text, QSizeF(metrics.horizontalAdvance(cut), metrics.height())


def font_for(base: QFont, height: float) -> QFont:
    """Return the view's font, made smaller for a box that it would not fit."""
    high = QFontMetricsF(base).ascent()
    if high <= 0.95 * height:
        return base
    font = QFont(base)
    font.setPointSizeF(max(6.0, round(font.pointSizeF() * 0.95 * height / high * 2) / 2))
    return font


class Brush:
    """Paints the nodes of one model.

    Parameters
    ----------
    painter, theme, font
        What to paint with.
    data
        Of the model.
    recurrence
        The cursor's, whose norms the loop's opened layers show.
    fades
        Boxes that are painted pale, since a search does not find them.
    rooms
        Pixels for a label in the boxes of the loop and of the strip: names are spelled alike in
        both.
    """

    def __init__(
        self, painter: QPainter, theme: Theme, font: QFont, data: Data, recurrence: int,
        fades: Callable[[Box], bool] = lambda box: False, rooms: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        self.painter, self.theme, self.font, self.data = painter, theme, font, data
        self.recurrence, self.fades, self.rooms = recurrence, fades, rooms
        self._hues: dict[tuple[str, bool], QColor] = {}
        self._fonts: dict[float, tuple[QFont, str]] = {}
        self._longest = longest_labels(node.label for node in data.nodes)

    def colour_of(self, box: Box) -> QColor:
        """The hue of the box's set of weights, pale when it has not run; neutral without any."""
        key = box.node.weights, self.pale(box)
        if key not in self._hues:
            hue, panel = weights_colour(self.data, box.node), QColor(self.theme.panel)
            share = 0.35 if self.theme.dark else 0.45
            colour = QColor(self.theme.button) if hue is None else mixed(QColor(hue), panel, share)
            colour.setAlphaF(FADED if key[1] else 1.0)
            self._hues[key] = colour
        return self._hues[key]

    def has_not_run(self, box: Box) -> bool:
        """Whether the copy has not run."""
        return box.recurrence is not None and not self.data.ran(box.node, box.recurrence)

    def pale(self, box: Box) -> bool:
        """Whether a box steps back."""
        return self.has_not_run(box) or self.fades(box)

    def boxes(self, boxes: list[tuple[Box, QRectF]]) -> None:
        """Paint nodes with their labels, and what opened ones wrote."""
        painter, theme = self.painter, self.theme
        # Few large strokes are faster than many small ones.
        piles: dict[tuple[int, int], QPainterPath] = {}
        for box, rect in boxes:
            if box.branch is None:
                colour = self.colour_of(box).rgba()
                for step in (4, 2, 0) if box.times > 1 else (0,):  # a fold is a pile of boxes
                    path = piles.setdefault((-step, colour), QPainterPath())
                    path.addRoundedRect(rect.translated(step, -step), 3, 3)
        painter.setPen(QPen(QColor(theme.line), 1))
        for step, colour in sorted(piles):
            painter.setBrush(QColor.fromRgba(colour))
            painter.drawPath(piles[step, colour])
        for box, rect in boxes:
            if box.branch is not None:
                self._branch(box, rect)
            elif rect.height() >= 9 and rect.width() >= 14:
                self._label(box, rect)

    def _label(self, box: Box, rect: QRectF) -> None:
        font, key = self._sized(rect.height())
        longest = self._longest.get(stem(box.label), box.label)
        rooms = self.rooms or (label_room(rect.width()),)
        room = spelling_room(box.label, key, label_room(rect.width()), rooms, longest)
        text, size = static_label(box.label, key, room, longest)
        self.painter.setFont(font)
        self.painter.setPen(QColor(self.theme.muted if self.pale(box) else self.theme.text))
        place = rect.center() - QPointF(size.width() / 2, size.height() / 2)
        self.painter.drawStaticText(place, text)

    def _sized(self, height: float) -> tuple[QFont, str]:
        """The font for a box, and what it is called."""
        if height not in self._fonts:
            font = font_for(self.font, height)
            self._fonts[height] = font, font.toString()
        return self._fonts[height]

    def _branch(self, box: Box, rect: QRectF) -> None:
        """What attention or the MLP wrote: a bar and its number."""
        painter, theme = self.painter, self.theme
        recurrence = self.recurrence if box.recurrence is None else box.recurrence
        in_block = box.node.part == "block"
        norm = math.nan
        if in_block:
            norm = self.data.norm(recurrence, box.node.layer or 0, box.branch or 0)
        painter.setPen(QPen(QColor(theme.line), 1))
        painter.setBrush(QColor(theme.window))
        painter.drawRect(rect)
        known = math.isfinite(norm)
        if known:
            width = rect.width() * min(1.0, norm / self.data.norm_scale)
            bar = QRectF(rect.left(), rect.bottom() - 3, width, 3)
            painter.fillRect(bar, QColor(theme.muted))
        if rect.height() < 9 or rect.width() < 40:
            return
        painter.setFont(self._sized(rect.height())[0])
        painter.setPen(QColor(theme.text if known else theme.muted))
        word = "attn" if box.branch == 0 else "MLP"
        painter.drawText(
            rect.adjusted(3, 0, -3, -2),
            Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft,
            f"{word} {norm:.2g}" if known else f"{word} –",
        )

    def plain_boxes(self, boxes: list[tuple[Box, QRectF]]) -> None:
        """Paint many nodes without labels, those of one colour at once."""
        by_colour: dict[int, list[QRectF]] = {}
        for box, rect in boxes:
            if box.branch is None:
                by_colour.setdefault(self.colour_of(box).rgba(), []).append(rect)
        self.painter.setPen(Qt.PenStyle.NoPen)
        for colour, rects in by_colour.items():
            self.painter.setBrush(QColor.fromRgba(colour))
            self.painter.drawRects(rects)

    # ---- wires ----
    def wires(self, wires: list[tuple[Wire, list[QPointF]]]) -> None:
        """Paint wires with round corners and arrows, those of one kind at once."""
        lines: dict[str, QPainterPath] = {}
        heads: dict[str, QPainterPath] = {}
        for wire, points in wires:
            add_rounded(lines.setdefault(wire.kind, QPainterPath()), points, 7)
            if wire.arrow:
                head = heads.setdefault(wire.kind, QPainterPath())
                add_arrow(head, points[-2], points[-1], 5 if wire.kind == "back" else 4)
        self.painter.setBrush(Qt.BrushStyle.NoBrush)
        for kind, path in lines.items():
            self.painter.setPen(self._pen(kind, self._wire_colour(kind)))
            self.painter.drawPath(path)
        for kind, path in heads.items():
            path.setFillRule(Qt.FillRule.WindingFill)
            self.painter.fillPath(path, self._wire_colour(kind))

    def _wire_colour(self, kind: str) -> QColor:
        return QColor(self.theme.text if kind == "back" else self.theme.muted)

    @staticmethod
    def _pen(kind: str, colour: QColor) -> QPen:
        pen = QPen(colour, 2.0 if kind == "back" else 1.0)
        if kind in ("injection", "held"):
            pen.setStyle(Qt.PenStyle.DashLine)
        return pen

    def plain_wires(self, wires: list[tuple[Wire, list[QPointF]]]) -> None:
        """Paint many wires as straight lines, those of one kind at once."""
        by_kind: dict[str, list[QLineF]] = {}
        for wire, points in wires:
            lines = by_kind.setdefault(wire.kind, [])
            lines += [QLineF(a, b) for a, b in itertools.pairwise(points)]
        for kind, lines in by_kind.items():
            self.painter.setPen(self._pen(kind, self._wire_colour(kind)))
            self.painter.drawLines(lines)

    # ---- marks ----
    def now(self, rect: QRectF) -> None:
        """The dot of the layer that ran last."""
        self.painter.setBrush(QColor(self.theme.text))
        self.painter.setPen(QPen(QColor(self.theme.panel), 1.5))
        self.painter.drawEllipse(QPointF(rect.right() - 1, rect.top() + 1), 4.5, 4.5)

    def cut(self, place: QPointF, size: float, of_second_run: bool) -> None:
        """A cut: a cross on a disc, or on a square where only the second run has it."""
        painter = self.painter
        painter.setBrush(QColor(self.theme.panel if of_second_run else self.theme.text))
        painter.setPen(QPen(QColor(self.theme.text if of_second_run else self.theme.panel), 1.5))
        frame = QRectF(place.x() - size, place.y() - size, 2 * size, 2 * size)
        if of_second_run:
            painter.drawRect(frame)
        else:
            painter.drawEllipse(frame)
        painter.setPen(QPen(QColor(self.theme.text if of_second_run else self.theme.panel), 1.6))
        reach = 0.45 * size
        painter.drawLines(
            [
                QLineF(place.x() - reach, place.y() - reach, place.x() + reach, place.y() + reach),
                QLineF(place.x() - reach, place.y() + reach, place.x() + reach, place.y() - reach),
            ]
        )
