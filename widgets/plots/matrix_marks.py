"""What is drawn over the cells of a matrix: groups, weak cells, feet, paths, dots and places."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPixmap

from loopscope.widgets.palette import Theme
from loopscope.widgets.plots.cell_images import draw_cells, one_colour
from loopscope.widgets.plots.matrix_labels import Sheet, among
from loopscope.widgets.plots.matrix_steps import LEAST_GROUP

# Cells thinner than this have no room for hatching, which would shimmer.
LEAST_HATCHED = 14.0
# Opacity, of 255, of the ground's colour over weak cells that are too thin for it.
PALE = 150


def hatch(theme: Theme, over: bool = False) -> QPixmap:
    """A faint hatching for absent cells, made here because brushes ignore the pixel ratio.

    ``over`` : for what lies over colours, in the ground's colour and the other way.
    """
    n = 8 if over else 6
    tile = QPixmap(n, n)
    tile.fill(QColor(Qt.GlobalColor.transparent) if over else QColor(theme.panel))
    painter = QPainter(tile)
    painter.setPen(QPen(QColor(theme.panel if over else theme.line), 1))
    painter.drawLine(0, 0 if over else n - 1, n - 1, n - 1 if over else 0)
    painter.end()
    return tile


def draw_weak(painter: QPainter, sheet: Sheet) -> None:
    """Hatch cells over their colour, runs of rows at once; thinner ones fade."""
    weak, where, content = sheet.marks.weak, sheet.where, sheet.content
    if weak is None or weak.shape != (content.n_rows, content.n_columns):
        return
    painter.save()
    painter.setClipRect(where.cells)
    if min(where.row_height, where.column_width) < LEAST_HATCHED:
        pale = QColor(sheet.theme.panel)
        pale.setAlpha(PALE)
        ratio = painter.device().devicePixelRatio()
        draw_cells(painter, where.whole(content.n_rows), one_colour(weak, pale), ratio)
        painter.restore()
        return
    tile, origin = hatch(sheet.theme, over=True), where.cells.topLeft()
    for column in range(content.n_columns):
        edges = np.flatnonzero(np.diff(np.r_[0, weak[:, column].astype(int), 0]))
        for first, after in edges.reshape(-1, 2).tolist():
            rect = where.cell(first, column)
            rect.setHeight((after - first) * where.row_height)
            rect &= where.cells
            if not rect.isEmpty():
                painter.drawTiledPixmap(rect, tile, rect.topLeft() - origin)
    painter.restore()


def draw_groups(painter: QPainter, sheet: Sheet) -> None:
    """Lines between groups of rows and of columns that are wide enough for one."""
    content, where, cells = sheet.content, sheet.where, sheet.where.cells
    across, down = content.column_group, content.row_group
    painter.setPen(QPen(QColor(sheet.theme.panel), 1))
    if across and where.edges is None and across * where.column_width >= LEAST_GROUP:
        for i in range(across, content.n_columns, across):
            x = where.column(i).left()
            painter.drawLine(QPointF(x, cells.top()), QPointF(x, cells.bottom()))
    if down and where.row_edges is None and down * where.row_height >= LEAST_GROUP:
        for i in range(down, content.n_rows, down):
            y = where.row(i).top()
            if cells.top() < y < cells.bottom():
                painter.drawLine(QPointF(cells.left(), y), QPointF(cells.right(), y))


def draw_marks(painter: QPainter, sheet: Sheet) -> None:
    """Draw the path, the dots, what is pointed at and, over all, the cursor."""
    where, theme, row, column = sheet.where, sheet.theme, sheet.row, sheet.column
    painter.save()
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setClipRect(where.cells.adjusted(-2, -2, 2, 2))
    _draw_feet(painter, sheet)
    _draw_path(painter, sheet)
    _draw_dots(painter, sheet)
    _draw_hover(painter, sheet)
    painter.setPen(QPen(QColor(theme.accent), 1))
    if row is not None:
        painter.drawRect(where.row(row))
    if column is not None and sheet.marks.cross:
        painter.drawRect(where.column(column))
    if row is not None and column is not None:
        painter.setPen(QPen(QColor(theme.accent), 2))
        painter.drawRect(where.cell(row, column))
    painter.restore()


def _draw_feet(painter: QPainter, sheet: Sheet) -> None:
    """Black lines with a white rim at the foot of cells, of rows in sight only."""
    if not sheet.marks.feet:
        return
    where = sheet.where
    rows = where.rows_in_sight(sheet.content.n_rows)
    thick = max(1.0, min(2.0, 0.15 * where.row_height))
    for row, first, last in sheet.marks.feet:
        if row in rows:
            foot = where.cell(row, first) | where.cell(row, last)
            foot.setTop(foot.bottom() - thick)
            painter.fillRect(foot.adjusted(0, -1, 0, 0), QColor("white"))
            painter.fillRect(foot, QColor("black"))


def _draw_path(painter: QPainter, sheet: Sheet) -> None:
    """A white line with a dark rim, seen on every colour of the map."""
    if not sheet.marks.path:
        return
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    points = [sheet.where.cell(row, column).center() for row, column in sheet.marks.path]
    for colour, width in (("black", 3.5), ("white", 1.5)):
        pen = QPen(QColor(colour), width)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        painter.setPen(pen)
        painter.drawPolyline(points)
    painter.restore()


def _draw_dots(painter: QPainter, sheet: Sheet) -> None:
    """White dots with a dark rim, no larger than the cells."""
    if not sheet.marks.dots:
        return
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    cell = min(sheet.where.row_height, sheet.where.column_width)
    size = max(1.5, min(4.0, 0.32 * cell))
    painter.setPen(QPen(QColor("black"), 1))
    painter.setBrush(QColor("white"))
    for row, column in sheet.marks.dots:
        painter.drawEllipse(sheet.where.cell(row, column).center(), size, size)
    painter.restore()


def _draw_hover(painter: QPainter, sheet: Sheet) -> None:
    where, content = sheet.where, sheet.content
    row = among(sheet.marks.hover_row, content.n_rows)
    column = among(sheet.marks.hover_column, content.n_columns)
    painter.setPen(QPen(QColor(sheet.theme.hover), 2))
    if row is not None:
        painter.drawRect(where.row(row) if column is None else where.cell(row, column))
    elif column is not None:
        painter.drawRect(where.column(column))
