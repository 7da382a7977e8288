"""A check box whose outline can be seen on a dark ground."""

from __future__ import annotations

from PySide6.QtCore import QEvent
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QApplication, QCheckBox, QWidget
from typing_extensions import override

# The style draws the outline of the box in the window's colour, made darker by 1.4.
DARKER = 140


class CheckBox(QCheckBox):
    """The outline is the muted text's colour; nothing else of it is drawn with the window's."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self._setting = False
        self._outline()

    @override
    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and not self._setting:
            self._outline()

    def _outline(self) -> None:
        base = QApplication.palette()
        dark = base.color(QPalette.ColorRole.Window).lightness() < 128
        # All that is not set here follows the application, whatever theme it takes next.
        palette = QPalette()
        if dark:
            muted = base.color(QPalette.ColorRole.PlaceholderText)
            palette.setColor(QPalette.ColorRole.Window, muted.lighter(DARKER))
        self._setting = True
        self.setPalette(palette)
        self._setting = False
