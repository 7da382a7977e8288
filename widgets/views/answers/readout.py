"""The readout on the screen: the top answer at each token after each recurrence."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.measures.base import NO_RUN
from loopscope.core.measures.exit_gate import EXIT, HAZARD
from loopscope.core.measures.readout import FLIP, UNCHANGED_SINCE
from loopscope.core.views.base import RECURRENCE
from loopscope.core.views.readout import LENS_LABELS, Data, Options
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.views.answers.answers_view import AnswersView


class ReadoutView(AnswersView[Data]):
    """Rows are tokens, columns recurrences; each cell has its top answer, shaded by probability."""

    EMPTY: ClassVar[str] = empty_text(NO_RUN, RECURRENCE)

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)

    @override
    def _column(self, place: dict[str, int]) -> int | None:
        recurrence = place.get("recurrence", 0)
        if self.data is None:
            return None
        column = recurrence - self.data.first + 1
        return column if 1 <= column <= self.data.n_columns else None

    @override
    def _column_place(self, column: int) -> dict[str, int]:
        return {"recurrence": self.data.first + column - 1}

    @override
    def _text(self, region: str, row: int, column: int) -> str:
        data = self.data
        formula = f"{data.formula.formula} [{data.formula.unit}] · {data.formula.source}"
        cursor_row, cursor_column = self.canvas.cursor_cell
        if region == "side" and cursor_row is not None and cursor_column is not None:
            row, column = cursor_row, cursor_column
        elif region in ("legend", "side"):
            return f"{data.formula.text()} · {FLIP.text()}"
        if region == "row":
            since = int(data.unchanged_since[row])
            answer = data.text(int(data.top[-1, row]))
            return (
                f"{self._name(row)}: answer {answer} unchanged since recurrence {since} · "
                f"{UNCHANGED_SINCE.formula} · {LENS_LABELS[data.lens]}"
            )
        if row < 0 or column < 1:
            return ""
        answers = self._answers(row, column)
        if data.has_exits:
            at = column - 1, row
            answers += (
                f" · {HAZARD.name} {data.hazards[at]:.3g}, {EXIT.name} {data.exits[at]:.3g} "
                f"({EXIT.formula})"
            )
        return f"Recurrence {data.first + column - 1}, {self._name(row)}: {answers} · p = {formula}"

    @override
    def _answers(self, row: int, column: int) -> str:
        """The kept answers, and the flip."""
        text, i = super()._answers(row, column), column - 1
        if self.data.flip[i, row] and self.data.top[i, row] >= 0:
            text += f" (flip: {self.data.text(int(self.data.top[i - 1, row]))} before)"
        return text
