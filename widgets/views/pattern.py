"""The selected head's attention pattern on the screen."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.selection import Selection
from loopscope.core.views.pattern import ATTENTION, LOG_DECADES, Data, Options
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.palette import Theme
from loopscope.widgets.plots.matrix_layout import Bar, Content, Marks, bar_ticks
from loopscope.widgets.plots.matrix_view import MatrixView, value_text
from loopscope.widgets.plots.ticks import log_ticks

# Fewer tokens than these are not zoomed into.
LEAST_TOKENS = 4
# What a session keeps of the zoom: first and after the last query, and key, in sight.
ENDS = ("first query", "after queries", "first key", "after keys")


class PatternView(MatrixView[Data]):
    """Query tokens down, key tokens across, at the cursor's recurrence.

    The wheel zooms about the pointer, Shift and a drag into a rectangle.
    """

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
        self._shown = -1
        self._drawn: object = None
        # First and after the last of the queries and of the keys in sight; None for all.
        self._part: tuple[slice, slice] | None = None
        self.matrix.drags_rows = True

    @override
    def show_data(self, data: Data) -> None:
        """Draw labels; the pattern itself follows the cursor."""
        before, self.data = self.data, data
        if data.missing:
            self.matrix.show_empty(empty_text(data.missing, data.lacks))
            return
        if before is None or before.missing or len(before.labels) != len(data.labels):
            self._part = None
        self._shown = -1
        drawn = (data.labels, data.causal, data.scale, data.far)
        if drawn != self._drawn or self.matrix.content is None:
            self._drawn = drawn
            self._show_part()
        self.show_selection(self.selection, {})

    def _show_part(self) -> None:
        """Draw the labels of what is in sight."""
        data, (rows, columns) = self.data, self._slices
        content = Content(
            n_rows=rows.stop - rows.start,
            n_columns=columns.stop - columns.start,
            title="",
            row_title="query token",
            column_title="key token",
            row_labels=data.labels[rows],
            column_labels=data.labels[columns],
            bar=pattern_bar(data),
        )
        self._shown = -1
        self.matrix.show_content(content, np.zeros((content.n_rows, content.n_columns)))

    @property
    def _slices(self) -> tuple[slice, slice]:
        whole = slice(0, len(self.data.labels))
        return self._part or (whole, whole)

    def _outside(self) -> np.ndarray:
        """Cells in sight that a causal head cannot attend to."""
        rows, columns = (np.arange(s.start, s.stop) for s in self._slices)
        outside: np.ndarray = np.logical_and(columns[None] > rows[:, None], self.data.causal)
        return outside

    @override
    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Show the pattern of the cursor's recurrence and outline its token's row."""
        self.selection = selection
        data, matrix = self.data, self.matrix
        if data is None or data.missing:
            return
        # Recurrence 0 has no pattern: the first one stands in for it, dimmed.
        recurrence = data.shown_recurrence(selection.recurrence)
        rows, columns = self._slices
        if self._shown != recurrence:
            self._shown = recurrence
            levels = data.levels(data.patterns[recurrence - 1][rows, columns])
            matrix.set_levels(levels, self._outside())
        title = data.title(selection.recurrence)
        if self._part is not None:
            title += f", queries {rows.start} to {rows.stop - 1}, keys {columns.start} to "
            title += f"{columns.stop - 1} of {len(data.labels)}"
        marks = Marks(
            cursor_row=self._row(selection.token),
            hover_row=self._row(hover.get("token", -1)),
            dimmed=selection.recurrence < 1,
            title=title,
        )
        matrix.show_marks(marks)

    def _row(self, token: int) -> int | None:
        rows = self._slices[0]
        return token - rows.start if rows.start <= token < rows.stop else None

    @override
    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours; the blank cells take the panel's."""
        super().set_theme(theme)
        if self.data is not None and not self.data.missing:
            self._shown = -1
            self.show_selection(self.selection, {})

    # ---- zooming ----
    def _zoom_to(self, part: tuple[slice, slice] | None) -> None:
        whole = slice(0, len(self.data.labels))
        self._part = None if part == (whole, whole) else part
        self._show_part()
        self.show_selection(self.selection, {})

    @override
    def _on_zoomed(self, row: int, column: int, factor: float) -> None:
        n, slices = len(self.data.labels), self._slices
        at = (row if row >= 0 else column, column)
        self._zoom_to((around(slices[0], at[0], factor, n), around(slices[1], at[1], factor, n)))

    @override
    def _on_dragged(self, row: int, first: int, last_row: int, last: int) -> None:
        n, (rows, columns) = len(self.data.labels), self._slices
        self._zoom_to((between(rows, row, last_row, n), between(columns, first, last, n)))

    @override
    def reset_view(self) -> None:
        if self.data is not None and not self.data.missing and self._part is not None:
            self._zoom_to(None)
        super().reset_view()

    @override
    def place(self) -> dict[str, float]:
        if self._part is None or self.data is None:
            return {}
        ends = (float(end) for part in self._part for end in (part.start, part.stop))
        return dict(zip(ENDS, ends, strict=True))

    @override
    def go_to(self, place: Mapping[str, float]) -> None:
        if self.data is None or self.data.missing or not all(name in place for name in ENDS):
            return
        n = len(self.data.labels)
        queries, after_queries, keys, after_keys = (place[name] for name in ENDS)
        if 0 <= queries < after_queries <= n and 0 <= keys < after_keys <= n:
            parts = slice(int(queries), int(after_queries)), slice(int(keys), int(after_keys))
            self._zoom_to(parts)

    # ---- what is said ----
    @override
    def _on_clicked(self, region: str, row: int, column: int) -> None:
        rows, columns = self._slices
        if region in ("cell", "row"):
            self.select_requested.emit({"token": rows.start + row})
        elif region == "column":
            self.select_requested.emit({"token": columns.start + column})

    @override
    def _on_pointed(self, region: str, row: int, column: int) -> None:
        if self.data is None or self.data.missing:
            return
        rows, columns = self._slices
        row, column = rows.start + row, columns.start + column
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


def pattern_bar(data: Data) -> Bar:
    """The colour bar: linear, or the decades of a log scale."""
    if data.scale != "log":
        return Bar("attention", bar_ticks(0.0, data.far))
    ticks = log_ticks(10.0**-LOG_DECADES, 1.0, 6)
    return Bar(
        "attention (log scale)", tuple((1 + math.log10(v) / LOG_DECADES, text) for v, text in ticks)
    )


def around(part: slice, index: int, factor: float, n: int) -> slice:
    """The part made wider or, with a ``factor`` below 1, narrower about the place of an index."""
    size = part.stop - part.start
    wide = max(min(round(size * factor), n), min(LEAST_TOKENS, n))
    share = (index + 0.5) / size
    start = round(part.start + index + 0.5 - share * wide)
    start = max(0, min(start, n - wide))
    return slice(start, start + wide)


def between(part: slice, one: int, other: int, n: int) -> slice:
    """The tokens between two indices of a part, at least `LEAST_TOKENS` of them."""
    low, high = sorted((part.start + one, part.start + other))
    wide = max(high + 1 - low, min(LEAST_TOKENS, n))
    low = max(0, min(low, n - wide))
    return slice(low, low + wide)
