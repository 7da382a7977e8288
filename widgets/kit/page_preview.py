"""A page as it will be written, in a dialog: drawn elsewhere, shown here."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget
from typing_extensions import override

from loopscope.widgets.palette import LIGHT, Theme

DRAWING = "Drawing the page…"
MARGIN = 8


class PagePreview(QWidget):
    """The whole page on its own white ground, as large as there is room; or words instead."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.image: QImage | None = None
        self.words = DRAWING
        self.theme: Theme = LIGHT
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Preview of the page")

    @override
    def sizeHint(self) -> QSize:
        """Large enough to see whether labels collide."""
        return QSize(380, 300)

    @override
    def minimumSizeHint(self) -> QSize:
        """Small screens have room for it too."""
        return QSize(220, 160)

    def wait(self) -> None:
        """Say that another page is being drawn; the former stays, faded."""
        self.words = DRAWING
        self.update()

    def show_page(self, png: bytes) -> None:
        """Show a page that was drawn."""
        self.image, self.words = QImage.fromData(png), ""
        self.update()

    def show_words(self, text: str) -> None:
        """Say why there is no page."""
        self.image, self.words = None, text
        self.update()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the page in the middle, with an edge, and the words over it."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        if self.image is not None and not self.image.isNull():
            painter.setOpacity(0.35 if self.words else 1.0)
            where = self.page_rect()
            painter.drawImage(where, self.image)
            painter.setPen(QColor(self.theme.line))
            painter.drawRect(where)
            painter.setOpacity(1.0)
        if self.words:
            painter.setPen(QColor(self.theme.muted))
            flags = Qt.AlignmentFlag.AlignCenter.value | Qt.TextFlag.TextWordWrap.value
            painter.drawText(
                self.rect().adjusted(MARGIN, MARGIN, -MARGIN, -MARGIN), flags, self.words
            )
        painter.end()

    def page_rect(self) -> QRectF:
        """Where the page is drawn: never larger than its own pixels."""
        assert self.image is not None
        room = self.size() - QSize(2 * MARGIN, 2 * MARGIN)
        size = self.image.size()
        scale = min(1.0, room.width() / size.width(), room.height() / size.height())
        width, height = size.width() * scale, size.height() * scale
        return QRectF((self.width() - width) / 2, (self.height() - height) / 2, width, height)
