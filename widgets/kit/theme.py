"""Apply a `Theme` to Qt and pyqtgraph, and colour maps for the screen."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pyqtgraph as pg
from PySide6.QtGui import QColor, QFont, QFontDatabase, QFontMetricsF, QPalette
from PySide6.QtWidgets import QApplication

from loopscope.widgets.palette import DIVERGING, Theme

# Lightness, of 255, from which a colour is seen on the dark panel.
SEEN = 112
# Steps of a colour map on the screen: four for each of the 255 that it is given in.
TABLE = 4 * 255 + 1


def apply_theme(app: QApplication, theme: Theme) -> None:
    """Set the application's palette; views are told separately (`View.set_theme`)."""
    if app.style().objectName() != "fusion":
        app.setStyle("Fusion")  # a new style polishes every widget anew
    role = QPalette.ColorRole
    colours = {
        role.Window: theme.window,
        role.WindowText: theme.text,
        role.Base: theme.panel,
        role.AlternateBase: theme.window,
        role.Text: theme.text,
        role.PlaceholderText: theme.muted,
        role.Button: theme.button,
        role.ButtonText: theme.text,
        role.BrightText: theme.text,
        role.ToolTipBase: theme.panel,
        role.ToolTipText: theme.text,
        role.Mid: theme.line,
        role.Dark: theme.line,
        role.Link: theme.text,
        # Selected text and focus are neutral: the accent belongs to the cursor.
        role.Highlight: theme.muted,
        role.HighlightedText: theme.panel,
    }
    palette = QPalette()
    for which, colour in colours.items():
        palette.setColor(which, QColor(colour))
    for which in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, which, QColor(theme.hover))
    app.setPalette(palette)
    # A field is seen to be one: a ground of its own, and an outline, which the style derives from
    # the window's colour by making that darker, hence not on a dark ground.
    field = QPalette(palette)
    field.setColor(role.Base, QColor(theme.field))
    field.setColor(role.Window, QColor(theme.muted))
    for kind in ("QLineEdit", "QAbstractSpinBox"):
        app.setPalette(field, kind)  # type: ignore[arg-type]  # the stub wants bytes, Qt does not


def apply_text_size(app: QApplication, percent: int) -> None:
    """Set the size of all text, in percent of the system's."""
    font = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
    font.setPointSizeF(font.pointSizeF() * percent / 100)
    if font != app.font():
        app.setFont(font)


def on_ground(colour: str, theme: Theme) -> QColor:
    """A colour of tokens or runs that can be seen: dark ones are lightened on a dark ground.

    As little as is needed: lighter still, the two blues of the eight would look alike.
    """
    seen = QColor(colour)
    if theme.dark and seen.lightness() < SEEN:
        return seen.lighter(round(100 * SEEN / max(seen.lightness(), 1)))
    return seen


def number_font(size: int = 0) -> QFont:
    """A font whose figures have equal width; of the window's text size if not of ``size``."""
    system = QFontDatabase.SystemFont
    font = QFontDatabase.systemFont(system.FixedFont)
    usual = QFontDatabase.systemFont(system.GeneralFont).pointSizeF()
    font.setPointSizeF(size or font.pointSizeF() * QApplication.font().pointSizeF() / usual)
    return font


@cache
def colour_map(name: str) -> pg.ColorMap:
    """The screen's colour map ``name``: one of pyqtgraph's, or "diverging"."""
    if name == "diverging":
        return pg.ColorMap(np.linspace(0, 1, len(DIVERGING)), list(DIVERGING))
    return pg.colormap.get(name)


@cache
def _colour_table(name: str) -> npt.NDArray[np.uint32]:
    """`TABLE` colours of a map, uint8 RGBA as one uint32 each: interpolating anew is slow."""
    colours = colour_map(name).map(np.linspace(0, 1, TABLE), mode="byte")
    return np.ascontiguousarray(colours, np.uint8).view(np.uint32)[:, 0]


def sample_map(name: str, values: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Map ``values`` in 0..1 to uint8 RGBA, ``[..., 4]``, a new array."""
    at = np.rint(np.clip(values, 0, 1) * (TABLE - 1)).astype(np.intp)
    colours: npt.NDArray[np.uint8] = _colour_table(name)[at][..., None].view(np.uint8)
    return colours


def style_plot(plot: pg.PlotItem, theme: Theme) -> None:
    """Give one pyqtgraph plot the theme's colours, a quiet frame and titles of the text's size."""
    # The topmost tick is half above the axis.
    half = QFontMetricsF(QApplication.font()).height() / 2
    plot.layout.setContentsMargins(4, half, 10, 2)
    pen = pg.mkPen(theme.line)
    for side in ("left", "bottom", "right", "top"):
        axis = plot.getAxis(side)
        axis.setPen(pen)
        axis.setTextPen(pg.mkPen(theme.text))
        if axis.label.font() != QApplication.font():
            axis.label.setFont(QApplication.font())
            axis.showLabel(axis.label.isVisible())  # makes room for it
            axis.resizeEvent(None)
    plot.getViewBox().setBackgroundColor(None)
