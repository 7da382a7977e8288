"""The text over the state-space plot: why it is empty, the 3-D axes, the cursor's token."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.measures.projection import turn
from loopscope.core.selection import Selection
from loopscope.core.views.state_space.compute import Data
from loopscope.widgets.palette import Theme


class Plotted(Protocol):
    """What is read of the view at each painting; ``angle`` is azimuth and elevation, degrees."""

    data: Data | None
    theme: Theme
    angle: tuple[float, float]
    selection: Selection

    def empty_words(self) -> str:
        """Return why there is nothing to see."""

    def cursor_pixel(self) -> QPointF | None:
        """Return where the cursor's point is drawn, or None."""


class TextOverlay(QWidget):
    """Lies over ``canvas`` and lets the mouse through; writes what ``view`` calls for."""

    def __init__(self, canvas: QWidget, view: Plotted) -> None:
        super().__init__(canvas)
        self.view = view
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    @override
    def paintEvent(self, ev: QPaintEvent) -> None:
        """Write what the present data call for."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        data, theme = self.view.data, self.view.theme
        if data is None or data.empty:
            text = self.view.empty_words()
            painter.setPen(QColor(theme.muted))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(16, 8, -16, -8), flags, text)
        else:
            if data.is_3d:
                self._paint_axes(painter, data)
            self._paint_cursor(painter, data)
        painter.end()

    def _paint_axes(self, painter: QPainter, data: Data) -> None:
        origin, length = np.array([44.0, self.height() - 44.0]), 28.0
        arrows = turn(np.eye(3), *self.view.angle)
        painter.setPen(QPen(QColor(self.view.theme.muted), 1.4))
        for axis, arrow in zip(data.axes, arrows, strict=True):
            tip = origin + length * arrow[:2] * (1, -1)
            painter.drawLine(QPointF(*origin), QPointF(*tip))
            at = origin + (length + 11) * arrow[:2] * (1, -1)
            box = QRectF(at[0] - 30, at[1] - 8, 60, 16)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, axis.name)
        words = "   ".join(axis.short for axis in data.axes) + " of variance"
        if self.fontMetrics().horizontalAdvance(words) > self.width() - 12:
            words = "  ".join(axis.short for axis in data.axes)
        painter.drawText(QPointF(6, self.fontMetrics().ascent() + 3), words)

    def _paint_cursor(self, painter: QPainter, data: Data) -> None:
        at = self.view.cursor_pixel()
        if at is None or not self.rect().contains(at.toPoint()):
            return
        selection = self.view.selection
        label = data.labels[data.tokens.index(selection.token)]
        metrics = self.fontMetrics()
        text = metrics.elidedText(label, Qt.TextElideMode.ElideRight, 120)
        width = metrics.horizontalAdvance(text)
        x = at.x() + 11 if at.x() + 15 + width < self.width() else at.x() - 11 - width
        behind = QColor(self.view.theme.panel)
        behind.setAlphaF(0.85)
        baseline = at.y() + metrics.ascent() / 2 - 8
        painter.fillRect(
            QRectF(x - 1, baseline - metrics.ascent(), width + 2, metrics.height()), behind
        )
        painter.setPen(QColor(self.view.theme.accent))
        painter.drawText(QPointF(x, baseline), text)
