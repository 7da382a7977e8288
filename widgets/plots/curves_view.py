"""The base of every view that draws curves."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget
from typing_extensions import override

from loopscope.core.measures.base import NO_RUN
from loopscope.core.selection import Selection
from loopscope.core.views.base import RECURRENCE
from loopscope.core.views.curves_data import Curve, Curves
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.kit.view import View
from loopscope.widgets.palette import Theme
from loopscope.widgets.plots.curve_legend import CurveLegend, Entry
from loopscope.widgets.plots.curve_plot import CurvePlot, colours_of, line_of

# Recurrences that are named one by one; more of them become a scale.
MOST_NAMED = 6


class CurvesView(View[Curves]):
    """Any `Curves` with a legend.

    Parameters
    ----------
    options
        The view's settings.
    empty
        What is said while there is nothing to draw.
    names_all
        Whether the legend names every curve where less than half of the view is enough for it.
    """

    BOTH: ClassVar[tuple[str, str] | None] = ("solid", "dotted")

    def __init__(
        self,
        options: Any,
        parent: QWidget | None = None,
        *,
        empty: str = empty_text(NO_RUN, RECURRENCE),
        names_all: bool = False,
    ) -> None:
        super().__init__(options, parent)
        self.data: Curves | None = None
        self.empty_text = empty
        self._pointed = (-1, -1)
        self.legend, self.plot = CurveLegend(self), CurvePlot(self)
        self.legend.names_all = names_all
        self.box = QVBoxLayout(self)
        self.box.setContentsMargins(0, 0, 0, 0)
        self.box.setSpacing(0)
        self.box.addWidget(self.legend)
        self.box.addWidget(self.plot, 1)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.plot.setFocusProxy(self)
        self.plot.clicked.connect(self._on_clicked)
        self.plot.pointed.connect(self._on_pointed)
        self.plot.zoom_requested.connect(self.zoom_requested)
        self.clear()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Leave most of a low view to the curves."""
        super().resizeEvent(event)
        self.legend.give_room(self.height())

    @override
    def show_data(self, data: Curves) -> None:
        if data is self.data:
            return
        if data.missing or not data.curves:
            self.clear()
            self.plot.show_empty(empty_text(data.missing or NO_RUN, data.lacks))
            return
        self.data = data
        self.plot.show_data(data)
        self.legend.show_entries(self._entries(data))
        self.show_selection(self.selection, {})

    def _entries(self, data: Curves) -> tuple[Entry, ...]:
        # One entry for each name: many faint curves may share one.
        entries: dict[tuple[str, str, str], None] = {}
        recurrences = [c for c in data.curves if c.role == "recurrence"]
        for c, colour in zip(data.curves, colours_of(data.curves, self.theme), strict=True):
            if c.role == "recurrence" and len(recurrences) > MOST_NAMED:
                if c is recurrences[0]:
                    entries[f"{c.name} to {recurrences[-1].name}", "", "solid"] = None
            elif c.name and (c.role != "only" or len(data.curves) > 1):
                entries[c.name, colour, line_of(c, data)] = None
        if data.bands:
            entries[data.bands, self.theme.muted, "band"] = None
        return tuple(Entry(*entry) for entry in entries)

    @override
    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Move the line to the cursor and put the accent on its curve."""
        self.selection = selection
        data = self.data
        if data is None:
            return
        cursor = float(getattr(selection, data.cursor)) if data.cursor else None
        pointed = float(hover[data.cursor]) if data.cursor in hover else None
        point = self._point_of(data, selection)
        if point is not None and cursor is None and point[1] >= 0:
            cursor = float(data.curves[point[0]].x[point[1]])
        self.plot.mark(cursor, pointed, point)

    def _point_of(self, data: Curves, selection: Selection) -> tuple[int, int] | None:
        """The curve and point that the cursor stands on, or None."""
        for i, c in enumerate(data.curves):
            if not (c.place or c.places) or not _agrees(c.place, selection):
                continue
            for j, place in enumerate(c.places):
                if _agrees(place, selection):
                    return i, j
            if not c.places:
                at = np.flatnonzero(c.x == getattr(selection, data.cursor, np.nan))
                return i, int(at[0]) if len(at) else -1
        return None

    @override
    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self.plot.set_theme(theme)
        self.legend.set_theme(theme)
        if self.data is not None:
            self.legend.show_entries(self._entries(self.data))
        self.show_selection(self.selection, {})

    @override
    def clear(self) -> None:
        self.data = None
        self.plot.zoomed = False
        self.legend.show_entries(())
        self.plot.show_empty(self.empty_text)

    @override
    def reset_view(self) -> None:
        self.plot.show_all()

    def _place(self, curve: int, point: int) -> dict[str, int]:
        """Fields of the cursor at one point."""
        if self.data is None or curve < 0:
            return {}
        c = self.data.curves[curve]
        place = dict(c.place)
        if c.places:
            place |= c.places[point]
        elif self.data.cursor:
            place[self.data.cursor] = int(c.x[point])
        return place

    def _on_clicked(self, curve: int, point: int) -> None:
        if place := self._place(curve, point):
            self.select_requested.emit(place)

    def _on_pointed(self, curve: int, point: int) -> None:
        if (curve, point) == self._pointed:
            return
        self._pointed = (curve, point)
        self.hover_changed.emit(self._place(curve, point))
        self.message.emit("" if self.data is None or curve < 0 else self.text(curve, point))

    def text(self, curve: int, point: int) -> str:
        """One line: the value, where it is, its interval, unit and formula."""
        data = self.data
        assert data is not None
        c, f = data.curves[curve], data.formula
        value = f"{f.name} {_number(float(c.y[point]))} [{f.unit}]"
        between = _interval(c, point)
        name = c.notes[point] if c.notes else c.name
        where = f"{name}, {data.x_label} {_number(float(c.x[point]))}".removeprefix(", ")
        return f"{value}{between} · {where} · {f.formula} · {f.source}"


def _agrees(place: dict[str, int], selection: Selection) -> bool:
    # Of every point of every curve: a generator takes twice as long.
    for name, value in place.items():  # noqa: SIM110
        if getattr(selection, name) != value:
            return False
    return True


def _interval(curve: Curve, point: int) -> str:
    if curve.low is None or curve.high is None or not np.isfinite(curve.low[point]):
        return ""
    return f" ({_number(float(curve.low[point]))} to {_number(float(curve.high[point]))})"


def _number(value: float) -> str:
    if not np.isfinite(value):
        return "none"
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e6 else f"{value:.3g}"
