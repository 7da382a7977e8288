"""Paint the picture of the computation graph that stays while the pointer moves: every band."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPen

from loopscope.core.labels import count
from loopscope.core.model.flops import flops_per_token
from loopscope.core.views.graph.cuts import cuts_at
from loopscope.core.views.graph.data import Data
from loopscope.core.views.graph.layout import BOX, Box, Wire
from loopscope.core.views.graph.picture import loop_picture
from loopscope.widgets.kit.shortening import shorten
from loopscope.widgets.palette import Theme
from loopscope.widgets.plots.ticks import whole_step
from loopscope.widgets.views.graph.geometry import (
    GAPS,
    LINE,
    MARGIN,
    NUMBERS,
    Band,
    Geometry,
)
from loopscope.widgets.views.graph.painting import Brush

# Pixels between two numbers under a strip.
NUMBER_ROOM = 30.0


class BandPainter:
    """Paints all bands of one `Geometry`.

    Parameters
    ----------
    painter, geometry, theme, font
        What to paint, where and with what.
    recurrences
        The cursor's in each band.
    faded
        Whether a search leaves a box of a band pale.
    """

    def __init__(
        self, painter: QPainter, geometry: Geometry, theme: Theme, font: QFont,
        recurrences: list[int], faded: Callable[[int, Box], bool] = lambda band, box: False,
    ) -> None:  # fmt: skip
        self.painter, self.geometry, self.theme, self.font = painter, geometry, theme, font
        self.recurrences, self.faded = recurrences, faded

    def _bands(self) -> Iterator[tuple[int, Band, Brush]]:
        """Bands in sight."""
        geometry = self.geometry
        for i, band in enumerate(geometry.bands):
            top = band.top - geometry.y
            if top <= geometry.viewport and top + geometry.band_height(band) >= 0:
                yield i, band, self._brush(i, band)

    def paint_still(self) -> None:
        """Paint what stays where it is when the strips are scrolled sideways."""
        painter, geometry = self.painter, self.geometry
        left = QRectF(0, 0, geometry.strip.left() - 8, geometry.viewport)
        for i, band, brush in self._bands():
            if band.loop is not None:
                with _clip(painter, left):
                    self._loop(i, band, brush)
            with _clip(painter, QRectF(0, 0, geometry.width, geometry.viewport)):
                self._words(i, band)
        if geometry.strip.left() > MARGIN:
            painter.setPen(QPen(QColor(self.theme.line), 1))
            x = geometry.strip.left() - 7
            painter.drawLine(QPointF(x, MARGIN), QPointF(x, geometry.height - MARGIN))

    def paint_strips(self) -> None:
        """Paint the strips with their numbers."""
        for i, band, brush in self._bands():
            with _clip(self.painter, self.geometry.strip):
                if self.geometry.stripes:
                    self._stripes(i, band, brush)
                else:
                    self._columns(i, band, brush)
                self._numbers(i, band)

    def paint_marks(self) -> None:
        """Cuts, and the layer that ran last: over the cursor's outline."""
        geometry = self.geometry
        left = QRectF(0, 0, geometry.strip.left() - 8, geometry.viewport)
        for i, band, brush in self._bands():
            first, last = geometry.in_sight(band.strip)
            with _clip(self.painter, left):
                self._now(i, geometry.loop_of(i), brush, in_loop=True)
            with _clip(self.painter, geometry.strip):
                now = band.strip.data.now
                at = -1 if now is None else band.strip.index_of(*now)
                if first <= at <= last and not geometry.stripes:
                    self._now(i, band.strip.boxes(at), brush, in_loop=False)
            with _clip(self.painter, QRectF(0, 0, geometry.width, geometry.viewport)):
                for place, mark in geometry.marks(i):
                    size = 6.0 if not geometry.plain or place.x() < geometry.strip.left() else 4.0
                    brush.cut(place, size, all(c.run for c in mark.cuts))

    def _brush(self, i: int, band: Band) -> Brush:
        return Brush(
            self.painter, self.theme, self.font, band.strip.data, self.recurrences[i],
            lambda box: self.faded(i, box), self.geometry.label_rooms,
        )  # fmt: skip

    def _points(
        self, wires: list[Wire], band: int, in_loop: bool
    ) -> list[tuple[Wire, list[QPointF]]]:
        at, (column, row) = self.geometry.origin(band, in_loop), self.geometry.scale(in_loop)
        left, top = at.x(), at.y()
        return [
            (wire, [QPointF(left + x * column, top + y * row) for x, y in wire.points])
            for wire in wires
        ]

    def _loop(self, i: int, band: Band, brush: Brush) -> None:
        assert band.loop is not None
        boxes, wires, _ = loop_picture(band.loop)
        brush.wires(self._points(wires, i, True))
        brush.boxes(self.geometry.rects_of(boxes, i, True))

    def _columns(self, i: int, band: Band, brush: Brush) -> None:
        """Column by column; narrow ones without labels and round corners."""
        geometry = self.geometry
        first, last = geometry.in_sight(band.strip)
        wires = self._points(band.strip.wires(first, last), i, False)
        columns = [band.strip.boxes(c) for c in range(first, last + 1)]
        boxes = geometry.rects_of([box for column in columns for box in column], i)
        if geometry.plain:
            self.painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
            brush.plain_wires(wires)
            brush.plain_boxes(boxes)
            self.painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
        else:
            brush.wires(wires)
            brush.boxes(boxes)

    def _now(self, i: int, boxes: list[Box], brush: Brush, *, in_loop: bool) -> None:
        now = brush.data.now
        for box in boxes:
            if (
                now is not None
                and box.branch is None
                and box.node.part == "block"
                and box.node.layer == now[1]
                and box.recurrence in (None, now[0])
            ):
                brush.now(self.geometry.rect_of(box, i, in_loop))

    def _stripes(self, i: int, band: Band, brush: Brush) -> None:
        """Alike columns as one stripe for each row, with gaps while there is room for them."""
        geometry, painter, strip = self.geometry, self.painter, band.strip
        first, last = geometry.in_sight(strip)
        at, (column, _) = geometry.origin(i, False), geometry.scale(False)
        edges = geometry.strip
        stripes = []
        for stretch in strip.stretches(first, last):
            left = max(at.x() + stretch.left * column, edges.left() - 1)
            right = min(at.x() + stretch.right * column, edges.right() + 1)
            for box, rect in geometry.rects_of(stretch.boxes, i):
                stripes.append((box, QRectF(left, rect.top(), right - left, rect.height())))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        brush.plain_boxes(stripes)
        # A cut goes on as far as its line does.
        painter.setPen(QPen(QColor(self.theme.text), 1.5))
        cuts = strip.data.cuts
        for box, rect in stripes:
            if cuts and cuts_at(cuts, box.node, box.recurrence):
                painter.drawLine(rect.topLeft(), rect.topRight())
        if column >= GAPS:
            bottom = at.y() + strip.layout.height * geometry.row
            xs = [at.x() + strip.x(c) * column for c in range(first, last + 1)]
            gap = max(1.0, (1 - BOX) * column / 2)
            painter.setPen(QPen(QColor(self.theme.panel), gap))
            painter.drawLines([QLineF(x, at.y(), x, bottom) for x in xs])

    def _numbers(self, i: int, band: Band) -> None:
        """The recurrences' numbers, as many as there is room for; how many a fold stands for."""
        geometry, strip = self.geometry, band.strip
        if strip.data.deep:
            return
        first, last = geometry.in_sight(strip)
        at, (column, row) = geometry.origin(i, False), geometry.scale(False)
        y = at.y() + (strip.layout.height + 0.05) * row
        every = whole_step(NUMBER_ROOM / (column * strip.wide))
        self.painter.setFont(self._small())
        self.painter.setPen(QColor(self.theme.muted))
        middle = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop
        for c in range(max(first, 1), min(last, strip.last) + 1):
            of = strip.cols.at(c)
            folded = of.times > 1
            if not folded and of.first % every and not (of.first == 1 and every < 5):
                continue
            text = f"× {of.times}" if folded else str(of.first)
            left = at.x() + strip.x(c) * column
            wide = max(column, 60.0)
            if left + column / 2 > geometry.strip.right():
                break
            begin = min(left + (column - wide) / 2, geometry.strip.right() - wide / 2 - 14)
            room = QRectF(begin, y, wide, NUMBERS)
            self.painter.drawText(room, middle, text)

    def _small(self) -> QFont:
        font = QFont(self.font)
        font.setPointSizeF(max(6.0, font.pointSizeF() - 1.5))
        return font

    # ---- words ----
    def _words(self, i: int, band: Band) -> None:
        geometry, painter = self.geometry, self.painter
        painter.setFont(self.font)
        painter.setPen(QColor(self.theme.muted))
        top = band.top - geometry.y
        foot = top + LINE + band.rows * geometry.row + NUMBERS
        left, right = geometry.strip.left(), geometry.width
        spans = ((MARGIN, left - 14), (left, right))
        titles, below = self._titles(i, band), self._below(band)
        lines = [(titles, top)] + [(pair, foot + k * LINE) for k, pair in enumerate(below)]
        metrics = QFontMetricsF(self.font)
        for pair, y in lines:
            for (begin, end), text in zip(spans, pair, strict=True):
                if end > begin and text:
                    short = shorten(text, end - begin - 4, metrics.horizontalAdvance)
                    painter.drawText(QPointF(begin, y + metrics.ascent()), short)

    def _titles(self, i: int, band: Band) -> tuple[str, str]:
        data = band.strip.data
        state = "" if data.has_run else " (not run yet)"
        picture = self.geometry.picture
        assert picture is not None
        contrast = picture.data.contrast
        name = data.name if i == 0 or contrast is None else contrast.name
        of = "" if contrast is None else f" · {name}"
        if data.deep and band.loop is None:
            layers = f"{len(data.layers)} layers run once{of}{state}"
            left = "deep: no layer repeats, so there is no loop"
            return (left, layers) if _has_left(self.geometry) else ("", f"deep, {layers}")
        if data.deep:
            return "deep, run once", f"unrolled, R = {data.copies_said}{state}"
        return "looped", f"unrolled, R = {data.copies_said}{of}{state}"

    def _below(self, band: Band) -> list[tuple[str, str]]:
        data, totals = band.strip.data, band.strip.data.totals
        if self.geometry.words == 1:
            sets = f"{data.n_sets} sets of weights" if data.n_sets != 1 else "1 set of weights"
            size = f"{count(totals.parameters)} params"
            depth = f"{totals.effective_depth} layers deep, {count(totals.flops)} FLOPs/token"
            if not _has_left(self.geometry):
                return [("", f"{sets}, {size}, {depth}")]
            return [(f"{sets}, {size}", depth)]
        return [
            (f"unique depth {totals.unique_depth}", f"effective depth {totals.effective_depth}"),
            (f"{count(totals.parameters)} params, {_once(data)} FLOPs/token",
             f"{count(totals.flops)} FLOPs/token, "
             f"{count(totals.deep_parameters)} params if nothing were shared"),
        ]  # fmt: skip


def _has_left(geometry: Geometry) -> bool:
    """Whether there is a loop, and so room at the left for words."""
    return geometry.strip.left() > MARGIN


def _once(data: Data) -> str:
    return count(flops_per_token(data.architecture, 1, data.n_tokens))


class _clip:
    """Paint within a rectangle only."""

    def __init__(self, painter: QPainter, rect: QRectF) -> None:
        self.painter, self.rect = painter, rect

    def __enter__(self) -> None:
        self.painter.save()
        self.painter.setClipRect(self.rect)

    def __exit__(self, *error: object) -> None:
        self.painter.restore()
