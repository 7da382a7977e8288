"""Lines kept as a picture: marks that move over them do not have them stroked again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pyqtgraph as pg
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPixmap
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget
from typing_extensions import override


class KeptPicture:
    """What an item of a plot paints, kept until it is forgotten or the view changes."""

    def __init__(self) -> None:
        self._kept: QPixmap | None = None
        self._kept_for: tuple[object, ...] = ()

    def forget(self) -> None:
        """Have it stroked anew."""
        self._kept = None

    def paint(
        self,
        item: pg.GraphicsObject,
        painter: QPainter,
        widget: QWidget | None,
        stroke: Callable[[QPainter], None],
    ) -> None:
        """Put the picture there, or where there is no widget, on paper, the strokes themselves."""
        if widget is None:
            stroke(painter)
            return
        transform, ratio = painter.transform(), widget.devicePixelRatioF()
        wanted = (transform, widget.size(), ratio)
        if self._kept is None or wanted != self._kept_for:
            self._kept = QPixmap(widget.size() * ratio)
            self._kept.setDevicePixelRatio(ratio)
            self._kept.fill(Qt.GlobalColor.transparent)
            self._kept_for = wanted
            inner = QPainter(self._kept)
            try:
                # Clipped to a rectangle, Qt strokes translucent hairlines 4 to 15 times as fast.
                inner.setClipRect(item.getViewBox().sceneBoundingRect())
                inner.setTransform(transform)
                stroke(inner)
            finally:
                inner.end()  # a painter left at work on a picture takes the process down
        painter.resetTransform()
        painter.drawPixmap(0, 0, self._kept)


class KeptCurves(pg.GraphicsObject):
    """Curves that are painted together, in their order; they are in no scene themselves.

    Whoever changes their data or their pens calls `changed`.
    """

    def __init__(self, curves: Iterable[pg.PlotCurveItem]) -> None:
        super().__init__()
        self.curves = tuple(curves)
        self._picture, self._bounds = KeptPicture(), QRectF()
        self.changed()

    def changed(self) -> None:
        """Stroke them anew."""
        self.prepareGeometryChange()
        bounds = QRectF()
        for curve in self.curves:
            if curve.xData is not None and len(curve.xData):
                bounds |= curve.boundingRect()
        self._bounds = bounds
        self._picture.forget()
        self.update()

    @override
    def boundingRect(self) -> QRectF:
        """Bounds in plot coordinates."""
        return self._bounds

    @override
    def paint(
        self, painter: QPainter, setting: QStyleOptionGraphicsItem, widget: QWidget | None = None
    ) -> None:
        """Draw the kept picture, or each curve with its pen."""
        self._picture.paint(self, painter, widget, self._stroke)

    def _stroke(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for curve in self.curves:
            if curve.xData is not None and len(curve.xData):
                painter.setPen(curve.opts["pen"])
                painter.drawPath(curve.getPath())
