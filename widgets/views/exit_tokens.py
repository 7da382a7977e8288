"""The tokens of a run with the recurrence at which each exit rule stops them and what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QColor, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget
from typing_extensions import override

from loopscope.core.labels import at_position
from loopscope.core.views.exit_outcomes import Outcome
from loopscope.core.views.exits import Data
from loopscope.widgets.kit.plain_text import describe, plain_tip
from loopscope.widgets.kit.theme import number_font
from loopscope.widgets.palette import LIGHT, Theme

Index = QModelIndex | QPersistentModelIndex
Role = Qt.ItemDataRole
CENTRE = Qt.AlignmentFlag.AlignCenter


class TokenModel(QAbstractTableModel):
    """Rows are tokens; columns the rules that can be computed, then the full run's answer."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.data_shown: Data | None = None
        self.outcomes: tuple[Outcome, ...] = ()
        self.theme: Theme = LIGHT

    def show_data(self, data: Data | None) -> None:
        """Take other outcomes."""
        self.beginResetModel()
        self.data_shown = data
        self.outcomes = () if data is None else tuple(o for o in data.outcomes if not o.missing)
        self.endResetModel()

    @override
    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Tokens."""
        data = self.data_shown
        return 0 if parent.isValid() or data is None or not data.full else len(data.tokens)

    @override
    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Rules and the full run."""
        return len(self.outcomes) + 1 if self.rowCount() else 0

    @override
    def headerData(self, section: int, way: Qt.Orientation, role: int = Role.DisplayRole) -> Any:
        """Rules above, tokens at the left."""
        data = self.data_shown
        if data is None or role not in (Role.DisplayRole, Role.ToolTipRole):
            return None
        if way == Qt.Orientation.Vertical:
            return at_position(data.tokens[section], data.labels[section])
        if section < len(self.outcomes):
            outcome = self.outcomes[section]
            formula = plain_tip(outcome.rule.formula.text())
            return outcome.rule.name if role == Role.DisplayRole else formula
        return "full run" if role == Role.DisplayRole else "The answer after the last recurrence"

    @override
    def data(self, index: Index, role: int = Role.DisplayRole) -> Any:
        """Where a token stops and what it says there; "≠" where the full run says otherwise."""
        data = self.data_shown
        if data is None or not index.isValid():
            return None
        row, column = index.row(), index.column()
        if role == Role.TextAlignmentRole:
            return int(CENTRE)
        if role == Role.FontRole:
            return number_font()
        if column == len(self.outcomes):
            return data.full[row] if role == Role.DisplayRole else None
        outcome = self.outcomes[column]
        differs = outcome.agrees[row] == 0
        if role == Role.DisplayRole:
            at = f"{outcome.at[row]}" if outcome.stopped[row] else "never"
            return f"{at}  {outcome.answers[row]}{f' ≠ {data.full[row]}' if differs else ''}"
        if role == Role.ForegroundRole and not differs:
            return QColor(self.theme.muted if not outcome.stopped[row] else self.theme.text)
        if role == Role.ForegroundRole:
            return QColor(self.theme.warning)
        return plain_tip(self.describe(row, column)) if role == Role.ToolTipRole else None

    def describe(self, row: int, column: int) -> str:
        """One cell in a sentence."""
        data, outcome = self.data_shown, self.outcomes[column]
        assert data is not None
        token = f"token {data.tokens[row]} '{data.labels[row]}'"
        if outcome.stopped[row]:
            text = f"{outcome.name} stops {token} at recurrence {outcome.at[row]}"
            if outcome.unresolved[row]:
                text += ", where its state moves no more than rounding may move it"
        else:
            text = f"{outcome.name} never stops {token} in {outcome.at[row]} recurrences"
        if not np.isfinite(outcome.agrees[row]):
            return f"{text}; its readout is not finite"
        same = "as" if outcome.agrees[row] else f"where the full run says '{data.full[row]}'"
        ending = "the full run does" if outcome.agrees[row] else ""
        return f"{text}: '{outcome.answers[row]}', {same} {ending}".rstrip()


# Of a column, and beside its name, pixels.
LEAST_WIDTH, BESIDE = 60, 14


class ExitTokens(QTableView):
    """The table; `chosen(int, int)` is a clicked token and the recurrence of that cell."""

    chosen = Signal(int, int)
    pointed = Signal(int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        describe(self, "Exits by token", "Where each rule lets each token leave")
        self.model_of_tokens = TokenModel(self)
        self.setModel(self.model_of_tokens)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setShowGrid(False)
        self.setMouseTracking(True)
        self.setTabKeyNavigation(False)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.clicked.connect(self._on_clicked)
        self.entered.connect(lambda index: self.pointed.emit(index.row(), index.column()))
        self.viewportEntered.connect(lambda: self.pointed.emit(-1, -1))

    def show_data(self, data: Data | None) -> None:
        """Take other outcomes; where the user has scrolled to stays."""
        at = self.verticalScrollBar().value()
        self.model_of_tokens.show_data(data)
        self.verticalScrollBar().setValue(at)
        self._share_room()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Share the room anew."""
        super().resizeEvent(event)
        self._share_room()

    def _share_room(self) -> None:
        """Each column holds its own name and an even share of what is left.

        In a panel that is too narrow for the names the table scrolls sideways.
        """
        header, model = self.horizontalHeader(), self.model_of_tokens
        n, advance = model.columnCount(), header.fontMetrics().horizontalAdvance
        names = [
            str(model.headerData(i, Qt.Orientation.Horizontal, Qt.ItemDataRole.DisplayRole))
            for i in range(n)
        ]
        least = [max(LEAST_WIDTH, advance(name) + BESIDE) for name in names]
        left = max(self.viewport().width() - sum(least), 0)
        for i, wide in enumerate(least):
            header.resizeSection(i, wide + left // n)

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self.model_of_tokens.theme = theme
        self.viewport().update()

    def _on_clicked(self, index: QModelIndex) -> None:
        model = self.model_of_tokens
        data, column = model.data_shown, index.column()
        if data is None:
            return
        at = data.n_run if column == len(model.outcomes) else model.outcomes[column].at[index.row()]
        self.chosen.emit(data.tokens[index.row()], int(at))
