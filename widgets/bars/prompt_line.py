"""The line of the prompt bar: text with a history, and the notice under it."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QLineEdit, QSizePolicy, QWidget
from typing_extensions import override

from loopscope.widgets.kit.plain_text import PlainLabel, plain_tip


class PromptLine(QLineEdit):
    """A line of text with a history on Up and Down.

    Signals
    -------
    submitted()
        Enter.
    abandoned()
        Escape.
    """

    submitted = Signal()
    abandoned = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.history: list[str] = []
        # While walking: the history as it was when the walk began, the typed line on top.
        self._walk: list[str] | None = None
        self._at = 0
        self.textEdited.connect(self.end_walk)

    def end_walk(self) -> None:
        """Begin at the newest prompt again on the next Up."""
        self._walk = None

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Up and Down walk the history, Enter submits, Escape leaves."""
        key = Qt.Key(event.key())
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.end_walk()
            self.submitted.emit()
        elif key == Qt.Key.Key_Escape:
            self.end_walk()
            self.abandoned.emit()
        elif key in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self._step(1 if key == Qt.Key.Key_Up else -1)
        else:
            super().keyPressEvent(event)

    def _step(self, by: int) -> None:
        if self._walk is None:
            older = [p for p in self.history if p != self.text()]
            self._walk, self._at = [self.text(), *older], 0
        at = self._at + by
        if 0 <= at < len(self._walk):
            self._at, walk = at, self._walk
            self.setText(walk[at])
            self.textEdited.emit(walk[at])
            self._walk = walk  # it goes on although the text has changed


class Notice(PlainLabel):
    """One line of warning, elided to the width it is given; the tooltip has all of it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self.message = ""
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        self.hide()

    def show_message(self, message: str) -> None:
        """Show ``message``; nothing hides the line."""
        self.message = message
        self.setToolTip(plain_tip(message))
        self.setVisible(bool(message))
        self.fit()

    def fit(self) -> None:
        """Elide to 7/10 of the parent, so that the tokens stay in sight."""
        parent = self.parentWidget()
        room = 0.7 * (parent.width() if parent else 800)
        mode = Qt.TextElideMode.ElideRight
        self.setText(self.fontMetrics().elidedText(self.message, mode, int(room)))
