"""Find and run any command, view or setting by typing a part of its name."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QAction, QKeyEvent
from PySide6.QtWidgets import (
    QFrame,
    QHeaderView,
    QLineEdit,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from loopscope.widgets.kit.plain_text import describe, plain_tip
from loopscope.widgets.kit.popup import EdgedFrame
from loopscope.widgets.palette import Theme


def score(pattern: str, text: str) -> float | None:
    """How well ``pattern`` fits ``text``: None when its letters are not all there in order.

    Smaller is better: gaps between matched letters and a late first letter cost; letters that
    begin a word do not. A text that has every word of ``pattern`` at the beginning of one of its
    own comes before any other.
    """
    pattern, text = pattern.lower(), text.lower()
    begun = all(f" {word}" in f" {text}" for word in pattern.split())
    if begun:
        return 0.01 * len(text) - 10
    pattern = pattern.replace(" ", "")
    at, cost = -1, 0.0
    for letter in pattern:
        next_at = text.find(letter, at + 1)
        if next_at < 0:
            return None
        begins_word = next_at == 0 or not text[next_at - 1].isalnum()
        cost += 0 if next_at == at + 1 or begins_word else 1 + 0.05 * (next_at - at)
        at = next_at
    return cost + 0.01 * len(text)


class CommandPalette(EdgedFrame):
    """A popup with a filter line over the list of all actions; what is ticked has a tick.

    Parameters
    ----------
    settings
        Makes more actions, of a parent that it is given, when the palette opens. They are many:
        one is listed only where every word that was typed begins one of its own.
    """

    def __init__(
        self,
        actions: list[QAction],
        parent: QWidget,
        settings: Callable[[QObject], list[QAction]] = lambda holder: [],
    ) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.all_actions, self._window = actions, parent
        self._make_settings, self._holder = settings, QObject(self)
        self._settings: list[QAction] = []
        self.filter = QLineEdit()
        describe(self.filter, "Find a command", "Narrows the list; Enter runs the first of it")
        self.filter.setPlaceholderText("Type a part of the name of a command, a view or a setting")
        self.filter.textChanged.connect(self._fill)
        self.filter.returnPressed.connect(self._run)
        self.filter.installEventFilter(self)
        self.list = QTreeWidget()
        describe(self.list, "Commands", "Commands, views and settings with their keys")
        self.list.setColumnCount(2)
        self.list.setHeaderHidden(True)
        self.list.setRootIsDecorated(False)
        self.list.setUniformRowHeights(True)
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.itemClicked.connect(self._run)
        header = self.list.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        box = QVBoxLayout(self)
        box.setContentsMargins(6, 6, 6, 6)
        box.addWidget(self.filter)
        box.addWidget(self.list)

    def open(self) -> None:
        """Show the palette at the top of the window, empty."""
        parent = self._window
        width = min(520, parent.width() - 40)
        self.resize(width, min(420, parent.height() - 80))
        corner = parent.mapToGlobal(parent.rect().topLeft())
        self.move(corner.x() + (parent.width() - width) // 2, corner.y() + 60)
        # Those of the last time may be ticked no longer.
        self._holder.deleteLater()
        self._holder = QObject(self)
        self._settings = self._make_settings(self._holder)
        self.filter.clear()
        self._fill("")
        self.show()
        self.filter.setFocus()

    def _fill(self, pattern: str) -> None:
        self.list.clear()
        for i, action in self._found(pattern.strip()):
            text = ("✓ " if action.isChecked() else "") + action.text()
            item = QTreeWidgetItem([text, action.shortcut().toString()])
            item.setData(0, Qt.ItemDataRole.UserRole, i)
            item.setToolTip(0, plain_tip(action.toolTip()))
            item.setTextAlignment(1, Qt.AlignmentFlag.AlignRight)
            if not action.isEnabled():
                item.setDisabled(True)
                item.setToolTip(0, "Not possible just now")
            self.list.addTopLevelItem(item)
        if not self.list.topLevelItemCount():
            nothing = QTreeWidgetItem(["No command, view or setting is called that"])
            nothing.setDisabled(True)
            self.list.addTopLevelItem(nothing)
        self._choose(0)

    def _found(self, pattern: str) -> list[tuple[int, QAction]]:
        """The actions that fit what was typed, the best first, with their places among all."""
        ranked = []
        for i, action in enumerate([*self.all_actions, *self._settings]):
            cost = score(pattern, action.text())
            is_setting = i >= len(self.all_actions)
            if cost is None or (is_setting and (cost >= 0 or not pattern)):
                continue
            # A setting comes after what is called by the same words.
            ranked.append((cost + 3 * is_setting if pattern else i, i, action))
        return [(i, action) for _, i, action in sorted(ranked, key=lambda entry: entry[:2])]

    def _choose(self, row: int) -> None:
        """Make the command in ``row`` of the list the current one, or the nearest there is."""
        item = self.list.topLevelItem(max(0, min(row, self.list.topLevelItemCount() - 1)))
        if item is not None:
            self.list.setCurrentItem(item)

    def _run(self) -> None:
        item = self.list.currentItem()
        if item is None or item.isDisabled():
            return
        self.hide()
        actions = [*self.all_actions, *self._settings]
        actions[item.data(0, Qt.ItemDataRole.UserRole)].trigger()

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Up, Down, Page keys in the filter line move in the list."""
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            moves = {
                Qt.Key.Key_Down: 1,
                Qt.Key.Key_Up: -1,
                Qt.Key.Key_PageDown: 10,
                Qt.Key.Key_PageUp: -10,
            }
            rows, current = moves.get(Qt.Key(event.key())), self.list.currentItem()
            if rows is not None and current is not None:
                self._choose(self.list.indexOfTopLevelItem(current) + rows)
                return True
        return super().eventFilter(watched, event)

    def set_theme(self, theme: Theme) -> None:
        """The palette of the application is enough."""
