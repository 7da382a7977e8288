"""Where the parts of a matrix go in a panel of a given size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtGui import QFontMetricsF

from loopscope.widgets.palette import SIMILARITY_MAP
from loopscope.widgets.plots.matrix_steps import STEPS, log_edges
from loopscope.widgets.plots.painted_grid import GridLayout
from loopscope.widgets.plots.ticks import nice_step

# Rows of a matrix that scrolls are never thinner than this, so that one odd row stays visible.
MIN_ROW = 4.0
# Side columns are left out of a panel narrower than this, or if they leave the cells no room.
MIN_WIDTH_FOR_SIDE = 420
MIN_CELLS_BESIDE_SIDE = 100.0
LEAST_SHARE = 0.4
# Lines from the rows up to the headers of the numbers: those of a thin first row reach above it.
LIFT = 1.4
GAP = 6.0
# Pixels between labels side by side; where there are fewer they stand upright.
BESIDE = 8.0
BAR = 10.0
SCROLL_BAR = 12.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A colour bar: what it measures, and ``(level 0..1, text)`` of each tick.

    mark : lowest level, highest level and name of a part that is marked, such as a baseline's.
    """

    label: str
    ticks: tuple[tuple[float, str], ...]
    mark: tuple[float, float, str] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What a matrix shows besides its colours.

    scrolls : rows keep a readable height and scroll; otherwise all rows are shown.
    side : header and widest text of each column of numbers beside it; columns without room are
        left out from the end.
    dated : how many of these columns, from the first, the caption under them speaks of.
    bands : first row, last row and name of groups of rows, marked beside their labels.
    row_strides, column_strides : steps at which they may be labelled when not all labels fit.
    number_columns, number_rows : labels are numbers, so thinning keeps the round ones; columns
        count from ``first_number``, rows from ``first_row``.
    row_group, column_group : how many belong together, with a line after each group; 0 for none.
    colours : name of the colour map that levels are drawn with.
    widest : how much wider than high the whole matrix may be, had it as many rows as columns.
    log_columns, log_rows : where on a log axis each stands: recurrences, or the layers run; ()
        where all are of one size.
    """

    n_rows: int
    n_columns: int
    title: str
    row_title: str
    column_title: str
    row_labels: tuple[str, ...]
    column_labels: tuple[str, ...]
    bar: Bar
    side: tuple[tuple[str, str], ...] = ()
    dated: int = 0
    bands: tuple[tuple[int, int, str], ...] = ()
    scrolls: bool = False
    row_strides: tuple[int, ...] = STEPS
    number_columns: bool = False
    number_rows: bool = False
    first_number: int = 1
    first_row: int = 1
    column_strides: tuple[int, ...] = STEPS
    row_group: int = 0
    column_group: int = 0
    colours: str = SIMILARITY_MAP
    widest: float = 3.0
    log_columns: tuple[int, ...] = ()
    log_rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """What lies over a matrix: it changes while content and levels stay.

    cursor_row, cursor_column : the cursor's; with ``cross`` the whole column is outlined.
    hover_row, hover_column : what is pointed at.
    path : cells (row, column) that a line is drawn through, such as an alignment.
    dots : cells with a dot, such as the best of their row.
    feet : row, first and last column of cells with a line at their foot.
    weak : cells that are hatched over their colour, bool ``[rows, columns]``.
    dimmed : whether the cells are pale, as they stand for others.
    title : instead of the content's.
    side_text : gives the numbers beside a row; it is asked for the rows in sight only.
    side_caption : what these numbers are of.
    """

    cursor_row: int | None = None
    cursor_column: int | None = None
    cross: bool = False
    hover_row: int | None = None
    hover_column: int | None = None
    path: tuple[tuple[int, int], ...] = ()
    dots: tuple[tuple[int, int], ...] = ()
    feet: tuple[tuple[int, int, int], ...] = ()
    weak: np.ndarray | None = None
    dimmed: bool = False
    title: str | None = None
    side_text: Callable[[int], tuple[str, ...]] = lambda row: ()
    side_caption: str = ""


@dataclass(frozen=True, slots=True)
class Layout(GridLayout):
    """Rectangles in pixels of what stands around the cells.

    row_stride, column_stride : every how many are labelled.  upright : column labels are.
    side : the columns of numbers.
    """

    bands: QRectF
    row_labels: QRectF
    row_stride: int
    column_labels: QRectF
    column_stride: int
    upright: bool
    bar: QRectF
    side: tuple[QRectF, ...]


def lay_out(
    content: Content, width: float, height: float, metrics: QFontMetricsF, offset: float
) -> Layout:
    """Place everything; ``metrics`` are of the labels' font."""
    line, wide = metrics.height(), metrics.horizontalAdvance
    # The cursor's label is bold, which is wider.
    label_width = min(1.15 * _widest(content.row_labels, wide) + 2, 0.22 * width)
    band_width = line + 4 if content.bands else 0.0
    left = line + GAP + band_width + label_width + 4
    marked = (content.bar.mark[2],) if content.bar.mark else ()
    tick_width = _widest((*(text for _, text in content.bar.ticks), *marked), wide)
    bar_total = GAP + BAR + 4 + tick_width + 2 + line
    room = max(width - left - bar_total - 4, 20.0)
    side = _side_widths(content, width, room, wide)
    has_side, side_total = bool(side), sum(side) + GAP if side else 0.0
    room -= side_total
    top = ((1 + LIFT) * line if has_side else line) + GAP
    longest = _widest(content.column_labels, wide)
    n_columns, n_rows = max(content.n_columns, 1), max(content.n_rows, 1)
    upright = not content.number_columns and longest + BESIDE > room / n_columns
    label_height = min(longest, 0.24 * height) + 2 if upright else line
    tall = max(height - top - label_height - line - 6, 20.0)
    few = 8 if content.scrolls else 3
    column_width = min(room / n_columns, max(48.0, room / few))
    row_height = min(tall / n_rows, max(32.0, tall / few))
    hidden = 0.0
    if content.scrolls:
        row_height = max(row_height, MIN_ROW)
        hidden = max(0.0, n_rows * row_height - tall)
        if hidden:
            column_width = min(column_width, (room - SCROLL_BAR) / n_columns)
    else:
        column_width = min(column_width, content.widest * row_height * n_rows / n_columns)
        row_height = min(row_height, 1.3 * column_width * n_columns / n_rows)
    size = (column_width * n_columns, min(row_height * n_rows, tall))
    taken = left + size[0] + side_total + bar_total + (SCROLL_BAR if hidden else 0)
    left += max(0.0, (width - taken) / 2)
    cells = QRectF(left, top, *size)
    side_left = cells.right() + GAP + (SCROLL_BAR if hidden else 0)
    return Layout(
        cells=cells,
        row_height=row_height,
        column_width=column_width,
        offset=min(offset, hidden),
        hidden=hidden,
        edges=log_edges(content.log_columns, size[0]) if content.log_columns else None,
        row_edges=log_edges(content.log_rows, size[1]) if content.log_rows else None,
        bands=QRectF(left - 4 - label_width - band_width, top, band_width, size[1]),
        row_labels=QRectF(left - 4 - label_width, top, label_width, size[1]),
        row_stride=stride_for(line, row_height, content.row_strides),
        column_labels=QRectF(left, cells.bottom() + 2, size[0], label_height),
        column_stride=stride_for(
            line if upright else longest + BESIDE, column_width, content.column_strides
        ),
        upright=upright,
        bar=QRectF(side_left + side_total, top, BAR, max(size[1], min(tall, 160.0))),
        side=tuple(
            QRectF(side_left + sum(side[:k]), top, side[k], size[1]) for k in range(len(side))
        ),
    )


def _side_widths(
    content: Content, width: float, room: float, wide: Callable[[str], float]
) -> list[float]:
    """Widths of the columns beside the matrix that leave the cells enough of ``room``."""
    widths: list[float] = []
    for i, texts in enumerate(content.side if width >= MIN_WIDTH_FOR_SIDE else ()):
        widths.append(max(wide(text) for text in texts) + 9)
        # What goes beyond the dated columns may not take most of the picture.
        least = MIN_CELLS_BESIDE_SIDE if i < content.dated else LEAST_SHARE * room
        if room - sum(widths) - GAP < least:
            return widths[:-1]
    return widths


def stride_for(needed: float, cell: float, strides: Iterable[int]) -> int:
    """Return the smallest stride whose labels have ``needed`` pixels each."""
    strides = tuple(strides)
    return next((s for s in strides if s * cell >= needed), strides[-1])


def bar_ticks(dark: float, bright: float) -> tuple[tuple[float, str], ...]:
    """Round numbers between the values at level 0 and level 1, with their levels."""
    low, high = min(dark, bright), max(dark, bright)
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return ((1.0, f"{bright:.3g}"),)
    step = nice_step(span / 4)
    first = math.ceil(low / step - 1e-9)
    values = np.arange(first, math.floor(high / step + 1e-9) + 1) * step
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    small = decimals > 4
    return tuple(
        (float((v - dark) / (bright - dark)), f"{v:.3g}" if small else f"{v:.{decimals}f}")
        for v in values
    )


def _widest(texts: Iterable[str], wide: Callable[[str], float]) -> float:
    # Measuring is slow: only the longest few can be the widest.
    longest = sorted(set(texts), key=len, reverse=True)[:6]
    return max((wide(text) for text in longest), default=0.0)
