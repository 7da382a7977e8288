"""The computation graph on the screen: the loop at the left, its unrolling at the right."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

from PySide6.QtCore import QEvent, QPointF, QRectF, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QScrollBar, QWidget

from loopscope.core.inspection import count
from loopscope.core.selection import Selection
from loopscope.core.views.graph import FLOPS, WRITE, Data, Options
from loopscope.core.views.graph_layout import BOX, Box, Layout, Wire
from loopscope.widgets.graph_colours import weights_colour
from loopscope.widgets.graph_painting import arrow, mixed, rounded
from loopscope.widgets.palette import Theme
from loopscope.widgets.view import View

MARGIN = 8.0
LINE = 17.0
MIN_ROW, MAX_ROW = 16.0, 52.0  # the least that holds a small label
MIN_COLUMN, MAX_COLUMN = 72.0, 132.0
# Labels for narrow boxes.
SHORT = {
    "embedding": "embed",
    "closing norm": "norm",
    "final norm": "norm",
    "z_L + z_H": "⊕",
    "z_H + z_L": "⊕",
}
LOOP_COLUMNS = 3


class GraphView(View):
    """Paints the two pictures itself; of a long unrolling only the copies in sight."""

    DEPENDS_ON: ClassVar[frozenset[str]] = frozenset({"token", "tokens"})

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
        self.data: Data | None = None
        self.layout_of: Layout | None = None
        self.hovered: Box | None = None
        self._hover: dict[str, int] = {}
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(160, 100)
        self.bar = QScrollBar(Qt.Orientation.Horizontal, self)
        self.bar.valueChanged.connect(lambda _: self.update())
        self.side_bar = QScrollBar(Qt.Orientation.Vertical, self)
        self.side_bar.valueChanged.connect(lambda _: self.update())
        self._followed = (-1, -1, -1)
        self._drawn, self._drawn_key = QPixmap(), ()

    # ---- what the app says ----
    def show_data(self, data: Data) -> None:
        """Draw ``data``."""
        self.data, self.layout_of, self.hovered = data, Layout(data), None
        self._place_bar()
        self.update()

    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Move the cursor's outline; the strip follows its recurrence."""
        copies = -1 if self.data is None else self.data.n_copies
        place = (selection.recurrence, selection.layer, copies)
        self.selection, self._hover = selection, hover
        if place != self._followed:
            self._followed = place
            self._bring_into_sight(selection)
        self.update()

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self.theme = theme
        self.update()

    def clear(self) -> None:
        """There is no run."""
        self.data = self.layout_of = None
        self.bar.hide()
        self.side_bar.hide()
        self.update()

    def reset_view(self) -> None:
        """Go back to the cursor's recurrence."""
        self._bring_into_sight(self.selection)

    # ---- geometry ----
    @property
    def room(self) -> float:
        """Height left for the pictures between the words above and below them."""
        return self.height() - 2 * MARGIN - 3 * LINE - 18

    @property
    def row(self) -> float:
        """Height of a row in pixels."""
        assert self.layout_of is not None
        return max(MIN_ROW, min(MAX_ROW, self.room / (self.layout_of.height + 1.1)))

    @property
    def column(self) -> float:
        """Width of a column in pixels."""
        return max(MIN_COLUMN, min(MAX_COLUMN, self.width() / 8.5))

    @property
    def top(self) -> float:
        """Where row 0 begins."""
        return MARGIN + LINE + 0.75 * self.row - self.side_bar.value()

    @property
    def strip(self) -> QRectF:
        """Where the unrolling is drawn."""
        left = MARGIN + LOOP_COLUMNS * self.column + 14
        return QRectF(left, 0, max(self.width() - left, 1), self.height())

    @property
    def window_of_pictures(self) -> QRectF:
        """Where pictures may be drawn: between the words above and below."""
        if self.side_bar.maximum() == 0:
            return QRectF(self.rect())
        return QRectF(0, MARGIN + LINE, self.width(), self.room)

    def _place_bar(self) -> None:
        if self.data is None or self.layout_of is None:
            return
        below = max(0, round((self.layout_of.height + 1.1) * self.row - self.room))
        wide = self.side_bar.sizeHint().width()
        self.side_bar.setVisible(below > 0)
        self.side_bar.setRange(0, below)
        self.side_bar.setPageStep(max(round(self.room), 1))
        self.side_bar.setSingleStep(round(self.row))
        place = (self.width() - wide, round(MARGIN + LINE), wide, max(round(self.room), 1))
        self.side_bar.setGeometry(*place)
        strip = self.strip
        width = (self.data.n_copies + 2) * self.column + MARGIN
        over = max(0, round(width - strip.width()))
        self.bar.setVisible(over > 0)
        self.bar.setRange(0, over)
        self.bar.setPageStep(round(strip.width()))
        self.bar.setSingleStep(round(self.column))
        high = self.bar.sizeHint().height()
        self.bar.setGeometry(round(strip.left()), self.height() - high, round(strip.width()), high)

    def _bring_into_sight(self, selection: Selection) -> None:
        recurrence = selection.recurrence
        if self.data is None or self.layout_of is None or recurrence < 1:
            self.bar.setValue(0)
            return
        for box in self.layout_of.copy(1, None):
            if (
                box.branch is None
                and box.node.part == "block"
                and box.node.layer == selection.layer
            ):
                y = (box.y + 0.75) * self.row
                if not self.side_bar.value() <= y <= self.side_bar.value() + self.room - self.row:
                    self.side_bar.setValue(round(y - self.room / 2))
        left = recurrence * self.column
        if not self.bar.value() <= left <= self.bar.value() + self.strip.width() - self.column:
            self.bar.setValue(round(left - self.strip.width() / 2))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the bar at the foot."""
        super().resizeEvent(event)
        self._place_bar()
        self._bring_into_sight(self.selection)

    def rect_of(self, box: Box, origin: float) -> QRectF:
        """A box in pixels, for a picture whose column 0 begins at ``origin``."""
        return QRectF(
            origin + box.x * self.column,
            self.top + box.y * self.row,
            BOX * self.column,
            box.height * self.row,
        )

    def _pictures(self) -> list[tuple[float, list[Box], list[Wire]]]:
        """Both pictures as (origin, boxes, wires), of the unrolling only what is in sight."""
        data, layout = self.data, self.layout_of
        assert data is not None
        assert layout is not None
        before, block, after = layout.before(), layout.copy(1, None), layout.after(2)
        wires = [*layout.down(before), *layout.down(block), *layout.down(after)]
        wires += [*layout.joins(before, block), *layout.joins(block, after)]
        wires += [*layout.rail(before, [block]), *layout.back(block)]
        loop = (MARGIN, before + block + after, wires)

        origin = self.strip.left() - self.bar.value()
        first = max(1, int(self.bar.value() / self.column) - 1)
        last = min(data.n_copies, int((self.bar.value() + self.strip.width()) / self.column) + 1)
        columns = [layout.copy(r, r) for r in range(first, last + 1)]
        boxes, wires = [], []
        chain = columns
        if first == 1:
            chain = [before, *chain]
        if last == data.n_copies:
            chain = [*chain, layout.after(data.n_copies + 1)]
        for column in chain:
            boxes += column
            wires += layout.down(column)
        wires += [wire for a, b in pairwise(chain) for wire in layout.joins(a, b)]
        wires += layout.rail(before, columns)
        return [loop, (origin, boxes, wires)]

    # ---- painting ----
    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the pictures, or what would fill them."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(self.theme.panel))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.data is None:
            painter.setPen(QColor(self.theme.muted))
            text = "The loop and its unrolling appear here when a checkpoint is open"
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, text)
            return
        key = self._picture_key()
        if key != self._drawn_key:
            self._drawn_key = key
            ratio = self.devicePixelRatioF()
            self._drawn = QPixmap(self.size() * ratio)
            self._drawn.setDevicePixelRatio(ratio)
            self._drawn.fill(QColor(self.theme.panel))
            inner = QPainter(self._drawn)
            inner.setRenderHint(QPainter.RenderHint.Antialiasing)
            inner.setFont(self.font())
            self._paint_pictures(inner)
            inner.end()
        painter.drawPixmap(0, 0, self._drawn)
        self._paint_cursor(painter)

    def _picture_key(self) -> tuple[object, ...]:
        """Everything that the picture without the cursor depends on."""
        expanded = self.data is not None and any(map(self.data.is_expanded, self.data.nodes))
        return (
            id(self.data),
            self.size().toTuple(),
            self.devicePixelRatioF(),
            self.theme.name,
            self.bar.value(),
            self.side_bar.value(),
            self.hovered,
            tuple(self._hover.items()),
            # Opened layers show what they wrote at the cursor's recurrence.
            self.selection.recurrence if expanded else None,
        )

    def _paint_cursor(self, painter: QPainter) -> None:
        """The accent outline of the cursor's node in both pictures; cheap, painted each time."""
        layout, data, r = self.layout_of, self.data, self.selection.recurrence
        assert layout is not None
        assert data is not None
        strip_origin = self.strip.left() - self.bar.value()
        clips = (QRectF(0, 0, self.strip.left() - 6, self.height()), self.strip)
        columns = (
            (layout.before(), layout.before())
            if r == 0
            else (layout.copy(1, None), layout.copy(r, r) if r <= data.n_copies else [])
        )
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(self.theme.accent), 2))
        for clip, origin, boxes in zip(clips, (MARGIN, strip_origin), columns, strict=True):
            painter.setClipRect(clip & self.window_of_pictures)
            for box in boxes:
                if box.branch is None and self._is_cursor(box):
                    rect = self.rect_of(box, origin)
                    painter.drawRoundedRect(rect.adjusted(-1, -1, 1, 1), 4, 4)

    def _paint_pictures(self, painter: QPainter) -> None:
        loop, unrolled = self._pictures()
        strip = self.strip
        painter.save()
        seen = self.window_of_pictures
        painter.setClipRect(QRectF(0, 0, strip.left() - 6, self.height()) & seen)
        self._paint_picture(painter, *loop)
        painter.restore()
        painter.save()
        painter.setClipRect(strip & seen)
        self._paint_picture(painter, *unrolled)
        painter.restore()
        painter.save()
        painter.setClipRect(seen)
        self._paint_links(painter, loop, unrolled)
        painter.restore()
        painter.setPen(QPen(QColor(self.theme.line), 1))
        painter.drawLine(
            QPointF(strip.left() - 6, MARGIN), QPointF(strip.left() - 6, self.height() - MARGIN)
        )
        self._paint_words(painter)

    def _paint_picture(
        self, painter: QPainter, origin: float, boxes: list[Box], wires: list[Wire]
    ) -> None:
        for wire in wires:
            self._paint_wire(painter, wire, origin)
        for box in boxes:
            if box.branch is None:
                self._paint_box(painter, box, self.rect_of(box, origin))
            else:
                self._paint_branch(painter, box, self.rect_of(box, origin))

    def _paint_wire(self, painter: QPainter, wire: Wire, origin: float) -> None:
        points = [
            QPointF(origin + x * self.column, self.top + y * self.row) for x, y in wire.points
        ]
        strong = wire.kind == "back"
        colour = QColor(self.theme.text if strong else self.theme.muted)
        pen = QPen(colour, 2.0 if strong else 1.0)
        if wire.kind in ("injection", "held"):
            pen.setStyle(Qt.PenStyle.DashLine)
        painter.setPen(pen)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(rounded(points, 7))
        arrow(painter, points[-2], points[-1], colour, 5 if strong else 4)

    def colour_of(self, box: Box) -> QColor:
        """The hue of the box's set of weights; neutral when it has none."""
        assert self.data is not None
        hue = weights_colour(self.data, box.node)
        if hue is None:
            return QColor(self.theme.button)
        return mixed(QColor(hue), QColor(self.theme.panel), 0.35 if self.theme.dark else 0.45)

    def _paint_box(self, painter: QPainter, box: Box, rect: QRectF) -> None:
        assert self.data is not None
        dim = box.recurrence is not None and not self.data.ran(box.node, box.recurrence)
        fill = self.colour_of(box)
        fill.setAlphaF(0.35 if dim else 1.0)
        painter.setBrush(fill)
        painter.setPen(QPen(QColor(self.theme.line), 1))
        painter.drawRoundedRect(rect, 3, 3)
        if self._is_hover(box):
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(QColor(self.theme.hover).darker(130), 2))
            painter.drawRoundedRect(rect, 3, 3)
        if rect.height() >= 9:
            painter.setFont(self._font_for(rect.height()))
            painter.setPen(QColor(self.theme.muted if dim else self.theme.text))
            room = rect.adjusted(4, 0, -4, 0)
            label = box.label
            if QFontMetricsF(painter.font()).horizontalAdvance(label) > room.width():
                label = SHORT.get(label, label)
            text = QFontMetricsF(painter.font()).elidedText(
                label, Qt.TextElideMode.ElideRight, room.width() + 2
            )
            painter.drawText(room.adjusted(-2, 0, 2, 0), Qt.AlignmentFlag.AlignCenter, text)
        if self._is_now(box):
            painter.setBrush(QColor(self.theme.text))
            painter.setPen(QPen(QColor(self.theme.panel), 1.5))
            painter.drawEllipse(QPointF(rect.right() - 1, rect.top() + 1), 4.5, 4.5)

    def _font_for(self, height: float) -> QFont:
        """The view's font, made smaller for a box that it would not fit."""
        font = QFont(self.font())
        high = QFontMetricsF(font).ascent()
        if high > 0.95 * height:
            font.setPointSizeF(max(6.0, font.pointSizeF() * 0.95 * height / high))
        return font

    def _paint_branch(self, painter: QPainter, box: Box, rect: QRectF) -> None:
        """What attention or the MLP wrote: a bar and its number."""
        assert self.data is not None
        recurrence = self.selection.recurrence if box.recurrence is None else box.recurrence
        layer = box.node.layer or 0
        in_block = box.node.part == "block"
        norm = self.data.norm(recurrence, layer, box.branch or 0) if in_block else float("nan")
        painter.setFont(self._font_for(rect.height()))
        painter.setPen(QPen(QColor(self.theme.line), 1))
        painter.setBrush(QColor(self.theme.window))
        painter.drawRect(rect)
        known = norm == norm
        if known:
            width = rect.width() * min(1.0, norm / self.data.norm_scale)
            painter.fillRect(
                QRectF(rect.left(), rect.bottom() - 3, width, 3), QColor(self.theme.muted)
            )
        painter.setPen(QColor(self.theme.text if known else self.theme.muted))
        word = "attn" if box.branch == 0 else "MLP"
        painter.drawText(
            rect.adjusted(3, 0, -3, -2),
            Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft,
            f"{word} {norm:.2g}" if known else f"{word} –",
        )

    def _is_cursor(self, box: Box) -> bool:
        s = self.selection
        if s.recurrence == 0:
            return box.node.kind == "start"
        if box.node.part != "block" or box.node.layer != s.layer:
            return False
        return box.recurrence in (None, s.recurrence)

    def _is_now(self, box: Box) -> bool:
        now = None if self.data is None else self.data.now
        if now is None or box.node.part != "block" or box.node.layer != now[1]:
            return False
        return box.recurrence in (None, now[0])

    def _is_hover(self, box: Box) -> bool:
        if self.hovered is not None and self.hovered.node.weights:
            return box.node.weights == self.hovered.node.weights
        if "layer" in self._hover and box.node.part == "block":
            same = box.node.layer == self._hover["layer"]
            return same and box.recurrence in (None, self._hover.get("recurrence"))
        return False

    def _paint_links(
        self,
        painter: QPainter,
        loop: tuple[float, list[Box], list[Wire]],
        unrolled: tuple[float, list[Box], list[Wire]],
    ) -> None:
        """Thin lines from the original in the loop to every copy of its weights in sight."""
        if self.hovered is None or not self.hovered.node.weights:
            return
        key = self.hovered.node.weights
        original = next(b for b in loop[1] if b.node.weights == key and b.branch is None)
        start = self.rect_of(original, loop[0])
        painter.setPen(QPen(QColor(self.theme.hover), 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for box in unrolled[1]:
            if box.node.weights == key and box.branch is None:
                end = self.rect_of(box, unrolled[0])
                if end.right() < self.strip.left():
                    continue
                path = QPainterPath(QPointF(start.center().x(), start.bottom()))
                low = max(start.bottom(), end.bottom()) + 0.55 * self.row
                path.cubicTo(
                    QPointF(start.center().x(), low),
                    QPointF(end.center().x(), low),
                    QPointF(end.center().x(), end.bottom()),
                )
                painter.drawPath(path)

    def _paint_words(self, painter: QPainter) -> None:
        data, strip = self.data, self.strip
        assert data is not None
        painter.setFont(self.font())
        arch, totals = data.architecture, data.totals
        painter.setPen(QColor(self.theme.muted))
        foot = self.top + (self.layout_of.height + 0.35) * self.row if self.layout_of else 0
        foot = min(foot, self.height() - 2 * LINE - 18)
        once = count(arch.flops_per_token(1, data.n_tokens))
        state = "" if data.has_run else " (not run yet)"
        words = (
            (MARGIN, strip.left() - 14, "looped", MARGIN),
            (strip.left(), self.width(), f"unrolled, R = {data.n_copies}{state}", MARGIN),
            (MARGIN, strip.left() - 14, f"unique depth {totals.unique_depth}", foot),
            (
                MARGIN,
                strip.left() - 14,
                f"{count(totals.parameters)} params, {once} FLOPs/token",
                foot + LINE,
            ),
            (strip.left(), self.width(), f"effective depth {totals.effective_depth}", foot),
            (
                strip.left(),
                self.width(),
                f"{count(totals.flops)} FLOPs/token, "
                f"{count(totals.deep_parameters)} params if nothing were shared",
                foot + LINE,
            ),
        )
        metrics = QFontMetricsF(painter.font())
        for left, right, text, y in words:
            cut = metrics.elidedText(text, Qt.TextElideMode.ElideRight, right - left - 4)
            painter.drawText(QPointF(left, y + metrics.ascent()), cut)

    # ---- mouse and keys ----
    def box_at(self, position: QPointF) -> Box | None:
        """The box under a place in pixels."""
        if self.data is None or not self.window_of_pictures.contains(position):
            return None
        in_strip = position.x() >= self.strip.left()
        origin, boxes, _ = self._pictures()[1 if in_strip else 0]
        for box in boxes:
            if self.rect_of(box, origin).contains(position):
                return box
        return None

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Light up every copy of the weights under the pointer, and say what they are."""
        box = self.box_at(event.position())
        if box == self.hovered:
            return
        self.hovered = box
        self.update()
        hover: dict[str, int] = {}
        if box is not None:
            if box.node.part == "block":
                hover["layer"] = box.node.layer or 0
                if box.recurrence is not None:
                    hover["recurrence"] = box.recurrence
            self.message.emit(self.words_of(box))
        self.hover_changed.emit(hover)

    def words_of(self, box: Box) -> str:
        """What a node is: shape, parameters, operations, formula."""
        assert self.data is not None
        node = box.node
        where = f" at recurrence {box.recurrence}" if box.recurrence is not None else ""
        parts = [f"{node.label}{where}", node.shape, node.formula]
        if node.parameters:
            parts.append(f"{count(node.parameters)} params, {count(node.flops)} FLOPs/token")
        if box.branch is not None and node.part == "block":
            r = self.selection.recurrence if box.recurrence is None else box.recurrence
            norm = self.data.norm(r, node.layer or 0, box.branch)
            parts = [f"{box.label} wrote {norm:.3g}, {self.data.norms_of}", WRITE.text()]
        elif node.flops:
            parts.append(f"FLOPs = {FLOPS.formula}")
        return "   ·   ".join(p for p in parts if p)

    def leaveEvent(self, event: QEvent) -> None:
        """Put the lights out."""
        self.hovered = None
        self.update()
        self.hover_changed.emit({})

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """A click moves the cursor there."""
        box = self.box_at(event.position())
        if box is None or event.button() != Qt.MouseButton.LeftButton:
            return
        changes: dict[str, int] = {}
        if box.node.kind == "start":
            changes["recurrence"] = 0
        if box.node.part == "block":
            changes["layer"] = box.node.layer or 0
        if box.recurrence is not None and self.data is not None:
            if box.recurrence <= self.data.n_complete:
                changes["recurrence"] = box.recurrence
            else:
                self.message.emit(f"recurrence {box.recurrence} has not been run; Space runs on")
                return
        if changes:
            self.select_requested.emit(changes)
        else:
            self.message.emit(f"{box.node.label} is outside the loop: the cursor stays")

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Open or close a layer."""
        box = self.box_at(event.position())
        if box is None or box.node.part != "block":
            return
        assert self.data is not None
        opened = set(self.options.expanded)
        if self.options.expand:  # "all" becomes all but this one
            opened |= {n.key for n in self.data.nodes if n.part == "block"}
        opened ^= {box.node.key}
        options = replace(self.options, expand=False, expanded=tuple(sorted(opened)))
        self.options_changed.emit(options)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Up and Down move the layer; Left and Right are the window's."""
        by = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()))
        if by is None or self.data is None:
            super().keyPressEvent(event)
            return
        layer = max(0, min(self.selection.layer + by, self.data.n_layers - 1))
        self.select_requested.emit({"layer": layer})

    def wheelEvent(self, event: QWheelEvent) -> None:
        """The wheel scrolls a tall block; with Shift, or where all fits, the unrolling sideways."""
        delta = event.angleDelta()
        sideways = delta.x() or event.modifiers() & Qt.KeyboardModifier.ShiftModifier
        if self.side_bar.maximum() and not sideways:
            self.side_bar.setValue(self.side_bar.value() - delta.y())
        else:
            self.bar.setValue(self.bar.value() - (delta.x() or delta.y()))
        event.accept()
