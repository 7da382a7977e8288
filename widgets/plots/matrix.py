"""A matrix of colours with labels, a colour bar, marks and columns of numbers beside it."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPoint, QPointF
from PySide6.QtGui import QColor, QFontMetricsF, QImage, QPainter
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.widgets.plots.cell_images import (
    along_edges,
    coloured,
    draw_cells,
    image_of,
    paint_over,
)
from loopscope.widgets.plots.matrix_labels import (
    Sheet,
    draw_axis_titles,
    draw_bands,
    draw_bar,
    draw_labels,
    draw_side,
    draw_title,
)
from loopscope.widgets.plots.matrix_layout import Content, Layout, Marks, lay_out
from loopscope.widgets.plots.matrix_marks import draw_groups, draw_marks, draw_weak, hatch
from loopscope.widgets.plots.painted_grid import NOWHERE, PaintedGrid, Place

# Opacity of cells that stand for others.
DIMMED = 0.35


class Matrix(PaintedGrid[Layout]):
    """Shows levels 0..1 as a matrix. NaN cells are hatched: absent, not 0.

    Signals
    -------
    clicked(str, int, int), pointed(str, int, int)
        Region, row, column: "cell", "row" (a row label), "column" (a column label), "side" (a
        number beside the matrix; column counts from 0 there), "bar", or "" with -1, -1.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.content: Content | None = None
        self.levels = np.zeros((0, 0))
        self.marks = Marks()
        self._image = QImage()
        self._rgba = np.zeros((0, 0, 4), np.uint8)

    # ---- what is shown ----
    def show_content(
        self, content: Content, levels: np.ndarray, outside: np.ndarray | None = None
    ) -> None:
        """Show a new matrix; ``outside`` marks cells that cannot hold a value (left blank)."""
        self.content = content
        self.set_levels(levels, outside)
        self.lay_out_again()

    @override
    def show_empty(self, text: str) -> None:
        self.content = None
        super().show_empty(text)

    def set_levels(self, levels: np.ndarray, outside: np.ndarray | None = None) -> None:
        """Recolour the cells: ``[rows, columns]``, 0..1 or NaN."""
        assert self.content is not None
        self.levels = levels
        rgba = coloured(levels, self.content.colours)
        if outside is not None:
            paint_over(rgba, outside, QColor(self.theme.panel))
        self._rgba, self._image = rgba, image_of(rgba)
        self.update()

    def show_marks(self, marks: Marks) -> None:
        """Show other marks; a row that the cursor comes to is brought into sight."""
        before, self.marks = self.marks.cursor_row, marks
        if marks.cursor_row != before:
            self.follow_cursor()
        self.update()

    @property
    @override
    def cursor_row(self) -> int | None:
        return self.marks.cursor_row

    # ---- where things are ----
    def row_label_centre(self, row: int) -> QPoint:
        """Pixel in the middle of a row's label."""
        y = self.where.row(row).center().y()
        return QPointF(self.where.row_labels.center().x(), y).toPoint()

    def side_centre(self, row: int, column: int) -> QPoint:
        """Pixel in the middle of a number beside the matrix."""
        x = self.where.side[column].center().x()
        return QPointF(x, self.where.row(row).center().y()).toPoint()

    @override
    def make_layout(self, offset: float) -> Layout | None:
        if self.content is None:
            return None
        metrics = QFontMetricsF(self.label_font())
        return lay_out(self.content, self.width(), self.height(), metrics, offset)

    @override
    def place_in(self, where: Layout, point: QPointF) -> Place:
        """Region, row and column under a pixel."""
        assert self.content is not None
        row = where.row_at(point.y(), self.content.n_rows)
        column = where.column_at(point.x(), self.content.n_columns)
        if row >= 0 and column >= 0:
            return "cell", row, column
        if row >= 0 and point.x() < where.cells.left():
            return "row", row, -1
        if column >= 0 and point.y() >= where.cells.bottom():
            return "column", -1, column
        if where.bar.adjusted(-3, 0, 40, 0).contains(point):
            return "bar", -1, -1
        for k, rect in enumerate(where.side):
            if rect.adjusted(0, -20, 0, 0).contains(point):
                return "side", row, k
        return NOWHERE

    # ---- drawing ----
    def _sheet(self, where: Layout) -> Sheet:
        assert self.content is not None
        return Sheet(
            self.content, where, self.marks, self.theme, float(self.width()), float(self.height())
        )

    @override
    def paint_back(self, painter: QPainter, where: Layout) -> None:
        """Draw the hatching of absent cells, the axis titles and the colour bar."""
        sheet = self._sheet(where)
        painter.drawTiledPixmap(where.cells, hatch(self.theme))
        draw_axis_titles(painter, sheet)
        draw_bar(painter, sheet)

    @override
    def paint_front(self, painter: QPainter, where: Layout) -> None:
        """Draw labels, colours, numbers and marks."""
        sheet = self._sheet(where)
        draw_labels(painter, sheet)
        self._draw_cells(painter, where)
        draw_weak(painter, sheet)
        draw_groups(painter, sheet)
        draw_bands(painter, sheet)
        draw_side(painter, sheet)
        draw_title(painter, sheet)
        draw_marks(painter, sheet)

    def _draw_cells(self, painter: QPainter, where: Layout) -> None:
        painter.save()
        painter.setClipRect(where.cells)
        if self.marks.dimmed:
            painter.fillRect(where.cells, QColor(self.theme.panel))
            painter.setOpacity(DIMMED)
        whole, ratio = where.whole(self._image.height()), self.devicePixelRatioF()
        if where.edges is None and where.row_edges is None:
            draw_cells(painter, whole, self._image, ratio)
        else:
            rgba = self._rgba
            if where.edges is not None:
                rgba = along_edges(rgba, where.edges, ratio, axis=1)
            if where.row_edges is not None:
                rgba = along_edges(rgba, where.row_edges, ratio, axis=0)
            draw_cells(painter, whole, image_of(rgba), ratio)
        painter.restore()
