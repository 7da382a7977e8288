"""All commands with their keys, in a window of its own."""

from __future__ import annotations

from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QDialog,
    QHeaderView,
    QLineEdit,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from loopscope.widgets.kit.plain_text import describe
from loopscope.widgets.palette import Theme


class ShortcutsPage(QDialog):
    """Commands in their groups, keys and what they do, with a search line. Escape closes it.

    Parameters
    ----------
    groups
        The actions by the name of their group.
    gestures
        What the mouse does: gesture, name and what it does; a group of its own.
    """

    def __init__(
        self,
        groups: dict[str, list[QAction]],
        parent: QWidget,
        gestures: tuple[tuple[str, str, str], ...] = (),
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keyboard shortcuts")
        self.resize(860, 640)
        self.search = QLineEdit()
        describe(self.search, "Search", "Narrows the list of commands")
        self.search.setPlaceholderText("Search a command, a key or a word of what it does")
        self.search.textChanged.connect(self._filter)
        self.table = QTreeWidget()
        describe(self.table, "Keyboard shortcuts", "Commands with their keys and what they do")
        self.table.setHeaderLabels(["Keys", "Command", "What it does"])
        self.table.setRootIsDecorated(False)
        self.table.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        # Taken now: single keys are lifted from their actions while a text field has the focus.
        for name, actions in groups.items():
            self._add_group(name, [(_keys(a), a.text(), a.statusTip()) for a in actions])
        if gestures:
            self._add_group("Mouse, and keys in a view", list(gestures))
        box = QVBoxLayout(self)
        box.addWidget(self.search)
        box.addWidget(self.table)

    def _add_group(self, name: str, rows: list[tuple[str, str, str]]) -> None:
        group = QTreeWidgetItem([name])
        font = group.font(0)
        font.setBold(True)
        group.setFont(0, font)
        self.table.addTopLevelItem(group)
        group.setFirstColumnSpanned(True)
        for row in rows:
            group.addChild(QTreeWidgetItem(list(row)))
        group.setExpanded(True)

    def _filter(self, text: str) -> None:
        wanted = text.lower()
        for i in range(self.table.topLevelItemCount()):
            group = self.table.topLevelItem(i)
            assert group is not None
            found = False
            for k in range(group.childCount()):
                row = group.child(k)
                assert row is not None
                words = " ".join(row.text(column) for column in range(3)).lower()
                row.setHidden(wanted not in words)
                found = found or wanted in words
            group.setHidden(not found)

    def set_theme(self, theme: Theme) -> None:
        """The palette of the application is enough."""


def _keys(action: QAction) -> str:
    return ", ".join(key.toString() for key in action.shortcuts())
