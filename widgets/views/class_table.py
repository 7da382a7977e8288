"""Tokens in each settling class, at the end of a recurrence and after each layer."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter
from PySide6.QtWidgets import QSizePolicy, QWidget
from typing_extensions import override

from loopscope.core.views.settling_data import Data, share_text
from loopscope.widgets.kit.theme import number_font
from loopscope.widgets.plots.matrix_layout import SCROLL_BAR
from loopscope.widgets.plots.painted_grid import NOWHERE, GridLayout, PaintedGrid, Place
from loopscope.widgets.plots.text import LEFT, RIGHT, draw_text

# Places that are in sight at once; the others are scrolled to.
MOST_ROWS = 5
MARGIN, GAP, TOP = 8.0, 18.0, 3.0
NONE = "–"


@dataclass(frozen=True, slots=True)
class Layout(GridLayout):
    """Columns have widths of their own.

    names : left edge and width of the names of places.
    columns : left edge and width of each class; half a gap at either side belongs to it.
    """

    names: tuple[float, float]
    columns: tuple[tuple[float, float], ...]

    @override
    def column(self, column: int, n: int = 1) -> QRectF:
        """The rectangle of one column's texts."""
        left, width = self.columns[column]
        return QRectF(left, self.cells.top(), width, self.cells.height())

    @override
    def column_at(self, x: float, n_columns: int) -> int:
        inside = (left - GAP / 2 <= x < left + width + GAP / 2 for left, width in self.columns)
        return next((i for i, there in enumerate(inside) if there), -1)


class ClassTable(PaintedGrid[Layout]):
    """Rows are places of the cycle, columns classes.

    Signals
    -------
    clicked(str, int, int), pointed(str, int, int)
        "cell", place (0 the end of a recurrence, then the layers) and class, as indices into
        ``data.classes`` and ``data.class_words()``; "" with -1, -1 outside of all.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.data: Data | None = None
        self.words: tuple[str, ...] = ()
        self._texts: dict[str, list[str]] = {}
        self.pointed.connect(lambda *_: self.update())
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def show_data(self, data: Data) -> None:
        """Count anew."""
        self.data, self.words = data, data.class_words()
        counts = [(place.counts(), len(place.of)) for place in data.classes]
        self._texts = {
            word: [share_text(c[word], n) if word in c else NONE for c, n in counts]
            for word in self.words
        }
        self.updateGeometry()
        self.lay_out_again()
        self.setToolTip("Scroll to the other layers" if self.where.hidden else "")

    # ---- where things are ----
    @property
    def first(self) -> int:
        """The first place in sight."""
        return round(self.where.offset / self.where.row_height)

    def _line(self) -> float:
        return QFontMetricsF(self.font()).height() + 2

    def _rows(self) -> int:
        return 0 if self.data is None else min(len(self.data.classes), MOST_ROWS)

    @override
    def sizeHint(self) -> QSize:
        """As tall as its header and rows."""
        return QSize(200, int((1 + self._rows()) * self._line() + 2 * TOP))

    @override
    def minimumSizeHint(self) -> QSize:
        """Never lower than its rows."""
        return QSize(80, self.sizeHint().height())

    @override
    def make_layout(self, offset: float) -> Layout | None:
        """Place names and classes; they are cut where there is no room."""
        if self.data is None:
            return None
        line, n = self._line(), len(self.data.classes)
        wide = QFontMetricsF(self.font()).horizontalAdvance
        numbers = QFontMetricsF(self._number_font()).horizontalAdvance
        names = max(wide(place.where) for place in self.data.classes)
        hidden = (n - self._rows()) * line
        room = max(self.width() - names - 2 * MARGIN - (SCROLL_BAR if hidden else 0), 40.0)
        widths = [max(wide(w), *map(numbers, texts)) for w, texts in self._texts.items()]
        if sum(widths) + GAP * len(widths) > room:
            widths = [room / len(widths) - GAP] * len(widths)
        lefts = [MARGIN + names + GAP * (i + 1) + sum(widths[:i]) for i in range(len(widths))]
        left = lefts[0] - GAP / 2
        right = lefts[-1] + widths[-1] + GAP / 2
        return Layout(
            cells=QRectF(left, TOP + line, right - left, self._rows() * line),
            row_height=line,
            column_width=(right - left) / len(widths),
            # Whole rows only: there is no room for a part of one.
            offset=min(round(offset / line) * line, hidden),
            hidden=hidden,
            names=(MARGIN, names),
            columns=tuple(zip(lefts, widths, strict=True)),
        )

    @override
    def place_in(self, where: Layout, point: QPointF) -> Place:
        """Place and class under a pixel."""
        assert self.data is not None
        row = where.row_at(point.y(), len(self.data.classes))
        column = where.column_at(point.x(), len(self.words))
        return ("cell", row, column) if row >= 0 and column >= 0 else NOWHERE

    def _number_font(self) -> QFont:
        return number_font(max(7, self.font().pointSize() - 1))

    # ---- drawing ----
    @override
    def paint_front(self, painter: QPainter, where: Layout) -> None:
        """Draw the classes' names, then a line for each place in sight."""
        assert self.data is not None
        painter.setFont(self.font())
        painter.setPen(QColor(self.theme.line))
        painter.drawLine(0, 0, self.width(), 0)
        painter.setPen(QColor(self.theme.muted))
        n, rows = len(self.data.classes), where.rows_in_sight(len(self.data.classes))
        first = f"{rows[0] + 1}–{rows[-1] + 1} of {n}" if len(rows) < n else "tokens"
        left, width = where.names
        draw_text(painter, QRectF(left, TOP, width, where.row_height), LEFT, first)
        for (left, width), word in zip(where.columns, self.words, strict=True):
            draw_text(painter, QRectF(left, TOP, width, where.row_height), RIGHT, word)
        for row in rows:
            self._paint_row(painter, where, row)

    def _paint_row(self, painter: QPainter, where: Layout, row: int) -> None:
        assert self.data is not None
        left, width = where.names
        painter.setFont(self.font())
        painter.setPen(QColor(self.theme.text))
        rect = QRectF(left, where.row(row).top(), width, where.row_height)
        draw_text(painter, rect, LEFT, self.data.classes[row].where)
        painter.setFont(self._number_font())
        for column, word in enumerate(self.words):
            rect, text = where.cell(row, column), self._texts[word][row]
            if self.place == ("cell", row, column):
                painter.fillRect(rect.adjusted(-GAP / 2, 0, 4, 0), QColor(self.theme.button))
            painter.setPen(QColor(self.theme.muted if text == NONE else self.theme.text))
            if painter.fontMetrics().horizontalAdvance(text) > rect.width() + 1:
                text = text.partition(" ")[0]
            draw_text(painter, rect, RIGHT, text)
