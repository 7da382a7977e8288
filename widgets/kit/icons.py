"""The icons of the transport and of a view's title bar, drawn as paths on a grid of 16 x 16."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap

from loopscope.widgets.palette import Theme

GRID = 16
# Device pixels to a grid unit that pixmaps are made for.
RATIOS = (1.0, 2.0)


@lru_cache(maxsize=256)
def themed_icon(name: str, theme: Theme) -> QIcon:
    """Make icon ``name`` in the theme's text colour, greyed where disabled."""
    made = QIcon()
    for mode, colour in (
        (QIcon.Mode.Normal, theme.text),
        (QIcon.Mode.Active, theme.text),
        (QIcon.Mode.Disabled, theme.hover),
    ):
        for ratio in RATIOS:
            made.addPixmap(_pixmap(name, QColor(colour), ratio), mode)
    return made


def _pixmap(name: str, colour: QColor, ratio: float) -> QPixmap:
    pixmap = QPixmap(QSize(GRID, GRID) * ratio)
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    filled, stroked = PATHS[name]()
    painter.fillPath(filled, colour)
    pen = QPen(colour, 1.6)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.strokePath(stroked, pen)
    painter.end()
    return pixmap


Paths = tuple[QPainterPath, QPainterPath]  # filled, stroked


def _triangle(path: QPainterPath, x: float, width: float, half: float = 4.5) -> None:
    """A triangle from its flat side at ``x`` to its tip at ``x + width`` (left if negative)."""
    path.moveTo(x, 8 - half)
    path.lineTo(x + width, 8)
    path.lineTo(x, 8 + half)
    path.closeSubpath()


def _chevron(path: QPainterPath, x: float, width: float, half: float = 4.0) -> None:
    path.moveTo(x, 8 - half)
    path.lineTo(x + width, 8)
    path.lineTo(x, 8 + half)


def _bar(path: QPainterPath, x: float, width: float = 2.0, half: float = 4.5) -> None:
    path.addRect(QRectF(x, 8 - half, width, 2 * half))


def _to_start() -> Paths:
    filled = QPainterPath()
    _bar(filled, 2)
    _triangle(filled, 13, -8)
    return filled, QPainterPath()


def _to_end() -> Paths:
    filled = QPainterPath()
    _triangle(filled, 3, 8)
    _bar(filled, 12)
    return filled, QPainterPath()


def _previous_layer() -> Paths:
    stroked = QPainterPath()
    _chevron(stroked, 10, -4)
    return QPainterPath(), stroked


def _step_layer() -> Paths:
    stroked = QPainterPath()
    _chevron(stroked, 6, 4)
    return QPainterPath(), stroked


def _previous_recurrence() -> Paths:
    stroked = QPainterPath()
    _chevron(stroked, 12.5, -4)
    _chevron(stroked, 7.5, -4)
    return QPainterPath(), stroked


def _step_recurrence() -> Paths:
    stroked = QPainterPath()
    _chevron(stroked, 3.5, 4)
    _chevron(stroked, 8.5, 4)
    return QPainterPath(), stroked


def _play() -> Paths:
    filled = QPainterPath()
    _triangle(filled, 4, 9, 5.5)
    return filled, QPainterPath()


def _pause() -> Paths:
    filled = QPainterPath()
    _bar(filled, 3.5, 3, 5)
    _bar(filled, 9.5, 3, 5)
    return filled, QPainterPath()


def _stop() -> Paths:
    filled = QPainterPath()
    filled.addRoundedRect(QRectF(3.5, 3.5, 9, 9), 1, 1)
    return filled, QPainterPath()


def _reset() -> Paths:
    """Three quarters of a circle with an arrow head: round again."""
    filled, stroked = QPainterPath(), QPainterPath()
    circle = QRectF(3, 3.5, 10, 10)
    stroked.arcMoveTo(circle, 100)
    stroked.arcTo(circle, 100, 290)
    filled.moveTo(QPointF(8.2, 0.4))
    filled.lineTo(QPointF(8.2, 6.6))
    filled.lineTo(QPointF(4.0, 3.5))
    filled.closeSubpath()
    return filled, stroked


def _settle() -> Paths:
    """A curve that falls and levels out, and the bar where it ends."""
    filled, stroked = QPainterPath(), QPainterPath()
    stroked.moveTo(2, 3)
    stroked.cubicTo(QPointF(4, 11), QPointF(6, 12), QPointF(10.5, 12))
    _bar(filled, 12, 2, 5)
    return filled, stroked


def _settings() -> Paths:
    """Three sliders."""
    stroked, filled = QPainterPath(), QPainterPath()
    for y, knob in ((4.0, 10.5), (8.0, 5.5), (12.0, 9.0)):
        stroked.moveTo(2, y)
        stroked.lineTo(14, y)
        filled.addEllipse(QRectF(knob - 1.9, y - 1.9, 3.8, 3.8))
    return filled, stroked


def _export() -> Paths:
    """An arrow out of a tray."""
    stroked = QPainterPath()
    stroked.moveTo(8, 10)
    stroked.lineTo(8, 2.5)
    stroked.moveTo(5, 5.5)
    stroked.lineTo(8, 2.5)
    stroked.lineTo(11, 5.5)
    stroked.moveTo(3, 9.5)
    stroked.lineTo(3, 13.5)
    stroked.lineTo(13, 13.5)
    stroked.lineTo(13, 9.5)
    return QPainterPath(), stroked


def _maximise() -> Paths:
    """A frame with a thick top, as of a window."""
    stroked, filled = QPainterPath(), QPainterPath()
    stroked.addRect(QRectF(2.5, 3, 11, 10))
    filled.addRect(QRectF(2.5, 3, 11, 2.4))
    return filled, stroked


def _restore() -> Paths:
    """Two frames, one behind the other."""
    stroked = QPainterPath()
    stroked.addRect(QRectF(2.5, 5.5, 8, 8))
    stroked.moveTo(5.5, 5.5)
    stroked.lineTo(5.5, 2.5)
    stroked.lineTo(13.5, 2.5)
    stroked.lineTo(13.5, 10.5)
    stroked.lineTo(10.5, 10.5)
    return QPainterPath(), stroked


def _help() -> Paths:
    """The sum sign of a formula."""
    stroked = QPainterPath()
    stroked.moveTo(12, 4.5)
    stroked.lineTo(12, 3)
    stroked.lineTo(4, 3)
    stroked.lineTo(8.5, 8)
    stroked.lineTo(4, 13)
    stroked.lineTo(12, 13)
    stroked.lineTo(12, 11.5)
    return QPainterPath(), stroked


def _close() -> Paths:
    stroked = QPainterPath()
    reach = 4.5 * math.sqrt(0.85)
    for sign in (1, -1):
        stroked.moveTo(8 - reach, 8 - sign * reach)
        stroked.lineTo(8 + reach, 8 + sign * reach)
    return QPainterPath(), stroked


PATHS: dict[str, Callable[[], Paths]] = {
    "to_start": _to_start,
    "previous_layer": _previous_layer,
    "previous_recurrence": _previous_recurrence,
    "play": _play,
    "pause": _pause,
    "step_recurrence": _step_recurrence,
    "step_layer": _step_layer,
    "to_end": _to_end,
    "stop": _stop,
    "stop_at_settling": _settle,
    "reset": _reset,
    "panel settings": _settings,
    "panel export": _export,
    "panel maximise": _maximise,
    "panel restore": _restore,
    "panel help": _help,
    "panel close": _close,
}
