"""Means of a study over two axes of its grid, on the screen."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.arrays import F64
from loopscope.core.selection import Selection
from loopscope.core.sweeps.axes import AXES
from loopscope.core.sweeps.picture import NO_ROWS, StudyMap
from loopscope.widgets.plots.matrix_layout import Bar, Content, Marks, bar_ticks
from loopscope.widgets.plots.matrix_view import MatrixView


class StudyMapView(MatrixView[StudyMap]):
    """One cell for each pair of places; bright is high.

    Signals
    -------
    cell_chosen(int)
        A row of the study that is in the cell clicked.
    """

    cell_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(None, parent)
        self.matrix.show_empty(NO_ROWS)

    @override
    def show_data(self, data: StudyMap) -> None:
        self.data = data
        if data.missing:
            self.matrix.show_empty(data.missing)
            return
        low, high = ends_of(data.values)
        across, down = data.names
        formula = data.formula
        content = Content(
            n_rows=len(down),
            n_columns=len(across),
            title=f"{formula.name}, mean, bright = high",
            row_title=AXES[data.by],
            column_title=AXES[data.along],
            row_labels=down,
            column_labels=across,
            bar=Bar(f"{formula.name} [{formula.unit}]", bar_ticks(low, high)),
            scrolls=True,
            row_strides=(1, 2, 5, 10, 20, 50, 100),
            widest=20.0,
        )
        self.matrix.show_content(content, levels_of(data.values, low, high))

    @override
    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """It has no cursor."""

    @override
    def clear(self) -> None:
        self.data = None
        self.matrix.show_empty(NO_ROWS)

    @override
    def _on_clicked(self, region: str, row: int, column: int) -> None:
        if self.data is not None and region == "cell" and self.data.cells[row, column] >= 0:
            self.cell_chosen.emit(int(self.data.cells[row, column]))

    @override
    def _on_pointed(self, region: str, row: int, column: int) -> None:
        data = self.data
        if data is None or data.missing:
            return
        pointed = region == "cell"
        self.matrix.show_marks(
            Marks(hover_row=row if pointed else None, hover_column=column if pointed else None)
        )
        self.message.emit(self.text(row, column) if pointed else "")

    def text(self, row: int, column: int) -> str:
        """One line: the mean, where it is, of how many, and what a click does."""
        data = self.data
        value, across, down = data.values[row, column], data.names[0][column], data.names[1][row]
        number = f"{value:.3g}" if value == value else "none"
        return (
            f"{data.formula.name} {number} [{data.formula.unit}] · {AXES[data.by]} {down}, "
            f"{AXES[data.along]} {across} · n = {data.n[row, column]} · click: open its first run"
        )


def ends_of(values: F64) -> tuple[float, float]:
    """The least and the greatest value; 0 and 1 where there is none."""
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)


def levels_of(values: F64, low: float, high: float) -> F64:
    """0 to 1 from the least to the greatest; all alike is in the middle."""
    if high <= low:
        return np.where(np.isfinite(values), 0.5, np.nan)
    return np.asarray((values - low) / (high - low))
