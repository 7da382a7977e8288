"""Ask how and where to export; nothing is drawn here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from loopscope.core.errors import LoopscopeError
from loopscope.widgets.kit.check_box import CheckBox
from loopscope.widgets.kit.export_choice import ExportChoice
from loopscope.widgets.kit.export_names import FIELDS
from loopscope.widgets.kit.numbers import POINT
from loopscope.widgets.kit.page_preview import PagePreview
from loopscope.widgets.kit.plain_text import PlainLabel, describe, plain_tip
from loopscope.widgets.palette import LIGHT, Theme

FORMATS = {
    "pdf": "PDF",
    "svg": "SVG",
    "png": "PNG",
    "csv": "CSV (the numbers)",
    "txt": "TXT (a caption)",
}
# Formats that only some views have.
EXTRA_FORMATS = {"graphml": "GraphML", "dot": "DOT (Graphviz)"}
# Milliseconds without a change after which the page is drawn.
PREVIEW_AFTER_MS = 250
PRESETS = {
    "one column": "one column, 88 mm",
    "two columns": "two columns, 180 mm",
    "slide": "slide, 254 mm",
}


class ExportDialog(QDialog):
    """A window that stays open while the bench goes on; emits `chosen` on Export.

    ``extra`` are formats, besides the usual ones, that what is exported can be written in.
    ``files`` says what a choice would write, raising `LoopscopeError` where it cannot be;
    ``pages`` are the titles of what is exported, of which one is previewed.
    """

    chosen = Signal(object)
    # The choice, and which of the pages: that page is wanted.
    preview_wanted = Signal(object, int)
    cancel_requested = Signal()

    def __init__(
        self, title: str, choice: ExportChoice, parent: QWidget | None = None,
        extra: tuple[str, ...] = (), files: Callable[[ExportChoice], str] = lambda choice: "",
        pages: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        super().__init__(parent)
        self._describe_files = files
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(f"Export {title}")
        self.setLocale(POINT)
        self.boxes: dict[str, CheckBox] = {}
        formats = QHBoxLayout()
        for key, text in (FORMATS | {k: EXTRA_FORMATS.get(k, k.upper()) for k in extra}).items():
            box = CheckBox(text)
            box.setChecked(key in choice.formats)
            box.toggled.connect(self._check)
            self.boxes[key] = box
            formats.addWidget(box)
        self.preset = QComboBox()
        for key, text in PRESETS.items():
            self.preset.addItem(text, key)
        self.preset.setCurrentIndex(max(0, self.preset.findData(choice.preset)))
        describe(self.preset, "Size", "The width of the page, and of its letters")
        self.dpi = QSpinBox()
        describe(self.dpi, "Resolution of PNG", "Dots to the inch of the picture")
        self.dpi.setRange(72, 1200)
        self.dpi.setSuffix(" dots per inch")
        self.dpi.setValue(choice.dpi)
        self.folder = QLineEdit(choice.folder or str(Path.home()))
        self.folder.setMinimumWidth(280)
        describe(self.folder, "Folder", "Where the files are written")
        self.folder.textChanged.connect(self._check)
        self.name = QLineEdit(choice.name)
        describe(self.name, "Name")
        fields = "; ".join(f"{{{k}}}: {v}" for k, v in FIELDS.items())
        self.name.setToolTip(plain_tip(f"Name of the files. In braces: {fields}"))
        self.name.textChanged.connect(self._check)
        self.there = QComboBox()
        describe(self.there, "If a file is there", "What becomes of a file that has the name")
        self.there.addItem("the new file gets a number", False)
        self.there.addItem("it is written over", True)
        self.there.setCurrentIndex(int(choice.replace))
        self.there.currentIndexChanged.connect(self._check)
        self.together = CheckBox("both runs in one figure")
        self.together.setChecked(choice.together)
        self.together.setVisible(False)
        self.together.toggled.connect(self._ask_preview)
        self.files = PlainLabel()
        self.files.setWordWrap(True)
        browse = QPushButton("Choose…")
        browse.clicked.connect(self._browse)
        folder = QHBoxLayout()
        folder.addWidget(self.folder, 1)
        folder.addWidget(browse)
        self.note = PlainLabel()
        self.note.setWordWrap(True)
        self.second_run = PlainLabel()
        self.second_run.setWordWrap(True)
        self.second_run.setVisible(False)
        self.progress = QProgressBar()
        describe(self.progress, "Progress", "How far the export is")
        self.progress.setVisible(False)
        self.buttons = QDialogButtonBox()
        role = QDialogButtonBox.ButtonRole
        self.export_button = self.buttons.addButton("Export", role.AcceptRole)
        self.close_button = self.buttons.addButton("Close", role.RejectRole)
        self.buttons.accepted.connect(self._export)
        self.buttons.rejected.connect(self._cancel_or_close)
        form = QFormLayout()
        form.addRow("Formats", formats)
        form.addRow("Size", self.preset)
        form.addRow("PNG", self.dpi)
        form.addRow("Folder", folder)
        form.addRow("Name", self.name)
        form.addRow("If a file is there", self.there)
        column = QVBoxLayout()
        column.addLayout(form)
        column.addWidget(self.files)
        column.addWidget(self.second_run)
        column.addWidget(self.together)
        column.addStretch(1)
        column.addWidget(self.progress)
        column.addWidget(self.note)
        column.addWidget(self.buttons)
        self.preview = PagePreview()
        self.page = QComboBox()
        describe(self.page, "View in the preview", "Which of the views is shown as it will be")
        self.page.addItems(pages)
        self.page.setVisible(len(pages) > 1)
        self.page.currentIndexChanged.connect(self._ask_preview)
        beside = QVBoxLayout()
        beside.addWidget(self.page)
        beside.addWidget(self.preview, 1)
        row = QHBoxLayout(self)
        row.addLayout(column)
        row.addLayout(beside, 1)
        self.preview.setVisible(bool(pages))
        self._asking = QTimer(self)
        self._asking.setSingleShot(True)
        self._asking.setInterval(PREVIEW_AFTER_MS)
        self._asking.timeout.connect(
            lambda: self.preview_wanted.emit(self.choice, max(self.page.currentIndex(), 0))
        )
        self.preset.currentIndexChanged.connect(self._ask_preview)
        self.preset.currentIndexChanged.connect(self._check)
        self._busy = False
        self._colour = LIGHT.warning
        self._check()
        if pages:
            self._ask_preview()

    @property
    def choice(self) -> ExportChoice:
        """Return what is chosen now."""
        return ExportChoice(
            tuple(key for key, box in self.boxes.items() if box.isChecked()),
            self.preset.currentData(),
            self.dpi.value(),
            self.folder.text().strip(),
            self.name.text().strip(),
            self.there.currentData(),
            self.together.isChecked(),
        )

    def _ask_preview(self) -> None:
        """Have the page drawn, once nothing has been changed for a moment."""
        self.preview.wait()
        self._asking.start()

    def _check(self) -> None:
        problem = ""
        if not self.choice.formats:
            problem = "Choose at least one format"
        elif not self.choice.folder:
            problem = "Choose a folder"
        files = ""
        if not problem:
            try:
                files = self._describe_files(self.choice)
            except LoopscopeError as error:
                problem = str(error)
        self.files.setText(files)
        self._say(problem, bad=True)
        self.export_button.setEnabled(not problem)
        self.dpi.setEnabled(self.boxes["png"].isChecked())

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Export to", self.folder.text())
        if folder:
            self.folder.setText(folder)

    def _export(self) -> None:
        self.set_busy(True)
        self.chosen.emit(self.choice)

    def _cancel_or_close(self) -> None:
        if self._busy:
            self.cancel_requested.emit()
        else:
            self.close()

    @property
    def is_asking(self) -> bool:
        """Whether another page will be asked for in a moment."""
        return self._asking.isActive()

    def show_second_run(self, text: str) -> None:
        """Say what of the second run is written and where; "" for nothing."""
        self.second_run.setText(text)
        self.second_run.setVisible(bool(text))

    def offer_together(self, offered: bool) -> None:
        """Whether two drawings can share a figure."""
        self.together.setVisible(offered)
        self._ask_preview()

    def set_busy(self, busy: bool) -> None:
        """While busy, Close is Cancel."""
        self._busy = busy
        self.progress.setVisible(busy)
        self.progress.setRange(0, 0)
        self.close_button.setText("Cancel" if busy else "Close")
        self.export_button.setEnabled(not busy)

    def show_progress(self, done: int, total: int, name: str) -> None:
        """Show files done of all."""
        self.progress.setRange(0, total)
        self.progress.setValue(done)
        self._say(name, bad=False)

    def show_result(self, text: str, *, failed: bool) -> None:
        """Say what was written, or what went wrong, in place."""
        self.set_busy(False)
        self._check()  # what was written is there now
        self._say(text, bad=failed)

    def _say(self, text: str, *, bad: bool) -> None:
        palette = self.palette()
        if bad:
            palette.setColor(palette.ColorRole.WindowText, self._colour)
        self.note.setPalette(palette)
        self.note.setText(text)

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self._colour = theme.warning
        self.preview.theme = theme
        self.preview.update()
