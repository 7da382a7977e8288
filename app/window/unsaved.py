"""The question before runs are lost: save the session, discard it, or stay."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QMessageBox, QWidget

from loopscope.app.window.sessions import Sessions

Button = QMessageBox.StandardButton


class Unsaved(QObject):
    """Asks at most one question at a time, and never in a window that nobody works in.

    box : the question that is open; None without one.
    """

    def __init__(self, sessions: Sessions, *, attended: bool, window: QWidget) -> None:
        super().__init__(window)
        self._sessions, self._attended, self._window = sessions, attended, window
        self.box: QMessageBox | None = None

    def before(self, what: str, then: Callable[[], None]) -> None:
        """Do ``then``, once the question before ``what`` was answered where one has to be asked."""
        if not self.asks(what, then):
            then()

    def asks(self, what: str, then: Callable[[], None]) -> bool:
        """Whether a question is open now, after which ``then`` is done unless the user stays."""
        if self.box is not None:
            self.box.raise_()
        elif self._attended and self._sessions.unsaved:
            self._ask(what, then)
        return self.box is not None

    def _ask(self, what: str, then: Callable[[], None]) -> None:
        name = self._sessions.name
        box = self.box = QMessageBox(
            QMessageBox.Icon.Question,
            "Loopscope",
            f"Save the session{f' “{name}”' if name else ''} before {what}?",
            Button.Save | Button.Discard | Button.Cancel,
            self._window,
        )
        box.setInformativeText("What is not saved is gone when it is discarded.")
        box.button(Button.Save).setText("Save session")
        box.setDefaultButton(Button.Save)

        def answered(choice: int) -> None:
            self.box = None
            box.deleteLater()
            if choice == Button.Discard or (choice == Button.Save and self._sessions.save()):
                then()

        box.finished.connect(answered)
        box.open()
