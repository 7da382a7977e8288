"""The words in the settling plot: rates, names of lines, and who does not settle.

They are placed in pixels, so that they never shrink, overlap or leave the plot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter

from loopscope.core.views.settling import Data, rate_text, short_number
from loopscope.widgets.kit.shortening import shorten
from loopscope.widgets.kit.theme import on_ground
from loopscope.widgets.palette import Theme, token_colour
from loopscope.widgets.plots.plot_marks import log10
from loopscope.widgets.plots.text import LEFT, RIGHT, first_that_fits

# Shares of the plot's height that rates and names may take.
RATES, NAMES = 0.5, 0.4
LEAST_WIDTH, LEAST_HEIGHT = 60, 50
# Names stand beside the plot where it is so wide, and they take no more than this share of it.
LEAST_BESIDE, BESIDE = 400.0, 0.4
# Curves whose names are measured for it.
MOST = 64


@dataclass(frozen=True, slots=True)
class Label:
    """A text in the plot, in pixels."""

    text: str
    rect: QRectF
    flags: Qt.AlignmentFlag
    colour: str
    bold: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """What the words are placed by.

    area : the plot in pixels.  metrics : of the bold font.
    pixel_of : from recurrence and log10 of a value to a pixel.
    log_values : of the curves, ``[R, C]``.  has_floor : whether the rounding floor is drawn.
    beside : pixels of room for names at the right of the plot, off the curves; 0 for none.
    """

    data: Data
    area: QRectF
    metrics: QFontMetricsF
    theme: Theme
    pixel_of: Callable[[float, float], QPointF]
    log_values: np.ndarray
    has_floor: bool
    beside: float = 0.0


def labels_of(place: Place) -> list[Label]:
    """Place all words; none where there is no room for any."""
    if place.area.width() < LEAST_WIDTH or place.area.height() < LEAST_HEIGHT:
        return []
    return [*_line_names(place), *_rates(place), *_curve_names(place)]


def _rates(place: Place) -> Iterable[Label]:
    """The rate of the fall, top right."""
    data, area, line = place.data, place.area, place.metrics.height()
    rates = [("median", data.rate, place.theme.text)]
    if data.per_layer:
        rates = [
            (data.curve_name(c), rate, on_ground(token_colour(c), place.theme).name())
            for c, rate in enumerate(data.layer_rates)
        ]
    fits = max(1, int(RATES * area.height() // line))
    if len(rates) == 1 and not rate_text(data.rate):
        return  # a name without its number says nothing
    for i, (name, rate, colour) in enumerate(rates[:fits]):
        text = f"{name} {rate_text(rate)}".rstrip()
        yield _at_right(place, text, area.top() + 2 + i * line, colour)


def _line_names(place: Place) -> Iterable[Label]:
    """Names of the tolerance, the floor and the trained count."""
    area, line, muted = place.area, place.metrics.height(), place.theme.muted
    trained = _trained_name(place)
    if trained is not None:
        yield trained
    first = float(place.data.recurrences[0])
    for text, values in _lines(place):
        at = float(log10(values)[0])
        y = place.pixel_of(first, at).y() if np.isfinite(at) else float("nan")
        if not (np.isfinite(y) and area.top() < y < area.bottom()):
            continue
        # Under the line, where falling curves are not yet; above it near the bottom.
        top = y + 1 if y + line + 2 < area.bottom() else y - line - 1
        wide = place.metrics.horizontalAdvance(text) + 4
        rect = QRectF(area.left() + 5, top, wide, line)
        if trained is None or not rect.intersects(trained.rect):
            yield Label(text, rect, LEFT, muted)


def _trained_name(place: Place) -> Label | None:
    """The name of the trained count, beside its line at the foot of the plot.

    None where the line is not in sight, or neither side of it has room for the name.
    """
    data, area, line = place.data, place.area, place.metrics.height()
    x = place.pixel_of(data.trained, 0.0).x()
    if not (data.trained > 0 and area.left() < x < area.right()):
        return None
    text = f"trained R = {data.trained}"
    wide = place.metrics.horizontalAdvance(text) + 4
    right = x + 3 + wide < area.right()
    if not right and x - 3 - wide < area.left():
        return None
    rect = QRectF(x + 3 if right else x - 3 - wide, area.bottom() - line - 2, wide, line)
    return Label(text, rect, LEFT if right else RIGHT, place.theme.muted)


def _lines(place: Place) -> list[tuple[str, np.ndarray]]:
    """Lines that have a name, with their values."""
    data = place.data
    names = [(f"tolerance {short_number(data.tolerance)}", data.tolerance_line)]
    if place.has_floor:
        names.append((f"{data.dtype} rounding", data.floor_line))
    if np.isfinite(data.error_line).any():
        names.append(("error against float32", data.error_line))
    return names


def _curve_names(place: Place) -> Iterable[Label]:
    """Tokens that do not settle, named at the right end of their curves."""
    data, area, line = place.data, place.area, place.metrics.height()
    if data.per_layer:
        return
    unsettled = data.unsettled()
    fits = max(1, int(NAMES * area.height() // line))
    named = unsettled if len(unsettled) <= fits else unsettled[: fits - 1]
    bottom = area.top() + line + 2
    for y, curve in sorted((_end_of(place, c), c) for c in named):
        top = max(y - line - 1, bottom)
        bottom = top + line
        if bottom > area.bottom():
            return
        yield _name(place, _words_of(data, curve), top)
    if len(named) < len(unsettled) and bottom + line < area.bottom():
        more = f"and {len(unsettled) - len(named)} more"
        yield _name(place, more if place.beside else f"{more} that do not settle", bottom)


def _words_of(data: Data, curve: int) -> str:
    return f"{data.curve_name(curve)}: {data.settling[curve].describe()}"


def room_beside(data: Data, metrics: QFontMetricsF, width: float) -> float:
    """Pixels that names of curves take at the right of a plot of ``width``; 0 where too many.

    There they lie on no curve, as on paper.
    """
    if data.per_layer or not data.unsettled():
        return 0.0
    longest = max(metrics.horizontalAdvance(_words_of(data, c)) for c in data.unsettled()[:MOST])
    room = longest + 14
    return room if room <= BESIDE * width and width >= LEAST_BESIDE else 0.0


def _name(place: Place, text: str, top: float) -> Label:
    if not place.beside:
        return _at_right(place, text, top, place.theme.warning)
    rect = QRectF(place.area.right() + 6, top, place.beside - 8, place.metrics.height())
    return Label(text, rect, LEFT, place.theme.warning, bold=True)


def _end_of(place: Place, curve: int) -> float:
    """Pixel height of a curve's last value; the top when it has none."""
    area, known = place.area, np.flatnonzero(np.isfinite(place.log_values[:, curve]))
    if not len(known):
        return area.top()
    y = place.pixel_of(0.0, float(place.log_values[known[-1], curve])).y()
    return float(np.clip(y, area.top(), area.bottom()))


def _at_right(place: Place, text: str, top: float, colour: str) -> Label:
    area = place.area
    rect = QRectF(area.left() + 4, top, area.width() - 10, place.metrics.height())
    return Label(text, rect, RIGHT, colour, bold=True)


def shortened(text: str, metrics: QFontMetricsF, room: float) -> str:
    """Cut words, not the number: "median ×0.7 per recurrence" gives up its words first."""
    brief = text.removesuffix(" per recurrence")
    bare = brief.split(" ", 1)[-1] if text[:1].isalpha() else brief
    fitting = first_that_fits((text, brief, bare), room, metrics)
    return fitting or shorten(text, room, metrics.horizontalAdvance)


def draw_label(painter: QPainter, label: Label, theme: Theme) -> None:
    """Write a text on a faint ground, so that curves behind it do not cross it out."""
    metrics = QFontMetricsF(painter.font())
    text = shortened(label.text, metrics, label.rect.width() + 1)
    wide = metrics.horizontalAdvance(text)
    at_right = bool(label.flags & Qt.AlignmentFlag.AlignRight)
    left = label.rect.right() - wide if at_right else label.rect.left()
    ground = QColor(theme.panel)
    ground.setAlpha(200)
    painter.fillRect(QRectF(left - 2, label.rect.top(), wide + 4, label.rect.height()), ground)
    painter.setPen(QColor(label.colour))
    painter.drawText(label.rect, label.flags, text)
