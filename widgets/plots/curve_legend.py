"""The strip above a plot of curves that says which colour is which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QLinearGradient,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget
from typing_extensions import override

from loopscope.widgets.kit.plain_text import plain_tip
from loopscope.widgets.kit.theme import sample_map
from loopscope.widgets.palette import LIGHT, RECURRENCE_MAP, Theme

LINES = {
    "solid": Qt.PenStyle.SolidLine,
    "dashed": Qt.PenStyle.DashLine,
    "dotted": Qt.PenStyle.DotLine,
    "dash-dot": Qt.PenStyle.DashDotLine,
    "dash-dot-dot": Qt.PenStyle.DashDotDotLine,
}
SWATCH, GAP, MARGIN = 18.0, 12.0, 8.0
MOST_ROWS = 3
# Of a view's height, for a legend that names all there is.
SHARE = 0.45


@dataclass(frozen=True, slots=True)
class Entry:
    """One name with its line: a colour, or "" for the scale of recurrences.

    line : how it is drawn; "band" for what a shaded band is.
    """

    name: str
    colour: str
    line: str = "solid"


class CurveLegend(QWidget):
    """Lays its entries out in a few rows; what has no room is counted and in the tooltip.

    names_all : whether every entry is to be named where less than half of the view is enough: for
        curves that cannot be told apart without their names.
    """

    names_all = False

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = LIGHT
        self.entries: tuple[Entry, ...] = ()
        self.most_rows = 2
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def show_entries(self, entries: tuple[Entry, ...]) -> None:
        """Take new entries."""
        if entries != self.entries:
            self.entries = entries
            names = "\n".join(e.name for e in entries) if len(entries) > 6 else ""
            self.setToolTip(plain_tip(names))
            self.updateGeometry()
            self.update()
        self.setVisible(bool(entries))

    def give_room(self, height: int) -> None:
        """Use as many rows as a view of this height has room for: the curves need most of it."""
        self.most_rows = 1 if height < 180 else 2 if height < 420 else MOST_ROWS
        if self.names_all and height >= 180:
            self.most_rows = max(self.most_rows, int(SHARE * height / self._line()))
        # How many are in use depends on the width, too.
        self.updateGeometry()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Take as many rows as the new width asks for."""
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self.updateGeometry()

    @override
    def sizeHint(self) -> QSize:  # Qt's name
        """As tall as the rows in use."""
        rows = 1 + max((row for _, _, row in self.placed()[0]), default=0)
        return QSize(120, int(rows * self._line() + 4))

    @override
    def minimumSizeHint(self) -> QSize:  # Qt's name
        """Never smaller than its rows."""
        return self.sizeHint()

    def _line(self) -> float:
        return QFontMetricsF(self.font()).height() + 2

    def placed(self) -> tuple[list[tuple[Entry, float, int]], int]:
        """Entries with their left edge and row, and how many had no room."""
        metrics, x, row = QFontMetricsF(self.font()), MARGIN, 0
        out: list[tuple[Entry, float, int]] = []
        room = max(self.width(), 160)
        for i, entry in enumerate(self.entries):
            wide = SWATCH + 4 + metrics.horizontalAdvance(entry.name)
            last = row == self.most_rows - 1
            left = len(self.entries) - i
            more = metrics.horizontalAdvance(f"and {left} more") + GAP if left > 1 else 0.0
            if x + wide + (more if last else 0) > room - MARGIN and x > MARGIN:
                if last:
                    return out, left
                x, row = MARGIN, row + 1
            out.append((entry, x, row))
            x += wide + GAP
        return out, 0

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the swatches and names."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), QColor(self.theme.panel))
        placed, more = self.placed()
        line, end = self._line(), QPointF(MARGIN, 0)
        metrics = QFontMetricsF(self.font())
        for entry, x, row in placed:
            middle = 2 + (row + 0.5) * line
            self._swatch(painter, entry, x, middle)
            painter.setPen(QColor(self.theme.text))
            wide = metrics.horizontalAdvance(entry.name) + 4
            rect = QRectF(x + SWATCH + 4, middle - line / 2, wide, line)
            painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter, entry.name)
            end = QPointF(rect.right() + GAP - 4, middle - line / 2)
        if more:
            painter.setPen(QColor(self.theme.muted))
            rect = QRectF(end.x(), end.y(), self.width() - end.x(), line)
            painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter, f"and {more} more")

    def _swatch(self, painter: QPainter, entry: Entry, x: float, y: float) -> None:
        if entry.line == "band":
            colour = QColor(entry.colour)
            colour.setAlpha(90)
            painter.fillRect(QRectF(x, y - 4, SWATCH, 8), colour)
            return
        if entry.colour:
            pen = QPen(QColor(entry.colour), 2)
            pen.setStyle(LINES[entry.line])
            painter.setPen(pen)
            painter.drawLine(QPointF(x, y), QPointF(x + SWATCH, y))
            return
        gradient = QLinearGradient(x, y, x + SWATCH, y)
        for at in np.linspace(0, 1, 6):
            gradient.setColorAt(
                float(at), QColor(*sample_map(RECURRENCE_MAP, np.array(at)).tolist())
            )
        painter.fillRect(QRectF(x, y - 4, SWATCH, 8), gradient)

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self.theme = theme
        self.update()
