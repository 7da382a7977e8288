"""The selected head's attention pattern on the screen."""

from __future__ import annotations

import numpy as np
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.selection import Selection
from loopscope.core.views.pattern import ATTENTION, Data, Options
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.palette import Theme
from loopscope.widgets.plots.matrix_layout import Bar, Content, Marks, bar_ticks
from loopscope.widgets.plots.matrix_view import MatrixView, value_text


class PatternView(MatrixView[Data]):
    """Query tokens down, key tokens across, at the cursor's recurrence."""

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
        self._outside = np.zeros((0, 0), bool)
        self._shown = -1

    @override
    def show_data(self, data: Data) -> None:
        """Draw labels; the pattern itself follows the cursor."""
        before, self.data = self.data, data
        if data.missing:
            self.matrix.show_empty(empty_text(data.missing, data.lacks))
            return
        labels, n = data.labels, len(data.labels)
        same_labels = before is not None and not before.missing and before.labels == labels
        self._shown = -1
        if not (same_labels and before.causal == data.causal):
            self._outside = np.triu(np.full((n, n), data.causal), 1)
            content = Content(
                n_rows=n,
                n_columns=n,
                title="",
                row_title="query token",
                column_title="key token",
                row_labels=labels,
                column_labels=labels,
                bar=Bar("attention", bar_ticks(0.0, 1.0)),
            )
            self.matrix.show_content(content, np.zeros((n, n)), self._outside)
        self.show_selection(self.selection, {})

    @override
    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Show the pattern of the cursor's recurrence and outline its token's row."""
        self.selection = selection
        data, matrix = self.data, self.matrix
        if data is None or data.missing:
            return
        # Recurrence 0 has no pattern: the first one stands in for it, dimmed.
        recurrence = data.shown_recurrence(selection.recurrence)
        if self._shown != recurrence:
            self._shown = recurrence
            matrix.set_levels(data.patterns[recurrence - 1], self._outside)
        marks = Marks(
            cursor_row=selection.token if selection.token < len(data.labels) else None,
            hover_row=hover.get("token"),
            dimmed=selection.recurrence < 1,
            title=data.title(selection.recurrence),
        )
        matrix.show_marks(marks)

    @override
    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours; the blank cells take the panel's."""
        super().set_theme(theme)
        if self.data is not None and not self.data.missing:
            self._shown = -1
            self.show_selection(self.selection, {})

    @override
    def _on_clicked(self, region: str, row: int, column: int) -> None:
        if region in ("cell", "row"):
            self.select_requested.emit({"token": row})
        elif region == "column":
            self.select_requested.emit({"token": column})

    @override
    def _on_pointed(self, region: str, row: int, column: int) -> None:
        if self.data is None or self.data.missing:
            return
        token = {"cell": row, "row": row, "column": column}.get(region, -1)
        self.hover_changed.emit({"token": token} if token >= 0 else {})
        self.message.emit(self._text(region, row, column))

    def _text(self, region: str, row: int, column: int) -> str:
        data = self.data
        if region == "bar":
            return ATTENTION.text()
        if region != "cell":
            return ""
        query, key = data.labels[row], data.labels[column]
        if data.causal and column > row:
            return f"Query {row} '{query}' cannot attend to key {column} '{key}', which is later."
        r = data.shown_recurrence(self.selection.recurrence)
        value = float(data.patterns[r - 1][row, column])
        where = f"head {data.name}, recurrence {r}"
        number = "not finite" if value != value else f"{value:.3g}"
        text = value_text(ATTENTION, value, where).partition("] ")[2]
        return f"A[query {row} '{query}', key {column} '{key}'] = {number} (probability) {text}"
