"""Write a message as a model's chat template does, and see the prompt before it is used."""

from __future__ import annotations

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from loopscope.widgets.kit.plain_text import PlainLabel, describe

# After the last key, before the template is asked.
PAUSE_MS = 250


class ChatDialog(QDialog):
    """Asks for a message and shows the prompt that a template makes of it.

    Signals
    -------
    edited(str, str)
        The system's and the user's words have changed; answer with `show_prompt`.
    used(str)
        This prompt, as it was shown, is to be run.
    """

    edited = Signal(str, str)
    used = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Prompt from the chat template")
        self.resize(520, 460)
        self.system, self.user, self.preview = QLineEdit(), QPlainTextEdit(), QPlainTextEdit()
        self.system.setPlaceholderText("what the template itself says")
        describe(self.user, "Your message", "What is put into the chat template")
        describe(self.preview, "The prompt", "The text as the model is given it")
        self.system.setToolTip("The system's message; empty leaves it to the template")
        self.user.setTabChangesFocus(True)
        self.user.setAccessibleName("Your message")
        self.preview.setReadOnly(True)
        self.preview.setAccessibleName("The prompt")
        self.words = PlainLabel()
        self.words.setWordWrap(True)
        form = QFormLayout()
        form.addRow("System", self.system)
        form.addRow("Message", self.user)
        form.addRow("Prompt", self.preview)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        self.use = QPushButton("Use this prompt")
        self.use.setDefault(True)
        buttons.addButton(self.use, QDialogButtonBox.ButtonRole.ActionRole)
        box = QVBoxLayout(self)
        box.addLayout(form)
        box.addWidget(self.words)
        box.addWidget(buttons)
        self._pause = QTimer(self, singleShot=True, interval=PAUSE_MS)
        self._pause.timeout.connect(self._ask)
        self.system.textChanged.connect(self._on_edited)
        self.user.textChanged.connect(self._on_edited)
        self.use.clicked.connect(lambda: self.used.emit(self.preview.toPlainText()))
        buttons.rejected.connect(self.close)

    def ask(self) -> None:
        """Show the dialog; the prompt is asked for again, as the model may be another one."""
        self._on_edited()
        self.show()
        self.raise_()
        self.activateWindow()
        self.user.setFocus()

    def show_prompt(self, text: str, problem: str = "") -> None:
        """Show what the template makes of the message, or why it makes nothing."""
        self.preview.setPlainText(text)
        self.words.setText(problem)
        self.words.setVisible(bool(problem))
        self.use.setEnabled(bool(text) and not problem and not self._pause.isActive())

    def _on_edited(self) -> None:
        self.use.setEnabled(False)
        self._pause.start()

    def _ask(self) -> None:
        self.edited.emit(self.system.text().strip(), self.user.toPlainText())
