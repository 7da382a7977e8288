"""Similarity between all places of a run, on the screen."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.measures.similarity import CONTRAST
from loopscope.core.selection import Selection
from loopscope.core.views.similarity import Data, Options
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.kit.plain_text import plain_tip
from loopscope.widgets.plots.matrix_layout import Content, Marks
from loopscope.widgets.plots.matrix_steps import head_steps
from loopscope.widgets.plots.matrix_view import MatrixView, measure_bar, value_text

CLICK = "A click sets the cursor to the column's recurrence and layer (a row label: the row's)"


class SimilarityView(MatrixView[Data]):
    """Places down and across; bright means alike."""

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
        self._row_of: dict[int, int] = {}
        self.matrix.setToolTip(plain_tip(CLICK))

    @override
    def show_data(self, data: Data) -> None:
        self.data = data
        if data.missing:
            self.matrix.show_empty(empty_text(data.missing, data.lacks))
            return
        self._row_of = {int(place): row for row, place in enumerate(data.order)}
        n, labels, strides = len(data.order), data.labels, head_steps(data.group)
        # Where labels are thinned, round recurrences keep theirs.
        first = 0 if data.places.step > 1 else data.group if data.by == "depth" else 1
        along = "along effective depth" if data.by == "depth" else "layer by layer"
        at = data.places.depths if data.log_r else ()
        content = Content(
            n_rows=n,
            n_columns=n,
            title=f"{data.measure.label} between places, bright = alike",
            row_title=f"recurrence:layer, {along}",
            column_title="recurrence′:layer′",
            row_labels=labels,
            column_labels=labels,
            bar=measure_bar(data.measure, data.far, data.near),
            row_strides=strides,
            column_strides=strides,
            number_columns=True,
            number_rows=True,
            first_number=first,
            first_row=first,
            row_group=data.group,
            column_group=data.group,
            log_columns=at,
            log_rows=at,
        )
        levels = data.measure.brightness(data.drawn(), data.far, data.near)
        self.matrix.show_content(content, levels)
        self.show_selection(self.selection, {})

    @override
    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Put the cross on the cursor's recurrence and layer."""
        self.selection = selection
        if self.data is None or self.data.missing:
            return
        at = self._row(selection.recurrence, selection.layer)
        pointed = self._row(hover.get("recurrence"), hover.get("layer"))
        self.matrix.show_marks(
            Marks(cursor_row=at, cursor_column=at, cross=True, hover_column=pointed)
        )

    def _row(self, recurrence: int | None, layer: int | None) -> int | None:
        place = self.data.places.index(recurrence, layer)
        return None if place is None else self._row_of[place]

    def _place(self, region: str, row: int, column: int) -> dict[str, int]:
        """Fields of the cursor at a cell or a label."""
        index = column if region in ("cell", "column") else row if region == "row" else -1
        return self.data.places.at(int(self.data.order[index])) if index >= 0 else {}

    @override
    def recurrence_of(self, column: int) -> int | None:
        return (
            None
            if self.data is None
            else self.data.places.at(int(self.data.order[column]))["recurrence"]
        )

    @override
    def _on_clicked(self, region: str, row: int, column: int) -> None:
        if place := self._place(region, row, column):
            self.select_requested.emit(place)

    @override
    def _on_pointed(self, region: str, row: int, column: int) -> None:
        if self.data is None or self.data.missing:
            return
        self.hover_changed.emit(self._place(region, row, column))
        self.message.emit(self._text(region, row, column))

    def _text(self, region: str, row: int, column: int) -> str:
        data, f = self.data, self.data.measure.formula
        if region == "cell":
            where = f"{data.name(row)} against {data.name(column)}"
            return value_text(f, float(data.drawn()[row, column]), where)
        if region == "bar":
            return f"{f.text()} · {CONTRAST.text()}"
        return ""
