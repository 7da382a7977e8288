"""Correspondence of two models on the screen."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from PySide6.QtWidgets import QWidget

from loopscope.core.measures.correspondence import ALIGNMENT
from loopscope.core.selection import Selection
from loopscope.core.views.correspondence import NO_MODEL, NOT_YET, Data, Options
from loopscope.widgets.matrix_layout import Content
from loopscope.widgets.matrix_steps import head_steps
from loopscope.widgets.matrix_view import MatrixView, measure_bar, value_text

CLICK = "A click sets the cursor to the row's place; the run beside follows at its pace"


class CorrespondenceView(MatrixView):
    """Places of the model shown down, of the one beside across; bright means alike."""

    DEPENDS_ON: ClassVar[frozenset[str]] = frozenset({"recurrence"})

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
        self.matrix.setToolTip(CLICK)
        self.clear()

    def clear(self) -> None:
        """Go back to empty."""
        super().clear()
        self.matrix.show_empty(f"{NOT_YET} {NO_MODEL}")

    def show_data(self, data: Data) -> None:
        """Draw the matrix and the alignment."""
        if data is self.data:
            return
        self.data = data
        if data.missing:
            self.matrix.path = ()
            self.matrix.show_empty(data.missing)
            return
        found = data.found
        assert found is not None
        heads = data.what == "heads"
        suffix = ".head" if heads else ""
        content = Content(
            n_rows=len(data.rows),
            n_columns=len(data.columns),
            title=f"{data.measure.label}, {found.one} against {found.other}, bright = alike",
            row_title=f"{found.one}: {'layer' if heads else 'recurrence.layer'}{suffix}",
            column_title=f"{found.other}: recurrence.layer{suffix}",
            row_labels=data.rows,
            column_labels=data.columns,
            bar=measure_bar(data.measure, data.far),
            row_strides=head_steps(data.row_group),
            column_strides=head_steps(data.column_group),
            row_group=data.row_group,
            column_group=data.column_group,
        )
        self.matrix.path = tuple(enumerate(data.path))
        self.matrix.show_content(content, data.measure.brightness(data.shown, data.far))
        self.show_selection(self.selection, {})

    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Mark the row of the cursor."""
        self.selection = selection
        if self.data is None or self.data.missing:
            return
        matrix = self.matrix
        matrix.cursor_row = self._row(selection.recurrence, selection.layer, selection.head)
        r, layer = hover.get("recurrence"), hover.get("layer")
        known = r is not None and layer is not None
        matrix.hover_row = self._row(r, layer, hover.get("head", selection.head)) if known else None
        matrix.update()

    def _row(self, recurrence: int, layer: int, head: int) -> int | None:
        data = self.data
        if data.what == "heads":
            row = layer * data.row_group + head
            return row if row < len(data.rows) and head < data.row_group else None
        return data.found.places.index(recurrence, layer)

    def _on_clicked(self, region: str, row: int, column: int) -> None:
        if region in ("cell", "row") and self.data is not None and not self.data.missing:
            self.select_requested.emit(self.data.place(row))

    def _on_pointed(self, region: str, row: int, column: int) -> None:
        data = self.data
        if data is None or data.missing:
            return
        self.hover_changed.emit(data.place(row) if region in ("cell", "row") else {})
        self.message.emit(self._text(region, row, column))

    def _text(self, region: str, row: int, column: int) -> str:
        data, f = self.data, self.data.measure.formula
        if region == "cell":
            where = f"{data.found.one} {data.rows[row]} against {data.found.other} "
            where += data.columns[column]
            if not np.isfinite(data.shown[row, column]) and np.isfinite(data.values[row, column]):
                where += ", not above the baseline"
            return value_text(f, float(data.values[row, column]), where)
        if region == "row" and data.path:
            return f"{data.rows[row]} goes with {data.columns[data.path[row]]} · {ALIGNMENT.text()}"
        return f.text() if region == "bar" else ""
