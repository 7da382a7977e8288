"""The runs of the session as a tree: which is shown, which stands beside it, what was cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QMenu,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from loopscope.core.run.effects import EFFECT as EFFECT_FORMULA
from loopscope.widgets.kit.plain_text import PlainLabel, describe, plain_tip
from loopscope.widgets.palette import LIGHT, Theme

NAME, WHAT, LENGTH, EFFECT = range(4)
HEADS = ("run", "what is different", "r", "effect")
ID = Qt.ItemDataRole.UserRole
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
# Names take at most this share of the width; what is different is worth reading as well.
MOST_NAME = 0.46
NO_RUN = "There is no run yet: open a checkpoint and give it a prompt."
NO_BRANCH = (
    "No branch yet. Move the cursor to where this run should be cut, choose a cut in the form and "
    "press “Branch here” (Ctrl+B); the branch is drawn beside its parent."
)


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run as it is listed.

    id, parent : of the run and of the one it branched from, None for none.
    name : what the user calls it.  description : what sets it apart, in words.
    recurrences : complete ones.
    effect, effect_words : what its last cut did, short and in words; "" without any.
    """

    id: int
    parent: int | None
    name: str
    description: str
    recurrences: int
    effect: str = ""
    effect_words: str = ""


class _Tree(QTreeWidget):
    """Enter shows, Delete deletes, F2 renames: the keys a list has."""

    delete_pressed = Signal()
    show_pressed = Signal()
    rename_pressed = Signal()

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Take the keys that act on a run; the rest is Qt's."""
        editing = self.state() == QAbstractItemView.State.EditingState
        if not editing and event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.delete_pressed.emit()
        elif not editing and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.show_pressed.emit()
        elif not editing and event.key() == Qt.Key.Key_F2:
            self.rename_pressed.emit()
        else:
            super().keyPressEvent(event)


class RunList(QWidget):
    """The tree with its buttons. It holds no run, only rows.

    Signals
    -------
    show_requested(int), delete_requested(int), renamed(int, str)
        The run's id.
    second_run_requested(int)
        The run to be the second one; -1 to show the first alone.
    message(str)
        Why nothing was done.
    """

    show_requested = Signal(int)
    second_run_requested = Signal(int)
    delete_requested = Signal(int)
    renamed = Signal(int, str)
    message = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = LIGHT
        self.rows: tuple[RunRow, ...] = ()
        self.shown_run = self.second_run = -1
        self.items: dict[int, QTreeWidgetItem] = {}
        self.tree = _Tree()
        self.tree.setHeaderLabels(list(HEADS))
        self.tree.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.tree.setExpandsOnDoubleClick(False)
        describe(self.tree, "Runs", "The tree of runs: each branch under the run it was cut off")
        self.tree.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.tree.customContextMenuRequested.connect(self._show_menu)
        self.tree.headerItem().setToolTip(EFFECT, plain_tip(EFFECT_FORMULA.text()))
        self.tree.headerItem().setToolTip(LENGTH, "Complete recurrences")
        header = self.tree.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(WHAT, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(LENGTH, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(EFFECT, QHeaderView.ResizeMode.ResizeToContents)
        self.show_button = QPushButton("Show")
        self.second_run_button = QPushButton("Put beside")
        self.rename_button = QPushButton("Rename")
        self.delete_button = QPushButton("Delete")
        buttons = QHBoxLayout()
        buttons.setContentsMargins(4, 2, 4, 2)
        for button in self.buttons:
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            buttons.addWidget(button)
        buttons.addStretch(1)
        # What to do while there is nothing to compare.
        self.hint = PlainLabel()
        self.hint.setWordWrap(True)
        self.hint.setContentsMargins(8, 4, 8, 4)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(self.tree, 1)
        box.addWidget(self.hint)
        box.addLayout(buttons)
        self.show_button.clicked.connect(self._show)
        self.second_run_button.clicked.connect(self._second_run)
        self.rename_button.clicked.connect(self._rename)
        self.delete_button.clicked.connect(self._delete)
        self.tree.itemDoubleClicked.connect(lambda item, column: self._show())
        self.tree.show_pressed.connect(self._show)
        self.tree.delete_pressed.connect(self._delete)
        self.tree.rename_pressed.connect(self._rename)
        self.tree.itemDelegate().closeEditor.connect(lambda *_: self._fill_all())
        self.tree.itemChanged.connect(self._on_edited)
        self.tree.currentItemChanged.connect(lambda *_: self._dress())
        self._dress()

    # ---- what is listed ----
    def show_runs(self, rows: Sequence[RunRow], shown_run: int, second_run: int) -> None:
        """List ``rows``, parents before their branches; ids of the run shown and the one beside.

        -1 stands for none.
        """
        rows = tuple(rows)
        same = [(r.id, r.parent) for r in rows] == [(r.id, r.parent) for r in self.rows]
        # Another run that comes to be shown, such as a new branch, is the one to act on.
        chosen = shown_run if shown_run != self.shown_run else self.chosen
        self.rows, self.shown_run, self.second_run = rows, shown_run, second_run
        self.tree.blockSignals(True)
        if not same:
            self.tree.clear()
            self.items = {}
            for row in rows:
                above = self.items.get(row.parent) if row.parent is not None else None
                item = QTreeWidgetItem(above or self.tree)
                item.setData(NAME, ID, row.id)
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsEditable)
                item.setExpanded(True)
                self.items[row.id] = item
        for row in rows:
            self._fill(self.items[row.id], row)
        wanted = self.items.get(chosen if chosen in self.items else shown_run)
        if wanted is not None and wanted is not self.tree.currentItem():
            self.tree.setCurrentItem(wanted)
        self.tree.blockSignals(False)
        self._fit_names()
        self._dress()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give names their share of the new width."""
        super().resizeEvent(event)
        self._fit_names()

    def _fit_names(self) -> None:
        wanted = self.tree.sizeHintForColumn(NAME) + 6
        most = int(MOST_NAME * self.tree.viewport().width())
        self.tree.setColumnWidth(NAME, max(60, min(wanted, most)))

    def _fill(self, item: QTreeWidgetItem, row: RunRow) -> None:
        mark = "● " if row.id == self.shown_run else "○ " if row.id == self.second_run else ""
        texts = (mark + row.name, row.description, str(row.recurrences), row.effect)
        for column, text in enumerate(texts):
            if item.text(column) != text:
                item.setText(column, text)
        state = {self.shown_run: "shown", self.second_run: "second run"}.get(row.id, "")
        tip = f"{row.name}{f' ({state})' if state else ''}: {row.description}"
        tip += f"\n{row.effect_words}" if row.effect_words else ""
        for column in range(len(HEADS)):
            item.setToolTip(column, plain_tip(tip))
        font = item.font(NAME)
        font.setBold(row.id == self.shown_run)
        item.setFont(NAME, font)
        idle = row.effect_words.startswith("did nothing")
        colour = QColor(self.theme.warning if idle else self.theme.text)
        item.setForeground(EFFECT, QBrush(colour))
        for column in (LENGTH, EFFECT):
            item.setTextAlignment(column, RIGHT)

    def _fill_all(self) -> None:
        self.tree.blockSignals(True)
        for row in self.rows:
            self._fill(self.items[row.id], row)
        self.tree.blockSignals(False)

    @property
    def buttons(self) -> tuple[QPushButton, ...]:
        """What can be done with the chosen run, in the order of the row and of the menu."""
        return self.show_button, self.second_run_button, self.rename_button, self.delete_button

    @property
    def chosen(self) -> int:
        """Id of the run that the buttons act on; -1 for none."""
        item = self.tree.currentItem()
        return -1 if item is None else int(item.data(NAME, ID))

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self.theme = theme
        self._fill_all()
        palette = self.hint.palette()
        palette.setColor(palette.ColorRole.WindowText, QColor(theme.muted))
        self.hint.setPalette(palette)

    def _dress(self) -> None:
        """Say what the buttons would do to the chosen run."""
        chosen = self.chosen
        there, is_shown, only = chosen >= 0, chosen == self.shown_run, len(self.rows) < 2
        away = there and chosen == self.second_run
        self.second_run_button.setText("Show alone" if away else "Put beside")
        already = "This run is shown already; choose another one" if there else "There is no run"
        alone = "Draw the run shown alone (Shift+X)"
        second_run = "Draw this run beside the one shown, in every view (X swaps the two)"
        tips = {
            self.show_button: "Make this the run that is shown and stepped (Enter, double-click)",
            self.second_run_button: alone if away else second_run,
            self.rename_button: "Give this run a name (F2); runs with a name are kept",
            self.delete_button: "Delete this run and its branches (Delete); Ctrl+Z undoes it",
        }
        for button, tip in tips.items():
            button.setEnabled(there)
            button.setToolTip(plain_tip(tip))
        for button in (self.show_button, self.second_run_button):
            if not there or is_shown:
                button.setEnabled(False)
                button.setToolTip(plain_tip(already))
        if only:
            self.delete_button.setEnabled(False)
            self.delete_button.setToolTip(
                "The only run is not deleted; change the prompt to begin another"
            )
        branched = any(row.parent is not None for row in self.rows)
        self.hint.setText("" if branched else NO_BRANCH if self.rows else NO_RUN)
        self.hint.setVisible(not branched)

    # ---- what the user does ----
    def _show(self) -> None:
        if self.chosen == self.shown_run:
            self.message.emit("This run is shown already")
        elif self.chosen >= 0:
            self.show_requested.emit(self.chosen)

    def _second_run(self) -> None:
        self.second_run_requested.emit(-1 if self.chosen == self.second_run else self.chosen)

    def _rename(self) -> None:
        item = self.tree.currentItem()
        if item is not None:
            # The mark of the run shown is no part of its name.
            row = next(r for r in self.rows if r.id == self.chosen)
            self.tree.blockSignals(True)
            item.setText(NAME, row.name)
            self.tree.blockSignals(False)
            self.tree.editItem(item, NAME)

    def _delete(self) -> None:
        if self.chosen >= 0:
            self.delete_requested.emit(self.chosen)

    def _on_edited(self, item: QTreeWidgetItem, column: int) -> None:
        row = next((r for r in self.rows if r.id == item.data(NAME, ID)), None)
        if row is None:
            return
        name = " ".join(item.text(NAME).split())
        if column == NAME and name and name != row.name:
            self.renamed.emit(row.id, name)
        else:
            self.tree.blockSignals(True)
            self._fill(item, row)
            self.tree.blockSignals(False)

    def _show_menu(self, at: QPoint) -> None:
        if self.tree.itemAt(at) is None:
            return
        menu = QMenu(self)
        menu.aboutToHide.connect(menu.deleteLater)
        for button in self.buttons:
            action = menu.addAction(button.text(), button.click)
            action.setEnabled(button.isEnabled())
        menu.popup(self.tree.viewport().mapToGlobal(at))
