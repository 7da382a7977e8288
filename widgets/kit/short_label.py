"""A label that is as wide as its room, whatever it says."""

from __future__ import annotations

from PySide6.QtCore import QEvent
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QSizePolicy
from typing_extensions import override

from loopscope.widgets.kit.plain_text import PlainLabel, plain_tip
from loopscope.widgets.kit.shortening import shorten


class ShortLabel(PlainLabel):
    """A line that is shortened where there is no room, and whole in its tooltip.

    Nothing is shown in fewer than ``least`` pixels.
    """

    def __init__(self, least: int = 0) -> None:
        super().__init__()
        self._whole, self._least = "", least
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def set_whole(self, text: str) -> None:
        """Take the whole text."""
        self._whole = text
        self.setToolTip(plain_tip(text))
        self._shorten()

    def whole(self) -> str:
        """Return the text as it was given."""
        return self._whole

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Shorten again for the new width."""
        super().resizeEvent(event)
        self._shorten()

    @override
    def changeEvent(self, event: QEvent) -> None:
        """Shorten again for letters of another size."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._shorten()

    def _shorten(self) -> None:
        width, metrics = self.contentsRect().width() - 2, self.fontMetrics()
        short = shorten(self._whole, width, metrics.horizontalAdvance)
        short = "" if self.width() < self._least else short
        if short != self.text():
            self.setText(short)
