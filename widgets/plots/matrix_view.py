"""What the views that show one matrix have in common."""

from __future__ import annotations

import math
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QScrollBar, QVBoxLayout, QWidget
from typing_extensions import TypeVar, override

from loopscope.core.formula import Formula
from loopscope.core.measures.base import NO_RUN
from loopscope.core.measures.heads import PatternMeasure
from loopscope.core.views.base import RECURRENCE
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.kit.view import View
from loopscope.widgets.palette import Theme
from loopscope.widgets.plots.matrix import Matrix
from loopscope.widgets.plots.matrix_layout import Bar, bar_ticks
from loopscope.widgets.plots.ticks import log_ticks

DataT = TypeVar("DataT")


class MatrixView(View[DataT]):
    """A view made of one `Matrix`; subclasses say what a place in it means.

    Subclasses implement `_on_clicked` and `_on_pointed`, which take a region, a row and a column
    of the matrix (see `Matrix`), besides what `View` asks for.
    """

    def __init__(self, options: Any, parent: QWidget | None = None) -> None:
        super().__init__(options, parent)
        # None while there is nothing to show, when no place can be clicked or pointed at.
        self.data: DataT | Any = None
        self.matrix = Matrix(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.matrix)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.matrix.setFocusProxy(self)
        self.matrix.clicked.connect(self._on_clicked)
        self.matrix.pointed.connect(self._on_pointed)
        self.matrix.zoomed.connect(self._on_zoomed)
        self.matrix.dragged.connect(self._on_dragged)
        self.matrix.show_empty(empty_text(NO_RUN, RECURRENCE))

    @override
    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self.matrix.set_theme(theme)

    @override
    def clear(self) -> None:
        self.data = None
        self.matrix.show_empty(empty_text(NO_RUN, RECURRENCE))

    @override
    def scroll_bars(self) -> list[QScrollBar]:
        return [self.matrix.scroll_bar]

    @override
    def reset_view(self) -> None:
        """Scroll back to the cursor's row, or to the top."""
        self.matrix.scroll_to_top()
        self.matrix.follow_cursor()

    def recurrence_of(self, column: int) -> int | None:
        """The recurrence of a column; None where columns are something else."""
        return None

    def _on_zoomed(self, row: int, column: int, factor: float) -> None:
        if (r := self.recurrence_of(column)) is not None:
            self.zoom_requested.emit(r, factor)

    def _on_dragged(self, row: int, first: int, last_row: int, last: int) -> None:
        a, b = self.recurrence_of(first), self.recurrence_of(last)
        if a is not None and b is not None:
            self.range_requested.emit(a, b)

    def _on_clicked(self, region: str, row: int, column: int) -> None:
        raise NotImplementedError

    def _on_pointed(self, region: str, row: int, column: int) -> None:
        raise NotImplementedError


def measure_bar(measure: PatternMeasure, far: float, near: float = 0.0) -> Bar:
    """Colour bar of a measure in its own unit, identical patterns at the bright end.

    With ``near`` it is a log scale of the differences from identical patterns.
    """
    unit = "nats, " if measure.key == "jensen_shannon" else ""
    if near:
        whole = abs(far - measure.identical)
        span = math.log(whole / near)
        name = measure.label if measure.is_distance else f"{measure.identical:g} − {measure.label}"
        ticks = log_ticks(near, whole, 6)
        levels = tuple((1 - math.log(v / near) / span, text) for v, text in ticks)
        return Bar(f"{name} ({unit}log scale)", levels)
    label = f"{measure.label} ({unit}{measure.identical:g} = same)"
    return Bar(label, bar_ticks(far, measure.identical))


def value_text(formula: Formula, value: float, where: str) -> str:
    """One line for the status bar: the value, where it is, its unit and its formula."""
    number = f"{value:.3g}" if value == value else "none"
    return (
        f"{formula.name} {number} [{formula.unit}] · {where} · {formula.formula} · {formula.source}"
    )
