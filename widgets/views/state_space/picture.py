"""What the state-space plotter draws: lines, markers and legend of its data, in a theme."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPen

from loopscope.core.labels import at_position
from loopscope.core.views.state_space.data import (
    CLOSED_BELOW,
    Data,
    Stroke,
    colour_positions,
    scale_position,
    strokes,
)
from loopscope.widgets.kit.theme import sample_map
from loopscope.widgets.palette import RECURRENCE_MAP, Theme, token_colour
from loopscope.widgets.views.state_space.items import Line, Marks, layer_marker
from loopscope.widgets.views.state_space.legend import Entry

# Points up to which every one gets a marker, not only the newest.
ALL_MARKS = 1500
# Segments of the cursor token that are drawn wide: antialiased wide pens are slow.
WIDE_SEGMENTS = 64


@dataclass(frozen=True, eq=False)
class Picture:
    """Data that are not empty, and where its points are: ``place [N, S, 2]``, NaN left out."""

    data: Data
    place: np.ndarray
    theme: Theme

    @cached_property
    def _positions(self) -> np.ndarray:
        """Of each station on the colour scale: every token of the cursor asks for them."""
        return colour_positions(self.data)

    def _strokes(self, rows: tuple[int, ...] | None = None) -> list[Stroke]:
        return strokes(self.data, rows, self._positions)

    def lines(self) -> list[Line]:
        """Every trajectory, a pixel wide, in few colours."""
        return [line for part in self._strokes() for line in self._line(part, 1)]

    def cursor_lines(self, token: int) -> list[Line]:
        """One token again, wider towards its end, and its last cycle closed."""
        row = self.data.tokens.index(token)
        newest = len(self.data.recurrences) - 1
        lines = []
        for part in self._strokes((row,)):
            wide = newest - part.first <= WIDE_SEGMENTS
            lines += self._line(part, 2.2 if wide else 1)
        return lines + self._closed_cycle(row)

    def _line(self, part: Stroke, width: float) -> list[Line]:
        xy = self._of(part.rows)[:, part.first : part.last + 1]
        finite = np.isfinite(xy[..., 0])
        joined = np.ones(finite.shape, bool)
        joined[:, -1] = False
        if not finite.all():
            if not finite.any():
                return []
            joined &= finite
            joined[:, :-1] &= finite[:, 1:]
            xy = np.where(finite[..., None], xy, xy[finite][0])
        pen = pg.mkPen(self.colour(part), width=width)
        return [Line(xy.reshape(-1, 2), joined.ravel(), pen)]

    def _of(self, rows: tuple[int, ...]) -> np.ndarray:
        return self.place if len(rows) == len(self.place) else self.place[list(rows)]

    def _closed_cycle(self, row: int) -> list[Line]:
        """The last full cycle as a closed polygon: dashed while it does not yet repeat."""
        cycle = self.place[row, self.data.last_cycle]
        if len(cycle) < 2 or not np.isfinite(cycle).all():
            return []
        points = np.vstack([cycle, cycle[:1]])
        joined = np.arange(len(points)) < len(points) - 1
        pen = pg.mkPen(QColor(self.theme.text), width=1.6)
        if not self.data.closing[row] <= CLOSED_BELOW:
            pen.setStyle(Qt.PenStyle.DashLine)
        return [Line(points, joined, pen)]

    def colour(self, part: Stroke, fade: bool = True) -> QColor:
        """Colour of a stroke; what is old fades."""
        if part.colour is not None:
            colour = QColor(token_colour(part.colour))
        else:
            colour = recurrence_colour(scale_position(part), self.theme)
        if fade:
            colour.setAlphaF(part.alpha)
        return colour

    def small_marks(self) -> list[Marks]:
        """A small marker at each point, if they are not too many."""
        if self.place.shape[0] * self.place.shape[1] > ALL_MARKS:
            return []
        marks = []
        for part in self._strokes():
            stations = np.arange(part.first + (part.first > 0), part.last + 1)
            marks += self._marks(part, stations, 4.5, self.colour(part), None)
        return marks

    def end_marks(self) -> list[Marks]:
        """The newest state of each token (after each layer, if those are shown) and the start."""
        data, n = self.data, len(self.data.recurrences)
        parts = self._strokes() or [Stroke(tuple(range(len(data.tokens))), 0, 0, 1.0, None)]
        newest = np.arange(max(n - (data.n_layers if data.by_layer else 1), 0), n)
        rim = pg.mkPen(QColor(self.theme.panel), width=1)
        marks = []
        if not data.by_layer:
            for part in (p for p in parts if p.first == 0):
                pen = pg.mkPen(self.colour(part, fade=False), width=1)
                marks += self._marks(part, np.arange(1), 7, None, pen)
        for part in (p for p in parts if p.last == n - 1):
            marks += self._marks(part, newest, 9, self.colour(part), rim)
        return marks

    def _marks(
        self,
        part: Stroke,
        stations: np.ndarray,
        size: float,
        fill: QColor | None,
        pen: QPen | None,
    ) -> list[Marks]:
        marks = []
        layers = self.data.layers[stations]
        for layer in np.unique(layers):
            xy = self._of(part.rows)[:, stations[layers == layer]].reshape(-1, 2)
            xy = xy[np.isfinite(xy[:, 0])]
            if len(xy):
                marks.append(Marks(xy, layer_marker(int(layer)), size, fill, pen))
        return marks

    def legend(self) -> tuple[list[Entry], list[tuple[float, str]], list[tuple[float, str]]]:
        """Entries, colour scale (none when tokens are coloured) and the recurrences along it."""
        data = self.data
        if data.by_layer:
            entries = [
                Entry(layer_marker(layer), None, data.layer_names[layer])
                for layer in range(data.n_layers)
            ]
        else:
            entries = [
                Entry("o", None, data.start_words.removeprefix("the "), hollow=True),
                Entry("o", None, "end"),
            ]
        if data.options.colour == "recurrence":
            stops = np.linspace(0, 1, 9).tolist()
            scale = [(at, recurrence_colour(at, self.theme).name()) for at in stops]
            return entries, scale, [(at, str(r)) for at, r in data.colour_ticks()]
        tokens = zip(data.tokens, data.labels, strict=True)
        entries += [
            Entry("o", token_colour(i), at_position(t, label))
            for i, (t, label) in enumerate(tokens)
        ]
        return entries, [], []


def recurrence_colour(position: float, theme: Theme) -> QColor:
    """Colour of a recurrence at ``position`` 0..1, without the end that the panel swallows."""
    return QColor(*_sampled(round(position, 3), theme.dark))


@cache
def _sampled(position: float, dark: bool) -> tuple[int, int, int]:
    low, high = (0.35, 1.0) if dark else (0.0, 0.86)
    r, g, b, _ = sample_map(RECURRENCE_MAP, np.asarray(low + (high - low) * position))
    return int(r), int(g), int(b)
