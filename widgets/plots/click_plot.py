"""A pyqtgraph plot with titled axes, marks and words for nothing, that tells what is clicked."""

from __future__ import annotations

from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QContextMenuEvent, QMouseEvent, QPainter, QWheelEvent
from PySide6.QtWidgets import QWidget

from loopscope.widgets.kit.theme import style_plot
from loopscope.widgets.palette import LIGHT, Theme
from loopscope.widgets.plots.axes import TitledAxis
from loopscope.widgets.plots.plot_marks import PointMarks, paint_missing

NOWHERE = (-1, -1)
# How much of a range a notch of the wheel leaves.
ZOOM = 0.8


class ClickPlot(pg.PlotWidget):
    """Subclasses draw `data` and say in `place_at` what is under a pixel; dragging is no click.

    Signals
    -------
    clicked(int, int), pointed(int, int)
        A place as `place_at` gives it; only `pointed` tells -1, -1.
    zoom_requested(float, float)
        The wheel, without Ctrl, over an axis that all views share: where on it, and the factor.
    """

    clicked = Signal(int, int)
    pointed = Signal(int, int)
    zoom_requested = Signal(float, float)
    data: Any = None  # of the class, for pyqtgraph resizes while it is being made

    def __init__(
        self,
        parent: QWidget | None = None,
        *,
        bottom: TitledAxis | None = None,
        left: TitledAxis | None = None,
    ) -> None:
        axes = {"bottom": bottom or TitledAxis("bottom"), "left": left or TitledAxis("left")}
        super().__init__(parent, axisItems=axes)
        self.theme: Theme = LIGHT
        self.empty_text = ""
        self.zoomed = False
        self._pressed: QPointF | None = None
        self.setMenuEnabled(False)
        self.hideButtons()
        self.getPlotItem().getViewBox().sigRangeChangedManually.connect(self._on_zoomed)
        self.setMouseTracking(True)
        self.viewport().setMouseTracking(True)
        self.marks = PointMarks(self.getPlotItem())

    # ---- what is shown ----
    def show_empty(self, text: str) -> None:
        """Show only ``text``."""
        self.data, self.empty_text = None, text
        self.getPlotItem().setVisible(False)
        self.viewport().update()

    def set_titles(self, bottom: tuple[str, ...], left: tuple[str, ...]) -> None:
        """Name the axes: each in words and, where these do not fit, shorter."""
        for side, titles in (("bottom", bottom), ("left", left)):
            self.getPlotItem().getAxis(side).set_titles(*titles)

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self.theme = theme
        self.setBackground(theme.panel)
        style_plot(self.getPlotItem(), theme)
        self.marks.set_theme(theme)

    # ---- where things are ----
    def place_at(self, point: QPointF) -> tuple[int, int]:
        """Two indices that say what is under a pixel; -1, -1 for nothing."""
        raise NotImplementedError

    def pixel_of(self, x: float, y: float) -> QPointF:
        """Pixel of a place given in the plot's own coordinates."""
        return QPointF(self.getViewBox().mapViewToScene(QPointF(x, y)))

    # ---- events ----
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Remember where a click may begin; the right button asks for the view's menu."""
        if event.button() == Qt.MouseButton.RightButton:
            event.ignore()
            return
        self._pressed = event.position()
        super().mousePressEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Tell what was clicked, unless the plot was dragged."""
        if event.button() == Qt.MouseButton.RightButton:
            event.ignore()
            return
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

    def shared_x(self, x: float) -> float | None:
        """The recurrence at a place of the horizontal axis; None where that is of this plot."""
        return None

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Ask for another range of what all views share; with Ctrl zoom this plot alone."""
        view, steps = self.getViewBox(), event.angleDelta().y() / 120
        at = view.mapSceneToView(self.mapToScene(event.position().toPoint())).x()
        shared = None if self.data is None else self.shared_x(float(at))
        if shared is None or event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            super().wheelEvent(event)
            return
        if steps:
            self.zoom_requested.emit(shared, ZOOM**steps)
        event.accept()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Leave it to the view's frame."""
        event.ignore()

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is pointed at."""
        super().leaveEvent(event)
        self.pointed.emit(*NOWHERE)

    def drawForeground(self, painter: QPainter, rect: QRectF) -> None:
        """Say what is missing while there is nothing to draw."""
        if self.data is None:
            paint_missing(painter, self.viewport(), self.empty_text, self.theme)

    def _on_zoomed(self) -> None:
        self.zoomed = True
