"""Colours and lines of the computation graph on the screen."""

from __future__ import annotations

from PySide6.QtCore import QPointF
from PySide6.QtGui import QColor, QPainter, QPainterPath


def mixed(colour: QColor, other: QColor, share: float) -> QColor:
    """``share`` of ``other`` in ``colour``."""
    pairs = zip(colour.getRgb()[:3], other.getRgb()[:3], strict=True)
    return QColor(*(round(a + share * (b - a)) for a, b in pairs))


def rounded(points: list[QPointF], radius: float) -> QPainterPath:
    """A path through ``points`` with round corners."""
    path = QPainterPath(points[0])
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        path.lineTo(_towards(corner, before, radius))
        path.quadTo(corner, _towards(corner, after, radius))
    path.lineTo(points[-1])
    return path


def _towards(a: QPointF, b: QPointF, length: float) -> QPointF:
    dx, dy = b.x() - a.x(), b.y() - a.y()
    whole = max((dx * dx + dy * dy) ** 0.5, 1e-9)
    share = min(length / whole, 0.5)
    return QPointF(a.x() + dx * share, a.y() + dy * share)


def arrow(painter: QPainter, start: QPointF, end: QPointF, colour: QColor, size: float) -> None:
    """A filled head at ``end``, pointing away from ``start``."""
    dx, dy = end.x() - start.x(), end.y() - start.y()
    whole = max((dx * dx + dy * dy) ** 0.5, 1e-9)
    ux, uy = dx / whole * size, dy / whole * size
    head = QPainterPath(end)
    head.lineTo(end.x() - 1.5 * ux + 0.7 * uy, end.y() - 1.5 * uy - 0.7 * ux)
    head.lineTo(end.x() - 1.5 * ux - 0.7 * uy, end.y() - 1.5 * uy + 0.7 * ux)
    head.closeSubpath()
    painter.fillPath(head, colour)
