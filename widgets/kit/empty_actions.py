"""Buttons in an empty view that offer the commands which would fill it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QWidget
from typing_extensions import override

# Below the middle, where the words of an empty view stand.
BELOW = 28


class EmptyActions(QWidget):
    """A row of buttons that stays under the words in the middle of the view it is in.

    buttons : by the name of the window's command behind each, which `command_requested` carries.
    """

    command_requested = Signal(str)

    def __init__(self, texts: Mapping[str, str], view: QWidget) -> None:
        super().__init__(view)
        self._view = view
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self.buttons: dict[str, QPushButton] = {}
        for command, text in texts.items():
            button = QPushButton(text)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.clicked.connect(lambda _=False, c=command: self.command_requested.emit(c))
            row.addWidget(button)
            self.buttons[command] = button
        view.installEventFilter(self)
        self.show_only(())

    def show_only(self, commands: Collection[str]) -> None:
        """Show the buttons of these commands and no others."""
        for command, button in self.buttons.items():
            button.setVisible(command in commands)
        self.setVisible(bool(commands))
        self._place()

    @override
    def eventFilter(self, view: QObject, event: QEvent) -> bool:
        """Follow the size of the view."""
        if event.type() == QEvent.Type.Resize:
            self._place()
        return super().eventFilter(view, event)

    def _place(self) -> None:
        view, size = self._view, self.sizeHint()
        below = min(view.height() // 2 + BELOW, view.height() - size.height() - 4)
        self.setGeometry((view.width() - size.width()) // 2, below, size.width(), size.height())
        self.raise_()
