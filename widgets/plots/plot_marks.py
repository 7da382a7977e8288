"""What plots of curves share: lines in one item, marks of cursor and pointer, what is missing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import QWidget

from loopscope.widgets.palette import Theme

CENTRE = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap


class PointMarks:
    """The cursor's line and dot and the pointer's line, in the plot's own coordinates."""

    def __init__(self, plot: pg.PlotItem) -> None:
        self.hover_line, self.cursor_line = pg.InfiniteLine(angle=90), pg.InfiniteLine(angle=90)
        self.dot = pg.ScatterPlotItem(size=9)
        for z, item in ((-2, self.hover_line), (-1, self.cursor_line), (21, self.dot)):
            item.setZValue(z)
            plot.addItem(item, ignoreBounds=True)

    def put_cursor(self, at: float | None) -> None:
        """Put the cursor's line, or hide it."""
        _put(self.cursor_line, at)

    def put_hover(self, at: float | None) -> None:
        """Put the pointer's line, or hide it."""
        _put(self.hover_line, at)

    def put_dot(self, x: float = np.nan, y: float = np.nan) -> None:
        """Put the cursor's dot; where it has no value it is hidden."""
        known = bool(np.isfinite(x) and np.isfinite(y))
        self.dot.setData([x] if known else [], [y] if known else [])

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours: the accent is the cursor's."""
        self.cursor_line.setPen(pg.mkPen(theme.accent, width=1))
        self.hover_line.setPen(pg.mkPen(theme.hover, width=1))
        self.dot.setPen(pg.mkPen(theme.panel, width=1))
        self.dot.setBrush(pg.mkBrush(theme.accent))


def _put(line: pg.InfiniteLine, at: float | None) -> None:
    line.setVisible(at is not None)
    if at is not None:
        line.setValue(at)


def log10(values: np.ndarray) -> np.ndarray:
    """log10 where it exists, else NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        out = np.log10(np.asarray(values, dtype=float))
    return np.where(np.isfinite(out), out, np.nan)


def set_columns(item: pg.PlotCurveItem, x: np.ndarray, y: np.ndarray | None) -> None:
    """Set all columns of ``y`` ``[n, C]`` over ``x`` ``[n]`` on one item."""
    columns: Iterable[np.ndarray] = () if y is None else y.T
    set_lines(item, [(x, column) for column in columns])


def set_lines(item: pg.PlotCurveItem, lines: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Set several lines on one item, broken between them and at NaN: an item each is slow."""
    if not lines or not any(len(x) for x, _ in lines):
        if item.xData is not None and len(item.xData):
            item.setData([], [])
        return
    x, y = (np.concatenate(parts).astype(float) for parts in zip(*lines, strict=True))
    known = np.isfinite(x) & np.isfinite(y)
    connect = known.copy()
    connect[:-1] &= known[1:]
    ends = np.cumsum([len(line[0]) for line in lines]) - 1
    connect[ends[ends >= 0]] = False
    item.setData(np.where(known, x, 0.0), np.where(known, y, 0.0), connect=connect.astype(np.int32))


def paint_missing(painter: QPainter, viewport: QWidget, text: str, theme: Theme) -> None:
    """Say in the middle of an empty plot what is missing."""
    painter.save()
    painter.resetTransform()
    painter.setPen(QColor(theme.muted))
    painter.setFont(viewport.font())
    painter.drawText(viewport.rect().adjusted(16, 8, -16, -8), CENTRE, text)
    painter.restore()
