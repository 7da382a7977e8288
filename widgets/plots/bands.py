"""Intervals of curves as shaded bands, all of them one item of a plot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget
from typing_extensions import override

from loopscope.widgets.plots.kept_picture import KeptPicture


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """From ``low`` to ``high`` over ``x``, each ``[n]``, finite and in plot coordinates."""

    x: np.ndarray
    low: np.ndarray
    high: np.ndarray
    colour: QColor

    def outline(self) -> QPainterPath:
        """Along the lower end and back along the upper one."""
        x = np.concatenate([self.x, self.x[::-1]])
        y = np.concatenate([self.low, self.high[::-1]])
        path: QPainterPath = pg.functions.arrayToQPath(x, y, finiteCheck=False)
        return path


class Bands(pg.GraphicsObject):
    """Paints bands over each other, in their order."""

    def __init__(self, bands: Iterable[Band]) -> None:
        super().__init__()
        self.bands = tuple(bands)
        self._paths = [(band.colour, band.outline()) for band in self.bands]
        self._picture, self._bounds = KeptPicture(), QRectF()
        for _, path in self._paths:
            self._bounds |= path.boundingRect()

    @override
    def boundingRect(self) -> QRectF:
        """Bounds in plot coordinates."""
        return self._bounds

    @override
    def paint(
        self, painter: QPainter, setting: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        """Draw the kept picture, or each band."""
        self._picture.paint(self, painter, widget, self._fill)

    def _fill(self, painter: QPainter) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        for colour, path in self._paths:
            painter.fillPath(path, colour)
