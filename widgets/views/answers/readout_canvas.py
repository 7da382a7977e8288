"""The readout's picture: answers in shaded cells, flip marks, and the bars of one cell.

Shades, answers and flip marks are drawn once into a pixmap; moving the cursor only draws the
labels and the marks over it.
"""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QEvent, QPoint, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPixmap,
    QResizeEvent,
    QShowEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QScrollBar, QSizePolicy, QWidget

from loopscope.core.views.answers_data import AnswerMap
from loopscope.widgets.kit.theme import number_font, sample_map
from loopscope.widgets.palette import LIGHT, Theme
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
from loopscope.widgets.views.answers.readout_side import draw_side

# Region ("cell", "row", "column", "side", "legend", or ""), row, and column from 1: the recurrence
# of the readout, the place along depth of the lens. Absent: -1.
Place = tuple[str, int, int]
NOWHERE: Place = ("", -1, -1)


class ReadoutCanvas(QWidget):
    """Draws one `AnswerMap`.

    Signals
    -------
    clicked(str, int, int), pointed(str, int, int)
        A `Place`: region, row of the matrix, column from 1.
    """

    clicked = Signal(str, int, int)
    pointed = Signal(str, int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = LIGHT
        self.empty_text = ""
        self.data: AnswerMap | None = None
        self.layout_: Layout | None = None
        # (row, column from 1) of the cursor and of what is pointed at; None where absent.
        self.cursor: tuple[int | None, int | None] = (None, None)
        self.hover: tuple[int | None, int | None] = (None, None)
        self._shades = QImage()
        self._back: QPixmap | None = None
        self._place = NOWHERE
        self.scroll = QScrollBar(Qt.Orientation.Vertical, self)
        self.scroll.hide()
        self.scroll.valueChanged.connect(lambda value: self._lay_out(float(value)))
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def minimumSizeHint(self) -> QSize:  # Qt's name
        """Small enough for a narrow dock."""
        return QSize(160, 110)

    # ---- what is shown ----
    def show_data(self, data: AnswerMap) -> None:
        """Show answers."""
        self.data = data
        self._shades = shades(data.shade.levels(data.values).T, MAPS[data.shade.colours])
        self._lay_out()

    def show_empty(self, text: str) -> None:
        """Show only ``text``."""
        self.data = self.layout_ = self._back = None
        self.empty_text = text
        self.scroll.hide()
        self._point_at(NOWHERE)
        self.update()

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self.theme, self._back = theme, None
        self.update()

    def reveal_row(self, row: int) -> None:
        """Scroll so that ``row`` is visible."""
        where = self.layout_
        # Before the first show the size is not known; `showEvent` makes up for it.
        if where is None or not where.hidden or not self.isVisible():
            return
        rect = where.cell(row, 0)
        below, above = rect.bottom() - where.cells.bottom(), where.cells.top() - rect.top()
        if below > 0:
            self.scroll.setValue(int(np.ceil(where.offset + below)))
        elif above > 0:
            self.scroll.setValue(int(where.offset - above))

    # ---- where things are ----
    def cell_centre(self, row: int, column: int) -> QPoint:
        """Pixel in the middle of a cell."""
        if self.layout_ is None:
            raise ValueError("the readout is empty")
        return self.layout_.cell(row, column - 1).center().toPoint()

    def place_at(self, point: QPointF) -> Place:
        """What is under a pixel."""
        data, where = self.data, self.layout_
        if data is None or where is None:
            return NOWHERE
        x, y = point.x(), point.y()
        column = int((x - where.cells.left()) // where.column_width)
        row = int((y - where.cells.top() + where.offset) // where.row_height)
        in_columns = 0 <= column < data.n_columns
        in_rows = 0 <= row < len(data.tokens) and where.cells.top() <= y < where.cells.bottom()
        if where.legend.contains(point):
            return "legend", -1, -1
        if where.side is not None and where.side.contains(point):
            return "side", -1, -1
        if in_columns and in_rows:
            return "cell", row, column + 1
        if in_rows and x < where.cells.left():
            return "row", row, -1
        if in_columns and where.cells.bottom() <= y < where.column_labels.bottom():
            return "column", -1, column + 1
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
        # The view behind takes the focus.
        event.ignore()

    def leaveEvent(self, event: QEvent) -> None:
        """Nothing is pointed at."""
        self._point_at(NOWHERE)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll rows that do not fit."""
        if not self.scroll.isVisible():
            event.ignore()
            return
        self.scroll.setValue(self.scroll.value() - event.angleDelta().y() // 2)
        self._point_at(self.place_at(event.position()))

    def showEvent(self, event: QShowEvent) -> None:
        """Bring the cursor's row into sight."""
        if self.cursor[0] is not None:
            self.reveal_row(self.cursor[0])

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Place everything again."""
        self._lay_out()

    def changeEvent(self, event: QEvent) -> None:
        """Take a new font."""
        if event.type() == QEvent.Type.FontChange:
            self._lay_out()

    def _point_at(self, place: Place) -> None:
        if place != self._place:
            self._place = place
            self.pointed.emit(*place)

    # ---- drawing ----
    @property
    def fonts(self) -> tuple[QFont, QFont]:
        """The fonts of text and of numbers."""
        text = QFont(self.font())
        if text.pointSizeF() > 0:
            text.setPointSizeF(max(7.0, text.pointSizeF() - 1))
        number = number_font()
        number.setPointSizeF(max(6.5, text.pointSizeF() - 1))
        return text, number

    def _lay_out(self, offset: float | None = None) -> None:
        self._back = None
        if self.data is not None:
            offset = float(self.scroll.value()) if offset is None else offset
            text, number = (QFontMetricsF(font) for font in self.fonts)
            where = lay_out(self.data, self.width(), self.height(), text, number, offset)
            self.layout_ = where
            cells = where.cells
            self.scroll.setVisible(where.hidden > 0)
            self.scroll.setPageStep(int(cells.height()))
            self.scroll.setSingleStep(max(1, int(where.row_height)))
            self.scroll.setRange(0, int(np.ceil(where.hidden)))
            self.scroll.setGeometry(
                int(cells.right()) + 3, int(cells.top()), 10, int(cells.height())
            )
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Cells from the pixmap, then labels, marks and the cursor's bars."""
        painter = QPainter(self)
        data, where = self.data, self.layout_
        if data is None or where is None:
            painter.fillRect(self.rect(), QColor(self.theme.panel))
            painter.setPen(QColor(self.theme.muted))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(16, 8, -16, -8), flags, self.empty_text)
            return
        if self._back is None:
            self._back = self._draw_back(data, where)
        painter.drawPixmap(0, 0, self._back)
        draw_labels(painter, data, where, self.theme, self.fonts, self.cursor)
        draw_marks(painter, data, where, self.theme, self.cursor, self.hover)
        if where.side is not None:
            draw_side(painter, data, where.side, self.theme, self.fonts, self.cursor)

    def _averaged(self, column_width: float) -> QImage:
        """The shades; columns thinner than a pixel are averaged: dropping some could hide one."""
        image = self._shades
        if column_width >= 1:
            return image
        size = QSize(max(1, int(image.width() * column_width)), image.height())
        how = Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation
        return image.scaled(size, *how)

    def _draw_back(self, data: AnswerMap, where: Layout) -> QPixmap:
        ratio = self.devicePixelRatioF()
        pixmap = QPixmap((self.size().toSizeF() * ratio).toSize())
        pixmap.setDevicePixelRatio(ratio)
        pixmap.fill(QColor(self.theme.panel))
        painter = QPainter(pixmap)
        draw_legend(painter, data, where, self.theme, self.fonts)
        painter.setClipRect(where.cells)
        cells = where.cells
        whole = QRectF(
            cells.left(), cells.top() - where.offset, cells.width(),
            where.row_height * len(data.tokens),
        )  # fmt: skip
        painter.drawImage(whole, self._averaged(where.column_width * ratio))
        draw_answers(painter, data, where, self.theme, self.fonts)
        draw_exits(painter, data, where, self.theme)
        draw_flips(painter, data, where, self.theme)
        painter.end()
        return pixmap


def shades(levels: np.ndarray, colours: str) -> QImage:
    """Colours of levels ``[rows, columns]``; transparent where there is none."""
    rgba = np.array(sample_map(colours, np.nan_to_num(levels)), np.uint8)
    rgba[..., 3] = np.where(np.isfinite(levels), 255, 0)
    rgba = np.ascontiguousarray(rgba)
    height, width = levels.shape
    image = QImage(rgba.data, width, height, 4 * width, QImage.Format.Format_RGBA8888)
    return image.copy()
