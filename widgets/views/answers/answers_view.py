"""The base of every view that draws top answers: tokens down, columns across."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QScrollBar, QVBoxLayout, QWidget
from typing_extensions import override

from loopscope.core.measures.readout import NO_ANSWER
from loopscope.core.selection import Selection
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.kit.view import View
from loopscope.widgets.palette import Theme
from loopscope.widgets.views.answers.readout_canvas import ReadoutCanvas

if TYPE_CHECKING:
    from loopscope.core.views import readout
    from loopscope.core.views.lens import data as lens

DataT = TypeVar("DataT", bound="readout.Data | lens.Data")


class AnswersView(View[DataT]):
    """Each cell has its top answer and a shade.

    Subclasses say which column the cursor stands in (`_column`), what a column means
    (`_column_place`) and what is told of a place (`_text`); columns count from 1.
    """

    EMPTY: ClassVar[str] = ""

    def __init__(self, options: Any, parent: QWidget | None = None) -> None:
        super().__init__(options, parent)
        # None while there is nothing to show, when no place can be clicked or pointed at.
        self.data: DataT | Any = None
        self._row_of: dict[int, int] = {}
        self.canvas = ReadoutCanvas(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.canvas)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.canvas.setFocusProxy(self)
        self.canvas.clicked.connect(self._on_clicked)
        self.canvas.pointed.connect(self._on_pointed)
        self.canvas.zoomed.connect(self._on_zoomed)
        self.canvas.dragged.connect(self._on_dragged)
        self.clear()

    @override
    def show_data(self, data: DataT) -> None:
        """Draw the answers."""
        if data is self.data:
            return
        if data.missing:
            self.data = None
            self.canvas.show_empty(empty_text(data.missing, data.lacks))
            return
        self.data = data
        self._row_of = {token: row for row, token in enumerate(data.tokens)}
        self.canvas.show_data(data)
        self.show_selection(self.selection, {})

    @override
    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Outline the cursor's cell and mark what is pointed at."""
        self.selection = selection
        if self.data is None:
            return
        at = {"recurrence": selection.recurrence, "layer": selection.layer}
        row = self._row_of.get(hover["token"]) if "token" in hover else None
        cursor = self._row_of.get(selection.token), self._column(at)
        missing = "" if cursor[1] is not None else self._missing(selection.recurrence)
        self.canvas.show_marks(cursor, (row, self._column(hover)), missing)

    @override
    def set_theme(self, theme: Theme) -> None:
        self.theme = theme
        self.canvas.set_theme(theme)

    @override
    def clear(self) -> None:
        self.data = None
        self.canvas.show_empty(self.EMPTY)

    @override
    def scroll_bars(self) -> list[QScrollBar]:
        return [self.canvas.scroll_bar]

    @override
    def reset_view(self) -> None:
        """Scroll back to the cursor's row, or to the top."""
        self.canvas.scroll_to_top()
        self.canvas.follow_cursor()

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Up and Down go to the token above and below."""
        step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()))
        row = self.canvas.cursor_row
        if step is None or row is None or self.data is None:
            super().keyPressEvent(event)
        elif 0 <= row + step < len(self.data.tokens):
            self.select_requested.emit({"token": self.data.tokens[row + step]})

    def _column(self, place: dict[str, int]) -> int | None:
        raise NotImplementedError

    def _missing(self, recurrence: int) -> str:
        """Why the cursor's recurrence has no column."""
        if recurrence < 1:
            return "The initial state is not read out"
        ends = [self._column_place(c).get("recurrence", 0) for c in (1, self.data.n_columns)]
        return f"r = {recurrence} is not shown here: r = {min(ends)} to {max(ends)} are"

    def _column_place(self, column: int) -> dict[str, int]:
        raise NotImplementedError

    def _text(self, region: str, row: int, column: int) -> str:
        raise NotImplementedError

    def _place(self, row: int, column: int) -> dict[str, int]:
        """Fields of the cursor at a cell, a row or a column."""
        if self.data is None:
            return {}
        place = self._column_place(column) if column >= 1 else {}
        if row >= 0:
            place["token"] = self.data.tokens[row]
        return place

    def _on_clicked(self, region: str, row: int, column: int) -> None:
        if place := self._place(row, column):
            self.select_requested.emit(place)

    def _on_pointed(self, region: str, row: int, column: int) -> None:
        self.hover_changed.emit(self._place(row, column))
        self.message.emit("" if self.data is None else self._text(region, row, column))

    def _on_zoomed(self, row: int, column: int, factor: float) -> None:
        if (r := self._column_place(column).get("recurrence")) is not None:
            self.zoom_requested.emit(r, factor)

    def _on_dragged(self, row: int, first: int, last_row: int, last: int) -> None:
        a, b = (self._column_place(column).get("recurrence") for column in (first, last))
        if a is not None and b is not None:
            self.range_requested.emit(a, b)

    def _name(self, row: int) -> str:
        return f"token {self.data.tokens[row]} '{self.data.labels[row]}'"

    def _answers(self, row: int, column: int) -> str:
        """The kept answers with probabilities to three significant digits."""
        data, i = self.data, column - 1
        if data.top[i, row] == NO_ANSWER:
            return "the readout is not finite"
        pairs = zip(data.ids[i, row].tolist(), data.probabilities[i, row].tolist(), strict=True)
        return ", ".join(f"{data.text(a)} {p:.3g}" for a, p in pairs)
