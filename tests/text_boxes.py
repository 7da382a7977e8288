"""Where a widget draws text: each piece with its rectangle, as it is painted.

A widget paints itself while `QPainter.drawText` is watched, so that what is checked is what is
seen, whoever laid it out. Axes of pyqtgraph say where they put their ticks and titles.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QPoint, QPointF, QRect, QRectF
from PySide6.QtGui import QPainter, QPicture
from PySide6.QtWidgets import QAbstractScrollArea, QWidget

from loopscope.widgets.plots.painted_grid import PaintedGrid
from loopscope.widgets.views.graph.layer import Layer

# Pixels that two texts may share: the rectangles of letters have air above and below.
AIR = 5.0


@dataclass(frozen=True, slots=True)
class TextBox:
    """A text, where it is in the widget asked for, and what may be seen of that place."""

    text: str
    rect: QRectF
    room: QRectF


def texts_of(widget: QWidget) -> list[TextBox]:
    """All texts that ``widget`` and what is in it draw, in its coordinates."""
    found = []
    for part in [widget, *widget.findChildren(QWidget)]:
        if not part.isVisibleTo(widget) or part.size().isEmpty():
            continue
        corner = QPointF(part.mapTo(widget, QPoint(0, 0)))
        room = QRectF(part.rect()).translated(corner)
        if isinstance(part, pg.PlotWidget):
            texts = [*_painted(part.viewport(), part), *_of_plot(part)]
        elif part.parent() is not None and isinstance(part.parent(), pg.PlotWidget):
            continue
        else:
            texts = _painted(part, part)
        if _scrolls(part, widget):
            room = QRectF(-1e6, -1e6, 2e6, 2e6)
        found += [TextBox(text, rect.translated(corner), room) for text, rect in texts]
    return found


def _scrolls(part: QWidget, within: QWidget) -> bool:
    """Whether what is beyond the edge of ``part`` is a scroll bar's to show."""
    while part is not within:
        part = part.parentWidget()
        if isinstance(part, QAbstractScrollArea) and not isinstance(part, pg.PlotWidget):
            return True
    return False


def overlaps(boxes: list[TextBox]) -> list[tuple[str, str]]:
    """Pairs of texts that lie on one another."""
    return [
        (a.text, b.text)
        for a, b in combinations(boxes, 2)
        if min((both := a.rect & b.rect).width(), both.height()) > AIR and a != b
    ]


def cut(boxes: list[TextBox]) -> list[str]:
    """Texts of which a part is outside what may be seen."""
    return [
        box.text for box in boxes
        if not box.room.adjusted(-AIR, -AIR, AIR, AIR).contains(box.rect)
    ]  # fmt: skip


# ---- watching ----
def _painted(painting: QWidget, owner: QWidget) -> list[tuple[str, QRectF]]:
    # What is drawn once is drawn again.
    if isinstance(owner, PaintedGrid):
        owner._back = None
    for kept in vars(owner).values():
        if isinstance(kept, Layer):
            kept.forget()
    with _watched() as seen:
        # Only what Python paints is seen; each widget by itself, without its children.
        painting.render(_Nowhere.of(painting), QPoint(), renderFlags=QWidget.RenderFlag(0))
    return seen


class _Nowhere:
    """A pixmap to paint on."""

    @staticmethod
    def of(widget: QWidget) -> Any:
        from PySide6.QtGui import QPixmap

        return QPixmap(widget.size())


@contextmanager
def _watched() -> Iterator[list[tuple[str, QRectF]]]:
    seen: list[tuple[str, QRectF]] = []
    original, original_static = QPainter.drawText, QPainter.drawStaticText

    def note(painter: QPainter, text: str, rect: QRectF) -> None:
        clip = painter.clipBoundingRect() if painter.hasClipping() else rect
        if rect.intersects(clip):
            seen.append((text, painter.worldTransform().mapRect(rect & clip)))

    def draw(painter: QPainter, *args: Any) -> Any:
        text = next(a for a in reversed(args) if isinstance(a, str))
        if text.strip() and not isinstance(painter.device(), QPicture):
            note(painter, text, _bounds(painter, args, text))
        return original(painter, *args)

    def draw_static(painter: QPainter, *args: Any) -> Any:
        at = QPointF(*args[:2]) if len(args) == 3 else QPointF(args[0])
        if args[-1].text().strip():
            note(painter, args[-1].text(), QRectF(at, args[-1].size()))
        return original_static(painter, *args)

    QPainter.drawText = draw  # type: ignore[method-assign]
    QPainter.drawStaticText = draw_static  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        QPainter.drawText = original  # type: ignore[method-assign]
        QPainter.drawStaticText = original_static  # type: ignore[method-assign]


def _bounds(painter: QPainter, args: tuple[Any, ...], text: str) -> QRectF:
    """The rectangle of the letters of a call of drawText."""
    if isinstance(args[0], (QRectF, QRect)):
        flags = args[1] if len(args) > 2 else 0
        flags = flags if isinstance(flags, int) else flags.value
        return QRectF(painter.boundingRect(QRectF(args[0]), flags, text))
    if isinstance(args[0], (int, float)) and len(args) == 6:
        flags = args[4] if isinstance(args[4], int) else args[4].value
        return QRectF(painter.boundingRect(QRectF(*args[:4]), flags, text))
    at = QPointF(*args[:2]) if isinstance(args[0], (int, float)) else QPointF(args[0])
    return QRectF(painter.fontMetrics().boundingRect(text)).translated(at)


# ---- pyqtgraph ----
def _of_plot(plot: pg.PlotWidget) -> list[tuple[str, QRectF]]:
    item = plot.getPlotItem()
    if not item.isVisible():
        return []
    found = []
    for side in ("left", "bottom"):
        axis = item.getAxis(side)
        if not axis.isVisible():
            continue
        title = axis.label
        if title.isVisible() and title.toPlainText().strip():
            inside = title.boundingRect().adjusted(4, 4, -4, -4)  # the document's margin
            found.append((title.toPlainText(), title.mapRectToScene(inside)))
        painter = QPainter(picture := QPicture())
        specs = axis.generateDrawSpecs(painter)
        painter.end()
        del picture
        for rect, _, text in specs[2] if specs else ():
            found.append((text, axis.mapRectToScene(rect)))
    for label in item.items:
        text = getattr(label, "label", None)
        if isinstance(text, pg.TextItem) and text.isVisible():
            found.append((text.textItem.toPlainText(), text.sceneBoundingRect()))
    return [entry for entry in found if entry[0].strip()]
