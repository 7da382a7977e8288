"""Where a popup stands: under the widget that opened it, within the screen."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget


def show_below(popup: QWidget, widget: QWidget) -> None:
    """Show ``popup`` under ``widget``, their right edges in line, on the screen of the widget."""
    popup.adjustSize()
    corner = widget.mapToGlobal(widget.rect().bottomRight())
    screen = widget.screen().availableGeometry()
    x = min(corner.x() - popup.width(), screen.right() - popup.width())
    y = min(corner.y() + 2, screen.bottom() - popup.height())
    popup.move(max(screen.left(), x), y)
    popup.show()
