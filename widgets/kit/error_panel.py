"""Errors that nothing caught: what happened, and a report to copy."""

from __future__ import annotations

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from loopscope.widgets.kit.plain_text import PlainLabel, describe


class ErrorPanel(QDialog):
    """A window beside the bench, which goes on; it appears with the first error."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Errors")
        self.resize(760, 420)
        self.line, self.file = PlainLabel(), PlainLabel()
        self.line.setWordWrap(True)
        self.file.setWordWrap(True)
        self.report = QPlainTextEdit()
        self.report.setReadOnly(True)
        describe(self.report, "Report", "The error in full, to be copied")
        self.copy_button, self.close_button = QPushButton("Copy report"), QPushButton("Close")
        self.copy_button.clicked.connect(self._copy)
        self.close_button.clicked.connect(self.close)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self.copy_button)
        buttons.addWidget(self.close_button)
        box = QVBoxLayout(self)
        box.addWidget(self.line)
        box.addWidget(self.report, 1)
        box.addWidget(self.file)
        box.addLayout(buttons)

    def add(self, line: str, report: str, file: str) -> None:
        """Add an error: ``line`` in one sentence, ``report`` in full, ``file`` where it is kept."""
        self.line.setText(line)
        self.file.setText(f"Kept in {file}" if file else "It could not be written to a file")
        self.report.appendPlainText(report + "\n")
        if not self.isVisible():
            self.show()

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.report.toPlainText())
