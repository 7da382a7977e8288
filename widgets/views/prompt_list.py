"""The prompts behind an aggregate, each with its own numbers; a click opens one in the bench."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QFont, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget
from typing_extensions import override

from loopscope.core.labels import printable
from loopscope.core.views.prompt_curves import PromptRows
from loopscope.widgets.kit.plain_text import describe, plain_tip
from loopscope.widgets.kit.theme import number_font

Index = QModelIndex | QPersistentModelIndex
Role = Qt.ItemDataRole
LINE, PROMPT, FIRST = 0, 1, 2
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
# Pixels a prompt gets however many numbers stand beside it.
LEAST = 80
# Characters of a prompt that a row draws; the tooltip has more.
SHOWN, IN_TIP = 200, 1200


class PromptModel(QAbstractTableModel):
    """Rows are prompts in the order last sorted by; numbers are those at the cursor."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: PromptRows | None = None
        self.order = np.zeros(0, np.int64)
        self.values: list[np.ndarray] = []
        self.place = (1, 0)
        self._sorted = (LINE, Qt.SortOrder.AscendingOrder)

    def show_rows(self, rows: PromptRows | None) -> None:
        """Take other prompts, or other numbers of the same ones."""
        self.beginResetModel()
        self.rows = rows
        self._take_values()
        self._arrange()
        self.endResetModel()

    def show_place(self, recurrence: int, layer: int) -> None:
        """Show the numbers at a place of the cursor."""
        if (recurrence, layer) == self.place or self.rows is None:
            self.place = recurrence, layer
            return
        self.place = recurrence, layer
        self._take_values()
        self.headerDataChanged.emit(Qt.Orientation.Horizontal, FIRST, self.columnCount() - 1)
        self.sort(*self._sorted)

    def _take_values(self) -> None:
        rows = self.rows
        self.values = [] if rows is None else [c.at(*self.place) for c in rows.columns]

    def _arrange(self) -> None:
        rows = self.rows
        if rows is None:
            self.order = np.zeros(0, np.int64)
            return
        column, way = self._sorted
        n = len(rows.prompts)
        if column - FIRST >= len(self.values):
            column = LINE
        if column == LINE:
            key = np.arange(n)
        elif column == PROMPT:
            key = np.unique([item.text for item in rows.prompts.items], return_inverse=True)[1]
        else:
            key = self.values[column - FIRST]
        sign = 1 if way == Qt.SortOrder.AscendingOrder else -1
        # What has no number comes last, whichever way; ties keep the file's order.
        self.order = np.argsort(sign * key, kind="stable")

    # ---- what Qt asks ----
    @override
    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Prompts."""
        return 0 if parent.isValid() else len(self.order)

    @override
    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        """Line, prompt and the numbers."""
        return FIRST + len(self.values)

    @override
    def headerData(self, section: int, way: Qt.Orientation, role: int = Role.DisplayRole) -> Any:
        """Names of the columns, and what they are in words."""
        if way != Qt.Orientation.Horizontal or self.rows is None:
            return None
        if section < FIRST:
            names: tuple[str, ...] = ("line", "prompt")
            tips: tuple[str, ...] = ("Of the prompt file", "Click one to run it in the bench")
        else:
            names = ("", "", *(c.heading(self.place[0]) for c in self.rows.columns))
            tips = ("", "", *(c.help for c in self.rows.columns))
        if role == Role.DisplayRole:
            return names[section]
        if role == Role.TextAlignmentRole and section != PROMPT:
            return int(RIGHT)
        return plain_tip(tips[section]) if role == Role.ToolTipRole else None

    @override
    def data(self, index: Index, role: int = Role.DisplayRole) -> Any:
        """Text, alignment, font and tooltip of one cell."""
        rows, column = self.rows, index.column()
        if rows is None or not index.isValid():
            return None
        at = int(self.order[index.row()])
        item = rows.prompts.items[at]
        if role == Role.DisplayRole:
            if column == LINE:
                return str(item.line)
            return printable(item.text[:SHOWN]) if column == PROMPT else self.number(at, column)
        if role == Role.TextAlignmentRole and column != PROMPT:
            return int(RIGHT)
        if role == Role.FontRole:
            font = QFont() if column == PROMPT else number_font()
            font.setBold(at == rows.current)
            return font
        if role == Role.ToolTipRole:
            return plain_tip(self._tip(at, column))
        return None

    def number(self, at: int, column: int) -> str:
        """One number of prompt ``at``; "–" where there is none."""
        value = float(self.values[column - FIRST][at])
        return f"{value:.3g}" if np.isfinite(value) else "–"

    def _tip(self, at: int, column: int) -> str:
        rows = self.rows
        assert rows is not None
        item = rows.prompts.items[at]
        if column >= FIRST and not np.isfinite(self.values[column - FIRST][at]):
            return rows.missing[at] or "There is no number at this recurrence"
        answer = "" if item.answer is None else f"\nanswer: {item.answer[:IN_TIP]}"
        own = "\nthis is the run in the bench" if at == rows.current else ""
        return f"{item.text[:IN_TIP]}{answer}{own}"

    @override
    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column."""
        self.layoutAboutToBeChanged.emit()
        self._sorted = column, order
        self._arrange()
        self.layoutChanged.emit()


class PromptList(QTableView):
    """Prompts with their numbers.

    Signals
    -------
    opened(int)
        The user clicked a prompt, or pressed Enter on it: its index in the file's order.
    pointed(int)
        The prompt under the mouse; -1 for none.
    """

    opened = Signal(int)
    pointed = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        describe(self, "Prompts", "The prompts of the set with their numbers")
        self.model_of_rows = PromptModel(self)
        self.setModel(self.model_of_rows)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setShowGrid(False)
        self.setWordWrap(False)
        # A prompt says at its end what it asks.
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setMouseTracking(True)
        self.setTabKeyNavigation(False)
        self.setSortingEnabled(True)
        self.sortByColumn(LINE, Qt.SortOrder.AscendingOrder)
        self.verticalHeader().setVisible(False)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 6)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(36)
        self.clicked.connect(self._on_clicked)
        self.activated.connect(self._on_clicked)
        self.entered.connect(lambda index: self.pointed.emit(self._row_of(index)))
        self.viewportEntered.connect(lambda: self.pointed.emit(-1))

    def show_rows(self, rows: PromptRows | None) -> None:
        """Take other prompts or numbers; where the user has scrolled to stays."""
        at = self.verticalScrollBar().value()
        self.model_of_rows.show_rows(rows)
        self.verticalScrollBar().setValue(at)
        self._share_width()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give the prompts what the numbers leave."""
        super().resizeEvent(event)
        self._share_width()

    def _share_width(self) -> None:
        header, columns = self.horizontalHeader(), self.model_of_rows.columnCount()
        if columns <= PROMPT:
            return
        for column in range(columns):
            mode = QHeaderView.ResizeMode
            header.setSectionResizeMode(
                column, mode.Interactive if column == PROMPT else mode.ResizeToContents
            )
        others = sum(header.sectionSize(c) for c in range(columns) if c != PROMPT)
        header.resizeSection(PROMPT, max(LEAST, self.viewport().width() - others))

    def _row_of(self, index: QModelIndex) -> int:
        return int(self.model_of_rows.order[index.row()])

    def _on_clicked(self, index: QModelIndex) -> None:
        self.opened.emit(self._row_of(index))
