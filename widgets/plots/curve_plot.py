"""A plot of curves over one pair of axes, with intervals, a cursor line and reach for the mouse."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QResizeEvent
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.views.curves_data import N_COLOURS, Curve, Curves, LineStyle
from loopscope.widgets.kit.theme import on_ground, sample_map
from loopscope.widgets.palette import RECURRENCE_MAP, Theme, token_colour
from loopscope.widgets.plots.axes import LogAxis, NamedAxis, TitledAxis, WholeAxis
from loopscope.widgets.plots.bands import Band, Bands
from loopscope.widgets.plots.click_plot import ClickPlot
from loopscope.widgets.plots.curve_legend import LINES
from loopscope.widgets.plots.kept_picture import KeptCurves
from loopscope.widgets.plots.plot_marks import log10, set_lines

# Pixels within which the pointer is on a point.
REACH = 30.0
# Pixels that the largest dot reaches from its middle, with its ring.
DOT = 7.0
# Colour groups that the many curves of recurrences are drawn in.
GROUPS = 16
# Curves with intervals that are drawn as bands.
MOST_BANDS = 12
# More curves than this are many: without dots at their points, and all of them solid.
MANY = 40
FEW_BANDS = 3


class CurvePlot(ClickPlot):
    """Draws `Curves`; knows pixels but not what a click means.

    Signals
    -------
    clicked(int, int), pointed(int, int)
        Curve and point; -1, -1 when outside or near nothing.
    """

    data: Curves | None = None  # of the class, for pyqtgraph resizes while it is being made

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._xs: list[np.ndarray] = []
        self._ys: list[np.ndarray] = []
        self._items: list[pg.GraphicsObject] = []
        self._kind: tuple[object, ...] = ()
        self.chosen = pg.PlotCurveItem(antialias=True)
        self.chosen.setZValue(20)
        self.getPlotItem().addItem(self.chosen, ignoreBounds=True)
        self.getViewBox().sigResized.connect(self._on_resized)
        self.show_empty("")

    def _on_resized(self) -> None:
        """Fit the axes anew: how much room a dot takes depends on the height."""
        if not self.zoomed:
            self.show_all()

    # ---- what is shown ----
    def show_data(self, data: Curves) -> None:
        """Draw new curves."""
        kind = (data.log_x, data.log_y, data.whole_x, data.x_label, data.y_label, data.x_names)
        if self.data is not None and self.data.x_shown != data.x_shown:
            self.zoomed = False  # another range of recurrences
        if kind != self._kind:
            self._kind, self.zoomed = kind, False
            self._make_axes(data)
        self.data = data
        self.getPlotItem().setVisible(True)
        across = self.getPlotItem().getAxis("bottom")
        if isinstance(across, WholeAxis):
            across.first = _least(data.curves)
        self._xs = _plotted_each([c.x for c in data.curves], data.log_x)
        self._ys = _plotted_each([c.y for c in data.curves], data.log_y)
        for item in self._items:
            self.getPlotItem().removeItem(item)
        self._items = []
        self._draw_marks(data)
        self._draw_bands(data)
        self._draw_curves(data)
        if not self.zoomed:
            self.show_all()
        self.set_theme(self.theme)

    def _make_axes(self, data: Curves) -> None:
        across = LogAxis if data.log_x else WholeAxis if data.whole_x else TitledAxis
        left = LogAxis("left") if data.log_y else TitledAxis("left")
        bottom = NamedAxis("bottom") if data.x_names else across("bottom")
        if isinstance(bottom, NamedAxis):
            bottom.names = data.x_names
        self.getPlotItem().setAxisItems({"bottom": bottom, "left": left})
        self.set_titles(_forms(data.x_label), _forms(data.y_label))

    def _draw_bands(self, data: Curves) -> None:
        banded = [c for c in data.curves if c.low is not None and c.high is not None]
        # Several bands over each other would hide the curves.
        alpha, bands = 50 if len(banded) <= FEW_BANDS else 24, list[Band]()
        for c in banded[:MOST_BANDS]:
            low, high = (plotted(v, data.log_y) for v in (c.low, c.high) if v is not None)
            known = np.isfinite(low) & np.isfinite(high)
            if not known.any():
                continue
            x = plotted(c.x, data.log_x)[known]
            colour = QColor(colour_of(c, self.theme))
            if data.x_names:  # between two things there is nothing
                self._draw_bars(x, low[known], high[known], colour)
                continue
            colour.setAlpha(alpha)
            bands.append(Band(x, low[known], high[known], colour))
        if bands:
            self._add(Bands(bands), -5)

    def _draw_bars(self, x: np.ndarray, low: np.ndarray, high: np.ndarray, colour: QColor) -> None:
        """Draw intervals as upright bars."""
        middle = (low + high) / 2
        pen = pg.mkPen(colour, width=1.5)
        bars = pg.ErrorBarItem(
            x=x, y=middle, top=high - middle, bottom=middle - low, beam=0.06, pen=pen
        )
        self._add(bars, -5)

    def _draw_curves(self, data: Curves) -> None:
        groups: dict[tuple[str, str], list[int]] = {}
        many, items = len(data.curves) > MANY, list[pg.PlotCurveItem]()
        colours = colours_of(data.curves, self.theme)
        for i, (c, colour) in enumerate(zip(data.curves, colours, strict=True)):
            groups.setdefault((colour, line_of(c, data)), []).append(i)
        for (colour, line), members in groups.items():
            style = LINES[line]
            # A smooth line wider than a pixel is slow to draw: only where there are few points.
            points = sum(len(data.curves[i].x) for i in members)
            few_points = len(data.curves) <= 12 and points < 1000
            # The summary among the many stands out.
            summary = len(members) == 1 and data.curves[members[0]].role == "only"
            width = 2 if few_points or (summary and points < 1000) else 1
            item = pg.PlotCurveItem(antialias=True, pen=pg.mkPen(colour, width=width, style=style))
            set_lines(item, [(self._xs[i], self._ys[i]) for i in members])
            items.append(item)
            few = [] if many else [i for i in members if len(self._xs[i]) <= 16]
            if few:
                x, y = (np.concatenate([v[i] for i in few]) for v in (self._xs, self._ys))
                known = np.isfinite(y) & np.isfinite(x)
                dots = pg.ScatterPlotItem(x[known], y[known], size=5, brush=colour, pen=None)
                self._add(dots, 1)
        self._add(KeptCurves(items), 0)
        # A curve of one point marks a place on another one.
        for i, c in enumerate(data.curves):
            if len(c.x) == 1 < len(data.curves) and np.isfinite(self._ys[i][0]):
                ring = pg.mkPen(self.theme.panel, width=1)
                brush = colour_of(c, self.theme)
                self._add(
                    pg.ScatterPlotItem(self._xs[i], self._ys[i], size=11, brush=brush, pen=ring), 2
                )

    def _draw_marks(self, data: Curves) -> None:
        left, right = self._ends(data)
        for at, name in data.marks:
            at = float(plotted(np.array([at]), data.log_x)[0])
            # Its name stands above the axis, at the side of the line that has more room.
            side = (0, 1) if at < (left + right) / 2 else (1, 1)
            style = {
                "position": 0.0, "anchors": [side, side], "color": self.theme.muted,
                "movable": False,
            }  # fmt: skip
            pen = pg.mkPen(self.theme.muted, style=Qt.PenStyle.DotLine)
            self._add(pg.InfiniteLine(at, angle=90, pen=pen, label=name, labelOpts=style), -4)
        self._fit_marks()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Name marks anew where there is room for their names."""
        super().resizeEvent(event)
        if self.data is not None:
            self._fit_marks()

    def _fit_marks(self) -> None:
        """Leave out names of marks that neither side of their line has room for."""
        area = self.getViewBox().sceneBoundingRect()
        for item in self._items:
            label = getattr(item, "label", None)
            if isinstance(label, pg.InfLineLabel):
                x = self.pixel_of(float(item.value()), 0.0).x()
                room = max(x - area.left(), area.right() - x)
                label.setVisible(label.boundingRect().width() <= room)

    def _add(self, item: pg.GraphicsObject, z: float) -> None:
        item.setZValue(z)
        self.getPlotItem().addItem(item, ignoreBounds=True)
        self._items.append(item)

    def show_all(self) -> None:
        """Fit the axes to the curves and their intervals."""
        if self.data is None:
            return
        self.zoomed = False
        ends = [v for c in self.data.curves for v in (c.low, c.high) if v is not None]
        ys = [*self._ys, *(plotted(v, self.data.log_y) for v in ends)]
        left, right = self._ends(self.data)
        xs = [*self._xs, *(x for c, x in zip(self.data.curves, self._xs, strict=True)
                           for v in (c.low, c.high) if v is not None)]  # fmt: skip
        if self.data.x_shown is not None:
            inside = [(x >= left) & (x <= right) for x in xs]
            ys = [y[known] for y, known in zip(ys, inside, strict=True)]
        low, high = _range(ys)
        view = self.getViewBox()
        if high == low and not self.data.log_y:
            low, high = _around(high)
        # A dot on the highest or the lowest value is seen whole.
        dot = DOT / max(view.height() - 2 * DOT, 2 * DOT)
        pad = max(max(0.06, dot) * (high - low), 0.04 if self.data.log_y else 0.0)
        view.setYRange(low - pad, high + pad, padding=0)
        # A dot at the end is seen whole, and so is its name.
        room = 0.5 if self.data.x_names else 0.035 * (right - left) or 0.5
        view.setXRange(left - room, right + room, padding=0)

    def _plotted_x(self, x: float | None) -> float | None:
        """Where a place of the horizontal axis is plotted; None where it is not."""
        if x is None or self.data is None:
            return x
        at = float(plotted(np.array([x]), self.data.log_x)[0])
        return None if at != at else at

    def _ends(self, data: Curves) -> tuple[float, float]:
        """Ends of the horizontal axis, as it is plotted."""
        if data.x_shown is None:
            return _range(self._xs)
        left, right = plotted(np.array(data.x_shown), data.log_x).tolist()
        return (left, right) if left == left else _range(self._xs)

    # ---- marks ----
    def mark(
        self, cursor: float | None, hover: float | None, point: tuple[int, int] | None
    ) -> None:
        """Put the cursor's line and the hover line, and the accent on one curve's point."""
        self.marks.put_cursor(self._plotted_x(cursor))
        self.marks.put_hover(self._plotted_x(hover))
        self.chosen.setData([], [])
        self.marks.put_dot()
        if self.data is None or point is None:
            return
        curve, index = point
        c = self.data.curves[curve]
        self.chosen.setPen(pg.mkPen(colour_of(c, self.theme), width=3))
        set_lines(self.chosen, [(self._xs[curve], self._ys[curve])])
        if 0 <= index < len(c.x):
            self.marks.put_dot(float(self._xs[curve][index]), float(self._ys[curve][index]))

    @override
    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours; curves without a colour of their own are drawn again."""
        again = theme is not self.theme and self.data is not None
        super().set_theme(theme)
        if again and self.data is not None:
            self.show_data(self.data)

    # ---- where things are ----
    @override
    def shared_x(self, x: float) -> float | None:
        if self.data is None or self.data.cursor != "recurrence":
            return None
        return float(10**x) if self.data.log_x else x

    @override
    def pixel_of(self, x: float, y: float) -> QPointF:
        """Pixel of a place in the data's own coordinates."""
        log_x, log_y = (False, False) if self.data is None else (self.data.log_x, self.data.log_y)
        return super().pixel_of(
            float(np.log10(x)) if log_x else x, float(np.log10(y)) if log_y else y
        )

    @override
    def place_at(self, pixel: QPointF) -> tuple[int, int]:
        """Curve and point nearest to a pixel; -1, -1 when none is near."""
        view = self.getViewBox()
        if self.data is None or not view.sceneBoundingRect().contains(pixel):
            return -1, -1
        rect, ((x0, x1), (y0, y1)) = view.sceneBoundingRect(), view.viewRange()
        best, place = REACH**2, (-1, -1)
        for i, (x, y) in enumerate(zip(self._xs, self._ys, strict=True)):
            dx = rect.left() + (x - x0) / (x1 - x0) * rect.width() - pixel.x()
            dy = rect.bottom() - (y - y0) / (y1 - y0) * rect.height() - pixel.y()
            off = np.where(np.isfinite(y) & np.isfinite(x), dx * dx + dy * dy, np.inf)
            if len(off) and off.min() < best:
                best, place = float(off.min()), (i, int(off.argmin()))
        return place


def colour_of(curve: Curve, theme: Theme) -> str:
    """What the curve is drawn with: its role says what colour means."""
    if curve.role == "reference":
        return theme.muted
    if curve.role == "only":
        return theme.text
    if curve.role == "recurrence":
        step = round(curve.index / max(curve.count - 1, 1) * (GROUPS - 1)) / (GROUPS - 1)
        # The palest end of the map is lost on white.
        rgba = sample_map(RECURRENCE_MAP, np.array(0.92 * step))
        return QColor(*rgba.tolist()).name()
    return on_ground(token_colour(curve.index), theme).name()


def colours_of(curves: Sequence[Curve], theme: Theme) -> list[str]:
    """`colour_of` each of many curves, of which many are alike."""
    known: dict[tuple[str, int, int], str] = {}
    colours = []
    for c in curves:
        # A token's colour repeats; that of a recurrence depends on how many there are.
        alike = (
            (c.role, c.index, c.count)
            if c.role == "recurrence"
            else (c.role, c.index % N_COLOURS, 0)
        )
        if alike not in known:
            known[alike] = colour_of(c, theme)
        colours.append(known[alike])
    return colours


def line_of(curve: Curve, data: Curves) -> LineStyle:
    """How a curve's line is drawn: among many solid, as dashes take long and tell none apart."""
    return "solid" if len(data.curves) > MANY else curve.line


def plotted(values: np.ndarray, log: bool) -> np.ndarray:
    """What is plotted: the values, or log10 of those above 0; NaN where there is none."""
    values = log10(values) if log else np.asarray(values, dtype=float)
    return np.where(np.isfinite(values), values, np.nan)


def _plotted_each(parts: list[np.ndarray], log: bool) -> list[np.ndarray]:
    """`plotted` of each of many, in one go: an array at a time takes longer than drawing it."""
    if not parts:
        return []
    whole = plotted(np.concatenate(parts), log)
    ends = np.cumsum([len(part) for part in parts]).tolist()
    return [whole[end - len(part) : end] for part, end in zip(parts, ends, strict=True)]


def _around(value: float) -> tuple[float, float]:
    """What is shown of an axis on which all is one value: from there toward 0, or from 0 to 1.

    Ticks a little above and below it would ask too much of it: a share has nothing above 1.
    """
    if value == 0:
        return 0.0, 1.0
    return min(value, value / 2), max(value, value / 2)


def _forms(label: str) -> tuple[str, ...]:
    """Rather without its unit, then without what it is a median or part of, than cut."""
    name = label.split(" [")[0]
    return label, name, name.split(", ")[0].split(" (")[0]


def _least(curves: tuple[Curve, ...]) -> int:
    """The whole number at which the first begins: 0 of layers and of the initial state, else 1."""
    return int(all(len(c.x) and not bool((c.x <= 0).any()) for c in curves))


def _range(parts: list[np.ndarray]) -> tuple[float, float]:
    flat = np.concatenate(parts) if parts else np.zeros(0)
    flat = flat[np.isfinite(flat)]
    return (float(flat.min()), float(flat.max())) if len(flat) else (0.0, 1.0)
