"""Correspondence of two models on the screen."""

from __future__ import annotations

import numpy as np
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.measures.correspondence import ALIGNMENT, BASELINE, HEAD_BASELINE
from loopscope.core.selection import Selection
from loopscope.core.views.base import SECOND_MODEL, Lack
from loopscope.core.views.correspondence import ALONE, Data, Options
from loopscope.widgets.kit.empty_actions import EmptyActions
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.kit.plain_text import plain_tip
from loopscope.widgets.plots.matrix_layout import Bar, Content, Marks, bar_ticks
from loopscope.widgets.plots.matrix_steps import head_steps
from loopscope.widgets.plots.matrix_view import MatrixView, value_text

CLICK = (
    "A click sets the cursor to the row's place, on a column's label to the place that goes with "
    "it; the second run follows at its pace"
)
# The window's command behind each button, and what is lacking when it is offered.
EMPTY_ACTIONS = {
    "open_deep_twin": ("model", "Put the bundled deep twin beside"),
    "open_second_model": ("model", "Open another model beside…"),
    "open_prompts": ("prompts", "Open a prompt file…"),
}
UNPAIRED = "The model of the columns is not beside any more; put it there again"


class CorrespondenceView(MatrixView[Data]):
    """Places of the model shown down, of the one beside across; bright means alike."""

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
        self.matrix.setToolTip(plain_tip(CLICK))
        self.empty_actions = EmptyActions(
            {command: text for command, (_, text) in EMPTY_ACTIONS.items()}, self
        )
        self.empty_actions.command_requested.connect(self.command_requested)
        self.clear()

    @override
    def clear(self) -> None:
        super().clear()
        self.matrix.show_empty(empty_text(ALONE, SECOND_MODEL))
        self._offer(None)

    def _offer(self, lacks: Lack | None) -> None:
        kind = "" if lacks is None else lacks.kind
        self.empty_actions.show_only(
            [command for command, (lacking, _) in EMPTY_ACTIONS.items() if lacking == kind]
        )

    @override
    def show_data(self, data: Data) -> None:
        """Draw the matrix and the alignment."""
        if data is self.data:
            return
        self.data = data
        self._offer(data.lacks)
        if data.missing:
            self.matrix.show_empty(empty_text(data.missing, data.lacks))
            return
        comparison = data.comparison
        assert comparison is not None
        heads = data.compared == "heads"
        suffix = ".head" if heads else ""
        loops = len(comparison.places.recurrences) > 1 and not heads
        second_loop = "recurrence:" if len(comparison.second_places.recurrences) > 1 else ""
        content = Content(
            n_rows=len(data.rows),
            n_columns=len(data.columns),
            title=_title(data),
            row_title=f"{comparison.first}: {'recurrence:' if loops else ''}layer{suffix}",
            column_title=f"{comparison.second}: {second_loop}layer{suffix}",
            row_labels=data.rows,
            column_labels=data.columns,
            bar=_bar(data),
            row_strides=head_steps(data.row_group or 1),
            column_strides=head_steps(data.column_group or 1),
            row_group=data.row_group,
            column_group=data.column_group,
            widest=4.0,
        )
        self.matrix.show_content(content, data.brightness)
        self.show_selection(self.selection, {})

    @override
    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Mark the row of the cursor, and the column where the second run stands."""
        self.selection = selection
        if self.data is None or self.data.missing:
            return
        data, r, layer = self.data, hover.get("recurrence"), hover.get("layer")
        marks = Marks(
            cursor_row=self._row(selection.recurrence, selection.layer, selection.head),
            cursor_column=data.column(selection.recurrence, selection.layer),
            cross=True,
            hover_row=self._row(r, layer, hover.get("head", selection.head)),
            path=tuple(enumerate(data.path)),
            dots=tuple((i, j) for i, j in enumerate(data.best) if j >= 0),
            weak=data.weak,
        )
        self.matrix.show_marks(marks)

    def _row(self, recurrence: int | None, layer: int | None, head: int) -> int | None:
        data: Data = self.data
        if recurrence is None or layer is None or data.comparison is None:
            return None
        if data.compared == "heads":
            row = layer * data.row_group + head
            return row if row < len(data.rows) and head < data.row_group else None
        return data.comparison.places.index(recurrence, layer)

    @override
    def _on_clicked(self, region: str, row: int, column: int) -> None:
        if self.data is None or self.data.missing:
            return
        if region in ("cell", "row"):
            self.select_requested.emit(self.data.place(row))
        elif region == "column":
            place = self.data.place_of_column(column)
            if place:
                self.select_requested.emit(place)
            else:
                self.message.emit(UNPAIRED)

    @override
    def _on_pointed(self, region: str, row: int, column: int) -> None:
        data = self.data
        if data is None or data.missing:
            return
        self.hover_changed.emit(data.place(row) if region in ("cell", "row") else {})
        self.message.emit(self._text(region, row, column))

    def _text(self, region: str, row: int, column: int) -> str:
        data, f = self.data, self.data.measure.formula
        if region == "cell":
            return self._cell_text(row, column)
        if region == "row" and data.path:
            return f"{data.rows[row]} goes with {data.columns[data.path[row]]} · {ALIGNMENT.text()}"
        if region == "row" and data.best:
            return self._partner(row)
        if region == "bar" and data.level is not None:
            low, high = (float(end(data.level)) for end in (np.nanmin, np.nanmax))
            baseline = HEAD_BASELINE if data.compared == "heads" else BASELINE
            return f"Other prompts reach {low:.3g} to {high:.3g} · {baseline.text()}"
        return f.text() if region == "bar" else ""

    def _cell_text(self, row: int, column: int) -> str:
        data = self.data
        comparison = data.comparison
        assert comparison is not None  # there are cells
        where = f"{comparison.first} {data.rows[row]} against {comparison.second} "
        where += data.columns[column]
        if data.level is not None and np.isfinite(data.level[row, column]):
            beats = "beats" if data.beats[row, column] else "does not beat"
            where += f", {beats} what other prompts give ({data.level[row, column]:.3g})"
        return value_text(data.measure.formula, float(data.values[row, column]), where)

    def _partner(self, row: int) -> str:
        """Which head of the other model does what a head does."""
        data, column = self.data, self.data.best[row]
        comparison = data.comparison
        assert comparison is not None  # there are rows
        head = f"Head {data.rows[row]} at recurrence {data.recurrence}"
        if column < 0:
            return f"{head} is no closer to any head of {comparison.second} than other prompts are"
        return (
            f"{head} is closest to head {data.columns[column]} of {comparison.second}, "
            f"distance {data.values[row, column]:.3g} · {data.measure.formula.text()}"
        )


def _title(data: Data) -> str:
    comparison = data.comparison
    assert comparison is not None
    title = f"{data.measure.label}, {comparison.first} against {comparison.second}"
    if data.compared == "heads":
        title = f"Heads at recurrence {data.recurrence}: {data.measure.label.lower()}"
    marks = ["bright = alike"]
    if data.hatched:
        marks.append("hatched or pale = no more alike than on other prompts")
    if data.best:
        marks.append("dot = closest")
    elif data.path:
        marks.append("line = best alignment")
    return f"{title}; {', '.join(marks)}"


def _bar(data: Data) -> Bar:
    """Colour bar in the measure's unit; where permuted prompts end is marked on it."""
    label = f"{data.measure.label} ({data.measure.identical:g} = same)"
    ticks = bar_ticks(data.far, data.near)
    if data.level is None or not np.isfinite(data.level).any():
        return Bar(label, ticks)
    span = (data.near - data.far) or 1.0
    ends = np.clip((data.level - data.far) / span, 0, 1)
    return Bar(label, ticks, (float(np.nanmin(ends)), float(np.nanmax(ends)), "other prompts"))
