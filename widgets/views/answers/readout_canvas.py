"""The readout's picture: answers in shaded cells, flip marks, and the bars of one cell."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QPointF
from PySide6.QtGui import QFont, QFontMetricsF, QImage, QPainter
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from loopscope.core.views.answers_data import AnswerMap
from loopscope.widgets.kit.theme import number_font
from loopscope.widgets.plots.cell_images import coloured, draw_cells, image_of
from loopscope.widgets.plots.painted_grid import NOWHERE, PaintedGrid, Place
from loopscope.widgets.views.answers.readout_layout import Layout, lay_out
from loopscope.widgets.views.answers.readout_painting import (
    MAPS,
    draw_answers,
    draw_exits,
    draw_flips,
    draw_labels,
    draw_legend,
    draw_marks,
)
from loopscope.widgets.views.answers.readout_side import At, draw_side


class ReadoutCanvas(PaintedGrid[Layout]):
    """Draws one `AnswerMap`.

    Signals
    -------
    clicked(str, int, int), pointed(str, int, int)
        Region ("cell", "row", "column", "side", "legend", or ""), row, and column from 1: the
        recurrence of the readout, the place along depth of the lens. Absent: -1.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.data: AnswerMap | None = None
        # (row, column from 1) of the cursor and of what is pointed at; None where absent.
        self.cursor_cell: At = (None, None)
        self.hover_cell: At = (None, None)
        self.missing = ""
        self._shades = QImage()

    # ---- what is shown ----
    def show_data(self, data: AnswerMap) -> None:
        """Show answers."""
        self.data = data
        levels = data.shade.levels(data.values).T
        self._shades = image_of(coloured(levels, MAPS[data.shade.colours]))
        self.lay_out_again()

    @override
    def show_empty(self, text: str) -> None:
        self.data = None
        super().show_empty(text)

    def show_marks(self, cursor: At, hover: At, missing: str = "") -> None:
        """Move the marks; a row that the cursor comes to is brought into sight.

        ``missing`` says why the cursor has no column, where it has none.
        """
        self.missing = missing
        before, self.cursor_cell, self.hover_cell = self.cursor_cell, cursor, hover
        if cursor[0] != before[0]:
            self.follow_cursor()
        self.update()

    @property
    @override
    def first_column(self) -> int:
        return 1

    @property
    @override
    def cursor_row(self) -> int | None:
        return self.cursor_cell[0]

    # ---- where things are ----
    @override
    def cell_centre(self, row: int, column: int) -> QPoint:
        """Pixel in the middle of a cell; columns count from 1."""
        return super().cell_centre(row, column - 1)

    @override
    def make_layout(self, offset: float) -> Layout | None:
        if self.data is None:
            return None
        text, number = (QFontMetricsF(font) for font in self.fonts)
        return lay_out(self.data, self.width(), self.height(), text, number, offset)

    @override
    def place_in(self, where: Layout, point: QPointF) -> Place:
        assert self.data is not None
        row = where.row_at(point.y(), len(self.data.tokens))
        column = where.column_at(point.x(), self.data.n_columns)
        below = where.cells.bottom() <= point.y() < where.column_labels.bottom()
        if where.legend.contains(point):
            return "legend", -1, -1
        if where.side is not None and where.side.contains(point):
            return "side", -1, -1
        if row >= 0 and column >= 0:
            return "cell", row, column + 1
        if row >= 0 and point.x() < where.cells.left():
            return "row", row, -1
        return ("column", -1, column + 1) if column >= 0 and below else NOWHERE

    # ---- drawing ----
    @property
    def fonts(self) -> tuple[QFont, QFont]:
        """The fonts of text and of numbers."""
        text, number = self.label_font(), number_font()
        number.setPointSizeF(max(6.5, text.pointSizeF() - 1))
        return text, number

    @override
    def paint_back(self, painter: QPainter, where: Layout) -> None:
        """Draw shades, answers and flip marks."""
        data, theme, fonts = self.data, self.theme, self.fonts
        assert data is not None
        draw_legend(painter, data, where, theme, fonts)
        painter.setClipRect(where.cells)
        draw_cells(painter, where.whole(len(data.tokens)), self._shades, self.devicePixelRatioF())
        draw_answers(painter, data, where, theme, fonts)
        draw_exits(painter, data, where, theme)
        draw_flips(painter, data, where, theme)

    @override
    def paint_front(self, painter: QPainter, where: Layout) -> None:
        """Draw labels, marks and the bars of the cursor's cell."""
        data, theme, fonts = self.data, self.theme, self.fonts
        assert data is not None
        draw_labels(painter, data, where, theme, fonts, self.cursor_cell)
        draw_marks(painter, data, where, theme, self.cursor_cell, self.hover_cell)
        if where.side is not None:
            draw_side(painter, data, where.side, theme, fonts, self.cursor_cell, self.missing)
