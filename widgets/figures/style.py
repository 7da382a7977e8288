"""How figures look on paper: sizes, fonts and colour maps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.ticker import Formatter, Locator, LogLocator, MaxNLocator, NullFormatter
from typing_extensions import override

from loopscope.widgets.palette import DIVERGING
from loopscope.widgets.plots.ticks import decade_text, log_ticks, whole_step

# Width in inches: one and two columns of a two-column paper (88 and 180 mm), a 16:9 slide.
WIDTHS = {"one column": 88 / 25.4, "two columns": 180 / 25.4, "slide": 254 / 25.4}

# Text stays text: fonttype 42 embeds TrueType in PDF, "none" keeps <text> in SVG.
RC = {
    "font.family": "DejaVu Sans",
    # Labels are of tokens, names and files of others: no character starts mathematics.
    "text.parse_math": False,
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.labelsize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "legend.fontsize": 6,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 0.9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
SLIDE_RC = {
    "font.size": 13,
    "axes.titlesize": 15,
    "axes.labelsize": 13,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "lines.linewidth": 1.6,
}


@dataclass(frozen=True, slots=True)
class Page:
    """What a drawing is made for.

    preset : the size: "one column", "two columns" or "slide".
    recurrence : where the cursor is, for what is drawn at one recurrence.
    """

    preset: str = "one column"
    recurrence: int = 0

    @property
    def width(self) -> float:
        """Width in inches."""
        return WIDTHS[self.preset]

    @property
    def rc(self) -> dict[str, object]:
        """The matplotlib settings of this preset."""
        return {**RC, **(SLIDE_RC if self.preset == "slide" else {})}


def colour_map(name: str) -> Colormap:
    """The page's colour map ``name``: one of matplotlib's, or "diverging"."""
    if name == "diverging":
        return LinearSegmentedColormap.from_list("diverging", list(DIVERGING))
    return colormaps[name]


def whole_ticks(ax: Axes, axis: str = "x", *, from_one: bool = False) -> None:
    """Only whole numbers on an axis that counts recurrences, layers or tokens."""
    locator = CountLocator() if from_one else MaxNLocator(integer=True)
    getattr(ax, f"{axis}axis").set_major_locator(locator)


class CountLocator(Locator):
    """The screen's ticks of an axis that counts from 1: that, and multiples of a round step."""

    MOST = 8

    @override
    def __call__(self) -> list[float]:
        """Place ticks on what is shown."""
        assert self.axis is not None
        return self.tick_values(*sorted(self.axis.get_view_interval()))

    @override
    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Place ticks between two values."""
        step = whole_step((vmax - vmin) / self.MOST)
        first, last = max(math.ceil(vmin), 1), math.floor(vmax)
        values = [float(v) for v in range(first, last + 1) if v % step == 0]
        if first > 1 or step == 1:
            return values
        return [1.0, *(v for v in values if v - 1 > 0.6 * step)]


class RoundLocator(Locator):
    """The screen's ticks of a log axis: decades, or round digits within one."""

    def __init__(self, most: int) -> None:
        self.most = most

    @override
    def __call__(self) -> list[float]:
        """Place ticks on what is shown."""
        assert self.axis is not None
        return self.tick_values(*sorted(self.axis.get_view_interval()))

    @override
    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        """Place ticks between two values."""
        return [value for value, _ in log_ticks(vmin, vmax, self.most)]


class RoundFormatter(Formatter):
    """The screen's words for `RoundLocator`: 10⁻³ where ticks are decades, else digits."""

    def __init__(self) -> None:
        self.powers = False

    @override
    def set_locs(self, locs: list[float]) -> None:
        """Take all ticks: whether they are decades, two or more of them."""
        exponents = [math.log10(v) for v in locs if v > 0]
        self.powers = len(exponents) > 1 and all(abs(e - round(e)) < 1e-9 for e in exponents)

    @override
    def __call__(self, x: float, pos: int | None = None) -> str:
        """Text of one tick."""
        return decade_text(x, self.powers) if x > 0 else ""


def log_axis(ax: Axes, which: str = "y", most: int = 7) -> None:
    """Make an axis logarithmic, with at most about ``most`` ticks that read as on the screen."""
    getattr(ax, f"set_{which}scale")("log")
    axis: Axis = getattr(ax, f"{which}axis")
    axis.set_major_locator(RoundLocator(most))
    axis.set_major_formatter(RoundFormatter())
    axis.set_minor_locator(LogLocator(subs=range(2, 10), numticks=12))
    axis.set_minor_formatter(NullFormatter())
