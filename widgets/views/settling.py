"""The settling view: how fast the steps of the state fall, and whose do not."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget
from typing_extensions import override

from loopscope.core.measures.base import NO_RUN
from loopscope.core.selection import Selection
from loopscope.core.views.base import RECURRENCE
from loopscope.core.views.settling import Data, Options, rate_text
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.kit.view import View
from loopscope.widgets.palette import Theme
from loopscope.widgets.views.class_table import ClassTable
from loopscope.widgets.views.settling_plot import SettlingPlot

# The table of classes is left out of a panel lower than this.
LEAST_HEIGHT = 360
# Tokens that a status line names.
MOST_NAMED = 6


class SettlingView(View[Data]):
    """Step size by recurrence on a log axis: a straight fall is a contraction."""

    BOTH: ClassVar[tuple[str, str] | None] = ("solid", "dotted")

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
        self.data: Data | None = None
        self._curve_of: dict[int, int] = {}
        self._pointed = (-1, -1)
        self.plot, self.table = SettlingPlot(self), ClassTable(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.plot, 1)
        layout.addWidget(self.table)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.plot.setFocusProxy(self)
        self.plot.clicked.connect(self._on_clicked)
        self.plot.pointed.connect(self._on_pointed)
        self.plot.zoom_requested.connect(self.zoom_requested)
        self.table.clicked.connect(self._on_table_clicked)
        self.table.pointed.connect(self._on_table_pointed)
        self.set_theme(self.theme)
        self.clear()

    @override
    def show_data(self, data: Data) -> None:
        if data is self.data:
            return
        if data.missing:
            self.clear()
            self.plot.show_empty(empty_text(data.missing, data.lacks))
            return
        if self.data is not None and _kind(data) != _kind(self.data):
            self.plot.zoomed = False
        self.data = data
        names = range(data.values.shape[1]) if data.per_layer else data.tokens
        self._curve_of = {name: curve for curve, name in enumerate(names)}
        self.plot.show_data(data)
        self.table.show_data(data)
        self._fit_table()
        self.show_selection(self.selection, {})

    def _fit_table(self) -> None:
        """Show the table where it leaves the plot enough room."""
        wanted = self.data is not None and self.data.options.counts
        self.table.setVisible(wanted and self.height() >= LEAST_HEIGHT)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Show or hide the table."""
        super().resizeEvent(event)
        self._fit_table()

    @override
    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Move the line to the cursor's recurrence and emphasise its token."""
        self.selection = selection
        if self.data is None:
            return
        here = selection.layer if self.data.per_layer else selection.token
        there = hover.get("layer" if self.data.per_layer else "token", -1)
        self.plot.mark_cursor(selection.recurrence, self._curve_of.get(here))
        self.plot.mark_hover(hover.get("recurrence"), self._curve_of.get(there))

    @override
    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self.plot.set_theme(theme)
        self.table.set_theme(theme)
        self.show_selection(self.selection, {})

    @override
    def clear(self) -> None:
        self.data, self._curve_of = None, {}
        self.plot.zoomed = False
        self.plot.show_empty(empty_text(NO_RUN, RECURRENCE))
        self._fit_table()

    @override
    def reset_view(self) -> None:
        self.plot.show_all()

    def _place(self, row: int, curve: int) -> dict[str, int]:
        if self.data is None or row < 0:
            return {}
        place = {"recurrence": int(self.data.recurrences[row])}
        if curve >= 0:
            if self.data.per_layer:
                place["layer"] = curve
            else:
                place["token"] = self.data.tokens[curve]
        return place

    def _on_clicked(self, row: int, curve: int) -> None:
        if place := self._place(row, curve):
            self.select_requested.emit(place)

    def _on_pointed(self, row: int, curve: int) -> None:
        if (row, curve) == self._pointed:
            return
        self._pointed = (row, curve)
        self.hover_changed.emit(self._place(row, curve))
        self.message.emit("" if self.data is None or row < 0 else self._text(row, curve))

    def _on_table_clicked(self, region: str, place: int, column: int) -> None:
        """Go to the first token that the cell counts, and to its layer."""
        assert self.data is not None
        where, changes = self.data.classes[place], {}
        if where.layer >= 0:
            changes["layer"] = where.layer
        if members := self._tokens_of(place, column):
            changes["token"] = self.data.tokens[members[0]]
        if changes:
            self.select_requested.emit(changes)

    def _on_table_pointed(self, region: str, place: int, column: int) -> None:
        if self.data is None or place < 0:
            self.message.emit("")
            return
        members = self._tokens_of(place, column)
        named = ", ".join(self._token_name(i) for i in members[:MOST_NAMED]) or "no token"
        more = f" and {len(members) - MOST_NAMED} more" if len(members) > MOST_NAMED else ""
        where, formula = self.data.classes[place].where, self.data.class_formula
        self.message.emit(
            f"{self.data.class_words()[column]}, {where}: {named}{more} · {self.data.judged} · "
            f"{formula.formula} · {formula.source}"
        )

    def _tokens_of(self, place: int, column: int) -> list[int]:
        """Shown tokens that a cell counts."""
        assert self.data is not None
        word = self.data.class_words()[column]
        return [i for i, own in enumerate(self.data.classes[place].labels()) if own == word]

    def _token_name(self, i: int) -> str:
        assert self.data is not None
        return f"{self.data.tokens[i]} '{self.data.labels[i]}'"

    def _text(self, row: int, curve: int) -> str:
        """One line: the value, where it is, its formula and the token's class with evidence."""
        data = self.data
        assert data is not None
        formula, r = data.formula, int(data.recurrences[row])
        source = f"{formula.formula} [{formula.unit}], {data.sampled} · {formula.source}"
        if data.per_layer and curve >= 0:
            value, rate = data.values[row, curve], rate_text(data.layer_rates[curve])
            counts = data.classes[1 + curve].counts()
            classes = ", ".join(f"{count} {word}" for word, count in counts.items())
            name = f"{data.curve_name(curve)}{', ' + rate if rate else ''}: {classes}"
            return f"{formula.name} {_number(value)} · recurrence {r}, {name} · {source}"
        if curve < 0:
            if not len(data.median):
                return ""
            value = f"{_number(data.median[row])} · recurrence {r}"
            return f"median {formula.name} {value} · {source}"
        s = data.settling[curve]
        rate = rate_text(data.token_rates[curve])
        return (
            f"{formula.name} {_number(data.values[row, curve])} · recurrence {r}, token "
            f"{self._token_name(curve)}: {s.describe()} by {data.judged}"
            f"{', ' + rate if rate else ''} · {source}"
        )


def _number(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "not finite"


def _kind(data: Data) -> tuple[str, bool, tuple[int, ...]]:
    return data.measure, data.per_layer, data.tokens
