"""Text in a rectangle: shortened to fit, along or upright."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QPainter

LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
CENTRE = Qt.AlignmentFlag.AlignCenter


def draw_text(painter: QPainter, rect: QRectF, flags: Qt.AlignmentFlag, text: str) -> None:
    """Draw ``text``, shortened with an ellipsis when it is too wide."""
    room = int(rect.width()) + 1
    fits = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, room)
    painter.drawText(rect, flags, fits)


def first_that_fits(forms: Sequence[str], room: float, metrics: QFontMetricsF) -> str:
    """Return the first of several forms of one text that has the room, "" where none has."""
    return next((form for form in forms if metrics.horizontalAdvance(form) <= room), "")


def short_name(text: str, room: float, metrics: QFontMetricsF) -> str:
    """Return ``text`` without what follows its comma, then its bracket, as far as room asks for.

    A name keeps its first words whole rather than all of them cut: "recurrence:layer, along
    effective depth" becomes "recurrence:layer".
    """
    forms = (text, text.partition(", ")[0], text.partition(" (")[0].partition(", ")[0])
    return first_that_fits(forms, room, metrics) or forms[-1]


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
