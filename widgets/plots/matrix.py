"""A matrix of colours with labels, a colour bar, marks and columns of numbers beside it.

The labels and the bar are drawn once into a pixmap; moving a mark or changing the colours only
draws the image and the marks over it.
"""

from __future__ import annotations

from collections.abc import Callable

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
    QPen,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QScrollBar, QSizePolicy, QWidget

from loopscope.widgets.kit.theme import number_font, sample_map
from loopscope.widgets.palette import LIGHT, SIMILARITY_MAP, Theme
from loopscope.widgets.plots.matrix_layout import Content, Layout, lay_out
from loopscope.widgets.plots.matrix_steps import LEAST_GROUP, labelled

LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
CENTRE = Qt.AlignmentFlag.AlignCenter

# Cells thinner than this have no room for hatching.
LEAST_HATCHED = 5.0

Place = tuple[str, int, int]
NOWHERE: Place = ("", -1, -1)


class Matrix(QWidget):
    """Shows levels 0..1 as a matrix. NaN cells are hatched: absent, not 0.

    Signals
    -------
    clicked(str, int, int), pointed(str, int, int)
        Region, row, column: "cell", "row" (a row label), "column" (a column label), "side" (a
        number beside the matrix; column counts from 0 there), "bar", or "" with -1, -1.
    """

    clicked = Signal(str, int, int)
    pointed = Signal(str, int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = LIGHT
        self.empty_text = ""
        self.content: Content | None = None
        self.layout_: Layout | None = None
        self.levels = np.zeros((0, 0))
        self.dimmed = False
        # Name of the colour map that levels are drawn with.
        self.colours = SIMILARITY_MAP
        self.title: str | None = None
        # The numbers beside a row, asked for the rows in sight only.
        self.side_text: Callable[[int], tuple[str, ...]] = lambda row: ()
        self.side_caption = ""
        self.cursor_row: int | None = None
        self.cursor_column: int | None = None
        self.cross = False
        # Cells (row, column) that a line is drawn through, such as an alignment.
        self.path: tuple[tuple[int, int], ...] = ()
        # Cells (row, column) with a dot, such as the best of their row.
        self.dots: tuple[tuple[int, int], ...] = ()
        # Cells that are hatched over their colour, bool [rows, columns], such as weak ones.
        self.weak: np.ndarray | None = None
        self.hover_row: int | None = None
        self.hover_column: int | None = None
        self._image = QImage()
        self._back: QPixmap | None = None
        self._place = NOWHERE
        self._scroll = QScrollBar(Qt.Orientation.Vertical, self)
        self._scroll.hide()
        self._scroll.valueChanged.connect(self._on_scrolled)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def minimumSizeHint(self) -> QSize:  # Qt's name
        """Small enough for a narrow dock."""
        return QSize(160, 110)

    # ---- what is shown ----
    def show_content(
        self, content: Content, levels: np.ndarray, outside: np.ndarray | None = None
    ) -> None:
        """Show a new matrix; ``outside`` marks cells that cannot hold a value (left blank)."""
        self.content, self.title = content, None
        self.set_levels(levels, outside)
        self._lay_out()

    def show_empty(self, text: str) -> None:
        """Show only ``text``."""
        self.content = self.layout_ = self._back = None
        self.empty_text = text
        self._scroll.hide()
        self._point_at(NOWHERE)
        self.update()

    def set_levels(self, levels: np.ndarray, outside: np.ndarray | None = None) -> None:
        """Recolour the cells: ``[rows, columns]``, 0..1 or NaN."""
        self.levels = levels
        rgba = np.array(sample_map(self.colours, np.nan_to_num(levels)), np.uint8)
        rgba[..., 3] = np.where(np.isfinite(levels), 255, 0)
        if outside is not None:
            rgba[outside] = QColor(self.theme.panel).getRgb()
        rgba = np.ascontiguousarray(rgba)
        height, width = levels.shape
        image = QImage(rgba.data, width, height, 4 * width, QImage.Format.Format_RGBA8888)
        self._image = image.copy()
        self.update()

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self.theme = theme
        self._back = None
        self.update()

    def scroll_to_top(self) -> None:
        """Show the first rows."""
        self._scroll.setValue(0)

    def reveal_row(self, row: int) -> None:
        """Scroll so that ``row`` is visible."""
        if self.layout_ is None or not self.layout_.hidden:
            return
        rect, cells = self.layout_.row(row), self.layout_.cells
        below, above = rect.bottom() - cells.bottom(), cells.top() - rect.top()
        shift = below if below > 0 else -above if above > 0 else 0
        if shift:
            value = self.layout_.offset + shift
            self._scroll.setValue(int(np.ceil(value) if shift > 0 else np.floor(value)))

    # ---- where things are ----
    def cell_centre(self, row: int, column: int) -> QPoint:
        """Pixel in the middle of a cell."""
        return self._laid_out.cell(row, column).center().toPoint()

    def row_label_centre(self, row: int) -> QPoint:
        """Pixel in the middle of a row's label."""
        at = QPointF(self._laid_out.row_labels.center().x(), self._laid_out.row(row).center().y())
        return at.toPoint()

    def side_centre(self, row: int, column: int) -> QPoint:
        """Pixel in the middle of a number beside the matrix."""
        x = self._laid_out.side[column].center().x()
        return QPointF(x, self._laid_out.row(row).center().y()).toPoint()

    def place_at(self, point: QPointF) -> Place:
        """Region, row and column under a pixel."""
        if self.content is None or self.layout_ is None:
            return NOWHERE
        where, x, y = self.layout_, point.x(), point.y()
        column = int((x - where.cells.left()) // where.column_width)
        row = int((y - where.cells.top() + where.offset) // where.row_height)
        in_columns = 0 <= column < self.content.n_columns
        in_rows = 0 <= row < self.content.n_rows and where.cells.top() <= y < where.cells.bottom()
        if in_columns and in_rows:
            return "cell", row, column
        if in_rows and x < where.cells.left():
            return "row", row, -1
        if in_columns and y >= where.cells.bottom():
            return "column", -1, column
        if where.bar.adjusted(-3, 0, 40, 0).contains(point):
            return "bar", -1, -1
        for k, rect in enumerate(where.side):
            if rect.adjusted(0, -20, 0, 0).contains(point):
                return "side", row if in_rows else -1, k
        return NOWHERE

    @property
    def _laid_out(self) -> Layout:
        if self.layout_ is None:
            raise ValueError("the matrix is empty")
        return self.layout_

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
        if not self._scroll.isVisible():
            event.ignore()
            return
        self._scroll.setValue(self._scroll.value() - event.angleDelta().y() // 2)

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

    def _on_scrolled(self, value: int) -> None:
        self._lay_out(float(value))

    # ---- drawing ----
    def _label_font(self) -> QFont:
        font = QFont(self.font())
        if font.pointSizeF() > 0:
            font.setPointSizeF(max(7.0, font.pointSizeF() - 1))
        return font

    def _lay_out(self, offset: float | None = None) -> None:
        self._back = None
        if self.content is not None:
            offset = float(self._scroll.value()) if offset is None else offset
            metrics = QFontMetricsF(self._label_font())
            where = lay_out(self.content, self.width(), self.height(), metrics, offset)
            self.layout_ = where
            self._place_scroll_bar(where)
        self.update()

    def _place_scroll_bar(self, where: Layout) -> None:
        self._scroll.setVisible(where.hidden > 0)
        self._scroll.setPageStep(int(where.cells.height()))
        self._scroll.setSingleStep(max(1, int(where.row_height)))
        self._scroll.setRange(0, int(np.ceil(where.hidden)))
        cells = where.cells
        self._scroll.setGeometry(int(cells.right()) + 2, int(cells.top()), 10, int(cells.height()))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Labels from the pixmap, then colours, numbers and marks."""
        painter = QPainter(self)
        if self.content is None or self.layout_ is None:
            painter.fillRect(self.rect(), QColor(self.theme.panel))
            painter.setPen(QColor(self.theme.muted))
            flags = CENTRE | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(16, 8, -16, -8), flags, self.empty_text)
            return
        if self._back is None:
            self._back = self._draw_back(self.content, self.layout_)
        painter.drawPixmap(0, 0, self._back)
        painter.setFont(self._label_font())
        self._draw_labels(painter, self.content, self.layout_)
        self._draw_cells(painter, self.layout_)
        self._draw_weak(painter, self.content, self.layout_)
        self._draw_groups(painter, self.content, self.layout_)
        self._draw_bands(painter, self.content, self.layout_)
        self._draw_side(painter, self.content, self.layout_)
        self._draw_title(painter, self.content, self.layout_)
        self._draw_marks(painter, self.content, self.layout_)

    def _draw_back(self, content: Content, where: Layout) -> QPixmap:
        ratio = self.devicePixelRatioF()
        pixmap = QPixmap((self.size().toSizeF() * ratio).toSize())
        pixmap.setDevicePixelRatio(ratio)
        pixmap.fill(QColor(self.theme.panel))
        painter = QPainter(pixmap)
        painter.setFont(self._label_font())
        painter.drawTiledPixmap(where.cells, self._hatch())
        self._draw_axis_titles(painter, content, where)
        self._draw_bar(painter, content, where)
        painter.end()
        return pixmap

    def _draw_axis_titles(self, painter: QPainter, content: Content, where: Layout) -> None:
        """Centred on the cells, and longer than these when they are few."""
        metrics, cells = painter.fontMetrics(), where.cells
        line = metrics.height()
        painter.setPen(QColor(self.theme.muted))
        across = max(cells.width(), metrics.horizontalAdvance(content.column_title) + 4)
        below = QRectF(
            cells.center().x() - across / 2, where.column_labels.bottom() + 1, across, line
        )
        if where.bar.bottom() > below.top() and not where.side:
            below.moveRight(min(below.right(), where.bar.left() - 2))
        _draw_text(painter, below, CENTRE, content.column_title)
        down = max(cells.height(), metrics.horizontalAdvance(content.row_title) + 4)
        down = min(down, self.height() - cells.top())
        second_run = QRectF(where.bands.left() - line - 4, cells.top(), line, down)
        _draw_upright(painter, second_run, CENTRE, content.row_title)

    def _hatch(self, over: bool = False) -> QPixmap:
        """A faint hatching for absent cells, made here because brushes ignore the pixel ratio.

        ``over`` : for what lies over colours, in the ground's colour and the other way.
        """
        n = 8 if over else 6
        tile = QPixmap(n, n)
        tile.fill(QColor(Qt.GlobalColor.transparent) if over else QColor(self.theme.panel))
        painter = QPainter(tile)
        painter.setPen(QPen(QColor(self.theme.panel if over else self.theme.line), 1))
        painter.drawLine(0, 0 if over else n - 1, n - 1, n - 1 if over else 0)
        painter.end()
        return tile

    def _draw_bar(self, painter: QPainter, content: Content, where: Layout) -> None:
        bar, line = where.bar, painter.fontMetrics().height()
        ramp = np.ascontiguousarray(sample_map(self.colours, np.linspace(1, 0, 128))[:, None])
        image = QImage(ramp.data, 1, 128, 4, QImage.Format.Format_RGBA8888)
        painter.drawImage(bar, image)
        painter.setPen(QColor(self.theme.text))
        widest, last = 0.0, -1e9
        ticks = content.bar.ticks
        if content.bar.mark is not None:
            ticks = self._draw_bar_mark(painter, content.bar.mark, ticks, bar, line)
        for level, text in ticks:
            y = bar.bottom() - level * bar.height()
            if abs(y - last) < line:
                continue
            last = y
            top = min(max(y - line / 2, 0), self.height() - line)
            painter.drawText(QRectF(bar.right() + 4, top, 80, line), LEFT, text)
            widest = max(widest, painter.fontMetrics().horizontalAdvance(text))
        painter.setPen(QColor(self.theme.muted))
        second_run = QRectF(bar.right() + 4 + widest + 2, bar.top(), line, bar.height())
        label = content.bar.label
        if painter.fontMetrics().horizontalAdvance(label) > bar.height():
            label = label.partition(" (")[0]
        _draw_upright(painter, second_run, CENTRE, label)

    def _draw_bar_mark(
        self,
        painter: QPainter,
        mark: tuple[float, float, str],
        ticks: tuple[tuple[float, str], ...],
        bar: QRectF,
        line: float,
    ) -> tuple[tuple[float, str], ...]:
        """A bracket beside the marked part; returns the ticks, those too near give way to it."""
        low, high, text = mark
        painter.setPen(QPen(QColor(self.theme.text), 1.5))
        ends = [bar.bottom() - level * bar.height() for level in (low, high)]
        x = bar.left() - 2.5
        painter.drawLine(QPointF(x, ends[0] + 1), QPointF(x, ends[1] - 1))
        for y in ends:
            painter.drawLine(QPointF(x, y), QPointF(bar.right(), y))
        middle = (low + high) / 2
        far = [t for t in ticks if abs(t[0] - middle) * bar.height() >= line]
        return tuple(sorted([*far, (middle, text)]))

    def _draw_labels(self, painter: QPainter, content: Content, where: Layout) -> None:
        """Row and column labels; those that would touch the cursor's give way to it."""
        row = self.cursor_row if _among(self.cursor_row, content.n_rows) else None
        column = self.cursor_column if _among(self.cursor_column, content.n_columns) else None
        rows = labelled(content.n_rows, where.row_stride, content.number_rows, content.first_row)
        columns = labelled(
            content.n_columns, where.column_stride, content.number_columns, content.first_number
        )
        line, wide = painter.fontMetrics().height(), painter.fontMetrics().horizontalAdvance
        labels = content.column_labels
        painter.setPen(QColor(self.theme.text))
        for i in rows:
            if row is None or i == row or abs(i - row) * where.row_height >= line:
                self._draw_row_label(painter, content, where, i, i == row)
        for i in columns:
            needed = line if where.upright or column is None else 8.0
            if needed == 8.0:
                needed += (wide(labels[i]) + wide(labels[column])) / 2
            if column is None or i == column or abs(i - column) * where.column_width >= needed:
                self._draw_column_label(painter, content, where, i, i == column)
        if row is not None and row not in rows:
            self._draw_row_label(painter, content, where, row, True)
        if column is not None and column not in columns:
            self._draw_column_label(painter, content, where, column, True)

    def _draw_row_label(
        self, painter: QPainter, content: Content, where: Layout, row: int, cursor: bool
    ) -> None:
        line, middle = painter.fontMetrics().height(), where.row(row).center().y()
        labels = where.row_labels
        if labels.top() - 1 <= middle <= labels.bottom() + 1:
            self._mark_label(painter, cursor)
            rect = QRectF(labels.left(), middle - line / 2, labels.width(), line)
            _draw_text(painter, rect, RIGHT, content.row_labels[row])
            painter.restore()

    def _draw_column_label(
        self, painter: QPainter, content: Content, where: Layout, column: int, cursor: bool
    ) -> None:
        self._mark_label(painter, cursor)
        line, middle = painter.fontMetrics().height(), where.column(column).center().x()
        labels, text = where.column_labels, content.column_labels[column]
        if where.upright:
            rect = QRectF(middle - line / 2, labels.top(), line, labels.height())
            _draw_upright(painter, rect, RIGHT, text)
        else:
            width = max(where.column_width, painter.fontMetrics().horizontalAdvance(text) + 2)
            rect = QRectF(middle - width / 2, labels.top(), width, line)
            painter.drawText(rect, CENTRE, text)
        painter.restore()

    def _mark_label(self, painter: QPainter, cursor: bool) -> None:
        """Set bold accent for the cursor's label, until the painter is restored."""
        painter.save()
        if cursor:
            font = QFont(painter.font())
            font.setBold(True)
            painter.setFont(font)
            painter.setPen(QColor(self.theme.accent))

    def _draw_title(self, painter: QPainter, content: Content, where: Layout) -> None:
        line = painter.fontMetrics().height()
        title = content.title if self.title is None else self.title
        wide = painter.fontMetrics().horizontalAdvance(title) + 4
        left = max(min(where.bands.left() - line, self.width() - wide), 2.0)
        painter.setPen(QColor(self.theme.text))
        _draw_text(painter, QRectF(left, 1, self.width() - 2 - left, line), LEFT, title)

    def _draw_cells(self, painter: QPainter, where: Layout) -> None:
        painter.save()
        painter.setClipRect(where.cells)
        if self.dimmed:
            painter.fillRect(where.cells, QColor(self.theme.panel))
            painter.setOpacity(0.35)
        self._draw_image(painter, where, self._image)
        painter.restore()

    def _draw_image(self, painter: QPainter, where: Layout, image: QImage) -> None:
        """Draw one pixel of ``image`` for each cell.

        Cells smaller than a pixel are averaged: dropping some could hide the odd one. The other
        way, where cells are larger, their edges stay sharp.
        """
        whole = QRectF(
            where.cells.left(),
            where.cells.top() - where.offset,
            where.cells.width(),
            where.row_height * image.height(),
        )
        ratio = self.devicePixelRatioF()
        size, pixels = image.size(), (whole.size() * ratio).toSize()
        if where.column_width * ratio < 1:
            size.setWidth(pixels.width())
        if where.row_height * ratio < 1:
            size.setHeight(pixels.height())
        if size != image.size():
            keep, smooth = Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode
            image = image.scaled(size, keep, smooth.SmoothTransformation)
        painter.drawImage(whole, image)

    def _draw_weak(self, painter: QPainter, content: Content, where: Layout) -> None:
        """Hatch cells over their colour, runs of rows at once; thinner ones fade."""
        if self.weak is None or self.weak.shape != (content.n_rows, content.n_columns):
            return
        painter.save()
        painter.setClipRect(where.cells)
        if min(where.row_height, where.column_width) < LEAST_HATCHED:
            rgba = np.empty((*self.weak.shape, 4), np.uint8)
            rgba[:] = QColor(self.theme.panel).getRgb()
            rgba[..., 3] = np.where(self.weak, 150, 0)
            height, width = self.weak.shape
            image = QImage(rgba.data, width, height, 4 * width, QImage.Format.Format_RGBA8888)
            self._draw_image(painter, where, image)
            painter.restore()
            return
        tile, origin = self._hatch(over=True), where.cells.topLeft()
        for column in range(content.n_columns):
            edges = np.flatnonzero(np.diff(np.r_[0, self.weak[:, column].astype(int), 0]))
            for first, after in edges.reshape(-1, 2).tolist():
                rect = where.cell(first, column)
                rect.setHeight((after - first) * where.row_height)
                rect &= where.cells
                if not rect.isEmpty():
                    painter.drawTiledPixmap(rect, tile, rect.topLeft() - origin)
        painter.restore()

    def _draw_groups(self, painter: QPainter, content: Content, where: Layout) -> None:
        """Lines between groups of rows and of columns that are wide enough for one."""
        cells, across, down = where.cells, content.column_group, content.row_group
        painter.setPen(QPen(QColor(self.theme.panel), 1))
        if across and across * where.column_width >= LEAST_GROUP:
            for i in range(across, content.n_columns, across):
                x = where.column(i).left()
                painter.drawLine(QPointF(x, cells.top()), QPointF(x, cells.bottom()))
        if down and down * where.row_height >= LEAST_GROUP:
            for i in range(down, content.n_rows, down):
                y = where.row(i).top()
                if cells.top() < y < cells.bottom():
                    painter.drawLine(QPointF(cells.left(), y), QPointF(cells.right(), y))

    def _draw_bands(self, painter: QPainter, content: Content, where: Layout) -> None:
        """A bracket and the name beside each group of rows, and a line between groups."""
        cells, metrics = where.cells, painter.fontMetrics()
        for first, last, name in content.bands:
            top = max(where.row(first).top(), cells.top())
            bottom = min(where.row(last).bottom(), cells.bottom())
            if bottom <= top:
                continue
            painter.setPen(QPen(QColor(self.theme.muted), 1.5))
            x = where.bands.right() - 2
            painter.drawLine(QPointF(x, top + 1.5), QPointF(x, bottom - 1.5))
            if first and top > cells.top():
                painter.setPen(QPen(QColor(self.theme.panel), 2))
                painter.drawLine(QPointF(cells.left(), top), QPointF(cells.right(), top))
            room = QRectF(where.bands.left(), top, metrics.height(), bottom - top)
            # A name that does not fit says its letter, upright where there is room for a line.
            painter.setPen(QColor(self.theme.text))
            if metrics.horizontalAdvance(name) <= room.height():
                _draw_upright(painter, room, CENTRE, name)
            elif room.height() >= metrics.height() - 2:
                painter.drawText(room, CENTRE, name.partition(" ")[0])

    def _draw_side(self, painter: QPainter, content: Content, where: Layout) -> None:
        if not where.side:
            return
        line = painter.fontMetrics().height()
        painter.setPen(QColor(self.theme.muted))
        for rect, (header, _) in zip(where.side, content.side, strict=False):
            painter.drawText(
                QRectF(rect.left(), rect.top() - line - 3, rect.width() - 4, line), RIGHT, header
            )
        first, last = where.side[0], where.side[: content.dated][-1]
        caption = QRectF(first.left(), first.bottom() + 2, last.right() - first.left() - 4, line)
        painter.drawText(caption, RIGHT, self.side_caption)
        painter.setPen(QColor(self.theme.text))
        words, numbers = painter.font(), number_font(max(7, painter.font().pointSize()))
        for row in self._rows_with_numbers(content, where):
            middle = where.row(row).center().y()
            for rect, text in zip(where.side, self.side_text(row), strict=False):
                painter.setFont(words if text[:1].isalpha() else numbers)
                box = QRectF(rect.left(), middle - line / 2, rect.width() - 4, line)
                painter.drawText(box, RIGHT, text)
        painter.setFont(self._label_font())

    def _rows_with_numbers(self, content: Content, where: Layout) -> list[int]:
        """Rows whose numbers fit: the labelled visible ones, giving way to the cursor's."""
        top, bottom = where.cells.top() - 1, where.cells.bottom() + 1
        rows = labelled(content.n_rows, where.row_stride, content.number_rows)
        cursor = self.cursor_row
        if cursor is not None and cursor not in rows:
            rows = [r for r in rows if abs(r - cursor) >= where.row_stride] + [cursor]
        return [r for r in rows if top <= where.row(r).center().y() <= bottom]

    def _draw_marks(self, painter: QPainter, content: Content, where: Layout) -> None:
        row = self.cursor_row if _among(self.cursor_row, content.n_rows) else None
        column = self.cursor_column if _among(self.cursor_column, content.n_columns) else None
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setClipRect(where.cells.adjusted(-2, -2, 2, 2))
        self._draw_path(painter, where)
        self._draw_dots(painter, where)
        self._draw_hover(painter, content, where)
        painter.setPen(QPen(QColor(self.theme.accent), 1))
        if row is not None:
            painter.drawRect(where.row(row))
        if column is not None and self.cross:
            painter.drawRect(where.column(column))
        if row is not None and column is not None:
            painter.setPen(QPen(QColor(self.theme.accent), 2))
            painter.drawRect(where.cell(row, column))

    def _draw_path(self, painter: QPainter, where: Layout) -> None:
        """A white line with a dark rim, seen on every colour of the map."""
        if not self.path:
            return
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        points = [where.cell(row, column).center() for row, column in self.path]
        for colour, width in (("black", 3.5), ("white", 1.5)):
            pen = QPen(QColor(colour), width)
            pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
            painter.setPen(pen)
            painter.drawPolyline(points)
        painter.restore()

    def _draw_dots(self, painter: QPainter, where: Layout) -> None:
        """White dots with a dark rim, no larger than the cells."""
        if not self.dots:
            return
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        size = max(1.5, min(4.0, 0.32 * min(where.row_height, where.column_width)))
        painter.setPen(QPen(QColor("black"), 1))
        painter.setBrush(QColor("white"))
        for row, column in self.dots:
            painter.drawEllipse(where.cell(row, column).center(), size, size)
        painter.restore()

    def _draw_hover(self, painter: QPainter, content: Content, where: Layout) -> None:
        row, column = self.hover_row, self.hover_column
        painter.setPen(QPen(QColor(self.theme.hover), 2))
        if _among(row, content.n_rows):
            whole = not _among(column, content.n_columns)
            painter.drawRect(where.row(row) if whole else where.cell(row, column))
        elif _among(column, content.n_columns):
            painter.drawRect(where.column(column))


def _among(index: int | None, n: int) -> bool:
    return index is not None and 0 <= index < n


def _draw_text(painter: QPainter, rect: QRectF, flags: Qt.AlignmentFlag, text: str) -> None:
    """Draw ``text``, shortened with an ellipsis when it is too wide."""
    fits = painter.fontMetrics().elidedText(
        text, Qt.TextElideMode.ElideRight, int(rect.width()) + 1
    )
    painter.drawText(rect, flags, fits)


def _draw_upright(painter: QPainter, rect: QRectF, flags: Qt.AlignmentFlag, text: str) -> None:
    """Draw ``text`` reading upwards in ``rect``; right-aligned text ends at the top."""
    painter.save()
    painter.translate(rect.left(), rect.bottom())
    painter.rotate(-90)
    _draw_text(painter, QRectF(0, 0, rect.height(), rect.width()), flags, text)
    painter.restore()
