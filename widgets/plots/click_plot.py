"""A pyqtgraph plot that tells what is clicked and pointed at."""

from __future__ import annotations

import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, Qt, Signal
from PySide6.QtGui import QMouseEvent
from PySide6.QtWidgets import QWidget

from loopscope.widgets.palette import LIGHT, Theme

NOWHERE = (-1, -1)


class ClickPlot(pg.PlotWidget):
    """Subclasses say in `place_at` what is under a pixel; dragging the plot is no click.

    Signals
    -------
    clicked(int, int), pointed(int, int)
        A place as `place_at` gives it; only `pointed` tells -1, -1.
    """

    clicked = Signal(int, int)
    pointed = Signal(int, int)

    def __init__(self, parent: QWidget | None = None, **options: object) -> None:
        super().__init__(parent, **options)
        self.theme: Theme = LIGHT
        self.empty_text = ""
        self.zoomed = False
        self._pressed: QPointF | None = None
        self.setMenuEnabled(False)
        self.hideButtons()
        self.getPlotItem().getViewBox().sigRangeChangedManually.connect(self._on_zoomed)
        self.setMouseTracking(True)
        self.viewport().setMouseTracking(True)

    def place_at(self, point: QPointF) -> tuple[int, int]:
        """Two indices that say what is under a pixel; -1, -1 for nothing."""
        raise NotImplementedError

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Remember where a click may begin."""
        self._pressed = event.position()
        super().mousePressEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Tell what was clicked, unless the plot was dragged."""
        super().mouseReleaseEvent(event)
        start, self._pressed = self._pressed, None
        still = start is not None and (event.position() - start).manhattanLength() < 5
        place = self.place_at(event.position())
        if event.button() == Qt.MouseButton.LeftButton and still and place[0] >= 0:
            self.clicked.emit(*place)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell what is pointed at."""
        super().mouseMoveEvent(event)
        if not event.buttons():
            self.pointed.emit(*self.place_at(event.position()))

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is pointed at."""
        super().leaveEvent(event)
        self.pointed.emit(*NOWHERE)

    def _on_zoomed(self) -> None:
        self.zoomed = True
