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

from loopscope.widgets.palette import Theme


class ShortcutsPage(QDialog):
    """A table of commands, keys and what they do, with a search line. Escape closes it."""

    def __init__(self, actions: list[QAction], parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keyboard shortcuts")
        self.resize(760, 640)
        self._actions = actions
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search a command, a key or a word of what it does")
        self.search.textChanged.connect(self._filter)
        self.table = QTreeWidget()
        self.table.setHeaderLabels(["Keys", "Command", "What it does"])
        self.table.setRootIsDecorated(False)
        self.table.header().setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        self.table.header().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        # Taken now: single keys are lifted from their actions while a text field has the focus.
        for action in actions:
            keys = action.shortcut().toString()
            self.table.addTopLevelItem(
                QTreeWidgetItem([keys, action.text(), action.statusTip() or action.text()])
            )
        box = QVBoxLayout(self)
        box.addWidget(self.search)
        box.addWidget(self.table)

    def _filter(self, text: str) -> None:
        wanted = text.lower()
        for i in range(self.table.topLevelItemCount()):
            item = self.table.topLevelItem(i)
            assert item is not None
            words = " ".join(item.text(column) for column in range(3)).lower()
            item.setHidden(wanted not in words)

    def set_theme(self, theme: Theme) -> None:
        """The palette of the application is enough."""
