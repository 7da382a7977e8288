"""The distance to the end on the screen: tokens by recurrences, log colour."""

from __future__ import annotations

import math

from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.labels import at_position
from loopscope.core.selection import Selection
from loopscope.core.views.distance import Data, Options
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.palette import DISTANCE_MAP
from loopscope.widgets.plots.matrix_layout import Bar, Content, Marks
from loopscope.widgets.plots.matrix_view import MatrixView, value_text
from loopscope.widgets.plots.ticks import log_ticks


class DistanceView(MatrixView[Data]):
    """Rows are tokens, columns recurrences; bright is far from the last state."""

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
        self._row_of: dict[int, int] = {}

    @override
    def show_data(self, data: Data) -> None:
        if data is self.data:
            return
        if data.missing:
            self.data = None
            self.matrix.show_empty(empty_text(data.missing, data.lacks))
            return
        self.data = data
        self._row_of = {token: row for row, token in enumerate(data.tokens)}
        n = data.distances.shape[1]
        content = Content(
            n_rows=len(data.tokens),
            n_columns=n,
            title=f"{data.formula.name.capitalize()}, dark = near",
            row_title="token",
            column_title="recurrence r",
            row_labels=tuple(map(at_position, data.tokens, data.labels)),
            column_labels=tuple(map(str, range(data.first, data.first + n))),
            bar=log_bar(data),
            scrolls=True,
            number_columns=True,
            first_number=data.first,
            colours=DISTANCE_MAP,
            log_columns=tuple(range(data.first, data.first + n)) if data.log_r else (),
        )
        self.matrix.show_content(content, data.levels())
        self.show_selection(self.selection, {})

    @override
    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Outline the cursor's cell and the one pointed at."""
        self.selection = selection
        if self.data is None:
            return
        marks = Marks(
            cursor_row=self._row_of.get(selection.token),
            cursor_column=self._column(selection.recurrence),
            hover_row=self._row_of.get(hover["token"]) if "token" in hover else None,
            hover_column=self._column(hover.get("recurrence", -1)),
        )
        self.matrix.show_marks(marks)

    def _column(self, recurrence: int) -> int | None:
        column = recurrence - self.data.first
        return column if 0 <= column < self.data.distances.shape[1] else None

    def _place(self, row: int, column: int) -> dict[str, int]:
        place = {}
        if self.data is not None and column >= 0:
            place["recurrence"] = self.data.first + column
        if self.data is not None and row >= 0:
            place["token"] = self.data.tokens[row]
        return place

    @override
    def recurrence_of(self, column: int) -> int | None:
        return None if self.data is None else int(self.data.first) + column

    @override
    def _on_clicked(self, region: str, row: int, column: int) -> None:
        if place := self._place(row, column):
            self.select_requested.emit(place)

    @override
    def _on_pointed(self, region: str, row: int, column: int) -> None:
        self.hover_changed.emit(self._place(row, column))
        data, text = self.data, ""
        if data is not None and region == "cell":
            value = float(data.distances[row, column])
            token = f"token {data.tokens[row]} '{data.labels[row]}'"
            where = f"recurrence {data.first + column}, {token}, R = {data.last}"
            text = value_text(data.formula, value, where)
        elif data is not None and region == "bar":
            text = data.formula.text()
        self.message.emit(text)


def log_bar(data: Data) -> Bar:
    """Colour bar of the log scale, labelled with the measure and its unit."""
    label = data.symbol + (f" ({data.unit})" if data.unit else "")
    if not math.isfinite(data.low):
        return Bar(label, ())
    span = math.log(data.high / data.low)
    ticks = log_ticks(data.low, data.high, 6)
    if span <= 0:
        return Bar(label, tuple((1.0, text) for _, text in ticks[:1]))
    return Bar(label, tuple((math.log(v / data.low) / span, text) for v, text in ticks))
