"""The words in the settling plot: rates, names of lines, and who does not settle.

They are placed in pixels, so that they never shrink, overlap or leave the plot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter

from loopscope.core.views.settling import Data, rate_text, short_number
from loopscope.widgets.kit.theme import on_ground
from loopscope.widgets.palette import Theme, token_colour
from loopscope.widgets.plots.plot_marks import log10
from loopscope.widgets.plots.text import LEFT, RIGHT, first_that_fits

# Shares of the plot's height that rates and names may take.
RATES, NAMES = 0.5, 0.4
LEAST_WIDTH, LEAST_HEIGHT = 60, 50
# Names stand beside the plot where it is so wide, and they take no more than this share of it.
LEAST_BESIDE, BESIDE = 400.0, 0.4
# Curves whose names are measured for it, and that words in the plot make room for.
MOST = 64
# Else over the plot, in so many lines, which take no more than this share of its height.
MOST_LINES, ABOVE = 2, 0.15


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
    above : the lines of names over the plot, where there is none beside it.
    """

    data: Data
    area: QRectF
    metrics: QFontMetricsF
    theme: Theme
    pixel_of: Callable[[float, float], QPointF]
    log_values: np.ndarray
    has_floor: bool
    beside: float = 0.0
    above: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Curves in pixels: x ``[R]`` and y ``[R, C]``."""

    x: np.ndarray
    y: np.ndarray

    @classmethod
    def of(cls, place: Place) -> Curves:
        """The curves of a plot; of very many, some that are evenly chosen."""
        data, values = place.data, place.log_values[:, :: place.log_values.shape[1] // MOST + 1]
        first, last = float(data.recurrences[0]), float(data.recurrences[-1]) + 1
        low, far = place.pixel_of(first, 0.0), place.pixel_of(last, 1.0)
        numbers = np.append(data.recurrences.astype(float), last)
        at = log10(numbers) if data.log_r else numbers
        share = (at[:-1] - at[0]) / (at[-1] - at[0])
        return cls(low.x() + share * (far.x() - low.x()), low.y() + values * (far.y() - low.y()))

    def through(self, rect: QRectF) -> int:
        """How many of them run through a rectangle."""
        inside = (self.x >= rect.left()) & (self.x <= rect.right())
        edges = [self._at(edge)[None] for edge in (rect.left(), rect.right())]
        heights = np.vstack([self.y[inside], *edges])
        known = np.isfinite(heights)
        top = np.where(known, heights, np.inf).min(0)
        bottom = np.where(known, heights, -np.inf).max(0)
        return int(((top <= rect.bottom()) & (bottom >= rect.top())).sum())

    def _at(self, x: float) -> np.ndarray:
        """Heights ``[C]`` at a place between points; NaN outside them."""
        i = int(np.searchsorted(self.x, x))
        if not 0 < i < len(self.x):
            return np.full(self.y.shape[1], np.nan)
        share = (x - self.x[i - 1]) / (self.x[i] - self.x[i - 1])
        return np.asarray((1 - share) * self.y[i - 1] + share * self.y[i], dtype=np.float64)


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
    """Names of the tolerance, the floor and the trained count, where they lie on few curves."""
    area, line, muted = place.area, place.metrics.height(), place.theme.muted
    taken: list[QRectF] = []
    curves = Curves.of(place)
    first = float(place.data.recurrences[0])
    for text, values in _lines(place):
        at = float(log10(values)[0])
        y = place.pixel_of(first, at).y() if np.isfinite(at) else float("nan")
        if not (np.isfinite(y) and area.top() < y < area.bottom()):
            continue
        wide = place.metrics.horizontalAdvance(text) + 4
        # Under the line, where falling curves are not yet; above it near the bottom.
        tops = [top for top in (y + 1, y - line - 1) if area.top() < top < area.bottom() - line]
        lefts = [area.left() + 5, area.right() - wide - 5, area.center().x() - wide / 2]
        rect = _freest(curves, [QRectF(x, top, wide, line) for x in lefts for top in tops], taken)
        if rect is not None:
            taken.append(rect)
            yield Label(text, rect, LEFT, muted)
    yield from _trained_name(place, curves, taken)


def _trained_name(place: Place, curves: Curves, taken: list[QRectF]) -> Iterable[Label]:
    """The name of the trained count, beside its line.

    None where the line is not in sight, or neither side of it has room for the name.
    """
    data, area, line = place.data, place.area, place.metrics.height()
    x = place.pixel_of(data.trained, 0.0).x()
    if not (data.trained > 0 and area.left() < x < area.right()):
        return
    text = f"trained R = {data.trained}"
    wide = place.metrics.horizontalAdvance(text) + 4
    lefts = [x + 3] if x + 3 + wide < area.right() else []
    lefts += [x - 3 - wide] if x - 3 - wide > area.left() else []
    # From the foot upwards, to below the rates.
    rows = max(int(area.height() // line) - 1, 1)
    tops = [area.bottom() - (i + 1) * line - 2 for i in range(rows)]
    rect = _freest(curves, [QRectF(at, top, wide, line) for top in tops for at in lefts], taken)
    if rect is not None:
        yield Label(text, rect, LEFT if rect.left() > x else RIGHT, place.theme.muted)


def _freest(curves: Curves, rects: list[QRectF], taken: list[QRectF]) -> QRectF | None:
    """The first of the rectangles that lie on the fewest curves, and on no other name."""
    free = [rect for rect in rects if not any(rect.intersects(other) for other in taken)]
    return min(free, key=curves.through, default=None)


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
    if not place.beside:
        for i, text in enumerate(place.above):
            top = area.top() - (len(place.above) - i) * line - 2
            rect = QRectF(area.left(), top, area.width(), line)
            yield Label(text, rect, LEFT, place.theme.warning, bold=True)
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
        yield _name(place, f"and {len(unsettled) - len(named)} more", bottom)


def _words_of(data: Data, curve: int) -> str:
    return f"{data.curve_name(curve)}: {data.settling[curve].describe()}"


def names_room(
    data: Data, metrics: QFontMetricsF, size: QSize, wide: float
) -> tuple[float, tuple[str, ...]]:
    """Pixels for names beside a plot of a panel, or the lines over it, which is ``wide``."""
    beside = room_beside(data, metrics, float(size.width()))
    return beside, () if beside else names_above(data, metrics, wide, float(size.height()))


def room_beside(data: Data, metrics: QFontMetricsF, width: float) -> float:
    """Pixels that names of curves take at the right of a plot of ``width``; 0 where too many.

    There they lie on no curve, as on paper.
    """
    if data.per_layer or not data.unsettled():
        return 0.0
    longest = max(metrics.horizontalAdvance(_words_of(data, c)) for c in data.unsettled()[:MOST])
    room = longest + 14
    return room if room <= BESIDE * width and width >= LEAST_BESIDE else 0.0


def names_above(data: Data, metrics: QFontMetricsF, width: float, height: float) -> tuple[str, ...]:
    """Lines over a plot that name the tokens that do not settle, by class, the most frequent first.

    () where all settle, curves are of layers, or the plot is too low for them.
    """
    fits = min(int(ABOVE * height // metrics.height()), MOST_LINES)
    if data.per_layer or not fits:
        return ()
    classes: dict[str, list[int]] = {}
    for curve in data.unsettled():
        classes.setdefault(data.settling[curve].describe(), []).append(curve)
    most = sorted(classes.items(), key=lambda item: -len(item[1]))
    shown = most if len(most) <= fits else most[: fits - 1]
    lines = [_class_line(data, word, curves, metrics, width) for word, curves in shown]
    if left := sum(len(curves) for _, curves in most[len(shown) :]):
        lines.append(f"{left} more do not settle" if shown else f"{left} do not settle")
    return tuple(line for line in lines if line and metrics.horizontalAdvance(line) <= width)


def _class_line(
    data: Data, word: str, curves: list[int], metrics: QFontMetricsF, width: float
) -> str:
    """A class with as many of its tokens as have room: "wandering: 3 c, 5 d and 12 more"."""
    for named in range(min(len(curves), MOST), -1, -1):
        names, left = ", ".join(data.curve_name(c) for c in curves[:named]), len(curves) - named
        more = f" and {left} more" if named and left else str(left) if left else ""
        if metrics.horizontalAdvance(text := f"{word}: {names}{more}") <= width:
            return text
    return ""


def _name(place: Place, text: str, top: float) -> Label:
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
    """Cut words, not the number: "median ×0.7 per recurrence" gives up its words first.

    Nothing where its number has no room.
    """
    brief = text.removesuffix(" per recurrence")
    bare = brief.split(" ", 1)[-1] if text[:1].isalpha() else brief
    fitting = first_that_fits((text, brief, bare, text.split(": ")[0]), room, metrics)
    return fitting or ""


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
