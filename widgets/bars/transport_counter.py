"""The transport's counter: where the cursor is and how far the run has got."""

from __future__ import annotations

import math

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget
from typing_extensions import override

from loopscope.widgets.kit.theme import number_font
from loopscope.widgets.palette import LIGHT, Theme


class Counter(QWidget):
    """``r = 7 / 12``: the cursor and the latest recurrence; below, the layers under way."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = LIGHT
        self.text, self.below = "r = 0 / 0", ""
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setToolTip("Recurrence of the cursor / latest recurrence that was run")

    def show_run(
        self, latest: int, cursor: int, done: int | None, n_layers: int, mark: str = ""
    ) -> None:
        """Take the numbers; ``done`` of ``n_layers`` layers of the next recurrence have run."""
        digits = len(str(latest))
        text = f"r = {cursor:>{digits}} / {latest}"
        below = f"+ {done} of {n_layers} layers" if done else ""
        if done and mark:
            below = f"+ {mark} ({done} of {n_layers})"
        if (text, below) != (self.text, self.below):
            wider = len(text) != len(self.text)
            self.text, self.below = text, below
            if wider:
                self.updateGeometry()
            self.update()

    @override
    def sizeHint(self) -> QSize:  # Qt's name
        """Room for the text, and for the layers under way so that it never jumps."""
        font = number_font()
        wide = QFontMetricsF(font).horizontalAdvance("0" * max(len(self.text), 11))
        return QSize(math.ceil(wide) + 6, 34)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """One line, or two with layers under way."""
        painter = QPainter(self)
        theme, font = self.theme, number_font()
        painter.setFont(font)
        painter.setPen(QColor(theme.text if self.isEnabled() else theme.hover))
        height = self.height() * (0.56 if self.below else 1.0)
        painter.drawText(0, 0, self.width(), int(height), Qt.AlignmentFlag.AlignCenter, self.text)
        if self.below:
            small = self.font()
            small.setPointSizeF(max(6.5, small.pointSizeF() - 2.5))
            painter.setFont(small)
            painter.setPen(QColor(theme.muted))
            flags = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop
            painter.drawText(0, int(height), self.width(), self.height(), flags, self.below)
