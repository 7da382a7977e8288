"""The base of every view over a prompt set: curves, their prompts, and what is lacking."""

from __future__ import annotations

from typing import Any, ClassVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QWidget
from typing_extensions import override

from loopscope.core.labels import printable
from loopscope.core.selection import Selection
from loopscope.core.views.base import PROMPTS
from loopscope.core.views.curves_data import Curves
from loopscope.core.views.prompt_curves import NO_PROMPTS, PromptCurves
from loopscope.widgets.kit.empty_actions import EmptyActions
from loopscope.widgets.kit.empty_text import empty_text
from loopscope.widgets.plots.curves_view import CurvesView
from loopscope.widgets.views.prompt_list import FIRST, PromptList

# The window's command behind each button, and what is lacking when it is offered.
EMPTY_ACTIONS = {
    "open_prompts": ("prompts", "Open a prompt file…"),
    "bundled_prompts": ("prompts", "Use the bundled prompts"),
    "step_recurrence": ("recurrence", "Run a recurrence"),
}


class PromptCurvesView(CurvesView):
    """`PromptCurves` beside the list of prompts; a click on one runs it in the bench."""

    # Of the class: the base clears itself while it is being made.
    prompt_list: PromptList | None = None
    NEEDS_RUN: ClassVar[bool] = False

    def __init__(self, options: Any, parent: QWidget | None = None) -> None:
        super().__init__(options, parent, empty=empty_text(NO_PROMPTS, PROMPTS))
        self.splitter = QSplitter(Qt.Orientation.Horizontal, self)
        self.splitter.setChildrenCollapsible(False)
        self.prompt_list = PromptList(self)
        self.box.removeWidget(self.plot)
        self.splitter.addWidget(self.plot)
        self.side: QWidget = self._make_side(self.prompt_list)
        self.splitter.addWidget(self.side)
        self.splitter.setSizes([620, 380])
        # The curves keep their share of any width.
        self.splitter.setStretchFactor(0, 62)
        self.splitter.setStretchFactor(1, 38)
        self.box.addWidget(self.splitter, 1)
        # Under the plot's words, which are not in the middle of the view where a table is shown.
        self.empty_actions = EmptyActions(
            {command: text for command, (_, text) in EMPTY_ACTIONS.items()}, self.plot
        )
        self.empty_actions.command_requested.connect(self.command_requested)
        self.prompt_list.opened.connect(self._on_opened)
        self.prompt_list.pointed.connect(self._on_prompt_pointed)
        self.clear()

    def _make_side(self, prompt_list: PromptList) -> QWidget:
        """What stands beside the curves."""
        return prompt_list

    def _needs_side(self, data: PromptCurves) -> bool:
        return data.rows is not None

    @override
    def show_data(self, data: Curves) -> None:
        """Draw the means and list the prompts, or offer what would fill the view."""
        assert isinstance(data, PromptCurves)
        if data is self.data:
            return
        super().show_data(data)
        assert self.prompt_list is not None
        self.rows = data.rows
        self.prompt_list.show_rows(data.rows)
        self.side.setVisible(self._needs_side(data))
        self._offer(data)

    def _offer(self, data: PromptCurves) -> None:
        kind = data.lacks.kind if data.missing and data.lacks is not None else ""
        offered = [command for command, (lacking, _) in EMPTY_ACTIONS.items() if lacking == kind]
        if not data.bundled and "bundled_prompts" in offered:
            offered.remove("bundled_prompts")
        self.empty_actions.show_only(offered)

    @override
    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Move the line, and list the numbers at the cursor."""
        super().show_selection(selection, hover)
        if self.prompt_list is not None:
            self.prompt_list.model_of_rows.show_place(selection.recurrence, selection.layer)

    @override
    def clear(self) -> None:
        super().clear()
        self.rows = None
        if self.prompt_list is not None:
            self.prompt_list.show_rows(None)
            self.side.setVisible(False)
            self.empty_actions.show_only(())

    def _on_opened(self, row: int) -> None:
        if self.rows is not None:
            self.run_requested.emit(self.rows.run_of(row))

    def _on_prompt_pointed(self, row: int) -> None:
        rows = self.rows
        if rows is None or row < 0 or self.prompt_list is None:
            self.message.emit("")
            return
        item, model = rows.prompts.items[row], self.prompt_list.model_of_rows
        numbers = ", ".join(
            f"{c.heading(model.place[0])}: {model.number(row, FIRST + i)}"
            for i, c in enumerate(rows.columns)
        )
        self.message.emit(
            f"line {item.line} of {rows.prompts.name}: {printable(item.text[:80])} · {numbers} · "
            "click to run it in the bench"
        )
