"""The icons of the transport and of a view's title bar: files of one colour, a grid of 16 x 16.

``currentColor`` in a file stands for the theme's.
"""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from PySide6.QtCore import QByteArray, QSize, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from loopscope.widgets.palette import Theme

GRID = 16
# Device pixels to a grid unit that pixmaps are made for.
RATIOS = (1.0, 2.0)


@lru_cache(maxsize=256)
def themed_icon(name: str, theme: Theme) -> QIcon:
    """Make icon ``name`` in the theme's text colour, greyed where disabled.

    Raises FileNotFoundError when there is no such icon.
    """
    svg = (_folder() / f"{name}.svg").read_text("utf-8")
    made = QIcon()
    for mode, colour in (
        (QIcon.Mode.Normal, theme.text),
        (QIcon.Mode.Active, theme.text),
        (QIcon.Mode.Disabled, theme.hover),
    ):
        renderer = QSvgRenderer(QByteArray(svg.replace("currentColor", colour).encode()))
        for ratio in RATIOS:
            made.addPixmap(_pixmap(renderer, ratio), mode)
    return made


@cache
def _folder() -> Traversable:
    return files("loopscope.resources") / "icons"


def _pixmap(renderer: QSvgRenderer, ratio: float) -> QPixmap:
    pixmap = QPixmap(QSize(GRID, GRID) * ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    renderer.render(painter)
    painter.end()
    pixmap.setDevicePixelRatio(ratio)
    return pixmap
