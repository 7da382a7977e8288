"""One head at every recurrence against every other, on the screen."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.selection import Selection
from loopscope.core.views.head_map import Data, Options
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.plots.matrix_layout import Content, Marks
from loopscope.widgets.plots.matrix_view import MatrixView, measure_bar, value_text


class HeadMapView(MatrixView[Data]):
    """Recurrences down and across; bright means the same pattern."""

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)

    @override
    def show_data(self, data: Data) -> None:
        self.data = data
        if data.missing:
            self.matrix.show_empty(empty_text(data.missing, data.lacks))
            return
        n = len(data.values)
        numbers = tuple(map(str, range(data.first, data.first + n)))
        at = tuple(range(data.first, data.first + n)) if data.log_r else ()
        content = Content(
            n_rows=n,
            n_columns=n,
            title=f"Head {data.name}: {data.measure.label} between recurrences, bright = same",
            row_title="recurrence r",
            column_title="recurrence r′",
            row_labels=numbers,
            column_labels=numbers,
            bar=measure_bar(data.measure, data.far, data.near),
            number_columns=True,
            number_rows=True,
            first_number=data.first,
            first_row=data.first,
            log_columns=at,
            log_rows=at,
        )
        self.matrix.show_content(content, data.measure.brightness(data.values, data.far, data.near))
        self.show_selection(self.selection, {})

    @override
    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Put the cross on the cursor's recurrence."""
        self.selection = selection
        if self.data is None or self.data.missing:
            return
        at = self._index(selection.recurrence)
        pointed = self._index(hover.get("recurrence", -1))
        self.matrix.show_marks(
            Marks(cursor_row=at, cursor_column=at, cross=True, hover_column=pointed)
        )

    def _index(self, recurrence: int) -> int | None:
        index = recurrence - self.data.first
        return index if 0 <= index < len(self.data.values) else None

    @override
    def recurrence_of(self, column: int) -> int | None:
        return None if self.data is None else int(self.data.first) + column

    @override
    def _on_clicked(self, region: str, row: int, column: int) -> None:
        index = column if region in ("cell", "column") else row if region == "row" else -1
        if index >= 0:
            self.select_requested.emit({"recurrence": self.data.first + index})

    @override
    def _on_pointed(self, region: str, row: int, column: int) -> None:
        if self.data is None or self.data.missing:
            return
        index = column if region in ("cell", "column") else row if region == "row" else -1
        self.hover_changed.emit({"recurrence": self.data.first + index} if index >= 0 else {})
        data, text = self.data, ""
        if region == "cell":
            first = data.first
            where = f"head {data.name}, recurrence {first + row} against {first + column}"
            text = value_text(data.measure.formula, float(data.values[row, column]), where)
        elif region == "bar":
            text = data.measure.formula.text()
        self.message.emit(text)
