"""Overlays of the state-space plotter on the screen: their lines, marks, legend and reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPen

from loopscope.core.views.state_space.data import Data, middle, seen
from loopscope.core.views.state_space.overlay import Overlay
from loopscope.widgets.kit.theme import on_ground
from loopscope.widgets.palette import Theme
from loopscope.widgets.views.state_space.items import Line, Marks, layer_marker
from loopscope.widgets.views.state_space.legend import Entry
from loopscope.widgets.views.state_space.overlay_looks import Look, legend_names, look

# Opacity of the paths of other runs: the run's own stay in front, the more so among many.
FAINT, FAINTER, MANY = 0.65, 0.3, 8
# Pixels of a filled point: what it lies on, the end of the run that leads there, is larger.
POINT = 8
# Places along a segment that the pointer finds it by.
ALONG = np.linspace(0, 1, 9)[:, None]


@dataclass(frozen=True, slots=True, eq=False)
class Hit:
    """An overlay under the pointer: how far in pixels, which row and station."""

    away: float
    overlay: Overlay
    row: int
    station: int


def _key(data: Data, angle: tuple[float, float], theme: Theme) -> tuple[object, ...]:
    turned = (*angle, *middle(data).tolist()) if data.is_3d else ()
    return theme, data.by_layer, data.is_3d, turned


class OverlayPicture:
    """Overlays of ``data`` seen from one angle, in a theme."""

    def __init__(self, data: Data, angle: tuple[float, float], theme: Theme) -> None:
        self.theme = theme
        self.key = _key(data, angle, theme)
        self.overlays = data.overlays
        self.places = [seen(data, o.points, *angle) for o in data.overlays]
        self.by_layer = data.by_layer

    def shows(self, data: Data, angle: tuple[float, float], theme: Theme) -> bool:
        """Whether this is what ``data`` would be drawn as."""
        same = len(data.overlays) == len(self.overlays) and all(
            a is b for a, b in zip(data.overlays, self.overlays, strict=True)
        )
        return same and _key(data, angle, theme) == self.key

    def corners(self) -> np.ndarray:
        """Every finite place, ``[n, 2]``."""
        flat = [place.reshape(-1, 2) for place in self.places]
        all_ = np.concatenate(flat) if flat else np.zeros((0, 2))
        return all_[np.isfinite(all_).all(1)]

    def lines(self) -> list[Line]:
        """Paths and segments: one line object for each overlay, whatever its number of rows."""
        out = []
        for overlay, place in zip(self.overlays, self.places, strict=True):
            if overlay.kind == "points":
                continue
            finite = np.asarray(np.isfinite(place).all(-1))
            if not finite.any():
                continue
            joined = finite.copy()
            joined[:, :-1] &= finite[:, 1:]
            joined[:, -1] = False
            xy = np.where(finite[..., None], place, place[finite][0]).reshape(-1, 2)
            faint = FAINTER if len(place) > MANY else FAINT
            other_start = overlay.role == "run"
            pen = self._pen(look(overlay, self.theme), faint if other_start else 1.0)
            out.append(Line(xy, joined.ravel(), pen))
        return out

    def _pen(self, style: Look, opacity: float) -> QPen:
        colour = on_ground(style.colour, self.theme)
        colour.setAlphaF(opacity)
        pen: QPen = pg.mkPen(colour, width=2 if style.wide else 1)
        if style.dashed:
            pen.setStyle(Qt.PenStyle.DotLine)
        return pen

    def marks(self) -> list[Marks]:
        """Points, and the ends of other runs."""
        out = []
        for overlay, place in zip(self.overlays, self.places, strict=True):
            if overlay.kind == "segment":
                continue
            style = look(overlay, self.theme)
            colour = on_ground(style.colour, self.theme)
            if overlay.kind == "path":
                end = place[:, -1:].reshape(-1, 2)  # none before the first layer has run
                out += self._stamp(end, "o", 6, colour, None)
                continue
            for station, layer in enumerate(overlay.layers):
                marker = style.marker
                if self.by_layer and marker != "x":
                    marker = layer_marker(int(layer))
                pen = pg.mkPen(
                    QColor(style.colour if style.hollow else self.theme.panel), width=1.4
                )
                fill = None if style.hollow else colour
                size = 14 if marker == "x" else 11 if style.hollow else POINT
                out += self._stamp(place[:, station], marker, size, fill, pen)
        return out

    def _stamp(
        self, xy: np.ndarray, marker: str, size: float, fill: QColor | None, pen: QPen | None
    ) -> list[Marks]:
        xy = xy[np.isfinite(xy).all(1)]
        return [Marks(xy, marker, size, fill, pen)] if len(xy) else []

    def entries(self) -> list[Entry]:
        """One entry for each look and name."""
        out = []
        for overlay, name in legend_names(self.overlays):
            style = look(overlay, self.theme)
            marker = style.marker or ("dots" if style.dashed else "line")
            if self.by_layer and marker == "D":
                name = f"{name}, any shape"  # the shapes say which layer
            colour = on_ground(style.colour, self.theme).name()
            out.append(Entry(marker, colour, name, style.hollow))
        return out

    def hit(
        self, pixels: Callable[[np.ndarray], np.ndarray], at: tuple[float, float], reach: float
    ) -> Hit | None:
        """What is nearest to a pixel within ``reach``, or None."""
        best: Hit | None = None
        for overlay, place in zip(self.overlays, self.places, strict=True):
            where = place
            if overlay.kind == "segment":
                where = place[:, :1] + ALONG * (place[:, 1:] - place[:, :1])
            away = pixels(where) - at
            distance = np.hypot(away[..., 0], away[..., 1])
            distance[np.isnan(distance)] = np.inf
            if not distance.size:
                continue
            row, station = map(int, np.unravel_index(int(distance.argmin()), distance.shape))
            nearest = float(distance[row, station])
            if nearest <= reach and (best is None or nearest < best.away):
                best = Hit(nearest, overlay, row, 0 if overlay.kind == "segment" else station)
        return best
