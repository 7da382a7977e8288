"""Paint what follows the pointer, the cursor and the search over the computation graph."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen

from loopscope.core.views.graph.data import Data
from loopscope.core.views.graph.layout import Box
from loopscope.core.views.graph.search import Match, Matches
from loopscope.widgets.palette import Theme
from loopscope.widgets.views.graph.geometry import Geometry, Hit


class Overlay:
    """Paints outlines over one `Geometry`; cheap enough for every move of the pointer.

    places : (recurrence, layer) of the cursor in each band.
    """

    def __init__(
        self, painter: QPainter, geometry: Geometry, theme: Theme, places: list[tuple[int, int]]
    ) -> None:
        self.painter, self.geometry, self.theme, self.places = painter, geometry, theme, places

    def cursor(self) -> None:
        """The accent outline of the cursor's node in the loop and in every strip."""
        pen = QPen(QColor(self.theme.accent), 2)
        for i, (recurrence, layer) in enumerate(self.places):
            band = self.geometry.bands[i]
            strip = band.strip
            here = strip.boxes(strip.index_of(recurrence, layer))
            if recurrence == 0 and not any(b.node.kind == "start" for b in here):
                # A deep model's state begins as the output of what comes before.
                chosen = [b for b in here if b.node.part != "block"][-1:]
            else:
                chosen = [b for b in here if _is_at(b, recurrence, layer)]
            loop = [b for b in self.geometry.loop_of(i) if _is_at(b, recurrence, layer)]
            for boxes, in_loop in ((chosen, False), (loop, True)):
                rects = [self.geometry.covered(b, i, in_loop) for b in boxes]
                self._outline(rects, pen, in_loop)

    def hover(self, hit: Hit | None, pointed: list[tuple[int, int | None]]) -> None:
        """Every copy of the weights under the pointer, or the place another view points at.

        ``pointed`` is (layer, recurrence or None for any) in each band.
        """
        pen = QPen(QColor(self.theme.muted), 2)
        hue = None
        if hit is not None:
            hue = self._data(hit.band).hues.get(hit.box.node.weights)
            if hue is None:
                rect = self.geometry.covered(hit.box, hit.band, hit.in_loop)
                self._outline([rect], pen, hit.in_loop)
                return
        for i in range(len(self.geometry.bands)):
            hues = self._data(i).hues
            for in_loop in (True, False):
                seen = self._seen(i, in_loop)
                if hue is not None:
                    alike = [(b, r) for b, r in seen if hues.get(b.node.weights) == hue]
                    if not in_loop and not self.geometry.stripes:
                        self._links(i, hue, [r for _, r in alike])
                elif i < len(pointed):
                    alike = [(b, r) for b, r in seen if _is_pointed(b, pointed[i], in_loop)]
                else:
                    alike = []
                self._outline([r for _, r in alike], pen, in_loop)

    def matches(self, matches: Matches, current: Match | None) -> None:
        """All that a search found in sight, the current one with a heavier outline."""
        thin, thick = (QPen(QColor(self.theme.text), width) for width in (1.5, 4))
        for i in range(len(self.geometry.bands)):
            loop = [r for b, r in self._seen(i, True) if matches.has(i, b.node, None)]
            self._outline(loop, thin, in_loop=True)
            if self.geometry.stripes:
                rects = self._runs(i, matches)
            else:
                seen = self._seen(i, False)
                rects = [r for b, r in seen if matches.has(i, b.node, b.recurrence, b.times)]
            self._outline(rects, thin, in_loop=False)
        if current is not None:
            self._outline([self.rect_of_match(current)], thick, in_loop=False)

    def rect_of_match(self, match: Match) -> QRectF:
        """Where a match is drawn in its strip."""
        strip = self.geometry.bands[match.model].strip
        boxes = strip.boxes(strip.index_of_node(match.node, match.recurrence))
        box = next((b for b in boxes if b.node.key == match.node.key), boxes[0])
        return self.geometry.covered(box, match.model, False)

    def _runs(self, band: int, matches: Matches) -> list[QRectF]:
        """Matches among stripes: neighbours that were all found are one outline."""
        nodes = self._data(band).node_by_key
        runs = []
        for key, first, last in matches.runs(band):
            ends = [self.rect_of_match(Match(band, nodes[key], r or None)) for r in (first, last)]
            runs.append(ends[0].united(ends[1]))
        return runs

    # ---- pieces ----
    def _data(self, band: int) -> Data:
        return self.geometry.bands[band].strip.data

    def _seen(self, band: int, in_loop: bool) -> list[tuple[Box, QRectF]]:
        """Boxes in sight and their places; among stripes one box for many columns."""
        geometry = self.geometry
        if in_loop:
            boxes = [b for b in geometry.loop_of(band) if b.branch is None]
            return geometry.rects_of(boxes, band, True)
        strip = geometry.bands[band].strip
        first, last = geometry.in_sight(strip)
        if not geometry.stripes:
            boxes = [b for c in range(first, last + 1) for b in strip.boxes(c)]
            return geometry.rects_of([b for b in boxes if b.branch is None], band)
        x, column = geometry.origin(band, False).x(), geometry.column
        seen = []
        for stretch in strip.stretches(first, last):
            left, right = x + stretch.left * column, x + stretch.right * column
            for box, rect in geometry.rects_of(stretch.boxes, band):
                seen.append((box, QRectF(left, rect.top(), right - left, rect.height())))
        return seen

    def _outline(self, rects: list[QRectF], pen: QPen, in_loop: bool) -> None:
        if not rects:
            return
        geometry, painter = self.geometry, self.painter
        strip = geometry.strip
        loop = QRectF(0, 0, strip.left() - 6, geometry.viewport)
        painter.setClipRect(loop if in_loop else strip)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(pen)
        seen = strip.adjusted(-20, -20, 20, 20)
        for rect in rects:
            at = rect if in_loop else rect & seen  # Qt is slow with lengths far beyond the screen
            if at.width() < 3:  # a stripe: wide enough to be seen
                at = QRectF(at.center().x() - 1.5, at.top(), 3, at.height())
            painter.drawRoundedRect(at.adjusted(-1, -1, 1, 1), 4, 4)
        painter.setClipping(False)

    def _links(self, band: int, hue: int, copies: list[QRectF]) -> None:
        """Thin lines from the original in the loop to every copy of its weights in sight."""
        geometry, painter = self.geometry, self.painter
        hues = self._data(band).hues
        seen = self._seen(band, True)
        start = next((r for b, r in seen if hues.get(b.node.weights) == hue), None)
        if start is None:
            return
        painter.setPen(QPen(QColor(self.theme.hover), 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setClipRect(QRectF(0, 0, geometry.width, geometry.viewport))
        for end in copies:
            if end.right() < geometry.strip.left():
                continue
            low = max(start.bottom(), end.bottom()) + 0.55 * geometry.row
            path = QPainterPath(QPointF(start.center().x(), start.bottom()))
            path.cubicTo(
                QPointF(start.center().x(), low),
                QPointF(end.center().x(), low),
                QPointF(end.center().x(), end.bottom()),
            )
            painter.drawPath(path)
        painter.setClipping(False)


def _covers(box: Box, recurrence: int) -> bool:
    return box.recurrence is not None and 0 <= recurrence - box.recurrence < box.times


def _is_pointed(box: Box, place: tuple[int, int | None], in_loop: bool) -> bool:
    layer, recurrence = place
    if box.node.part != "block" or box.node.layer != layer:
        return False
    return in_loop or recurrence is None or _covers(box, recurrence)


def _is_at(box: Box, recurrence: int, layer: int) -> bool:
    if box.branch is not None:
        return False
    if recurrence == 0:
        return box.node.kind == "start"
    here = box.node.part == "block" and box.node.layer == layer
    return here and (box.recurrence is None or _covers(box, recurrence))
