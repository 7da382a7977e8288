"""The settling plot: curves over a log axis, the lines that judge them and their names."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QResizeEvent
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.views.settling import Data
from loopscope.widgets.kit.theme import on_ground
from loopscope.widgets.palette import OKABE_ITO, Theme, token_colour
from loopscope.widgets.plots.axes import LogAxis, WholeAxis
from loopscope.widgets.plots.click_plot import ClickPlot
from loopscope.widgets.plots.kept_picture import KeptCurves
from loopscope.widgets.plots.plot_marks import log10, set_columns
from loopscope.widgets.views.settling_words import (
    Label,
    Place,
    draw_label,
    labels_of,
    names_room,
)

# Pixels within which the pointer is on a curve.
REACH = 24.0
# The axis reaches at least this far, or to the trained count if that is nearer.
FIRST_SPAN = 32
# Points above which a smooth line wider than a pixel is too slow to draw.
WIDE_POINTS = 1000
# Opacity, of 255, of one token among many.
FAINT = 180


class SettlingPlot(ClickPlot):
    """Draws the curves; knows pixels but not what a click means.

    No `CurvePlot`: the tokens of a long prompt are one item for each colour, not one a curve, and
    lines of tolerance and floor cross the whole axis.

    Signals
    -------
    clicked(int, int), pointed(int, int)
        Index into ``data.recurrences`` and curve (-1: none near); -1, -1 when outside.
    """

    # Of the class, as pyqtgraph resizes while it is being made.
    data: Data | None = None
    _beside = 0.0
    _above: tuple[str, ...] = ()
    _margins: tuple[float, float] | None = None

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, bottom=WholeAxis("bottom"), left=LogAxis("left"))
        self.log_values = np.zeros((0, 0))
        self._labels: list[Label] | None = []
        self._labelled = QRectF()
        plot = self.getPlotItem()
        # One item per token colour: a curve for each token costs too much.
        self.groups = [pg.PlotCurveItem() for _ in OKABE_ITO]
        self._faint = KeptCurves(self.groups)
        plot.addItem(self._faint, ignoreBounds=True)
        self.loud = _curve(plot)
        self.hovered = _curve(plot)
        self.chosen = _curve(plot)
        self.median = _curve(plot)
        # The second run's curves, and its median.
        self.second, self.second_median = _curve(plot), _curve(plot)
        self.tolerance = _curve(plot)
        self.floor = _curve(plot)
        self.error = _curve(plot)
        self.trained = pg.InfiniteLine(angle=90)
        self.points = pg.ScatterPlotItem(size=4)
        for z, item in ((-3, self.trained), (20, self.points)):
            item.setZValue(z)
            plot.addItem(item, ignoreBounds=True)
        plot.getViewBox().sigRangeChanged.connect(self._forget_labels)
        self.show_empty("")

    # ---- what is shown ----
    def show_data(self, data: Data) -> None:
        """Draw new curves; another range of recurrences ends a zoom of this plot alone."""
        before, self.data = self.data, data
        if before is not None and (before.x_shown, before.log_r) != (data.x_shown, data.log_r):
            self.zoomed = False
        self.getPlotItem().setVisible(True)
        self.log_values = log10(data.values)
        x = self._x(data.recurrences)
        n = data.values.shape[1]
        loud = [] if data.per_layer else data.unsettled()
        for colour, item in enumerate(self.groups):
            set_columns(item, x, self.log_values[:, colour : n : len(self.groups)])
        set_columns(self.loud, x, self.log_values[:, loud])
        set_columns(self.median, x, log10(data.median)[:, None] if len(data.median) else None)
        self._show_second(data)
        set_columns(self.tolerance, *self._across(log10(data.tolerance_line)))
        self.trained.setValue(self._at(max(data.trained, 1)))
        self.trained.setVisible(data.trained > 0)
        self._show_points(data, x)
        self._make_axis(data)
        self.set_titles(("recurrence r",), (data.axis_label, data.axis_symbol))
        if not self.zoomed:
            self.show_all()
        floor = log10(data.floor_line)
        low = self.getViewBox().viewRange()[1][0]
        inside = len(floor) > 0 and np.isfinite(floor).any() and np.nanmax(floor) > low
        set_columns(self.floor, *(self._across(floor) if inside else (x, None)))
        error = log10(data.error_line)
        known = len(error) > 0 and bool(np.isfinite(error).any())
        set_columns(self.error, x, error[:, None] if known else None)
        self._style()
        self._make_room()
        self._forget_labels()

    def _show_second(self, data: Data) -> None:
        """Draw the second run's curves, which are dotted."""
        second = data.second
        if second is None:
            for item in (self.second, self.second_median):
                set_columns(item, np.zeros(0), None)
            return
        x = self._x(second.recurrences)
        set_columns(self.second, x, log10(second.values))
        median = log10(second.median)[:, None] if len(second.median) else None
        set_columns(self.second_median, x, median)

    def _show_points(self, data: Data, x: np.ndarray) -> None:
        """One recurrence is no line, so it gets points."""
        if len(x) != 1:
            self.points.setData([], [])
            return
        y = self.log_values[0]
        known = np.flatnonzero(np.isfinite(y))
        brushes = [pg.mkBrush(self._colour(c)) for c in known.tolist()]
        self.points.setData(np.repeat(x, len(known)), y[known], brush=brushes or None, pen=None)

    def _x(self, recurrences: np.ndarray) -> np.ndarray:
        """Where recurrences stand on the horizontal axis."""
        log = self.data is not None and self.data.log_r
        return log10(recurrences) if log else recurrences.astype(float)

    def _at(self, recurrence: float) -> float:
        """Where one recurrence stands on the horizontal axis."""
        return float(self._x(np.array([recurrence], float))[0])

    def _pixel_of(self, recurrence: float, y: float) -> QPointF:
        """Pixel of a recurrence and the log10 of a value."""
        log = self.data is not None and self.data.log_r
        return self.pixel_of(self._at(max(recurrence, 0.5)) if log else recurrence, y)

    def _make_axis(self, data: Data) -> None:
        kind = LogAxis if data.log_r else WholeAxis
        if type(self.getPlotItem().getAxis("bottom")) is not kind:
            self.getPlotItem().setAxisItems({"bottom": kind("bottom")})
            self._dress(self.theme)

    @override
    def shared_x(self, x: float) -> float | None:
        if self.data is None:
            return None
        return float(10**x) if self.data.log_r else x

    def _across(self, line: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Extend a line over the whole width of the axis."""
        if self.data is None or not len(line):
            return np.zeros(0), None
        x = self._x(self.data.recurrences)
        ends = [self._at(0.5 if self.data.log_r else 0)], [self._at(self._last_x() + 1)]
        return (
            np.concatenate([ends[0], x, ends[1]]),
            np.concatenate([line[:1], line, line[-1:]])[:, None],
        )

    def _last_x(self) -> int:
        assert self.data is not None
        ends = [self.data.recurrences] + (
            [self.data.second.recurrences] if self.data.second else []
        )
        last = max((int(r[-1]) for r in ends if len(r)), default=1)
        return max(last, min(self.data.trained, FIRST_SPAN), 2)

    def show_all(self) -> None:
        """Fit the axes to the curves and the tolerance."""
        if self.data is None:
            return
        self.zoomed = False
        second, shown = self.data.second, self.data.x_shown or (0, np.inf)
        others = [] if second is None else [log10(second.values).ravel()]
        rows = (self.data.recurrences >= shown[0]) & (self.data.recurrences <= shown[1])
        values = np.concatenate(
            [self.log_values[rows].ravel(), log10(self.data.tolerance_line), *others]
        )
        values = values[np.isfinite(values)]
        low, high = (values.min(), values.max()) if len(values) else (-2.0, 0.0)
        floor = log10(self.data.floor_line)
        if np.isfinite(floor).any():
            # Steps of rounding noise fall off the bottom.
            low = max(low, min(np.nanmin(floor) - 0.5, high))
        pad = max(0.06 * (high - low), 0.08)
        view = self.getViewBox()
        # Room above for the words in the corner.
        view.setYRange(low - pad, high + 2.2 * pad, padding=0)
        left, right = (self._at(r) for r in self.data.x_shown or (1, self._last_x()))
        room = max(0.035 * (right - left), 0.02 if self.data.log_r else 0.25)
        view.setXRange(left - room, right + room, padding=0)

    # ---- marks ----
    def mark_cursor(self, recurrence: int, curve: int | None) -> None:
        """Put the line on a recurrence and emphasise a curve."""
        if self.data is None:
            return
        i = self.index_of(recurrence)
        self.marks.put_cursor(self._at(recurrence) if recurrence >= 1 else None)
        self._mark(self.chosen, curve)
        y = self.log_values[i, curve] if i is not None and curve is not None else np.nan
        self.marks.put_dot(self._at(max(recurrence, 1)), float(y))
        if curve is not None:
            self.chosen.setPen(pg.mkPen(self._colour(curve), width=3))
        self.viewport().update()

    def mark_hover(self, recurrence: int | None, curve: int | None) -> None:
        """Mark what is pointed at; None hides it."""
        known = recurrence is not None and recurrence >= 1
        self.marks.put_hover(self._at(recurrence) if known and recurrence else None)
        self._mark(self.hovered, curve)

    def _mark(self, item: pg.PlotCurveItem, curve: int | None) -> None:
        """Show one curve in a mark's own item; nothing is set that is there already."""
        key = (id(self.log_values), curve)
        if getattr(item, "shown", None) == key or self.data is None:
            return
        item.shown = key
        y = None if curve is None else self.log_values[:, [curve]]
        set_columns(item, self._x(self.data.recurrences), y)

    def index_of(self, recurrence: int) -> int | None:
        """Row of a recurrence, or None when it is not shown."""
        if self.data is None or not len(self.data.recurrences):
            return None
        i = recurrence - int(self.data.recurrences[0])
        return i if 0 <= i < len(self.data.recurrences) else None

    def _colour(self, curve: int) -> QColor:
        return on_ground(token_colour(curve), self.theme)

    # ---- colours ----
    @override
    def set_theme(self, theme: Theme) -> None:
        self._dress(theme)
        self._style()
        self._forget_labels()

    def _dress(self, theme: Theme) -> None:
        """Take a theme's colours, which come with margins that have no room for names."""
        super().set_theme(theme)
        self._margins = None
        self._make_room()

    def _style(self) -> None:
        """Set every pen; faint curves are one pixel wide, which is what drawing many allows."""
        theme, data = self.theme, self.data
        many = data is not None and data.values.shape[1] > 1 and not data.per_layer
        for i, item in enumerate(self.groups):
            colour = self._colour(i)
            colour.setAlpha(FAINT if many else 255)
            item.setPen(pg.mkPen(colour, width=1 if many else 2))
        self._faint.changed()
        dash, dot = Qt.PenStyle.DashLine, Qt.PenStyle.DotLine
        few = self.loud.xData is None or len(self.loud.xData) <= WIDE_POINTS
        self.loud.setPen(pg.mkPen(theme.warning, width=2 if few else 1))
        self.hovered.setPen(pg.mkPen(theme.hover, width=5))
        self.median.setPen(pg.mkPen(theme.text, width=3 if many else 1))
        self.second.setPen(pg.mkPen(theme.muted, width=1, style=dot))
        self.second_median.setPen(pg.mkPen(theme.text, width=2, style=dot))
        self.tolerance.setPen(pg.mkPen(theme.text, width=1, style=dash))
        self.floor.setPen(pg.mkPen(theme.muted, width=1))
        self.error.setPen(pg.mkPen(theme.text, width=1, style=Qt.PenStyle.DotLine))
        self.trained.setPen(pg.mkPen(theme.muted, width=1, style=dot))

    # ---- where things are ----
    @override
    def place_at(self, point: QPointF) -> tuple[int, int]:
        """Row and curve under a pixel; curve -1 when none is near, -1, -1 outside."""
        view = self.getViewBox()
        if self.data is None or not view.sceneBoundingRect().contains(point):
            return -1, -1
        x = view.mapSceneToView(point).x()
        x = 10**x if self.data.log_r else x
        first = float(self.data.recurrences[0])
        i = int(np.clip(round(x - first), 0, len(self.data.recurrences) - 1))
        y = self.log_values[i]
        if not np.isfinite(y).any():
            return i, -1
        bounds, rect = view.viewRange()[1], view.sceneBoundingRect()
        pixels = rect.bottom() - (y - bounds[0]) / (bounds[1] - bounds[0]) * rect.height()
        off = np.where(np.isfinite(pixels), np.abs(pixels - point.y()), np.inf)
        curve = int(np.argmin(off))
        return i, curve if off[curve] <= REACH else -1

    # ---- words in the plot ----
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Place the words again."""
        super().resizeEvent(event)
        self._make_room()
        self._labels = None

    def _make_room(self) -> None:
        """Leave room for names at the right of the plot, or over it where there is not enough."""
        if self.data is None:
            return
        metrics, area = QFontMetricsF(self._font(True)), self.getViewBox().sceneBoundingRect()
        self._beside, self._above = names_room(self.data, metrics, self.size(), area.width())
        layout = self.getPlotItem().layout
        left, top, right, bottom = layout.getContentsMargins()
        self._margins = (top, right) if self._margins is None else self._margins
        lines = len(self._above) * metrics.height() + (4 if self._above else 0)
        wanted = self._margins[0] + lines, self._margins[1] + self._beside
        if wanted != (top, right):
            layout.setContentsMargins(left, wanted[0], wanted[1], bottom)

    def _forget_labels(self) -> None:
        """Have the words placed anew at the next painting."""
        self._labels = None
        self.viewport().update()

    @property
    def labels(self) -> list[Label]:
        """The words, in pixels.

        Placed when they are painted: only then is the size of the axes settled.
        """
        if self.data is None:
            return []
        area = self.getViewBox().sceneBoundingRect()
        if self._labels is None or area != self._labelled:
            self._labels, self._labelled = self._placed(area), area
        return self._labels

    def _placed(self, area: QRectF) -> list[Label]:
        assert self.data is not None
        floor = self.floor.getData()[0]
        place = Place(
            self.data, area, QFontMetricsF(self._font(True)), self.theme, self._pixel_of,
            self.log_values, floor is not None and len(floor) > 0, self._beside, self._above,
        )  # fmt: skip
        return labels_of(place)

    def _font(self, bold: bool = False) -> QFont:
        font = QFont(self.font())
        font.setPointSizeF(max(7.0, font.pointSizeF() - 1))
        font.setBold(bold)
        return font

    @override
    def drawForeground(self, painter: QPainter, rect: QRectF) -> None:
        """Draw the words over the plot."""
        super().drawForeground(painter, rect)
        painter.save()
        painter.resetTransform()
        for label in self.labels:
            painter.setFont(self._font(label.bold))
            draw_label(painter, label, self.theme)
        painter.restore()


def _curve(plot: pg.PlotItem) -> pg.PlotCurveItem:
    item = pg.PlotCurveItem(antialias=True)
    plot.addItem(item, ignoreBounds=True)
    return item
