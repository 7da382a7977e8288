"""What the state-space plotter is drawn with: lines, markers, and a canvas that turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QBrush,
    QColor,
    QContextMenuEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPen,
    QPixmap,
    QPolygonF,
    QResizeEvent,
)
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

from loopscope.widgets.plots.axes import TitledAxis
from loopscope.widgets.plots.kept_picture import KeptPicture

# Markers from which on they are kept as a picture: a cursor that moves has them painted again.
MANY = 100
# Outlines of the layer markers, about 1 across; pyqtgraph's and matplotlib's shapes alike.
_ANGLES = {
    "o": np.linspace(0, 2 * np.pi, 17)[:-1],
    "s": np.radians([45, 135, 225, 315]),
    "^": np.radians([90, 210, 330]),
    "D": np.radians([0, 90, 180, 270]),
    "v": np.radians([30, 150, 270]),
    "p": np.radians(np.arange(5) * 72 + 90),
    "h": np.radians(np.arange(6) * 60 + 30),
    "*": np.radians(np.arange(10) * 36 + 90),
}
# A cross as a polygon, so that it is stamped like the others.
_ARM, _HALF = 0.5, 0.09
_CROSS = np.array(
    [
        (_HALF, _HALF), (_ARM, _HALF), (_ARM, -_HALF), (_HALF, -_HALF), (_HALF, -_ARM),
        (-_HALF, -_ARM), (-_HALF, -_HALF), (-_ARM, -_HALF), (-_ARM, _HALF), (-_HALF, _HALF),
        (-_HALF, _ARM), (_HALF, _ARM),
    ]
) @ (np.array([[1, 1], [-1, 1]]) / np.sqrt(2))  # fmt: skip
LAYER_MARKERS = ("o", "s", "^", "D", "v", "p", "h", "*")
_RADIUS = {"o": 0.5, "s": 0.62, "^": 0.66, "D": 0.62, "v": 0.66, "p": 0.58, "h": 0.56, "*": 0.72}


def layer_marker(layer: int) -> str:
    """Shape of ``layer``; the ends of recurrences (layer -1) are round. Repeats after eight."""
    return LAYER_MARKERS[layer % len(LAYER_MARKERS)] if layer >= 0 else "o"


def outline(marker: str) -> np.ndarray:
    """Corners ``[V, 2]`` of ``marker`` about the origin, y downwards as on the screen."""
    if marker == "x":
        return np.array(_CROSS)
    angles = _ANGLES[marker]
    radius = np.full(len(angles), _RADIUS[marker])
    if marker == "*":
        radius[1::2] *= 0.42
    return np.column_stack([radius * np.cos(angles), -radius * np.sin(angles)])


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """Polylines of one pen: points ``[n, 2]`` and which is joined to the next, bool ``[n]``."""

    points: np.ndarray
    joined: np.ndarray
    pen: QPen


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """Markers of one look: centres ``[n, 2]`` in plot coordinates, size in pixels."""

    points: np.ndarray
    marker: str
    size: float
    fill: QColor | None
    pen: QPen | None


class _Item(pg.GraphicsObject):
    """Something in the plot; the canvas repaints whole, so the bounds need no pixel padding."""

    def __init__(self) -> None:
        super().__init__()
        self._bounds = QRectF()

    def _set_bounds(self, arrays: Sequence[np.ndarray]) -> None:
        self.prepareGeometryChange()
        self._bounds = QRectF()
        kept = [a for a in arrays if a.size]
        if kept:
            # Column by column: numpy reduces a long [n, 2] along its first axis slowly.
            low = np.array([min(a[:, i].min() for a in kept) for i in (0, 1)])
            high = np.array([max(a[:, i].max() for a in kept) for i in (0, 1)])
            # A flat item would be culled.
            pad = max(float((high - low).max()), 1e-9) * 0.05
            self._bounds = QRectF(
                low[0] - pad, low[1] - pad, high[0] - low[0] + 2 * pad, high[1] - low[1] + 2 * pad
            )
        self.update()

    def boundingRect(self) -> QRectF:
        """Bounds in plot coordinates."""
        return self._bounds


class LinesItem(_Item):
    """All trajectories in one item: one path a pen, made with a ``connect`` array.

    The lines are kept as a picture until they or the view change, so that marks which move over
    them do not have them stroked again.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[Line] = []
        self._picture = KeptPicture()
        self._paths: list[tuple[QPen, QPainterPath]] = []

    def set_lines(self, lines: list[Line]) -> None:
        """Replace what is drawn; every point must be finite."""
        self.lines = lines
        self._picture.forget()
        self._paths = [
            (
                line.pen,
                pg.functions.arrayToQPath(
                    line.points[:, 0], line.points[:, 1], line.joined, finiteCheck=False
                ),
            )
            for line in lines
            if len(line.points)
        ]
        self._set_bounds([line.points for line in lines])

    def paint(
        self, painter: QPainter, setting: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        """Draw the kept picture, or every path with its pen."""
        self._picture.paint(self, painter, widget, self._stroke)

    def _stroke(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for pen, path in self._paths:
            painter.setPen(pen)
            painter.drawPath(path)


class MarksItem(_Item):
    """All markers in one item: each look is a stamp that is put at every place."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[Marks] = []
        self._picture = KeptPicture()

    def set_marks(self, marks: list[Marks]) -> None:
        """Replace what is drawn; every point must be finite."""
        self.marks = marks
        self._picture.forget()
        self._set_bounds([m.points for m in marks])

    def paint(
        self, painter: QPainter, setting: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        """Put each look's stamp at its places, in pixels; many are kept as a picture."""
        ratio = 1.0 if widget is None else widget.devicePixelRatioF()
        if sum(len(m.points) for m in self.marks) < MANY:
            self._put(painter, ratio)
        else:
            self._picture.paint(self, painter, widget, lambda on: self._put(on, ratio))

    def _put(self, painter: QPainter, ratio: float) -> None:
        t = painter.transform()
        painter.resetTransform()
        for m in self.marks:
            stamp, half = _stamp(m, ratio)
            corner = m.points * (t.m11(), t.m22()) + (t.dx() - half, t.dy() - half)
            for x, y in corner.tolist():
                painter.drawPixmap(QPointF(x, y), stamp)


def _stamp(marks: Marks, ratio: float) -> tuple[QPixmap, float]:
    """One marker as a pixmap, and half its side in pixels."""
    side = int(np.ceil(marks.size * 1.5 + (marks.pen.widthF() if marks.pen else 0) + 2))
    stamp = QPixmap(int(np.ceil(side * ratio)), int(np.ceil(side * ratio)))
    stamp.setDevicePixelRatio(ratio)
    stamp.fill(Qt.GlobalColor.transparent)
    painter = QPainter(stamp)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(marks.pen or QPen(Qt.PenStyle.NoPen))
    painter.setBrush(QBrush(marks.fill) if marks.fill else QBrush(Qt.BrushStyle.NoBrush))
    painter.drawPath(shape(QPointF(side / 2, side / 2), marks.marker, marks.size))
    painter.end()
    return stamp, side / 2


def shape(centre: QPointF, marker: str, size: float) -> QPainterPath:
    """Outline of ``marker`` about ``centre``, all in pixels."""
    path = QPainterPath()
    corners = [QPointF(x, y) + centre for x, y in outline(marker) * size]
    path.addPolygon(QPolygonF([*corners, corners[0]]))
    return path


class Canvas(pg.PlotWidget):
    """The plot and its mouse: pointing, clicking, and turning where that is switched on.

    Signals
    -------
    pointed(QPointF), left()
        The pointer moved, no button held (viewport pixels), or went away.
    clicked(QPointF)
        The left button went down and up in one place.
    turned(float, float), turn_ended()
        Dragged by so many pixels since the last signal, to the right and down.
    resized()
        After the canvas took a new size.
    """

    pointed = Signal(QPointF)
    left = Signal()
    clicked = Signal(QPointF)
    turned = Signal(float, float)
    turn_ended = Signal()
    resized = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        axes = {side: TitledAxis(side) for side in ("bottom", "left")}
        super().__init__(parent, background=None, axisItems=axes)
        self.turning = False
        self._pressed: QPointF | None = None
        self._moved = False
        self._last = QPointF()
        self._grabbed = False
        self.setMenuEnabled(False)
        self.hideButtons()
        # Space and the arrows belong to the transport.
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setViewportUpdateMode(self.ViewportUpdateMode.FullViewportUpdate)

    @property
    def is_turning(self) -> bool:
        """Whether a drag that turns is under way."""
        return self._grabbed

    def mousePressEvent(self, ev: QMouseEvent) -> None:
        """Begin a click, a turn, or pyqtgraph's pan; the right button asks for the view's menu."""
        if ev.button() == Qt.MouseButton.RightButton:
            ev.ignore()
            return
        if ev.button() == Qt.MouseButton.LeftButton:
            self._pressed, self._last, self._moved = ev.position(), ev.position(), False
            shift = bool(ev.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            self._grabbed = self.turning and not shift
            if self._grabbed:
                ev.accept()
                return
        super().mousePressEvent(ev)

    def mouseMoveEvent(self, ev: QMouseEvent) -> None:
        """Turn, pan or point."""
        here = ev.position()
        if self._pressed is not None and (here - self._pressed).manhattanLength() > 4:
            self._moved = True
        if self._grabbed:
            if self._moved:
                step = here - self._last
                self._last = here
                self.turned.emit(step.x(), step.y())
            return
        super().mouseMoveEvent(ev)
        if ev.buttons() == Qt.MouseButton.NoButton:
            self.pointed.emit(here)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Leave it to the view's frame."""
        event.ignore()

    def mouseReleaseEvent(self, ev: QMouseEvent) -> None:
        """End a turn, or click."""
        if ev.button() == Qt.MouseButton.RightButton:
            ev.ignore()
            return
        grabbed, self._grabbed = self._grabbed, False
        if not grabbed:
            super().mouseReleaseEvent(ev)
        if ev.button() != Qt.MouseButton.LeftButton or self._pressed is None:
            return
        self._pressed = None
        if not self._moved:
            self.clicked.emit(ev.position())
        elif grabbed:
            self.turn_ended.emit()

    def resizeEvent(self, ev: QResizeEvent) -> None:
        """Pass the new size on."""
        super().resizeEvent(ev)
        self.resized.emit()

    def leaveEvent(self, ev: QEvent) -> None:
        """Nothing is pointed at any more."""
        super().leaveEvent(ev)
        self.left.emit()
