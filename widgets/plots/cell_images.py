"""Colours of cells as images: one pixel a cell, averaged where cells are smaller than a pixel."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRectF, QSizeF, Qt
from PySide6.QtGui import QColor, QImage, QPainter

from loopscope.widgets.kit.theme import sample_map

# Rows that are coloured at a time: what is worked on stays in the cache.
ROWS = 64


def coloured(levels: np.ndarray, colours: str) -> np.ndarray:
    """Colours of levels ``[rows, columns]``, 0..1, as uint8 RGBA; transparent where NaN."""
    rgba = np.empty((*levels.shape, 4), np.uint8)
    for first in range(0, len(levels), ROWS):
        part = levels[first : first + ROWS]
        known = np.isfinite(part)
        whole = bool(known.all())
        rgba[first : first + ROWS] = sample_map(colours, part if whole else np.nan_to_num(part))
        if not whole:
            rgba[first : first + ROWS, ..., 3][~known] = 0
    return rgba


def paint_over(rgba: np.ndarray, where: np.ndarray, colour: QColor) -> None:
    """Give the cells of uint8 ``[rows, columns, 4]`` where bool ``where`` is true one colour."""
    pixel = np.array(colour.getRgb(), np.uint8).view(np.uint32)
    np.copyto(rgba.view(np.uint32)[..., 0], pixel, where=where)


def one_colour(where: np.ndarray, colour: QColor) -> QImage:
    """Image of one colour where bool ``[rows, columns]`` is true, else transparent."""
    rgba = np.zeros((*where.shape, 4), np.uint8)
    rgba[where] = colour.getRgb()
    return image_of(rgba)


def image_of(rgba: np.ndarray) -> QImage:
    """Image of uint8 ``[rows, columns, 4]`` that keeps its own pixels."""
    rgba = np.ascontiguousarray(rgba)
    height, width = rgba.shape[:2]
    return QImage(rgba.data, width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()


def ramp(colours: str, n: int, *, upright: bool) -> QImage:
    """A colour map as a bar of ``n`` pixels, 0 at the left or, upright, at the bottom."""
    along = np.linspace(1, 0, n)[:, None] if upright else np.linspace(0, 1, n)[None]
    return image_of(sample_map(colours, along))


def along_edges(rgba: np.ndarray, edges: np.ndarray, ratio: float, *, axis: int) -> np.ndarray:
    """Stretch cells of unequal size along an axis, to one entry for each pixel of the device.

    ``edges`` : where each cell begins and where the last ends.  Of several cells in one pixel the
    colours are averaged.
    """
    n = max(round(float(edges[-1]) * ratio), 1)
    pixels = np.arange(n + 1) / n * float(edges[-1])
    # The cell at the middle of each pixel, and the cells that lie wholly in one.
    middle = np.searchsorted(edges, (pixels[:-1] + pixels[1:]) / 2, "right") - 1
    first, last = (np.searchsorted(edges, at, "left") for at in (pixels[:-1], pixels[1:]))
    cells = np.moveaxis(rgba, axis, 0).astype(np.float32)
    out = cells[np.clip(middle, 0, len(cells) - 1)]
    many = last - first > 1
    sums = np.concatenate([np.zeros_like(cells[:1]), np.cumsum(cells, 0)])
    counts = (last - first)[many].reshape(-1, *(1,) * (cells.ndim - 1))
    out[many] = (sums[last[many]] - sums[first[many]]) / counts
    return np.moveaxis(np.rint(out).astype(np.uint8), 0, axis)


def draw_cells(painter: QPainter, whole: QRectF, image: QImage, ratio: float) -> None:
    """Draw one pixel of ``image`` for each cell into ``whole``; ``ratio`` is the device's.

    Cells smaller than a pixel of the device are averaged: dropping some could hide the odd one.
    Where cells are larger, their edges stay sharp.
    """
    pixels = QSizeF(whole.size() * ratio).toSize()
    size = image.size().boundedTo(pixels)
    if size != image.size() and not size.isEmpty():
        keep = Qt.AspectRatioMode.IgnoreAspectRatio
        image = image.scaled(size, keep, Qt.TransformationMode.SmoothTransformation)
    painter.drawImage(whole, image)
