"""Text in a rectangle: shortened to fit, along or upright."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter

LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
CENTRE = Qt.AlignmentFlag.AlignCenter


def draw_text(painter: QPainter, rect: QRectF, flags: Qt.AlignmentFlag, text: str) -> None:
    """Draw ``text``, shortened with an ellipsis when it is too wide."""
    room = int(rect.width()) + 1
    fits = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, room)
    painter.drawText(rect, flags, fits)


def upright(text: str) -> str:
    """Return ``text`` with the bars of a norm apart: turned, those of ``‖`` run into one."""
    return text.replace("‖", "∥")


def draw_upright(painter: QPainter, rect: QRectF, flags: Qt.AlignmentFlag, text: str) -> None:
    """Draw ``text`` reading upwards in ``rect``; right-aligned text ends at the top."""
    painter.save()
    painter.translate(rect.left(), rect.bottom())
    painter.rotate(-90)
    draw_text(painter, QRectF(0, 0, rect.height(), rect.width()), flags, upright(text))
    painter.restore()
