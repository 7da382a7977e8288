"""The icons of a panel's title bar, drawn as paths on the transport's grid."""

from __future__ import annotations

import math

from PySide6.QtCore import QRectF
from PySide6.QtGui import QPainterPath

from loopscope.widgets.bars.transport_icons import PATHS, Paths


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


PATHS.update(
    {
        "panel settings": _settings,
        "panel export": _export,
        "panel maximise": _maximise,
        "panel restore": _restore,
        "panel help": _help,
        "panel close": _close,
    }
)
