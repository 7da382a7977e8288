"""The lens over depth on the screen: the top answer at each token after each layer."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.measures.lens import CHANCE, DIVERGENCE, ENTROPY, FINAL_SINCE, RANK, TOP
from loopscope.core.measures.readout import NO_ANSWER
from loopscope.core.views.lens.compute import LACKS, NOT_YET, Options
from loopscope.core.views.lens.data import Data
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.views.answers.answers_view import AnswersView


class LensView(AnswersView[Data]):
    """Rows are tokens, columns places along effective depth."""

    # The cursor's final answer may be the chosen token.
    EMPTY: ClassVar[str] = empty_text(NOT_YET, LACKS)

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)

    @override
    def _column(self, place: dict[str, int]) -> int | None:
        if self.data is None:
            return None
        index = self.data.places.index(place.get("recurrence"), place.get("layer"))
        columns = self.data.order.tolist()
        return columns.index(index) + 1 if index in columns else None

    @override
    def _column_place(self, column: int) -> dict[str, int]:
        place: dict[str, int] = self.data.places.at(int(self.data.order[column - 1]))
        return place

    @override
    def _text(self, region: str, row: int, column: int) -> str:
        data, (cursor_row, cursor_column) = self.data, self.canvas.cursor_cell
        if region == "side" and cursor_row is not None and cursor_column is not None:
            row, column = cursor_row, cursor_column
        elif region in ("legend", "side"):
            return f"{data.formula.text()} · {FINAL_SINCE.text()}"
        if region == "column":
            return str(data.name(column))
        if region == "row":
            return self._row_text(row)
        if row < 0 or column < 1:
            return ""
        at = column - 1, row
        text = (
            f"{data.name(column).capitalize()}, {self._name(row)}: {self._answers(row, column)} · "
            f"{ENTROPY.name} {data.entropy[at]:.3g} nats · "
            f"{DIVERGENCE.name} {data.divergence[at]:.3g} nats"
        )
        if data.chosen[row] != NO_ANSWER:
            chosen = data.text(int(data.chosen[row]))
            text += f" · '{chosen}': p {data.chance[at]:.3g}, rank {data.rank[at]:.0f}"
        numbers = {f.name for f in (ENTROPY, DIVERGENCE, CHANCE, RANK)}
        formula = data.formula if data.formula.name in numbers else TOP[data.lens]
        return f"{text} · {formula.formula} · {formula.source}"

    def _row_text(self, row: int) -> str:
        data = self.data
        if data.final[row] == NO_ANSWER:
            return f"{self._name(row)}: the last readout is not finite"
        ends = int(data.final_recurrence[row])
        return (
            f"{self._name(row)}: final answer {data.text(int(data.final[row]))}, on top after "
            f"every layer since {data.since(row)}, at recurrence ends since {ends} · "
            f"{FINAL_SINCE.formula}"
        )
