"""Popups: an edge that is seen on every ground, under the widget that opened it, on the screen."""

from __future__ import annotations

from PySide6.QtGui import QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QFrame, QWidget
from typing_extensions import override


class EdgedFrame(QFrame):
    """A frame that draws its edge in the colour of muted text while it is a window of its own."""

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        if self.isWindow():
            painter = QPainter(self)
            painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))


def show_below(popup: QWidget, widget: QWidget) -> None:
    """Show ``popup`` under ``widget``, their right edges in line, on the screen of the widget."""
    popup.adjustSize()
    corner = widget.mapToGlobal(widget.rect().bottomRight())
    screen = widget.screen().availableGeometry()
    x = min(corner.x() - popup.width(), screen.right() - popup.width())
    y = min(corner.y() + 2, screen.bottom() - popup.height())
    popup.move(max(screen.left(), x), y)
    popup.show()
