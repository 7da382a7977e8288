"""Where the parts of the readout go in a panel of a given size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from PySide6.QtCore import QRectF
from PySide6.QtGui import QFontMetricsF

from loopscope.core.views.answers_data import AnswerMap
from loopscope.widgets.plots.matrix_layout import stride_for
from loopscope.widgets.plots.matrix_steps import STEPS, head_steps
from loopscope.widgets.plots.painted_grid import GridLayout

GAP = 6.0
PAD = 6.0
SCROLL_BAR = 10.0
# The bars of the cursor's cell are left out of a panel narrower than this.
MIN_WIDTH_FOR_SIDE = 420
# Cells at least this wide each have their (elided) answer; narrower ones that are too narrow for
# their answers share one text for each run of the same answer.
WIDE_CELL = 40.0
MIN_HEIGHT_FOR_TITLE = 250


@dataclass(frozen=True, slots=True)
class Layout(GridLayout):
    """Rectangles in pixels of what stands around the cells.

    index_width : of the token indices before the labels.
    numbers : "beside" or "below" the answer, or "" where they do not fit or are not asked for.
    each : whether every cell has its own text.
    """

    legend: QRectF
    row_labels: QRectF
    index_width: float
    column_labels: QRectF
    column_stride: int
    title: QRectF
    side: QRectF | None
    each: bool
    numbers: str


def lay_out(
    data: AnswerMap,
    width: float,
    height: float,
    text: QFontMetricsF,
    number: QFontMetricsF,
    offset: float,
) -> Layout:
    """Place everything; ``text`` and ``number`` measure the two fonts."""
    line, wide = text.height(), text.horizontalAdvance
    n_rows, n_columns = len(data.tokens), max(data.n_columns, 1)
    index_width = number.horizontalAdvance(str(max(data.tokens, default=0))) + 5
    label_width = min(_widest(data.labels, text) * 1.12 + 2, 0.2 * width)
    left = GAP + index_width + label_width + 5
    side_width = _side_width(width)
    room = max(width - left - GAP - (side_width + 12 if side_width else 0), 20.0)
    top, title_height = line + GAP, line if height >= MIN_HEIGHT_FOR_TITLE else 0.0
    tall = max(height - top - line - 4 - title_height - 3, 20.0)

    answers = _widest((data.text(a) for a in data.texts), text)
    column_width = min(room / n_columns, min(max(room / 6, 48.0), 160.0))
    numbers = _numbers(data, column_width, answers, number)
    needed = line + (number.height() if numbers == "below" else 0) + 2
    row_height = max(min(tall / max(n_rows, 1), 2.6 * needed), needed)
    hidden = max(0.0, n_rows * row_height - tall)
    if hidden:
        column_width = min(column_width, (room - SCROLL_BAR - 3) / n_columns)
    cells = QRectF(left, top, column_width * n_columns, min(n_rows * row_height, tall))
    below = QRectF(left, cells.bottom() + 2, cells.width(), line)
    title_width = max(cells.width(), wide(data.column_title) + 4)
    title_left = left if title_height else GAP
    return Layout(
        legend=QRectF(GAP, 2, width - 2 * GAP, line),
        cells=cells,
        row_height=row_height,
        column_width=column_width,
        offset=min(offset, hidden),
        hidden=hidden,
        row_labels=QRectF(GAP, top, left - GAP - 5, cells.height()),
        index_width=index_width,
        column_labels=below,
        column_stride=stride_for(
            _widest(data.column_labels, number) + 8,
            column_width,
            head_steps(data.group) if data.group else STEPS,
        ),
        title=QRectF(
            title_left,
            below.bottom() if title_height else below.top(),
            title_width if title_height else left - GAP - 5,
            line,
        ),
        side=QRectF(width - GAP - side_width, top, side_width, height - top - 4)
        if side_width
        else None,
        each=column_width >= min(answers + PAD, WIDE_CELL),
        numbers=numbers,
    )


def widest_number(data: AnswerMap, number: QFontMetricsF) -> float:
    """Room that a value written into a cell needs."""
    ends = data.shade.low, data.shade.high
    return max(number.horizontalAdvance(data.shade.text(v)) for v in ends)


def _numbers(data: AnswerMap, column_width: float, answers: float, number: QFontMetricsF) -> str:
    """Where a cell's probability goes."""
    digits = widest_number(data, number)
    if not data.numbers or column_width < digits + 3:
        return ""
    return "beside" if column_width >= min(answers, WIDE_CELL) + digits + 2 * PAD else "below"


def _side_width(width: float) -> float:
    if width < MIN_WIDTH_FOR_SIDE:
        return 0.0
    return min(max(0.27 * width, 128.0), 220.0)


def _widest(texts: Iterable[str], metrics: QFontMetricsF) -> float:
    # Measuring is slow: one of the longest is the widest, and there are many of one letter.
    longest = sorted(set(texts), key=len, reverse=True)[:40]
    return max((metrics.horizontalAdvance(t) for t in longest), default=0.0)
