"""Axes whose titles are whole and centred, with real ticks: decades, and whole numbers."""

from __future__ import annotations

import html
import math

import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetricsF
from PySide6.QtWidgets import QGraphicsSceneResizeEvent
from typing_extensions import override

from loopscope.widgets.plots.text import upright
from loopscope.widgets.plots.ticks import decade_text, log_ticks, whole_step

# Pixels that a name on an axis has at least.
LEAST_NAME = 44.0


class TitledAxis(pg.AxisItem):
    """An axis with the longest of its titles that fits, centred on it at any size."""

    def __init__(self, orientation: str) -> None:
        self._titles: tuple[str, ...] = ()
        super().__init__(orientation)
        self.enableAutoSIPrefix(False)

    def set_titles(self, *titles: str) -> None:
        """Take a title and shorter forms of it, which do without words before numbers."""
        if self.orientation in ("left", "right"):
            titles = tuple(map(upright, titles))
        if titles != self._titles:
            self._titles = titles
            self._fit_title()

    def resizeEvent(self, event: QGraphicsSceneResizeEvent | None = None) -> None:
        """Choose the title anew, and put it in the middle."""
        if self._titles:
            self._fit_title()
        super().resizeEvent(event)

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        """Plain numbers, with a minus sign as wide as the digits."""
        texts = super().tickStrings(values, scale, spacing)
        return [text.replace("-", "−") for text in texts]

    def _fit_title(self) -> None:
        size, metrics = self.size(), QFontMetricsF(self.label.font())
        room = size.height() if self.orientation in ("left", "right") else size.width()
        lines = fitting_lines(self._titles, metrics, room) if room > 0 else self._titles[:1]
        # A title is shown as HTML.
        title = "<br>".join(html.escape(line, quote=False) for line in lines)
        if self.labelText != title:
            self.setLabel(title)
            super().resizeEvent(None)


def fitting_lines(titles: tuple[str, ...], metrics: QFontMetricsF, room: float) -> tuple[str, ...]:
    """The first of ``titles`` that has room, the last of them in two lines if need be, or none.

    A part of a title says less than the panel's own title, which is there as well.
    """
    wide = metrics.horizontalAdvance
    for title in titles:
        if wide(title) <= room:
            return (title,)
    words = titles[-1].split(" ")
    halves = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))]
    fitting = [pair for pair in halves if max(map(wide, pair)) <= room]
    return min(fitting, key=lambda pair: max(map(wide, pair)), default=())


class LogAxis(TitledAxis):
    """An axis over log10 of the values; the caller plots log10 itself."""

    def tickValues(
        self, minVal: float, maxVal: float, size: float
    ) -> list[tuple[float, list[float]]]:
        """Place labelled ticks and, where they are far enough apart, unlabelled digits."""
        # Beyond float range there is nothing to show.
        low, high = max(minVal, -300.0), min(maxVal, 300.0)
        if not low < high:
            return []
        major = log_ticks(10.0**low, 10.0**high, int(size // 28))
        at = [math.log10(v) for v, _ in major]
        minor: list[float] = []
        decades = high - low
        if size / decades > 24:
            tens = range(math.floor(low), math.ceil(high))
            minor = [e + math.log10(m) for e in tens for m in range(2, 10)]
            minor = [v for v in minor if low <= v <= high and all(abs(v - a) > 1e-9 for a in at)]
        return [(1.0, at), (0.1, minor)]

    @override
    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        """Text of the labelled ticks; none for the digits between."""
        if spacing != 1.0:
            return ["" for _ in values]
        powers = len(values) > 1 and all(abs(v - round(v)) < 1e-9 for v in values)
        return [decade_text(10.0**v, powers) for v in values]


class WholeAxis(TitledAxis):
    """An axis that counts: ticks at the first number and at the multiples of a round step.

    first : 1, or 0 where the initial state or the first layer stands there.
    """

    first = 1

    def tickValues(
        self, minVal: float, maxVal: float, size: float
    ) -> list[tuple[float, list[float]]]:
        """Place as many whole numbers as fit."""
        span = max(maxVal - minVal, 1e-9)
        room = max(size / 30, 2)
        step = whole_step(span / room)
        first, last = max(math.ceil(minVal), self.first), math.floor(maxVal)
        values = [float(v) for v in range(first, last + 1) if v % step == 0]
        if step > 1 and first <= 1 <= last and self.first:
            values = [1.0, *(v for v in values if v - 1 > 0.6 * step)]
        return [(float(step), values)]

    @override
    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        """Plain whole numbers."""
        return [f"{v:.0f}" for v in values]


class NamedAxis(TitledAxis):
    """An axis of things with names, at 0, 1, ...; a name that has no room is shortened.

    names : of the things, in order.
    """

    names: tuple[str, ...] = ()

    def tickValues(
        self, minVal: float, maxVal: float, size: float
    ) -> list[tuple[float, list[float]]]:
        """Every thing, or every k-th where there are many."""
        span = max(maxVal - minVal, 1e-9)
        step = max(1, math.ceil(span / max(size / LEAST_NAME, 1)))
        first, last = max(math.ceil(minVal), 0), min(math.floor(maxVal), len(self.names) - 1)
        return [(float(step), [float(v) for v in range(first, last + 1) if v % step == 0])]

    @override
    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        """Names, as much of them as stands between two ticks."""
        metrics = QFontMetricsF(self.style["tickFont"] or self.font())
        low, high = self.range
        room = spacing / max(high - low, 1e-9) * self.width() - 8
        return [
            metrics.elidedText(self.names[int(v)], Qt.TextElideMode.ElideMiddle, room)
            for v in values
        ]
