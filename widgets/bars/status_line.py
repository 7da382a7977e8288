"""The line at the bottom: what was said last, shortened where it has no room and whole in a tip."""

from __future__ import annotations

from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QStatusBar, QStyle, QStyleOption, QWidget
from typing_extensions import override

from loopscope.widgets.kit.plain_text import plain_tip
from loopscope.widgets.kit.shortening import shorten

# Pixels beside the sentence.
AIR = 8


class StatusLine(QStatusBar):
    """A status bar whose sentence gives up clauses before it runs under what stands at the right.

    Qt's own cuts it at a pixel.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizeGripEnabled(False)
        self.messageChanged.connect(lambda text: self.setToolTip(plain_tip(text)))

    def shown(self) -> str:
        """Return what of the sentence has room."""
        metrics = self.fontMetrics()
        return shorten(self.currentMessage(), self.room().width(), metrics.horizontalAdvance)

    def room(self) -> QRect:
        """Where the sentence stands: left of all that is shown always."""
        right = min(
            (
                child.x()
                for child in self.findChildren(
                    QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly
                )
                if child.isVisible()
            ),
            default=self.width(),
        )
        return QRect(AIR, 0, max(right - 2 * AIR, 0), self.height())

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        painter, option = QPainter(self), QStyleOption()
        option.initFrom(self)
        self.style().drawPrimitive(QStyle.PrimitiveElement.PE_PanelStatusBar, option, painter, self)
        line = Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine
        painter.drawText(self.room(), line, self.shown())
