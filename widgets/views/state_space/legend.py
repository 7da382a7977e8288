"""The strip beside the state-space plot that says what its colours and shapes mean."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QLinearGradient, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.widgets.palette import LIGHT, Theme
from loopscope.widgets.views.state_space.items import shape


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the legend: a marker in a colour (None: muted) and a text.

    marker : a shape, "line" or "dots" for a piece of line, "" for none.
    """

    marker: str
    colour: str | None
    text: str
    hollow: bool = False


class Legend(QWidget):
    """The strip beside the plot: recurrence colours, token colours, marker shapes."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.entries: list[Entry] = []
        self.scale: list[tuple[float, str]] = []
        self.ticks: list[tuple[float, str]] = []
        self.theme: Theme = LIGHT

    def set_content(
        self, entries: list[Entry], scale: list[tuple[float, str]], ticks: list[tuple[float, str]]
    ) -> None:
        """Show ``entries`` below a colour scale (stops 0..1, empty: none) with ``ticks``."""
        self.entries, self.scale, self.ticks = entries, scale, ticks
        self.updateGeometry()
        self.update()

    @override
    def sizeHint(self) -> QSize:
        """Wide enough for the texts, up to a bound."""
        metrics = self.fontMetrics()
        texts = [e.text for e in self.entries[:64]] + (["recurrence"] if self.scale else [])
        widest = max((metrics.horizontalAdvance(text) for text in texts), default=0)
        return QSize(min(widest + 24, 136), 40)

    def shown_entries(self) -> list[Entry]:
        """The entries that fit, with a last line that says how many do not."""
        line = self.fontMetrics().height() + 3
        room = max(int((self.height() - self._scale_height() - 4) / line), 1)
        if len(self.entries) <= room:
            return self.entries
        kept = self.entries[: max(room - 1, 0)]
        return [*kept, Entry("", None, f"+ {len(self.entries) - len(kept)} more")]

    def _scale_height(self) -> int:
        if not self.scale:
            return 0
        return self.fontMetrics().height() + min(max(self.height() // 3, 40), 110) + 14

    @override
    def paintEvent(self, ev: QPaintEvent) -> None:
        """Draw the colour scale, then the entries that fit."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_scale(painter)
        line = self.fontMetrics().height() + 3
        y = self._scale_height() + 4
        for entry in self.shown_entries():
            self._paint_entry(painter, entry, y, line)
            y += line
        painter.end()

    def _paint_scale(self, painter: QPainter) -> None:
        if not self.scale:
            return
        height = self.fontMetrics().height()
        painter.setPen(QColor(self.theme.muted))
        painter.drawText(QPointF(2, height), "recurrence")
        bar = QRectF(4, height + 6, 10, self._scale_height() - height - 14)
        gradient = QLinearGradient(bar.bottomLeft(), bar.topLeft())
        for at, colour in self.scale:
            gradient.setColorAt(at, QColor(colour))
        painter.fillRect(bar, gradient)
        painter.setPen(QColor(self.theme.text))
        ascent = self.fontMetrics().ascent()
        # The ends first; those between where they have room.
        taken: list[float] = []
        for at, text in sorted(self.ticks, key=lambda tick: -abs(tick[0] - 0.5)):
            y = bar.bottom() - at * bar.height()
            y = min(max(y + ascent / 2 - 1, bar.top() + ascent - 2), bar.bottom())
            if all(abs(y - other) >= height for other in taken):
                taken.append(y)
                painter.drawText(QPointF(20, y), text)

    def _paint_entry(self, painter: QPainter, entry: Entry, y: float, line: int) -> None:
        colour = QColor(entry.colour or self.theme.muted)
        if entry.marker in ("line", "dots"):
            style = Qt.PenStyle.SolidLine if entry.marker == "line" else Qt.PenStyle.DotLine
            painter.setPen(QPen(colour, 1.6, style))
            painter.drawLine(QPointF(3, y + line / 2), QPointF(16, y + line / 2))
        elif entry.marker:
            painter.setPen(QPen(colour, 1.2))
            painter.setBrush(QBrush(Qt.BrushStyle.NoBrush) if entry.hollow else QBrush(colour))
            painter.drawPath(shape(QPointF(9, y + line / 2), entry.marker, 8))
        painter.setPen(QColor(self.theme.text if entry.marker else self.theme.muted))
        left = 20 if entry.marker else 4
        metrics = self.fontMetrics()
        text = metrics.elidedText(entry.text, Qt.TextElideMode.ElideRight, self.width() - left - 2)
        painter.drawText(QPointF(left, y + (line + metrics.ascent() - metrics.descent()) / 2), text)
