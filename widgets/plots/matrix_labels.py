"""How the words of a matrix are drawn: titles, labels, colour bar, numbers beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPen

from loopscope.widgets.kit.theme import number_font
from loopscope.widgets.palette import Theme
from loopscope.widgets.plots.cell_images import ramp
from loopscope.widgets.plots.matrix_layout import LIFT, Content, Layout, Marks
from loopscope.widgets.plots.matrix_steps import labelled, on_log_axis
from loopscope.widgets.plots.text import CENTRE, LEFT, RIGHT, draw_text, draw_upright, short_name

# Pixels between two labels side by side.
APART = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """All that is drawn: what, where, and the size of the widget in pixels."""

    content: Content
    where: Layout
    marks: Marks
    theme: Theme
    width: float
    height: float

    @property
    def row(self) -> int | None:
        """The cursor's row, if there is one."""
        return among(self.marks.cursor_row, self.content.n_rows)

    @property
    def column(self) -> int | None:
        """The cursor's column, if there is one."""
        return among(self.marks.cursor_column, self.content.n_columns)


def among(index: int | None, n: int) -> int | None:
    """Return ``index`` if it is one of ``n``."""
    return index if index is not None and 0 <= index < n else None


# ---- titles ----
def draw_title(painter: QPainter, sheet: Sheet) -> None:
    """Say on top what is shown; longer than the cells where these are few."""
    line = painter.fontMetrics().height()
    title = sheet.content.title if sheet.marks.title is None else sheet.marks.title
    wide = painter.fontMetrics().horizontalAdvance(title) + 4
    left = max(min(sheet.where.bands.left() - line, sheet.width - wide), 2.0)
    painter.setPen(QColor(sheet.theme.text))
    draw_text(painter, QRectF(left, 1, sheet.width - 2 - left, line), LEFT, title)


def draw_axis_titles(painter: QPainter, sheet: Sheet) -> None:
    """Centred on the cells, and longer than these when they are few."""
    content, where, cells = sheet.content, sheet.where, sheet.where.cells
    metrics = painter.fontMetrics()
    line = metrics.height()
    painter.setPen(QColor(sheet.theme.muted))
    title = short_name(content.column_title, sheet.width - 4, QFontMetricsF(metrics))
    across = max(cells.width(), metrics.horizontalAdvance(title) + 4)
    top = where.column_labels.bottom() + 1
    below = QRectF(cells.center().x() - across / 2, top, across, line)
    if where.bar.bottom() > below.top() and not where.side:
        below.moveRight(min(below.right(), where.bar.left() - 2))
    draw_text(painter, below, CENTRE, title)
    room = sheet.height - cells.top()
    title = short_name(
        _row_title(sheet, room - 4, QFontMetricsF(metrics)), room - 4, QFontMetricsF(metrics)
    )
    down = min(max(cells.height(), metrics.horizontalAdvance(title) + 4), room)
    left = QRectF(where.bands.left() - line - 4, cells.top(), line, down)
    draw_upright(painter, left, CENTRE, title)


def _row_title(sheet: Sheet, room: float, metrics: QFontMetricsF) -> str:
    """The title of the rows, with how many of them have a label where not all have."""
    content, stride = sheet.content, sheet.where.row_stride
    if stride == 1 or content.n_rows < 2 or content.number_rows:
        return content.row_title
    some = f"1 in {stride}"
    title = content.row_title
    for text in (f"{title}, {some} labelled", f"{title}, {some}", f"{some} labelled"):
        if metrics.horizontalAdvance(text) <= room:
            return text
    return some


# ---- colour bar ----
def draw_bar(painter: QPainter, sheet: Sheet) -> None:
    """The colour map with its ticks, the marked part and what it measures."""
    bar, metrics = sheet.where.bar, painter.fontMetrics()
    line = metrics.height()
    painter.drawImage(bar, ramp(sheet.content.colours, 128, upright=True))
    painter.setPen(QColor(sheet.theme.text))
    widest, last = 0.0, -1e9
    for level, text in _bar_ticks(painter, sheet):
        y = bar.bottom() - level * bar.height()
        if abs(y - last) < line:
            continue
        last = y
        top = min(max(y - line / 2, 0), sheet.height - line)
        painter.drawText(QRectF(bar.right() + 4, top, 80, line), LEFT, text)
        widest = max(widest, metrics.horizontalAdvance(text))
    painter.setPen(QColor(sheet.theme.muted))
    beside = QRectF(bar.right() + 4 + widest + 2, bar.top(), line, bar.height())
    # A name that is longer than the bar has the height below it as well.
    room = sheet.height - bar.top()
    label = short_name(sheet.content.bar.label, room, QFontMetricsF(metrics))
    if metrics.horizontalAdvance(label) <= room:  # a part of it says nothing
        beside.setHeight(min(max(bar.height(), metrics.horizontalAdvance(label) + 4), room))
        draw_upright(painter, beside, CENTRE, label)


def _bar_ticks(painter: QPainter, sheet: Sheet) -> tuple[tuple[float, str], ...]:
    """Ticks of the bar; those too near the name of the marked part give way to it."""
    bar, content = sheet.where.bar, sheet.content.bar
    if content.mark is None:
        return content.ticks
    low, high, text = content.mark
    painter.save()
    painter.setPen(QPen(QColor(sheet.theme.text), 1.5))
    ends = [bar.bottom() - level * bar.height() for level in (low, high)]
    x = bar.left() - 2.5
    painter.drawLine(QPointF(x, ends[0] + 1), QPointF(x, ends[1] - 1))
    for y in ends:
        painter.drawLine(QPointF(x, y), QPointF(bar.right(), y))
    painter.restore()
    middle, line = (low + high) / 2, painter.fontMetrics().height()
    far = [t for t in content.ticks if abs(t[0] - middle) * bar.height() >= line]
    return tuple(sorted([*far, (middle, text)]))


# ---- labels ----
def draw_labels(painter: QPainter, sheet: Sheet) -> None:
    """Row and column labels; those that would touch the cursor's give way to it."""
    content, where = sheet.content, sheet.where
    line, wide = painter.fontMetrics().height(), painter.fontMetrics().horizontalAdvance
    rows = labelled(content.n_rows, where.row_stride, content.number_rows, content.first_row)
    columns = labelled(
        content.n_columns, where.column_stride, content.number_columns, content.first_number
    )
    labels, column = content.column_labels, sheet.column

    def across(i: int) -> float:
        if where.upright or column is None:
            return line
        # The cursor's is bold, which is wider.
        return APART + (wide(labels[i]) + 1.15 * wide(labels[column])) / 2

    painter.setPen(QColor(sheet.theme.text))
    rows = _with_cursor(rows, sheet.row, where.row_height, lambda _: line + _raised(sheet, line))
    if where.row_edges is not None:
        numbers = _numbers(content.log_rows, content.row_group)
        rows = on_log_axis(where.row_edges, numbers, sheet.row, lambda _: line)
    for i in rows:
        _draw_row_label(painter, sheet, i)
    columns = _with_cursor(columns, column, where.column_width, across)
    if where.edges is not None:
        numbers = _numbers(content.log_columns, content.column_group)
        room = (lambda _: line) if where.upright else (lambda i: 1.1 * wide(labels[i]) + APART)
        columns = on_log_axis(where.edges, numbers, column, room)
    for i in columns:
        _draw_column_label(painter, sheet, i)


def _numbers(at: tuple[int, ...], group: int) -> list[int]:
    """The recurrences of places on a log axis, which are the layers run where they are grouped."""
    return [(k - 1) // group + 1 for k in at] if group else list(at)


def _with_cursor(
    labelled: list[int], cursor: int | None, cell: float, needed: Callable[[int], float]
) -> list[int]:
    """Return which are labelled: the cursor's as well, and none that would touch it."""
    if cursor is None:
        return labelled
    far = [i for i in labelled if i != cursor and abs(i - cursor) * cell >= needed(i)]
    return [*far, cursor]


def _raised(sheet: Sheet, line: float) -> float:
    """Pixels by which the cursor's label stands above the middle of its row; see below."""
    if sheet.row is None:
        return 0.0
    middle = sheet.where.row(sheet.row).center().y()
    return max(0.0, middle + line / 2 - (sheet.where.row_labels.bottom() + 1))


def _draw_row_label(painter: QPainter, sheet: Sheet, row: int) -> None:
    line, labels = painter.fontMetrics().height(), sheet.where.row_labels
    middle = sheet.where.row(row).center().y()
    if labels.top() - 1 <= middle <= labels.bottom() + 1:
        _mark_label(painter, sheet.theme, row == sheet.row)
        # That of a thin last row would reach down to the columns' labels.
        top = min(middle - line / 2, labels.bottom() + 1 - line)
        rect = QRectF(labels.left(), top, labels.width(), line)
        draw_text(painter, rect, RIGHT, sheet.content.row_labels[row])
        painter.restore()


def _draw_column_label(painter: QPainter, sheet: Sheet, column: int) -> None:
    where, labels = sheet.where, sheet.where.column_labels
    text, middle = sheet.content.column_labels[column], where.column(column).center().x()
    _mark_label(painter, sheet.theme, column == sheet.column)
    line = painter.fontMetrics().height()
    if where.upright:
        rect = QRectF(middle - line / 2, labels.top(), line, labels.height())
        draw_upright(painter, rect, RIGHT, text)
    else:
        width = max(where.column(column).width(), painter.fontMetrics().horizontalAdvance(text) + 2)
        rect = QRectF(middle - width / 2, labels.top(), width, line)
        painter.drawText(rect, CENTRE, text)
    painter.restore()


def _mark_label(painter: QPainter, theme: Theme, cursor: bool) -> None:
    """Set bold accent for the cursor's label, until the painter is restored."""
    painter.save()
    if cursor:
        font = QFont(painter.font())
        font.setBold(True)
        painter.setFont(font)
        painter.setPen(QColor(theme.accent))


# ---- beside the rows ----
def draw_bands(painter: QPainter, sheet: Sheet) -> None:
    """A bracket and the name beside each group of rows, and a line between groups."""
    where, cells, metrics = sheet.where, sheet.where.cells, painter.fontMetrics()
    for first, last, name in sheet.content.bands:
        top = max(where.row(first).top(), cells.top())
        bottom = min(where.row(last).bottom(), cells.bottom())
        if bottom <= top:
            continue
        painter.setPen(QPen(QColor(sheet.theme.muted), 1.5))
        x = where.bands.right() - 2
        painter.drawLine(QPointF(x, top + 1.5), QPointF(x, bottom - 1.5))
        if first and top > cells.top():
            painter.setPen(QPen(QColor(sheet.theme.panel), 2))
            painter.drawLine(QPointF(cells.left(), top), QPointF(cells.right(), top))
        room = QRectF(where.bands.left(), top, metrics.height(), bottom - top)
        # A name that does not fit says its letter, upright where there is room for a line.
        painter.setPen(QColor(sheet.theme.text))
        if metrics.horizontalAdvance(name) <= room.height():
            draw_upright(painter, room, CENTRE, name)
        elif room.height() >= metrics.height() - 2:
            painter.drawText(room, CENTRE, name.partition(" ")[0])


def draw_side(painter: QPainter, sheet: Sheet) -> None:
    """Columns of numbers with their headers, and under them what they are of."""
    where, content, marks = sheet.where, sheet.content, sheet.marks
    if not where.side:
        return
    line = painter.fontMetrics().height()
    painter.setPen(QColor(sheet.theme.muted))
    for rect, (header, _) in zip(where.side, content.side, strict=False):
        above = QRectF(rect.left(), rect.top() - LIFT * line - 3, rect.width() - 4, line)
        painter.drawText(above, RIGHT, header)
    first, last = where.side[0], where.side[: content.dated][-1]
    rows = _rows_with_numbers(sheet)
    # The numbers of a thin row reach below it.
    lowest = max((where.row(row).center().y() + line / 2 for row in rows), default=0.0)
    under = max(first.bottom() + 2, lowest)
    caption = QRectF(first.left(), under, last.right() - first.left() - 4, line)
    painter.drawText(caption, RIGHT, marks.side_caption)
    painter.setPen(QColor(sheet.theme.text))
    words, numbers = painter.font(), number_font(max(7, painter.font().pointSize()))
    for row in rows:
        middle = where.row(row).center().y()
        for rect, text in zip(where.side, marks.side_text(row), strict=False):
            painter.setFont(words if text[:1].isalpha() else numbers)
            box = QRectF(rect.left(), middle - line / 2, rect.width() - 4, line)
            painter.drawText(box, RIGHT, text)
    painter.setFont(words)


def _rows_with_numbers(sheet: Sheet) -> list[int]:
    """Rows whose numbers fit: the labelled ones in sight, giving way to the cursor's."""
    where, content, cursor = sheet.where, sheet.content, sheet.marks.cursor_row
    top, bottom = where.cells.top() - 1, where.cells.bottom() + 1
    rows = labelled(content.n_rows, where.row_stride, content.number_rows)
    if cursor is not None and cursor not in rows:
        rows = [r for r in rows if abs(r - cursor) >= where.row_stride] + [cursor]
    return [r for r in rows if top <= where.row(r).center().y() <= bottom]
