"""Tokens in each settling class, at the end of a recurrence and after each layer."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from loopscope.core.views.settling_data import Data, share_text
from loopscope.widgets.kit.theme import number_font
from loopscope.widgets.palette import LIGHT, Theme

# Places that are in sight at once; the wheel scrolls to the others.
MOST_ROWS = 5
MARGIN, GAP = 8.0, 18.0
LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
NOWHERE = (-1, -1)


class ClassTable(QWidget):
    """Rows are places of the cycle, columns classes.

    Signals
    -------
    clicked(int, int), pointed(int, int)
        Place (0 the end of a recurrence, then the layers) and class of a cell, as indices into
        ``data.classes`` and ``data.class_words()``; ``pointed(-1, -1)`` outside of all.
    """

    clicked = Signal(int, int)
    pointed = Signal(int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = LIGHT
        self.data: Data | None = None
        self.words: tuple[str, ...] = ()
        self.first = 0
        self._texts: dict[str, list[str]] = {}
        self._pointed = NOWHERE
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def show_data(self, data: Data) -> None:
        """Count anew."""
        self.data, self.words = data, data.class_words()
        counts = [(place.counts(), len(place.of)) for place in data.classes]
        self._texts = {
            word: [share_text(c[word], n) if word in c else "–" for c, n in counts]
            for word in self.words
        }
        self.first = min(self.first, self._last_first())
        self.setToolTip("Scroll to the other layers" if self._last_first() else "")
        self.updateGeometry()
        self.update()

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self.theme = theme
        self.update()

    # ---- where things are ----
    def _line(self) -> float:
        return QFontMetricsF(self.font()).height() + 2

    def _rows(self) -> int:
        return 0 if self.data is None else min(len(self.data.classes), MOST_ROWS)

    def _last_first(self) -> int:
        return 0 if self.data is None else len(self.data.classes) - self._rows()

    def sizeHint(self) -> QSize:  # Qt's name
        """As tall as its header and rows."""
        return QSize(200, int((1 + self._rows()) * self._line() + 6))

    def minimumSizeHint(self) -> QSize:  # Qt's name
        """The same: it never shrinks below its rows."""
        return QSize(80, self.sizeHint().height())

    def _columns(self) -> list[tuple[float, float]]:
        """Left edge and width of the names and then of each class; cut where there is no room."""
        assert self.data is not None
        wide = QFontMetricsF(self.font()).horizontalAdvance
        numbers = QFontMetricsF(self._numbers()).horizontalAdvance
        names = max(wide(place.where) for place in self.data.classes)
        room = max(self.width() - names - 2 * MARGIN, 40.0)
        cells = [max(wide(w), *map(numbers, texts)) for w, texts in self._texts.items()]
        if sum(cells) + GAP * len(cells) > room:
            cells = [room / len(cells) - GAP] * len(cells)
        columns, x = [(MARGIN, names)], MARGIN + names
        for cell in cells:
            columns.append((x + GAP, cell))
            x += GAP + cell
        return columns

    def _numbers(self) -> QFont:
        return number_font(max(7, self.font().pointSize() - 1))

    def cell(self, place: int, column: int) -> QRectF:
        """Where a count stands."""
        left, width = self._columns()[1 + column]
        line = self._line()
        return QRectF(left, 3 + (1 + place - self.first) * line, width, line)

    def place_at(self, pixel: QPointF) -> tuple[int, int]:
        """Place and class under a pixel; -1, -1 outside of all."""
        if self.data is None:
            return NOWHERE
        for row in range(self.first, self.first + self._rows()):
            for column in range(len(self.words)):
                if self.cell(row, column).adjusted(-GAP / 2, 0, GAP / 2, 0).contains(pixel):
                    return row, column
        return NOWHERE

    # ---- events ----
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Tell what is pointed at."""
        self._point_at(self.place_at(event.position()))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Tell what is clicked."""
        place = self.place_at(event.position())
        if event.button() == Qt.MouseButton.LeftButton and place != NOWHERE:
            self.clicked.emit(*place)

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is pointed at."""
        self._point_at(NOWHERE)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll to layers that are not in sight."""
        step = -1 if event.angleDelta().y() > 0 else 1
        first = max(0, min(self.first + step, self._last_first()))
        if first == self.first:
            event.ignore()
            return
        self.first = first
        self.update()

    def _point_at(self, place: tuple[int, int]) -> None:
        if place != self._pointed:
            self._pointed = place
            self.update()
            self.pointed.emit(*place)

    # ---- drawing ----
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the classes' names, then a line for each place in sight."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(self.theme.panel))
        if self.data is None:
            return
        painter.setPen(QColor(self.theme.line))
        painter.drawLine(0, 0, self.width(), 0)
        columns, line = self._columns(), self._line()
        painter.setPen(QColor(self.theme.muted))
        n, rows = len(self.data.classes), self._rows()
        first = f"{self.first + 1}–{self.first + rows} of {n}" if rows < n else "tokens"
        for (left, width), word in zip(columns, (first, *self.words), strict=True):
            flags = RIGHT if word in self.words else LEFT
            _write(painter, QRectF(left, 3, width, line), flags, word)
        for row in range(self.first, self.first + self._rows()):
            self._paint_row(painter, row, columns[0])

    def _paint_row(self, painter: QPainter, row: int, names: tuple[float, float]) -> None:
        assert self.data is not None
        place, line = self.data.classes[row], self._line()
        top = 3 + (1 + row - self.first) * line
        painter.setFont(self.font())
        painter.setPen(QColor(self.theme.text))
        _write(painter, QRectF(names[0], top, names[1], line), LEFT, place.where)
        painter.setFont(self._numbers())
        for column, word in enumerate(self.words):
            rect, text = self.cell(row, column), self._texts[word][row]
            if (row, column) == self._pointed:
                painter.fillRect(rect.adjusted(-GAP / 2, 0, 4, 0), QColor(self.theme.button))
            painter.setPen(QColor(self.theme.muted if text == "–" else self.theme.text))
            if painter.fontMetrics().horizontalAdvance(text) > rect.width() + 1:
                text = text.partition(" ")[0]
            _write(painter, rect, RIGHT, text)


def _write(painter: QPainter, rect: QRectF, flags: Qt.AlignmentFlag, text: str) -> None:
    fits = painter.fontMetrics().elidedText(
        text, Qt.TextElideMode.ElideRight, int(rect.width()) + 2
    )
    painter.drawText(rect, flags, fits)
