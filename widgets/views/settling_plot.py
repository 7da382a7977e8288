"""The settling plot: curves over a log axis, the lines that judge them and their names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QResizeEvent
from PySide6.QtWidgets import QWidget

from loopscope.core.views.settling import Data, rate_text, short_number
from loopscope.widgets.kit.theme import on_ground, style_plot
from loopscope.widgets.palette import OKABE_ITO, Theme, token_colour
from loopscope.widgets.plots.click_plot import ClickPlot
from loopscope.widgets.plots.log_axis import LogAxis, WholeAxis
from loopscope.widgets.plots.plot_marks import PointMarks, log10, paint_missing, set_columns

LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
# Pixels within which the pointer is on a curve.
REACH = 24.0
# The axis reaches at least this far, or to the trained count if that is nearer.
FIRST_SPAN = 32
# Points above which a smooth line wider than a pixel is too slow to draw.
WIDE_POINTS = 1000
# Opacity, of 255, of one token among many.
FAINT = 180


@dataclass(frozen=True, slots=True)
class Label:
    """A text in the plot, in pixels."""

    text: str
    rect: QRectF
    flags: Qt.AlignmentFlag
    colour: str
    bold: bool = False


class SettlingPlot(ClickPlot):
    """Draws the curves; knows pixels but not what a click means.

    Signals
    -------
    clicked(int, int), pointed(int, int)
        Index into ``data.recurrences`` and curve (-1: none near); -1, -1 when outside.
    """

    data: Data | None = None  # of the class, for pyqtgraph resizes while it is being made

    def __init__(self, parent: QWidget | None = None) -> None:
        axes = {"left": LogAxis("left"), "bottom": WholeAxis("bottom")}
        super().__init__(parent, axisItems=axes)
        self.log_values = np.zeros((0, 0))
        self._labels: list[Label] | None = []
        self._labelled = QRectF()
        plot = self.getPlotItem()
        for axis in axes.values():
            axis.enableAutoSIPrefix(False)
        # One item per token colour: a curve for each token costs too much.
        self.groups = [_curve(plot) for _ in OKABE_ITO]
        self.loud = _curve(plot)
        self.hovered = _curve(plot)
        self.chosen = _curve(plot)
        self.median = _curve(plot)
        self.tolerance = _curve(plot)
        self.floor = _curve(plot)
        self.error = _curve(plot)
        self.trained = pg.InfiniteLine(angle=90)
        self.marks = PointMarks(plot)
        self.points = pg.ScatterPlotItem(size=4)
        for z, item in ((-3, self.trained), (20, self.points)):
            item.setZValue(z)
            plot.addItem(item, ignoreBounds=True)
        plot.getViewBox().sigRangeChanged.connect(self._forget_labels)
        self.show_empty("")

    # ---- what is shown ----
    def show_empty(self, text: str) -> None:
        """Show only ``text``."""
        self.data, self.empty_text, self._labels = None, text, None
        self.getPlotItem().setVisible(False)
        self.viewport().update()

    def show_data(self, data: Data) -> None:
        """Draw new curves."""
        self.data = data
        self.getPlotItem().setVisible(True)
        self.log_values = log10(data.values)
        x = data.recurrences.astype(float)
        quiet = set(range(data.values.shape[1]))
        loud = [] if data.per_layer else data.unsettled()
        for colour, item in enumerate(self.groups):
            members = [c for c in sorted(quiet) if c % len(self.groups) == colour]
            set_columns(item, x, self.log_values[:, members])
        set_columns(self.loud, x, self.log_values[:, loud])
        set_columns(self.median, x, log10(data.median)[:, None] if len(data.median) else None)
        set_columns(self.tolerance, *self._across(log10(data.tolerance_line)))
        self.trained.setValue(data.trained)
        self.trained.setVisible(data.trained > 0)
        self._show_points(data, x)
        self._label_axes(data)
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
        self._forget_labels()

    def _show_points(self, data: Data, x: np.ndarray) -> None:
        """One recurrence is no line, so it gets points."""
        rows = len(x) if len(x) == 1 else 0
        y = self.log_values[:rows].ravel()
        colours = [self._colour(c) for c in range(data.values.shape[1])] * rows
        at = np.repeat(x[:rows], data.values.shape[1])
        known = np.isfinite(y)
        brushes = [pg.mkBrush(c) for c, k in zip(colours, known, strict=True) if k]
        self.points.setData(at[known], y[known], brush=brushes or None, pen=None)

    def _across(self, line: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Extend a line over the whole width of the axis."""
        if self.data is None or not len(line):
            return np.zeros(0), None
        x = self.data.recurrences.astype(float)
        ends = [0.0], [float(self._last_x() + 1)]
        return (
            np.concatenate([ends[0], x, ends[1]]),
            np.concatenate([line[:1], line, line[-1:]])[:, None],
        )

    def _last_x(self) -> int:
        assert self.data is not None
        last = int(self.data.recurrences[-1]) if len(self.data.recurrences) else 1
        return max(last, min(self.data.trained, FIRST_SPAN), 2)

    def _label_axes(self, data: Data) -> None:
        metrics = QFontMetricsF(self.font())
        room = self.height() - 40
        fits = metrics.horizontalAdvance(data.axis_label) <= room
        left = data.axis_label if fits else data.axis_symbol
        for side, text in (("left", left), ("bottom", "recurrence r")):
            axis = self.getPlotItem().getAxis(side)
            if axis.labelText != text:
                axis.setLabel(text)

    def show_all(self) -> None:
        """Fit the axes to the curves and the tolerance."""
        if self.data is None:
            return
        self.zoomed = False
        shown = np.concatenate([self.log_values.ravel(), log10(self.data.tolerance_line)])
        shown = shown[np.isfinite(shown)]
        low, high = (shown.min(), shown.max()) if len(shown) else (-2.0, 0.0)
        floor = log10(self.data.floor_line)
        if np.isfinite(floor).any():
            # Steps of rounding noise fall off the bottom.
            low = max(low, min(np.nanmin(floor) - 0.5, high))
        pad = max(0.06 * (high - low), 0.08)
        view = self.getViewBox()
        # Room above for the words in the corner.
        view.setYRange(low - pad, high + 2.2 * pad, padding=0)
        last = self._last_x()
        room = max(0.02 * last, 0.25)
        view.setXRange(1 - room, last + room, padding=0)

    # ---- marks ----
    def mark_cursor(self, recurrence: int, curve: int | None) -> None:
        """Put the line on a recurrence and emphasise a curve."""
        if self.data is None:
            return
        i = self.index_of(recurrence)
        self.marks.put_cursor(recurrence if recurrence >= 1 else None)
        self._mark(self.chosen, curve)
        y = self.log_values[i, curve] if i is not None and curve is not None else np.nan
        self.marks.put_dot(recurrence, float(y))
        if curve is not None:
            self.chosen.setPen(pg.mkPen(self._colour(curve), width=3))
        self._forget_labels()

    def mark_hover(self, recurrence: int | None, curve: int | None) -> None:
        """Mark what is pointed at; None hides it."""
        self.marks.put_hover(recurrence if recurrence is not None and recurrence >= 1 else None)
        self._mark(self.hovered, curve)

    def _mark(self, item: pg.PlotCurveItem, curve: int | None) -> None:
        """Show one curve in a mark's own item; nothing is set that is there already."""
        key = (id(self.log_values), curve)
        if getattr(item, "shown", None) == key or self.data is None:
            return
        item.shown = key
        y = None if curve is None else self.log_values[:, [curve]]
        set_columns(item, self.data.recurrences.astype(float), y)

    def index_of(self, recurrence: int) -> int | None:
        """Row of a recurrence, or None when it is not shown."""
        if self.data is None or not len(self.data.recurrences):
            return None
        i = recurrence - int(self.data.recurrences[0])
        return i if 0 <= i < len(self.data.recurrences) else None

    def _colour(self, curve: int) -> QColor:
        return on_ground(token_colour(curve), self.theme)

    # ---- colours ----
    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self.theme = theme
        self.setBackground(theme.panel)
        style_plot(self.getPlotItem(), theme)
        self._style()
        self._forget_labels()

    def _style(self) -> None:
        """Set every pen; faint curves are one pixel wide, which is what drawing many allows."""
        theme, data = self.theme, self.data
        many = data is not None and data.values.shape[1] > 1 and not data.per_layer
        for i, item in enumerate(self.groups):
            colour = self._colour(i)
            colour.setAlpha(FAINT if many else 255)
            item.setPen(pg.mkPen(colour, width=1 if many else 2))
        dash, dot = Qt.PenStyle.DashLine, Qt.PenStyle.DotLine
        few = self.loud.xData is None or len(self.loud.xData) <= WIDE_POINTS
        self.loud.setPen(pg.mkPen(theme.warning, width=2 if few else 1))
        self.hovered.setPen(pg.mkPen(theme.hover, width=5))
        self.median.setPen(pg.mkPen(theme.text, width=3 if many else 1))
        self.tolerance.setPen(pg.mkPen(theme.text, width=1, style=dash))
        self.floor.setPen(pg.mkPen(theme.muted, width=1))
        self.error.setPen(pg.mkPen(theme.text, width=1, style=Qt.PenStyle.DotLine))
        self.trained.setPen(pg.mkPen(theme.muted, width=1, style=dot))
        self.marks.set_theme(theme)

    # ---- where things are ----
    def pixel_of(self, recurrence: float, log_value: float) -> QPointF:
        """Pixel of a place given in the plot's own coordinates."""
        return self.getViewBox().mapViewToScene(QPointF(recurrence, log_value))

    def place_at(self, point: QPointF) -> tuple[int, int]:
        """Row and curve under a pixel; curve -1 when none is near, -1, -1 outside."""
        view = self.getViewBox()
        if self.data is None or not view.sceneBoundingRect().contains(point):
            return -1, -1
        x = view.mapSceneToView(point).x()
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

    # ---- events ----
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Place the words again."""
        super().resizeEvent(event)
        self._labels = None
        if self.data is not None:
            self._label_axes(self.data)

    # ---- words in the plot ----
    def _forget_labels(self) -> None:
        """Have the words placed anew at the next painting."""
        self._labels = None
        self.viewport().update()

    @property
    def labels(self) -> list[Label]:
        """The words, in pixels: so they never shrink, overlap or leave the plot.

        Placed when they are painted: only then is the size of the axes settled.
        """
        area = self.getViewBox().sceneBoundingRect()
        if self._labels is None or area != self._labelled:
            self._labels, self._labelled = self._placed(area), area
        return self._labels

    def _placed(self, area: QRectF) -> list[Label]:
        data, metrics = self.data, QFontMetricsF(self._font(True))
        if data is None or area.width() < 60 or area.height() < 50:
            return []
        return [
            *self._line_names(data, area, metrics),
            *self._corner(data, area, metrics),
            *self._curve_names(data, area, metrics),
        ]

    def _font(self, bold: bool = False) -> QFont:
        font = QFont(self.font())
        font.setPointSizeF(max(7.0, font.pointSizeF() - 1))
        font.setBold(bold)
        return font

    def _corner(self, data: Data, area: QRectF, metrics: QFontMetricsF) -> Iterable[Label]:
        """The rate of the fall, top right."""
        line, rates = metrics.height(), [("median", data.rate, self.theme.text)]
        if data.per_layer:
            rates = [
                (data.curve_name(c), rate, self._colour(c).name())
                for c, rate in enumerate(data.layer_rates)
            ]
        fits = max(1, int(0.5 * area.height() // line))
        for i, (name, rate, colour) in enumerate(rates[:fits]):
            text = f"{name} {rate_text(rate)}".rstrip()
            rect = QRectF(area.left() + 4, area.top() + 2 + i * line, area.width() - 10, line)
            yield Label(text, rect, RIGHT, colour, bold=True)

    def _line_names(self, data: Data, area: QRectF, metrics: QFontMetricsF) -> Iterable[Label]:
        """Names of the tolerance, the floor and the trained count."""
        line, muted = metrics.height(), self.theme.muted
        x = self.pixel_of(data.trained, 0.0).x()
        text = f"trained R = {data.trained}"
        wide = metrics.horizontalAdvance(text) + 4
        trained = QRectF()
        if data.trained > 0 and area.left() < x < area.right():
            right = x + 3 + wide < area.right()
            left = x + 3 if right else x - 3 - wide
            trained = QRectF(left, area.bottom() - line - 2, wide, line)
            yield Label(text, trained, LEFT if right else RIGHT, muted)
        first = float(data.recurrences[0])
        names = [(f"tolerance {short_number(data.tolerance)}", data.tolerance_line)]
        if self.floor.getData()[0] is not None and len(self.floor.getData()[0]):
            names.append((f"{data.dtype} rounding", data.floor_line))
        if np.isfinite(data.error_line).any():
            names.append(("error against float32", data.error_line))
        for text, values in names:
            at = float(log10(values)[0])
            y = self.pixel_of(first, at).y() if np.isfinite(at) else float("nan")
            if np.isfinite(y) and area.top() < y < area.bottom():
                # Under the line, where falling curves are not yet; above it near the bottom.
                top = y + 1 if y + line + 2 < area.bottom() else y - line - 1
                rect = QRectF(area.left() + 5, top, metrics.horizontalAdvance(text) + 4, line)
                if not rect.intersects(trained):
                    yield Label(text, rect, LEFT, muted)

    def _curve_names(self, data: Data, area: QRectF, metrics: QFontMetricsF) -> Iterable[Label]:
        """Tokens that do not settle, named at the right end of their curves."""
        if data.per_layer:
            return
        line, loud = metrics.height(), data.unsettled()
        fits = max(1, int(0.4 * area.height() // line))
        named = loud if len(loud) <= fits else loud[: fits - 1]
        wanted = [(self._end_of(c, area), c) for c in named]
        bottom = area.top() + line + 2
        for y, curve in sorted(wanted):
            top = max(y - line - 1, bottom)
            bottom = top + line
            if bottom > area.bottom():
                return
            text = f"{data.curve_name(curve)}: {data.settling[curve].words()}"
            yield self._at_right(text, top, area, line, self.theme.warning)
        if len(named) < len(loud) and bottom + line < area.bottom():
            text = f"and {len(loud) - len(named)} more that do not settle"
            yield self._at_right(text, bottom, area, line, self.theme.warning)

    def _end_of(self, curve: int, area: QRectF) -> float:
        """Pixel height of a curve's last value; the top when it has none."""
        known = np.flatnonzero(np.isfinite(self.log_values[:, curve]))
        if not len(known):
            return area.top()
        y = self.pixel_of(0.0, float(self.log_values[known[-1], curve])).y()
        return float(np.clip(y, area.top(), area.bottom()))

    def _at_right(self, text: str, top: float, area: QRectF, line: float, colour: str) -> Label:
        rect = QRectF(area.left() + 4, top, area.width() - 10, line)
        return Label(text, rect, RIGHT, colour, bold=True)

    def drawForeground(self, painter: QPainter, rect: QRectF) -> None:
        """Draw the words over the plot."""
        if self.data is None:
            paint_missing(painter, self.viewport(), self.empty_text, self.theme)
        painter.save()
        painter.resetTransform()
        for label in self.labels:
            self._draw_label(painter, label)
        painter.restore()

    def _draw_label(self, painter: QPainter, label: Label) -> None:
        """Write a text on a faint ground, so that curves behind it do not cross it out."""
        painter.setFont(self._font(label.bold))
        metrics = painter.fontMetrics()
        text = metrics.elidedText(
            label.text, Qt.TextElideMode.ElideMiddle, int(label.rect.width()) + 1
        )
        wide = metrics.horizontalAdvance(text)
        left = label.rect.left()
        if label.flags & Qt.AlignmentFlag.AlignRight:
            left = label.rect.right() - wide
        ground = QColor(self.theme.panel)
        ground.setAlpha(200)
        painter.fillRect(QRectF(left - 2, label.rect.top(), wide + 4, label.rect.height()), ground)
        painter.setPen(QColor(label.colour))
        painter.drawText(label.rect, label.flags, text)


def _curve(plot: pg.PlotItem) -> pg.PlotCurveItem:
    item = pg.PlotCurveItem(antialias=True)
    plot.addItem(item, ignoreBounds=True)
    return item
