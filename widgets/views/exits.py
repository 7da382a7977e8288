"""Exits on the screen: agreement against recurrences, beside the tokens or the prompts."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QStackedWidget, QTabBar, QVBoxLayout, QWidget
from typing_extensions import override

from loopscope.core.measures.exits import USED
from loopscope.core.views.curves_data import Curves
from loopscope.core.views.exits import Data, Options
from loopscope.core.views.prompt_curves import PromptCurves
from loopscope.widgets.kit.plain_text import PlainLabel
from loopscope.widgets.palette import Theme
from loopscope.widgets.views.exit_tokens import ExitTokens
from loopscope.widgets.views.prompt_curves import PromptCurvesView
from loopscope.widgets.views.prompt_list import PromptList

TABS = ("run", "prompts")


class ExitsView(PromptCurvesView):
    """A curve for each rule; a click on one takes its threshold there."""

    NEEDS_RUN: ClassVar[bool] = True
    token_table: ExitTokens | None = None

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)
        self.set_theme(self.theme)

    @override
    def _make_side(self, prompt_list: PromptList) -> QWidget:
        """Two tables, one for each of what the curves can be over."""
        self.token_table = ExitTokens(self)
        self.tabs = QTabBar(self)
        for name in ("Tokens of this run", "Prompt set"):
            self.tabs.addTab(name)
        self.tabs.setExpanding(False)
        self.tabs.setDrawBase(False)
        self.tabs.setUsesScrollButtons(False)
        self.tabs.setElideMode(Qt.TextElideMode.ElideRight)
        self.stack = QStackedWidget(self)
        self.missing_rules = PlainLabel(parent=self)
        self.missing_rules.setWordWrap(True)
        self.missing_rules.setMargin(6)
        side = QWidget(self)
        box = QVBoxLayout(side)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(self.tabs)
        box.addWidget(self.stack, 1)
        box.addWidget(self.missing_rules)
        self.stack.addWidget(self.token_table)
        self.stack.addWidget(prompt_list)
        self.tabs.tabBarClicked.connect(self._on_tab)
        self.token_table.chosen.connect(
            lambda token, r: self.select_requested.emit({"token": token, "recurrence": r})
        )
        self.token_table.pointed.connect(self._on_cell_pointed)
        return side

    @override
    def _needs_side(self, data: PromptCurves) -> bool:
        return True  # with the tabs one can go back

    @override
    def show_data(self, data: Curves) -> None:
        """Draw the curves and list what they are over."""
        assert isinstance(data, Data)
        super().show_data(data)
        if self.token_table is None:
            return
        self.token_table.show_data(data)
        self.tabs.setCurrentIndex(TABS.index(data.over))
        self.stack.setCurrentIndex(TABS.index(data.over))
        why = [f"{o.rule.name}: {o.missing}" for o in data.outcomes if o.missing]
        self.missing_rules.setText("\n".join(why))
        self.missing_rules.setVisible(bool(why))

    @override
    def set_theme(self, theme: Theme) -> None:
        super().set_theme(theme)
        if self.token_table is not None:
            self.token_table.set_theme(theme)
            palette = self.missing_rules.palette()
            palette.setColor(palette.ColorRole.WindowText, theme.muted)
            self.missing_rules.setPalette(palette)

    @override
    def clear(self) -> None:
        super().clear()
        if self.token_table is not None:
            self.token_table.show_data(None)

    def _on_tab(self, index: int) -> None:
        if index >= 0:
            self.options_changed.emit(replace(self.options, over=TABS[index]))

    @override
    def _on_clicked(self, curve: int, point: int) -> None:
        """Take the threshold of a point for its rule; the gate's is the model's own."""
        data = self.data
        if not isinstance(data, Data) or curve < 0:
            return
        rule, threshold = data.rules[curve], float(data.thresholds[curve][point])
        if rule.gate:
            self.message.emit("The gate's threshold is the model's own")
        else:
            self.options_changed.emit(replace(self.options, **{rule.key: threshold}))

    def _on_cell_pointed(self, row: int, column: int) -> None:
        table = self.token_table
        if table is None or row < 0 or column >= len(table.model_of_tokens.outcomes):
            self.hover_changed.emit({})
            self.message.emit("")
            return
        model = table.model_of_tokens
        outcome, data = model.outcomes[column], model.data_shown
        assert data is not None
        self.hover_changed.emit({"token": data.tokens[row], "recurrence": int(outcome.at[row])})
        self.message.emit(f"{model.describe(row, column)} · {outcome.rule.formula.source}")

    @override
    def text(self, curve: int, point: int) -> str:
        """One line: the threshold, what it saves and how much it agrees."""
        data = self.data
        assert isinstance(data, Data)
        c, rule, at = data.curves[curve], data.rules[curve], data.thresholds[curve][point]
        interval = ""
        if c.low is not None and c.high is not None:
            ends = f"{c.low[point]:.1%} to {c.high[point]:.1%}"
            interval = f" ({ends}, {data.bands})"
        used = float(c.x[point])
        return (
            f"{rule.name} {rule.sign[0]} {at:.3g}: agrees {c.y[point]:.1%}{interval}, uses "
            f"{used:.3g} of {data.n_recurrences} recurrences, saves "
            f"{1 - used / data.n_recurrences:.0%} · {USED.formula} · {rule.formula.formula} · "
            f"{rule.formula.source}"
        )
