"""The picture of the state-space plotter: trajectories, overlays, marks, and hit tests."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtWidgets import QWidget

from loopscope.core.views.state_space.compute import Data
from loopscope.core.views.state_space.data import middle, placed
from loopscope.widgets.kit.theme import style_plot
from loopscope.widgets.palette import LIGHT, Theme
from loopscope.widgets.views.state_space.items import (
    Canvas,
    LinesItem,
    Marks,
    MarksItem,
    layer_marker,
)
from loopscope.widgets.views.state_space.overlays import Hit, OverlayPicture
from loopscope.widgets.views.state_space.picture import Picture

# Pixels within which the pointer means a point.
REACH = 14.0

# Fields of the cursor: recurrence, layer and token.
Place = dict[str, int]


class TrajectoryCanvas(Canvas):
    """Draws `Data` from an angle; places are fields of the cursor, pixels those of the viewport."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = LIGHT
        self.picture: Picture | None = None
        self.overlays: OverlayPicture | None = None
        self.plot = self.getPlotItem()
        self.box = self.plot.getViewBox()
        self.box.disableAutoRange()
        self.plot.layout.setContentsMargins(4, 8, 10, 2)
        self.lines, self.small, self.cursor_lines = LinesItem(), MarksItem(), LinesItem()
        self.ends, self.hover_mark, self.cursor_mark = MarksItem(), MarksItem(), MarksItem()
        self.overlay_lines, self.overlay_marks = LinesItem(), MarksItem()
        items = (
            self.overlay_lines, self.lines, self.small, self.cursor_lines, self.ends,
            self.overlay_marks, self.hover_mark, self.cursor_mark,
        )  # fmt: skip
        for item in items:
            self.box.addItem(item, ignoreBounds=True)

    # ---- what is drawn ----
    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours; `draw` gives them to the picture."""
        self.theme = theme
        style_plot(self.plot, theme)
        self.setBackground(theme.panel)

    def prepare(self, data: Data) -> None:
        """Take the axes that new data call for: none where they turn, of one scale if asked for."""
        self.turning = data.is_3d
        self.show_axes(not data.is_3d and not data.empty)
        self.box.setAspectLocked(data.is_3d or data.options.equal_scale)

    def show_axes(self, visible: bool) -> None:
        """Show or hide the axes."""
        for side in ("left", "bottom"):
            self.plot.showAxis(side, visible)

    def set_titles(self, data: Data) -> None:
        """Name the axes, as long as there is room for."""
        for side, axis in zip(("bottom", "left"), data.axes, strict=True):
            self.plot.getAxis(side).set_titles(axis.label, axis.short, axis.name)

    def draw(self, data: Data | None, angle: tuple[float, float], token: int) -> None:
        """Project and draw everything; None draws nothing. ``token`` is the cursor's."""
        self.picture = None
        if data is not None and not data.empty:
            self.picture = Picture(data, placed(data, *angle), self.theme)
        picture = self.picture
        self._draw_overlays(data if picture else None, angle)
        self.lines.set_lines(picture.lines() if picture else [])
        self.small.set_marks(picture.small_marks() if picture else [])
        self.ends.set_marks(picture.end_marks() if picture else [])
        self.draw_token(token)

    def _draw_overlays(self, data: Data | None, angle: tuple[float, float]) -> None:
        """Draw the overlays, unless they are there already: they stay while the run goes on."""
        before = self.overlays
        if data is not None and before is not None and before.shows(data, angle, self.theme):
            return
        wanted = data is not None and bool(data.overlays)
        now = OverlayPicture(data, angle, self.theme) if data is not None and wanted else None
        self.overlays = now
        if now is not None or before is not None:
            self.overlay_lines.set_lines(now.lines() if now else [])
            self.overlay_marks.set_marks(now.marks() if now else [])

    def draw_token(self, token: int) -> None:
        """Draw the trajectory of the cursor's token wider."""
        picture = self.picture
        drawn = picture is not None and token in picture.data.tokens
        self.cursor_lines.set_lines(picture.cursor_lines(token) if picture and drawn else [])

    def show_marks(self, cursor: Place, hover: Place | None) -> None:
        """Put a ring on the cursor's point and on the one pointed at."""
        self.cursor_mark.set_marks(self._ring(cursor, self.theme.accent))
        self.hover_mark.set_marks(self._ring(hover, self.theme.hover) if hover else [])

    def _ring(self, place: Place, colour: str) -> list[Marks]:
        at, picture = self._position(place), self.picture
        if at is None or picture is None:
            return []
        marker = layer_marker(place["layer"] if picture.data.by_layer else -1)
        return [Marks(at[None], marker, 15, None, pg.mkPen(colour, width=2.4))]

    def show_all(self) -> None:
        """Fit the axes to all that is drawn."""
        picture = self.picture
        if picture is None:
            return
        low, high, half = _ball(picture) if picture.data.is_3d else self._corners(picture)
        # A side without extent is opened as far as the other; a single point by any amount.
        half = half or max(1e-3, 0.1 * float(np.abs(high).max()))
        flat = high - low <= 1e-9 * half
        low, high = np.where(flat, low - half, low), np.where(flat, high + half, high)
        padding = 0.02 if picture.data.is_3d else 0.08
        rect = QRectF(QPointF(*low), QPointF(*high))
        self.box.setRange(rect, padding=padding, disableAutoRange=True)

    def _corners(self, picture: Picture) -> tuple[np.ndarray, np.ndarray, float]:
        """Lowest and highest coordinates of the run and the overlays, and half the larger side."""
        low, high = np.nanmin(picture.place, (0, 1)), np.nanmax(picture.place, (0, 1))
        if self.overlays is not None and len(corners := self.overlays.corners()):
            low, high = np.minimum(low, corners.min(0)), np.maximum(high, corners.max(0))
        return low, high, float((high - low).max()) / 2

    # ---- where things are ----
    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Plot coordinates ``[..., 2]`` in pixels of the viewport."""
        (x0, x1), (y0, y1) = self.box.viewRange()
        area = self.box.sceneBoundingRect()
        x = area.left() + (points[..., 0] - x0) / (x1 - x0) * area.width()
        y = area.bottom() - (points[..., 1] - y0) / (y1 - y0) * area.height()
        return np.stack([x, y], -1)

    def _position(self, place: Place) -> np.ndarray | None:
        """Plot coordinates ``[2]`` of ``place``, or None when it is not shown."""
        picture = self.picture
        if picture is None or place["token"] not in picture.data.tokens:
            return None
        station = picture.data.station(place["recurrence"], place["layer"])
        if station is None:
            return None
        at = picture.place[picture.data.tokens.index(place["token"]), station]
        return at if np.isfinite(at).all() else None

    def pixel_of(self, place: Place) -> QPointF | None:
        """Pixel of ``place``, or None when it is not shown."""
        at = self._position(place)
        return None if at is None else QPointF(*self.pixels(at[None])[0])

    def place_at(self, pixel: QPointF, cursor_token: int) -> Place:
        """The shown point next to ``pixel``, or ``{}``.

        Of several that coincide the newest, and of these one of the cursor's token.
        """
        near = self._nearest(pixel)
        if near is None or self.picture is None:
            return {}
        data, (distance, nearest) = self.picture.data, near
        rows, stations = np.nonzero(distance <= nearest + 1.0)
        on_cursor = [data.tokens[row] == cursor_token for row in rows]
        best = np.lexsort((np.array(on_cursor), stations))[-1]
        row, station = int(rows[best]), int(stations[best])
        place = {"recurrence": int(data.recurrences[station]), "token": data.tokens[row]}
        if data.by_layer:
            place["layer"] = int(data.layers[station])
        return place

    def _nearest(self, pixel: QPointF) -> tuple[np.ndarray, float] | None:
        """Distance of each point of the run from a pixel, and the least; None when out of reach."""
        inside = self.box.sceneBoundingRect().adjusted(-4, -4, 4, 4).contains(pixel)
        if self.picture is None or not inside:
            return None
        away = self.pixels(self.picture.place) - (pixel.x(), pixel.y())
        distance = np.hypot(away[..., 0], away[..., 1])
        distance[np.isnan(distance)] = np.inf
        nearest = float(distance.min())
        return (distance, nearest) if nearest <= REACH else None

    def overlay_at(self, pixel: QPointF) -> Hit | None:
        """The overlay under ``pixel``, where it is nearer than any point of the run."""
        if self.overlays is None or not self.box.sceneBoundingRect().contains(pixel):
            return None
        hit = self.overlays.hit(self.pixels, (pixel.x(), pixel.y()), REACH)
        near = self._nearest(pixel)
        return hit if hit is not None and (near is None or hit.away < near[1]) else None


def _ball(picture: Picture) -> tuple[np.ndarray, np.ndarray, float]:
    """The ball around all points: turning never changes the scale."""
    points = [picture.data.points, *(o.points for o in picture.data.overlays)]
    away = [np.linalg.norm(p - middle(picture.data), axis=-1) for p in points]
    half = max(float(np.nanmax(a)) for a in away if np.isfinite(a).any())
    return np.zeros(2), np.zeros(2), half
