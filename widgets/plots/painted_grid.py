"""The base of every painted grid of cells: scrolling, pointing, and what is drawn once.

What does not change with a mark is drawn once into a pixmap (`paint_back`); moving a mark draws
only what lies over it (`paint_front`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFont,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPixmap,
    QResizeEvent,
    QShowEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QScrollBar, QSizePolicy, QWidget
from typing_extensions import override

from loopscope.core.arrays import F64
from loopscope.widgets.palette import LIGHT, Theme
from loopscope.widgets.plots.text import CENTRE

# Region, row, column; a row or column that the region has none of is -1.
Place = tuple[str, int, int]
NOWHERE: Place = ("", -1, -1)
# How much of a range a notch of the wheel leaves.
ZOOM = 0.8


@dataclass(frozen=True, slots=True)
class GridLayout:
    """Where the cells of a grid are, in pixels.

    cells : the part of the grid in sight.  row_height, column_width : of one cell.
    offset : how far the rows are scrolled.  hidden : the farthest that they can be.
    edges, row_edges : where each column begins, from the left, and each row, from the top; one
        more than there are of them. None where all are of one size.
    """

    cells: QRectF
    row_height: float
    column_width: float
    offset: float
    hidden: float
    edges: F64 | None = field(default=None, kw_only=True)
    row_edges: F64 | None = field(default=None, kw_only=True)

    def row(self, row: int) -> QRectF:
        """The rectangle of one row of cells."""
        if self.row_edges is not None:
            top, bottom = (float(v) for v in self.row_edges[row : row + 2])
            top += self.cells.top()
            return QRectF(
                self.cells.left(), top, self.cells.width(), bottom + self.cells.top() - top
            )
        top = self.cells.top() - self.offset + row * self.row_height
        return QRectF(self.cells.left(), top, self.cells.width(), self.row_height)

    def column(self, column: int, n: int = 1) -> QRectF:
        """The rectangle of one column of cells, or of ``n`` from it to the right."""
        if self.edges is not None:
            left, right = float(self.edges[column]), float(self.edges[column + n])
            left_edge = self.cells.left() + left
            return QRectF(left_edge, self.cells.top(), right - left, self.cells.height())
        left = self.cells.left() + column * self.column_width
        return QRectF(left, self.cells.top(), n * self.column_width, self.cells.height())

    def cell(self, row: int, column: int, n: int = 1) -> QRectF:
        """The rectangle of one cell, or of ``n`` cells from it to the right."""
        r, c = self.row(row), self.column(column, n)
        return QRectF(c.left(), r.top(), c.width(), r.height())

    def whole(self, n_rows: int) -> QRectF:
        """The rectangle of all ``n_rows``, in sight or not."""
        return QRectF(self.row(0).topLeft(), self.row(n_rows - 1).bottomRight())

    def rows_in_sight(self, n_rows: int) -> range:
        """The rows of which anything can be seen."""
        if self.row_edges is not None:
            return range(n_rows)
        first = int(self.offset // self.row_height)
        last = int((self.offset + self.cells.height() - 0.5) // self.row_height)
        return range(max(first, 0), min(last + 1, n_rows))

    def row_at(self, y: float, n_rows: int) -> int:
        """The row in sight at a pixel's height, or -1."""
        if not self.cells.top() <= y < self.cells.bottom():
            return -1
        if self.row_edges is not None:
            return int(np.searchsorted(self.row_edges, y - self.cells.top(), "right")) - 1
        row = int((y - self.cells.top() + self.offset) // self.row_height)
        return row if 0 <= row < n_rows else -1

    def column_at(self, x: float, n_columns: int) -> int:
        """The column at a pixel, or -1."""
        if self.edges is not None:
            inside = self.cells.left() <= x < self.cells.right()
            return (
                int(np.searchsorted(self.edges, x - self.cells.left(), "right")) - 1
                if inside
                else -1
            )
        column = int((x - self.cells.left()) // self.column_width)
        return column if 0 <= column < n_columns else -1


L = TypeVar("L", bound=GridLayout)


class PaintedGrid(QWidget, Generic[L]):
    """Subclasses say where things are and draw them; pixels become places here.

    Signals
    -------
    clicked(str, int, int), pointed(str, int, int)
        A `Place`; only `pointed` tells `NOWHERE`.
    zoomed(int, int, float)
        The wheel over a row and a column, with its factor; with Ctrl where the rows scroll.
    dragged(int, int, int, int)
        Row and column where a drag with Shift began, and those where it ended.

    ``drags_rows`` : whether such a drag chooses rows as well as columns.
    """

    clicked = Signal(str, int, int)
    pointed = Signal(str, int, int)
    zoomed = Signal(int, int, float)
    dragged = Signal(int, int, int, int)
    drags_rows = False

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = LIGHT
        self.empty_text = ""
        self.layout_: L | None = None
        self.place = NOWHERE
        self._back: QPixmap | None = None
        # Rows and columns where a drag with Shift began, and where it is now.
        self._drag: tuple[int, int, int, int] | None = None
        self.scroll_bar = QScrollBar(Qt.Orientation.Vertical, self)
        self.scroll_bar.hide()
        self.scroll_bar.valueChanged.connect(lambda value: self.lay_out_again(float(value)))
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    # ---- what a subclass says ----
    def make_layout(self, offset: float) -> L | None:
        """Place everything with the rows scrolled by ``offset``; None when there is nothing."""
        raise NotImplementedError

    def place_in(self, where: L, point: QPointF) -> Place:
        """Return what is under a pixel."""
        raise NotImplementedError

    def paint_back(self, painter: QPainter, where: L) -> None:
        """Draw what stays while marks move."""

    def paint_front(self, painter: QPainter, where: L) -> None:
        """Draw what lies over it."""

    @property
    def first_column(self) -> int:
        """The number of the first column, as places count it."""
        return 0

    @property
    def cursor_row(self) -> int | None:
        """The row that the cursor stands in."""
        return None

    # ---- what is shown ----
    @override
    def minimumSizeHint(self) -> QSize:
        """Small enough for a narrow dock."""
        return QSize(160, 110)

    def show_empty(self, text: str) -> None:
        """Show only ``text``."""
        self.layout_ = self._back = None
        self.empty_text = text
        self.scroll_bar.hide()
        self._point_at(NOWHERE)
        self.update()

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self.theme, self._back = theme, None
        self.update()

    def scroll_to_top(self) -> None:
        """Show the first rows."""
        self.scroll_bar.setValue(0)

    def reveal_row(self, row: int) -> None:
        """Scroll so that ``row`` is visible."""
        where = self.layout_
        # Before the first show the size is not known; `showEvent` makes up for it.
        if where is None or not where.hidden or not self.isVisible():
            return
        rect, cells = where.row(row), where.cells
        below, above = rect.bottom() - cells.bottom(), cells.top() - rect.top()
        if below > 0:
            self.scroll_bar.setValue(math.ceil(where.offset + below))
        elif above > 0:
            self.scroll_bar.setValue(math.floor(where.offset - above))

    def follow_cursor(self) -> None:
        """Bring the cursor's row into sight."""
        if self.cursor_row is not None:
            self.reveal_row(self.cursor_row)

    def _has_cursor_in_sight(self) -> bool:
        where, row = self.layout_, self.cursor_row
        if where is None or row is None:
            return False
        rect, cells = where.row(row), where.cells
        return rect.top() >= cells.top() - 1 and rect.bottom() <= cells.bottom() + 1

    # ---- where things are ----
    @property
    def where(self) -> L:
        """The layout of what is shown; raises ValueError when nothing is."""
        if self.layout_ is None:
            raise ValueError("the grid is empty")
        return self.layout_

    def cell_centre(self, row: int, column: int) -> QPoint:
        """Pixel in the middle of a cell."""
        return self.where.cell(row, column).center().toPoint()

    def place_at(self, point: QPointF) -> Place:
        """Region, row and column under a pixel."""
        return NOWHERE if self.layout_ is None else self.place_in(self.layout_, point)

    # ---- events ----
    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        place = self.place_at(event.position())
        if self._drag is not None and place[0] == "cell":
            self._drag = (*self._drag[:2], place[1], place[2])
            self.update()
        self._point_at(place)

    @override
    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Tell between which columns the pointer was dragged with Shift."""
        drag, self._drag = self._drag, None
        if drag is not None:
            self.update()
            if drag[:2] != drag[2:]:
                self.dragged.emit(*drag)
        event.ignore()

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Tell what is clicked; with Shift a drag begins."""
        place = self.place_at(event.position())
        shift = event.modifiers() & Qt.KeyboardModifier.ShiftModifier
        if shift and place[0] == "cell" and event.button() == Qt.MouseButton.LeftButton:
            self._drag = (place[1], place[2], place[1], place[2])
            event.accept()
            return
        if event.button() == Qt.MouseButton.LeftButton and place != NOWHERE:
            self.clicked.emit(*place)
        # The view behind takes the focus.
        event.ignore()

    @override
    def leaveEvent(self, event: QEvent) -> None:
        self._point_at(NOWHERE)

    @override
    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll rows that do not fit; with Ctrl, or where all fit, zoom the columns."""
        ctrl = event.modifiers() & Qt.KeyboardModifier.ControlModifier
        place, steps = self.place_at(event.position()), event.angleDelta().y() / 120
        if self.layout_ is not None and steps and (ctrl or not self.layout_.hidden):
            event.setAccepted(place[2] >= 0)
            if place[2] >= 0:
                self.zoomed.emit(place[1], place[2], ZOOM**steps)
            return
        if self.layout_ is None or not self.layout_.hidden:
            event.ignore()
            return
        self.scroll_bar.setValue(self.scroll_bar.value() - event.angleDelta().y() // 2)
        self._point_at(self.place_at(event.position()))

    @override
    def showEvent(self, event: QShowEvent) -> None:
        """Bring the cursor's row into sight."""
        self.follow_cursor()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Place everything again; the cursor's row stays in sight when it was."""
        in_sight = self._has_cursor_in_sight()
        self.lay_out_again()
        if in_sight:
            self.follow_cursor()

    @override
    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.FontChange:
            self.lay_out_again()

    def _point_at(self, place: Place) -> None:
        if place != self.place:
            self.place = place
            self.pointed.emit(*place)

    # ---- drawing ----
    def label_font(self) -> QFont:
        """The font of labels, a little smaller than the window's."""
        font = QFont(self.font())
        if font.pointSizeF() > 0:
            font.setPointSizeF(max(7.0, font.pointSizeF() - 1))
        return font

    def lay_out_again(self, offset: float | None = None) -> None:
        """Place everything at the present size, scrolled by ``offset`` or as it was."""
        self._back = None
        self.layout_ = self.make_layout(
            float(self.scroll_bar.value()) if offset is None else offset
        )
        if self.layout_ is not None:
            self._place_scroll_bar(self.layout_)
        self.update()

    def _place_scroll_bar(self, where: L) -> None:
        cells = where.cells
        self.scroll_bar.setVisible(where.hidden > 0)
        self.scroll_bar.setPageStep(int(cells.height()))
        self.scroll_bar.setSingleStep(max(1, int(where.row_height)))
        self.scroll_bar.setRange(0, math.ceil(where.hidden))
        self.scroll_bar.setGeometry(
            int(cells.right()) + 2, int(cells.top()), 10, int(cells.height())
        )

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw what stays from the pixmap, then what lies over it; or why there is nothing."""
        painter = QPainter(self)
        if self.layout_ is None:
            painter.fillRect(self.rect(), QColor(self.theme.panel))
            painter.setPen(QColor(self.theme.muted))
            flags = CENTRE | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(16, 8, -16, -8), flags, self.empty_text)
            return
        if self._back is None:
            self._back = self._drawn_back(self.layout_)
        painter.drawPixmap(0, 0, self._back)
        painter.setFont(self.label_font())
        self.paint_front(painter, self.layout_)
        self._paint_drag(painter, self.layout_)

    def _paint_drag(self, painter: QPainter, where: L) -> None:
        """Mark the columns that are being chosen."""
        if self._drag is None:
            return
        a, b = sorted(column - self.first_column for column in self._drag[1::2])
        colour = QColor(self.theme.accent)
        painter.setPen(colour)
        colour.setAlpha(60)
        painter.setBrush(colour)
        chosen = QRectF(where.column(a).topLeft(), where.column(b).bottomRight())
        if self.drags_rows:
            top, bottom = sorted(self._drag[::2])
            chosen.setTop(where.row(top).top())
            chosen.setBottom(where.row(bottom).bottom())
        painter.drawRect(chosen & where.cells)

    def _drawn_back(self, where: L) -> QPixmap:
        ratio = self.devicePixelRatioF()
        pixmap = QPixmap((self.size().toSizeF() * ratio).toSize())
        pixmap.setDevicePixelRatio(ratio)
        pixmap.fill(QColor(self.theme.panel))
        painter = QPainter(pixmap)
        painter.setFont(self.label_font())
        self.paint_back(painter, where)
        painter.end()
        return pixmap
