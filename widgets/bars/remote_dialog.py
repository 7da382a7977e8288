"""Which checkpoint is opened on another machine, and the address of its scheduler."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from loopscope.widgets.bars.header import DEVICES, DTYPES
from loopscope.widgets.kit.plain_text import PlainLabel

EXAMPLE = "tcp://localhost:8786"


class RemoteDialog(QDialog):
    """Asks for an address and for a path as a worker there sees it.

    Signals
    -------
    chosen(str, str, str, str)
        Address, path, device and dtype.
    """

    chosen = Signal(str, str, str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Run on another machine")
        self.setMinimumWidth(460)
        self.address, self.path = QLineEdit(), QLineEdit()
        self.address.setPlaceholderText(EXAMPLE)
        self.address.setToolTip(
            "Of a Dask scheduler: `loopscope serve` there, and an SSH tunnel to it"
        )
        self.path.setPlaceholderText("/models/NAME, or bundled:NAME")
        self.path.setToolTip("The checkpoint folder, as the other machine sees it")
        self.device, self.dtype = QComboBox(), QComboBox()
        self.device.addItems(DEVICES)
        self.dtype.addItems(DTYPES)
        form = QFormLayout()
        form.addRow("Address", self.address)
        form.addRow("Checkpoint there", self.path)
        form.addRow("Device", self.device)
        form.addRow("Dtype", self.dtype)
        words = PlainLabel(
            "The model runs there; this window, its recording and its views stay here. Connect "
            "only to what you trust: either end can run code on the other."
        )
        words.setWordWrap(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.go = QPushButton("Open there")
        self.go.setDefault(True)
        buttons.addButton(self.go, QDialogButtonBox.ButtonRole.AcceptRole)
        box = QVBoxLayout(self)
        box.addLayout(form)
        box.addWidget(words)
        box.addWidget(buttons)
        for line in (self.address, self.path):
            line.textChanged.connect(self._on_edited)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self.accepted.connect(self._choose)
        self._on_edited()

    def ask(self, address: str) -> None:
        """Show the dialog with the address of the last time."""
        self.address.setText(address or EXAMPLE)
        self.show()
        self.raise_()
        self.activateWindow()
        self.path.setFocus()

    def _on_edited(self) -> None:
        self.go.setEnabled(bool(self.address.text().strip() and self.path.text().strip()))

    def _choose(self) -> None:
        self.chosen.emit(
            self.address.text().strip(), self.path.text().strip(), self.device.currentText(),
            self.dtype.currentText(),
        )  # fmt: skip
