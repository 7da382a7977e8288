"""A box of choices that is whole when it is open, and shortens by meaning where it is narrow."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox
from typing_extensions import override

from loopscope.widgets.kit.shortening import shorten

# Pixels beside the text of a choice in the open list.
AIR = 24


class ChoiceBox(QComboBox):
    """Qt's own cuts a choice at a pixel, open and closed."""

    def shown(self) -> str:
        """Return what of the choice has room."""
        option = QStyleOptionComboBox()
        super().initStyleOption(option)
        field = self.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, self
        )
        metrics, text, room = self.fontMetrics(), self.currentText(), field.width() - 4
        short = shorten(text, room, metrics.horizontalAdvance)
        return short or metrics.elidedText(text, Qt.TextElideMode.ElideRight, room)

    @override
    def initStyleOption(self, option: QStyleOptionComboBox) -> None:
        super().initStyleOption(option)
        option.currentText = self.shown()

    @override
    def showPopup(self) -> None:
        """Open the list, as wide as its longest choice."""
        self.view().setMinimumWidth(self.view().sizeHintForColumn(0) + AIR)
        super().showPopup()
