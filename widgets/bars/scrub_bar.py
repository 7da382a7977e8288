"""The scrub bar: recurrences 0 to the latest, with the trained count marked."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QHelpEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget
from typing_extensions import override

from loopscope.widgets.kit.theme import number_font
from loopscope.widgets.palette import LIGHT, Theme

MARGIN, HANDLE = 10.0, 6.0
# Recurrences get a tick each where they are at least this far apart.
TICK_ROOM = 6.0
# How much of a range a notch of the wheel leaves.
ZOOM = 0.8


class ScrubBar(QWidget):
    """Drag or click to move the cursor among the recurrences that were run.

    Over the groove lies the range that heat maps and curves show; with Shift it is dragged out,
    Ctrl and the wheel zoom it, and a double click with Shift shows everything.

    Signals
    -------
    scrub_requested(int)
        A recurrence from 0 to the latest.
    range_requested(float, float), zoom_requested(float, float), whole_requested()
        The recurrences between two; about which to zoom and by what; all of them.
    """

    scrub_requested = Signal(int)
    range_requested = Signal(float, float)
    zoom_requested = Signal(float, float)
    whole_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = LIGHT
        self.latest = self.cursor_at = 0
        self.trained = 0
        self.part = 0.0  # of the recurrence under way, 0..1
        self.shown: tuple[int, int] | None = None  # the range, None for everything
        self._drag_from: int | None = None  # where a range is dragged out from
        self._dragging = False
        self._asked: int | None = None
        self._pointed: float | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(34)

    @override
    def minimumSizeHint(self) -> QSize:  # Qt's name
        """Wide enough for the trained mark's text."""
        return QSize(110, 34)

    @override
    def sizeHint(self) -> QSize:  # Qt's name
        """As wide as there is room."""
        return QSize(400, 34)

    def show_run(self, latest: int, cursor: int, trained: int, part: float) -> None:
        """Take where the run and the cursor are."""
        state = (latest, cursor, trained, part)
        if state != (self.latest, self.cursor_at, self.trained, self.part):
            self.latest, self.cursor_at, self.trained, self.part = state
            self.update()

    def show_range(self, shown: tuple[int, int] | None) -> None:
        """Take the range that views show; None for everything."""
        if shown != self.shown:
            self.shown = shown
            self.update()

    # ---- where things are ----
    @property
    def end(self) -> int:
        """The recurrence at the right end."""
        return max(self.latest + (1 if self.part else 0), self.trained, 1)

    def x_of(self, recurrence: float) -> float:
        """Pixel of a recurrence."""
        return MARGIN + recurrence / self.end * (self.width() - 2 * MARGIN)

    @property
    def groove_y(self) -> float:
        """Pixel height of the groove."""
        return self.height() - 10.0

    def recurrence_at(self, x: float) -> int:
        """The recurrence nearest to a pixel, of those that were run."""
        share = (x - MARGIN) / max(self.width() - 2 * MARGIN, 1)
        return max(0, min(round(share * self.end), self.latest))

    # ---- events ----
    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Go there; with Shift drag a range out."""
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self._drag_from = self.recurrence_at(event.position().x())
        elif event.button() == Qt.MouseButton.LeftButton:
            self._dragging, self._asked = True, None
            self._ask(self.recurrence_at(event.position().x()))

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Go along while dragging."""
        self._pointed = event.position().x()
        if self._dragging:
            self._ask(self.recurrence_at(self._pointed))
        elif self._drag_from is not None:
            at = self.recurrence_at(self._pointed)
            if at != self._drag_from:
                self.range_requested.emit(self._drag_from, at)
        self.update()

    @override
    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """With Shift show everything again."""
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.whole_requested.emit()
        else:
            self.mousePressEvent(event)

    @override
    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Stay."""
        self._drag_from = None
        if event.button() == Qt.MouseButton.LeftButton:
            self._dragging = False

    @override
    def leaveEvent(self, event: QEvent) -> None:
        self._pointed = None
        self.update()

    @override
    def wheelEvent(self, event: QWheelEvent) -> None:
        """One recurrence a notch; with Ctrl more or fewer of them are shown."""
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier and event.angleDelta().y():
            at = self.recurrence_at(event.position().x())
            self.zoom_requested.emit(at, ZOOM ** (event.angleDelta().y() / 120))
            return
        steps = (event.angleDelta().y() > 0) - (event.angleDelta().y() < 0)
        self._asked = None
        self._ask(max(0, min(self.cursor_at + steps, self.latest)))

    @override
    def event(self, event: QEvent) -> bool:
        """Answer tooltips with the place under the pointer."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), self.tip_at(event.pos().x()), self)
            return True
        return super().event(event)

    def tip_at(self, x: float) -> str:
        """The tooltip of a pixel."""
        if self.trained and abs(x - self.x_of(self.trained)) < 5:
            return f"Trained to R = {self.trained}; the block can be run on beyond it"
        return (
            f"Go to r = {self.recurrence_at(x)} (Left and Right go one recurrence, "
            "Home and End to the start and the latest). Nothing is recomputed. Shift and drag: "
            "the recurrences that heat maps and curves show; Shift and double click: all"
        )

    def _ask(self, recurrence: int) -> None:
        if recurrence != self._asked:
            self._asked = recurrence
            self.scrub_requested.emit(recurrence)

    # ---- drawing ----
    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Groove, ticks, the trained mark, the place pointed at and the handle."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setOpacity(1.0 if self.isEnabled() else 0.45)
        theme, y = self.theme, self.groove_y
        left, run_to = self.x_of(0), self.x_of(self.latest + self.part)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.line))
        painter.drawRoundedRect(QRectF(left, y - 2, self.x_of(self.end) - left, 4), 2, 2)
        painter.setBrush(QColor(theme.muted))
        painter.drawRoundedRect(QRectF(left, y - 2, max(run_to - left, 0), 4), 2, 2)
        self._draw_ticks(painter)
        self._draw_range(painter)
        self._draw_trained(painter)
        if self._pointed is not None and self.isEnabled():
            x = self.x_of(self.recurrence_at(self._pointed))
            painter.setPen(QPen(QColor(theme.muted), 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(QPointF(x, y), HANDLE, HANDLE)
        painter.setPen(QPen(QColor(theme.window), 1.5))
        painter.setBrush(QColor(theme.accent if self.isEnabled() else theme.muted))
        painter.drawEllipse(QPointF(self.x_of(self.cursor_at), y), HANDLE, HANDLE)

    def _draw_range(self, painter: QPainter) -> None:
        """A bracket over the part of the groove that views show."""
        if self.shown is None:
            return
        left, right = (self.x_of(r) for r in self.shown)
        y = self.groove_y
        painter.setPen(QPen(QColor(self.theme.text), 1.5))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(QRectF(left, y - 4, max(right - left, 2.0), 8))

    def _draw_ticks(self, painter: QPainter) -> None:
        if self.x_of(1) - self.x_of(0) < TICK_ROOM:
            return
        y = self.groove_y
        painter.setPen(QPen(QColor(self.theme.line), 1))
        for r in range(self.end + 1):
            x = round(self.x_of(r)) + 0.5
            painter.drawLine(QPointF(x, y + 4), QPointF(x, y + 7))

    def _draw_trained(self, painter: QPainter) -> None:
        """A line across the groove, its words above and inside the widget."""
        if not self.trained:
            return
        font = number_font()
        font.setPointSizeF(max(6.5, self.font().pointSizeF() - 2))
        painter.setFont(font)
        metrics = QFontMetricsF(font)
        text, x = f"trained {self.trained}", self.x_of(self.trained)
        wide = metrics.horizontalAdvance(text)
        text_left = min(max(x - wide / 2, 0.0), self.width() - wide)
        line = min(metrics.height(), self.groove_y - 8)
        painter.setPen(QPen(QColor(self.theme.text), 1.5))
        painter.drawLine(QPointF(x, line + 1), QPointF(x, self.groove_y + 5))
        painter.setPen(QColor(self.theme.muted))
        flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(text_left, 0, wide + 1, line), flags, text)
