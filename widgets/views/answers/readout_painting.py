"""How each part of the readout is painted."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QLineF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QImage, QPainter, QPen

from loopscope.core.measures.readout import NO_ANSWER
from loopscope.core.views.answers_data import AnswerMap
from loopscope.widgets.kit.theme import sample_map
from loopscope.widgets.palette import DISTANCE_MAP, SIMILARITY_MAP, Theme, black_is_legible
from loopscope.widgets.plots.matrix_steps import LEAST_GROUP, labelled
from loopscope.widgets.views.answers.readout_layout import PAD, Layout, widest_number
from loopscope.widgets.views.answers.readout_side import LEFT, RIGHT, At, Elider, Fonts

CENTRE = Qt.AlignmentFlag.AlignCenter
BLACK, WHITE = QColor("#101012"), QColor("#FFFFFF")
# Pixels that a text leaves free in its own cell, and before the text of a run.
SLACK, PAD_OF_RUN = 3.0, 4.0
# Pixels of a cell below which its bars would cover what they stand on.
CROWDED = 4
# What each kind of shade is drawn with.
MAPS = {"similarity": SIMILARITY_MAP, "distance": DISTANCE_MAP}


def dark_text(levels: np.ndarray, colours: str = SIMILARITY_MAP) -> np.ndarray:
    """Whether black is more legible than white on the shade of each level."""
    return black_is_legible(sample_map(colours, np.nan_to_num(levels))[..., :3] / 255.0)


def draw_answers(
    painter: QPainter, data: AnswerMap, where: Layout, theme: Theme, fonts: Fonts
) -> None:
    """Write the answer into every cell, or once into each run of one answer; numbers; a grid."""
    text_font, number_font = fonts
    dark = dark_text(data.shade.levels(data.values), MAPS[data.shade.colours])
    sight = where.rows_in_sight(len(data.tokens))
    elider = Elider(text_font)
    room = widest_number(data, QFontMetricsF(number_font)) + PAD
    room = room if where.numbers == "beside" else 0.0
    texts = {answer: data.text(answer) for answer in np.unique(data.top).tolist()}
    painter.setFont(text_font)
    muted = QColor(theme.muted)
    for row, column, n in _pieces(data, where, sight):
        rect, answer = where.cell(row, column, n), int(data.top[column, row])
        text = elider.fit(
            texts[answer], rect.width() - (SLACK if where.each else PAD_OF_RUN) - room
        )
        if not text:
            continue
        # The shade under the text, which may differ from the shade at the flip.
        under = 1 if where.each else max(1, int(elider.width(text) / where.column_width))
        black = dark[column : column + under, row].mean() > 0.5
        painter.setPen(muted if answer == NO_ANSWER else BLACK if black else WHITE)
        _draw_answer(painter, elider, where, rect, text)
    _draw_numbers(painter, data, where, number_font, dark, sight)
    _draw_grid(painter, data, where, theme, sight)


def _pieces(data: AnswerMap, where: Layout, sight: range) -> list[tuple[int, int, int]]:
    """Row, column and number of cells of each text."""
    if where.each:
        return [(row, column, 1) for row in sight for column in range(data.n_columns)]
    return [
        (span.row, span.first - 1, span.last - span.first + 1)
        for span in data.spans()
        if span.row in sight
    ]


def _draw_answer(painter: QPainter, elider: Elider, where: Layout, rect: QRectF, text: str) -> None:
    """Write one answer where its number leaves room; that of a run at its left."""
    if where.numbers == "below":
        rect.adjust(0, 1, 0, -rect.height() / 2 + 1)
    if not where.each:
        elider.draw(painter, rect.adjusted(PAD_OF_RUN, 0, 0, 0), 0, text)
    elif where.numbers == "beside":
        elider.draw(painter, rect.adjusted(PAD, 0, 0, 0), 0, text)
    else:
        elider.draw(painter, rect, 0.5, text)


def _draw_grid(
    painter: QPainter, data: AnswerMap, where: Layout, theme: Theme, sight: range
) -> None:
    """Lines between rows, and between columns or groups of them."""
    painter.setPen(QPen(QColor(theme.panel), 1))
    cells, every = where.cells, 1 if where.each else data.group
    bottoms = [where.row(row).bottom() - 0.5 for row in sight]
    lines = [QLineF(cells.left(), y, cells.right(), y) for y in bottoms]
    if every and (where.each or every * where.column_width >= LEAST_GROUP):
        after = data.n_columns + 1 if where.each else data.n_columns
        lefts = [where.column(column).left() - 0.5 for column in range(every, after, every)]
        lines += [QLineF(x, cells.top(), x, cells.bottom()) for x in lefts]
    painter.drawLines(lines)


def _draw_numbers(
    painter: QPainter, data: AnswerMap, where: Layout, font: QFont, dark: np.ndarray, sight: range
) -> None:
    if not where.numbers:
        return
    painter.setFont(font)
    numbers = Elider(font)
    for row in sight:
        for column, value in enumerate(data.values[:, row].tolist()):
            if value != value:
                continue
            rect = where.cell(row, column)
            painter.setPen(BLACK if dark[column, row] else WHITE)
            if where.numbers == "beside":
                numbers.draw(painter, rect.adjusted(0, 0, -PAD + 1, 0), 1, data.shade.text(value))
            else:
                half = rect.adjusted(0, rect.height() / 2 - 1, 0, -1)
                numbers.draw(painter, half, 0.5, data.shade.text(value))


def draw_exits(painter: QPainter, data: AnswerMap, where: Layout, theme: Theme) -> None:
    """A bar at the foot of each cell, as long as its exit probability is of 1."""
    if not data.has_exits or where.column_width < 8 or where.row_height < 14:
        return
    high = 3.0 if where.row_height >= 19 else 1.5
    for row in where.rows_in_sight(len(data.tokens)):
        for column, p in enumerate(data.exits[:, row].tolist()):
            cell = where.cell(row, column).adjusted(2, 0, -3, -1.5)
            foot = QRectF(cell.left(), cell.bottom() - high, cell.width(), high)
            painter.fillRect(foot, QColor(theme.panel))
            if p > 0:
                foot.setWidth(max(1.0, foot.width() * p))
                painter.fillRect(foot, QColor(theme.text))


def draw_flips(painter: QPainter, data: AnswerMap, where: Layout, theme: Theme) -> None:
    """A bar at the left edge of each marked cell, such as one whose answer is a new one.

    Where cells are narrower than `CROWDED` bars may touch: they stand at the foot of the row, one
    a pixel, so that the shades above them are seen.
    """
    thin, crowded = where.column_width < 8, where.column_width < CROWDED
    for row in where.rows_in_sight(len(data.tokens)):
        columns = np.flatnonzero(data.marked[:, row])
        if crowded:
            _, first = np.unique((columns * where.column_width).astype(int), return_index=True)
            columns = columns[first]
        for column in columns.tolist():
            cell = where.cell(row, column)
            high = cell.height() / 4 if crowded else cell.height()
            _draw_flip(painter, cell.left(), cell.bottom() - high, high, theme, thin)


def _draw_flip(
    painter: QPainter, x: float, top: float, height: float, theme: Theme, thin: bool
) -> None:
    """One bar, with edges of the panel's colour so that it is seen on any shade."""
    if not thin:
        painter.fillRect(QRectF(x - 2, top, 5, height), QColor(theme.panel))
    else:
        painter.fillRect(QRectF(x - 0.5, top, 2, height), QColor(theme.panel))
    bar = QRectF(x - 0.5, top, 1, height) if thin else QRectF(x - 1, top, 2.5, height)
    painter.fillRect(bar, QColor(theme.text))


def draw_labels(
    painter: QPainter, data: AnswerMap, where: Layout, theme: Theme, fonts: Fonts, cursor: At
) -> None:
    """Token index and text before each row; columns below. The cursor's are bold."""
    text_font, number_font = fonts
    bold = QFont(text_font)
    bold.setBold(True)
    metrics = {False: QFontMetricsF(text_font), True: QFontMetricsF(bold)}
    painter.save()
    painter.setClipRect(where.row_labels.adjusted(-2, 0, 4, 0))
    labels = where.row_labels
    for row in where.rows_in_sight(len(data.tokens)):
        rect = where.cell(row, 0)
        at_cursor = row == cursor[0]
        index = QRectF(labels.left(), rect.top(), where.index_width - 5, rect.height())
        painter.setFont(number_font)
        painter.setPen(QColor(theme.muted))
        painter.drawText(index, RIGHT, str(data.tokens[row]))
        painter.setFont(bold if at_cursor else text_font)
        painter.setPen(QColor(theme.text))
        room = labels.width() - where.index_width
        label = metrics[at_cursor].elidedText(data.labels[row], Qt.TextElideMode.ElideMiddle, room)
        beside = QRectF(labels.left() + where.index_width, rect.top(), room, rect.height())
        painter.drawText(beside, RIGHT, label)
    painter.restore()
    _draw_columns(painter, data, where, theme, number_font, cursor[1])
    painter.setFont(text_font)
    painter.setPen(QColor(theme.muted))
    word = data.column_title
    if metrics[False].horizontalAdvance(word) > where.title.width():
        word = word.rpartition(" ")[2]
    painter.drawText(where.title, RIGHT if where.title.left() < labels.right() else CENTRE, word)


def _draw_columns(
    painter: QPainter, data: AnswerMap, where: Layout, theme: Theme, font: QFont, cursor: int | None
) -> None:
    """Thinned labels; the cursor's is always there and those it would touch give way."""
    labels, wide = data.column_labels, QFontMetricsF(font).horizontalAdvance("0")
    painter.setPen(QColor(theme.text))
    columns = labelled(len(labels), where.column_stride, True, data.first_number) or [0]
    at = cursor - 1 if cursor else -1
    for i in {*columns, *([at] if at >= 0 else [])}:
        apart = abs(i - at) * where.column_width if at >= 0 else np.inf
        if i != at and apart < wide * (len(labels[i]) + 1.6):
            continue
        middle = where.cell(0, i).center().x()
        font.setBold(i == at)
        painter.setFont(font)
        below = where.column_labels
        painter.drawText(QRectF(middle - 30, below.top(), 60, below.height()), CENTRE, labels[i])
    font.setBold(False)


def draw_legend(
    painter: QPainter, data: AnswerMap, where: Layout, theme: Theme, fonts: Fonts
) -> None:
    """Lens on the left; what shade and bar mean on the right, as far as there is room."""
    painter.setFont(fonts[0])
    metrics, legend = QFontMetricsF(fonts[0]), where.legend
    wide, x = metrics.horizontalAdvance, legend.right()
    lens = data.lens_label
    left = legend.left() + wide(lens) + 14
    ramp = 48.0

    def put(text: str, colour: str) -> None:
        nonlocal x
        painter.setPen(QColor(colour))
        painter.drawText(QRectF(x - wide(text) - 1, legend.top(), wide(text) + 1, legend.height()),
                         RIGHT, text)  # fmt: skip
        x -= wide(text) + 4

    painter.setPen(QColor(theme.text))
    painter.drawText(legend, LEFT, lens)
    flip, measure = data.mark_label, data.shade.label
    low, high = data.shade.ends
    total = wide(measure) + wide(low) + wide(high) + ramp + 16
    if x - left >= total + wide(flip) + 26:
        put(flip, theme.muted)
        _draw_flip(painter, x - 3, legend.top() + 1, legend.height() - 2, theme, False)
        x -= 22
    elif x - left < total:
        short = data.shade.short
        measure, total = short, total - wide(measure) + wide(short)
        if x - left < total:
            return
    if data.has_exits and x - left >= total + wide("exit probability") + 30:
        put("exit probability", theme.muted)
        painter.fillRect(QRectF(x - 16, legend.center().y() + 1, 16, 3), QColor(theme.text))
        x -= 34
    put(high, theme.muted)
    colours = MAPS[data.shade.colours]
    shades = np.ascontiguousarray(sample_map(colours, np.linspace(0, 1, 64))[None])
    image = QImage(shades.data, 64, 1, 256, QImage.Format.Format_RGBA8888)
    painter.drawImage(QRectF(x - ramp, legend.top() + 3, ramp, legend.height() - 6), image)
    x -= ramp + 4
    put(low, theme.muted)
    x -= 2
    put(measure, theme.muted)


def draw_marks(
    painter: QPainter, data: AnswerMap, where: Layout, theme: Theme, cursor: At, hover: At
) -> None:
    """Outline the cursor's cell, and the row, column or cell pointed at."""
    painter.save()
    painter.setClipRect(where.cells.adjusted(-3, -3, 3, 3))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for at, colour in ((hover, theme.hover), (cursor, theme.accent)):
        row, column = at
        if at == cursor and colour == theme.hover:
            continue
        if row is not None and column is not None:
            rect = where.cell(row, column - 1)
        elif row is not None and colour == theme.hover:
            rect = where.cell(row, 0, data.n_columns)
        elif column is not None and colour == theme.hover:
            rect = where.cells.intersected(where.cell(0, column - 1).adjusted(0, 0, 0, 1e6))
            rect.setTop(where.cells.top())
        else:
            continue
        # An inner line of the panel's colour keeps the outline legible on every shade.
        if rect.width() >= 8:
            painter.setPen(QPen(QColor(theme.panel), 1))
            painter.drawRect(rect.adjusted(1.5, 1.5, -2.5, -2.5))
        else:
            rect = rect.adjusted(-2, 0, 2, 0)
        painter.setPen(QPen(QColor(colour), 2))
        painter.drawRect(rect.adjusted(0, 0, -1, -1))
    painter.restore()
