"""Where the computation graph is in pixels: bands, zoom, scrolling, what is in sight."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF

from loopscope.core.selection import Selection
from loopscope.core.views.graph.data import Data
from loopscope.core.views.graph.layout import BOX, ROW, Box, Layout
from loopscope.core.views.graph.picture import Mark, Picture, Strip, loop_picture

MARGIN = 8.0
LINE = 17.0
BAR = 18.0  # the scroll bar at the foot
NUMBERS = 14.0  # the recurrences' numbers under a strip
ABOVE, BELOW = 0.75, 0.35  # rows for the rail and for the loop's back edge
DEEP_ABOVE, DEEP_BELOW = 0.2, 0.1
BETWEEN_BANDS = 12.0
MIN_ROW, MAX_ROW = 16.0, 52.0  # the least that holds a small label
MAX_COLUMN = 132.0
# Pixels that a box has beside the label of a layer, whose whole word a column has room for.
BESIDE_LABEL = 6.0
LOOP_COLUMNS = 3
MIN_ZOOM, MAX_ZOOM = 0.001, 2.5
LEAST_ROW = 3.0
# Narrower columns have no labels and plain wires; still narrower ones are stripes.
PLAIN, STRIPES, GAPS = 40.0, 14.0, 4.0


def label_room(width: float) -> int:
    """Pixels for the label of a box."""
    return round(width - 6)


@dataclass(slots=True)
class Band:
    """One model's part of the picture: its strip and, when it loops, the loop.

    top : where its title is, in pixels of the unscrolled picture.
    """

    strip: Strip
    loop: Layout | None
    top: float = 0.0

    @property
    def above(self) -> float:
        """Rows above the strip's row 0."""
        return DEEP_ABOVE if self.loop is None else ABOVE

    @property
    def rows(self) -> float:
        """Rows of the pictures with what is above and below them."""
        below = DEEP_BELOW if self.loop is None else BELOW
        return self.strip.layout.height + self.above + below


@dataclass(frozen=True, slots=True)
class Hit:
    """A box under the pointer: in which band, and whether in the loop."""

    band: int
    in_loop: bool
    box: Box


class Geometry:
    """Pixels of one picture at one size, zoom and scroll position.

    ``kept`` are columns that are drawn whatever is folded.
    """

    def __init__(self) -> None:
        self.width, self.height = 160.0, 100.0
        self.zoom, self.x, self.y = 1.0, 0.0, 0.0
        self.least_column = 69.0
        self.picture: Picture | None = None
        self.bands: list[Band] = []
        # Set by `lay_out`, in pixels: where the strips are drawn, the height that is seen, a
        # column of the loop and of the strips, a row, and the size of everything.
        self.strip = QRectF(MARGIN, 0, 1, 1)
        self.viewport = self.loop_column = self.column = self.row = 1.0
        self.whole_width = self.whole_height = 0.0
        self.least_zoom = 1.0
        self.kept: set[int] = set()
        self._laid_out: tuple[object, ...] = ()

    def show(self, data: Data | None) -> None:
        """Take new data."""
        self.picture = None if data is None else Picture(data)
        self._laid_out = ()
        self.lay_out()

    def set_label(self, width: float) -> None:
        """Take the width of a layer's label: columns are never too narrow for it."""
        self.least_column = math.ceil((width + BESIDE_LABEL) / BOX)

    def lay_out(self) -> None:
        """Choose the columns and stack the bands, for the size and zoom of now."""
        self.viewport = max(self.height, 1.0)
        # Of the loop, whose columns are never zoomed.
        self.loop_column = max(self.least_column, min(MAX_COLUMN, self.width / 8.5))
        picture = self.picture
        if picture is None:
            self.bands = []
            return
        loops = any(isinstance(layout, Layout) for layout in picture.layouts)
        left = MARGIN + (LOOP_COLUMNS * self.loop_column + 14 if loops else 0)
        self.strip = QRectF(left, 0, max(self.width - left, 1), self.viewport)
        # Columns are narrower where all then fit.
        fitting = (self.strip.width() - MARGIN) / picture.whole_width
        usual = max(self.least_column, min(self.loop_column, fitting))
        self.least_zoom = max(MIN_ZOOM, min(0.5, fitting / usual))
        self.zoom = max(self.zoom, self.least_zoom)
        self.column = usual * self.zoom
        room = max(3, int((self.strip.width() - MARGIN) / self.column + 0.01) - 2)
        fold = picture.data.options.fold
        key = (id(picture), room if fold == "auto" else 0, frozenset(self.kept))
        if key != self._laid_out:
            self._laid_out = key
            strips = picture.strips(picture.columns(room, self.kept))
            self.bands = [
                Band(strip, strip.layout if isinstance(strip.layout, Layout) else None)
                for strip in strips
            ]
        self.whole_width = max(b.strip.width for b in self.bands) * self.column + MARGIN
        if round(self.whole_width - self.strip.width()) > 0:
            self.viewport = max(self.height - BAR, 1.0)
            self.strip.setHeight(self.viewport)
        self.row = self._row()
        top = MARGIN
        for band in self.bands:
            band.top = top
            top += self.band_height(band)
        self.whole_height = top + MARGIN - 1

    # ---- sizes ----
    @property
    def words(self) -> int:
        """Lines of words under each band: one where two would not be seen whole."""
        if len(self.bands) != 1:
            return 1
        least = self.bands[0].rows * MIN_ROW + self._fixed(2)
        return 2 if least <= self.viewport else 1

    def _fixed(self, words: int) -> float:
        """Pixels of the height that are no rows."""
        return 2 * MARGIN + len(self.bands) * (LINE + NUMBERS + words * LINE + BETWEEN_BANDS)

    def _row(self) -> float:
        """Height of a row: as the height allows, at least that of a small label."""
        rows = sum(b.rows for b in self.bands)
        fitting = (self.viewport - self._fixed(self.words)) / max(rows, 1)
        usual = max(MIN_ROW, min(MAX_ROW, fitting))
        if self.zoom >= 1:
            return usual * min(self.zoom, 2.0)
        # Zoomed out, rows shrink only as far as the height needs.
        return max(LEAST_ROW, min(usual, max(usual * self.zoom, fitting)))

    @property
    def stripes(self) -> bool:
        """Whether columns are too narrow to be drawn one by one."""
        return self.column < STRIPES

    @property
    def plain(self) -> bool:
        """Whether columns are too narrow for labels."""
        return self.column < PLAIN

    def band_height(self, band: Band) -> float:
        """Height of a band with its words."""
        return LINE + band.rows * self.row + NUMBERS + self.words * LINE + BETWEEN_BANDS

    # ---- places ----
    def origin(self, band: int, in_loop: bool) -> QPointF:
        """Where column 0, row 0 begins."""
        at = self.bands[band]
        y = at.top + LINE + at.above * self.row - self.y
        return QPointF(MARGIN if in_loop else self.strip.left() - self.x, y)

    def scale(self, in_loop: bool) -> tuple[float, float]:
        """Pixels of a column and of a row."""
        return (self.loop_column if in_loop else self.column), self.row

    @property
    def label_rooms(self) -> tuple[int, ...]:
        """Pixels for a label in the boxes of a loop, where there is one, and of the strips."""
        loops = any(band.loop is not None for band in self.bands)
        columns = (self.loop_column, self.column) if loops else (self.column,)
        return tuple(label_room(BOX * column) for column in columns if column >= PLAIN)

    def rect_of(self, box: Box, band: int = 0, in_loop: bool = False) -> QRectF:
        """A box in pixels."""
        return self.rects_of([box], band, in_loop)[0][1]

    def rects_of(
        self, boxes: list[Box], band: int = 0, in_loop: bool = False
    ) -> list[tuple[Box, QRectF]]:
        """Boxes with their places in pixels."""
        at, (column, row) = self.origin(band, in_loop), self.scale(in_loop)
        x, y, width = at.x(), at.y(), BOX * column
        return [(b, QRectF(x + b.x * column, y + b.y * row, width, b.height * row)) for b in boxes]

    def in_sight(self, strip: Strip) -> tuple[int, int]:
        """First and last column of a strip that can be seen, one more at each side."""
        left = self.x / self.column
        right = (self.x + self.strip.width()) / self.column
        return max(0, strip.index_at(left) - 1), min(strip.end, strip.index_at(right) + 1)

    def loop_of(self, band: int) -> list[Box]:
        """Boxes of a band's loop."""
        loop = self.bands[band].loop
        return [] if loop is None else loop_picture(loop)[0]

    def hit(self, position: QPointF) -> Hit | None:
        """Find the box at a place in pixels."""
        if not QRectF(0, 0, self.width, self.viewport).contains(position):
            return None
        for i, band in enumerate(self.bands):
            if not band.top <= position.y() + self.y < band.top + self.band_height(band):
                continue
            in_loop = position.x() < self.strip.left()
            boxes = self.loop_of(i) if in_loop else self._column_at(band.strip, position)
            for box in boxes:
                if self.covered(box, i, in_loop).contains(position):
                    return Hit(i, in_loop, box)
        return None

    def _column_at(self, strip: Strip, position: QPointF) -> list[Box]:
        x = (position.x() - self.strip.left() + self.x) / self.column
        return strip.boxes(strip.index_at(x)) if strip.lead <= x < strip.width else []

    def covered(self, box: Box, band: int, in_loop: bool) -> QRectF:
        """Place that belongs to a box: of stripes the whole width of the column."""
        rect = self.rect_of(box, band, in_loop)
        if in_loop or not self.stripes:
            return rect
        half = (1 - BOX) / 2 * self.column
        return rect.adjusted(-half, 0, half, 0)

    def mark_at(self, mark: Mark, band: int, in_loop: bool) -> QPointF:
        """Where a mark is in pixels."""
        at, (column, row) = self.origin(band, in_loop), self.scale(in_loop)
        return QPointF(at.x() + mark.point[0] * column, at.y() + mark.point[1] * row)

    def marks(self, band: int) -> list[tuple[QPointF, Mark]]:
        """Marks of cuts in sight, those of the loop first; among stripes one for alike columns."""
        at = self.bands[band]
        marks = []
        if at.loop is not None:
            marks += [(self.mark_at(m, band, True), m) for m in loop_picture(at.loop)[2]]
        if not at.strip.data.cuts:
            return marks
        first, last = self.in_sight(at.strip)
        columns: list[tuple[int, float]] = [(i, 0.0) for i in range(first, last + 1)]
        if self.stripes:
            columns = [
                (s.index, (s.right - s.left - 1) / 2 * self.column)
                for s in at.strip.stretches(first, last)
            ]
        strip = self.strip
        for i, shift in columns:
            for mark in at.strip.marks(i):
                place = self.mark_at(mark, band, False) + QPointF(shift, 0)
                if strip.left() <= place.x() <= strip.right():
                    marks.append((place, mark))
        return marks

    # ---- following ----
    def keep(self, selection: Selection, also: int = 0) -> None:
        """Never fold the cursor's columns, nor the column ``also``."""
        if self.picture is None:
            return
        kept = {*self.picture.columns_of(self.picture.places(selection)), also} - {0}
        if kept != self.kept:
            self.kept = kept
            self.lay_out()

    def centred_on(self, i: int, strip: Strip) -> float | None:
        """Scroll position that centres a column, or None when it is wholly in sight."""
        left = strip.x(i) * self.column
        if self.x <= left <= self.x + self.strip.width() - self.column:
            return None
        return left - (self.strip.width() - self.column) / 2

    def row_in_sight(self, band: int, box: Box) -> float | None:
        """Scroll position that shows a box's row, or None when it is in sight."""
        rect = self.rect_of(box, band)
        if rect.top() >= 0 and rect.bottom() <= self.viewport:
            return None
        return rect.center().y() + self.y - self.viewport / 2

    @property
    def labelled(self) -> bool:
        """Whether rows are high enough for words."""
        return self.row * ROW >= 9
