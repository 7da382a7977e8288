"""The search line over the computation graph."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLineEdit, QToolButton, QWidget
from typing_extensions import override

from loopscope.widgets.kit.plain_text import PlainLabel, describe, plain_tip


class SearchBar(QFrame):
    """A text field with a count; Enter goes on, Shift+Enter back, Esc closes."""

    text_changed = Signal(str)
    stepped = Signal(int)
    closed = Signal()

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setAutoFillBackground(True)
        self.text = QLineEdit()
        describe(self.text, "Find nodes")
        self.text.setPlaceholderText("layer 1, coda, norm, r 500 …")
        self.text.setToolTip(
            "Finds nodes by label, part, weights or digest; “r 500” by recurrence, also “layer 1 "
            "r 500”. Enter goes to the next, Shift+Enter to the one before, Esc closes"
        )
        self.text.setClearButtonEnabled(True)
        self.text.textChanged.connect(self.text_changed)
        self.text.installEventFilter(self)
        self.count = PlainLabel("")
        self.count.setMinimumWidth(84)
        box = QHBoxLayout(self)
        box.setContentsMargins(4, 3, 4, 3)
        box.setSpacing(3)
        box.addWidget(self.text, 1)
        box.addWidget(self.count)
        for text, tip, by in (("↑", "The one before", -1), ("↓", "The next", 1)):
            button = QToolButton()
            button.setText(text)
            button.setToolTip(plain_tip(tip))
            describe(button, tip)
            button.setAutoRaise(True)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.clicked.connect(lambda _=False, by=by: self.stepped.emit(by))
            box.addWidget(button)
        self.hide()

    def open(self) -> None:
        """Show it with the keyboard in the field."""
        self.show()
        self.raise_()
        self.text.setFocus()
        self.text.selectAll()

    def close_search(self) -> None:
        """Hide it and end the search."""
        self.hide()
        self.closed.emit()

    def say(self, current: int | None, n: int) -> None:
        """Say how many there are, and which is the current one (from 0)."""
        if not self.text.text().strip():
            self.count.setText("")
        elif not n:
            self.count.setText("not found")
        elif current is None:
            self.count.setText(f"{n:,} found")
        else:
            self.count.setText(f"{current + 1:,} of {n:,}")

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Enter, Shift+Enter and Esc in the field."""
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                back = event.modifiers() & Qt.KeyboardModifier.ShiftModifier
                self.stepped.emit(-1 if back else 1)
                return True
            if event.key() == Qt.Key.Key_Escape:
                self.close_search()
                return True
        return super().eventFilter(watched, event)
