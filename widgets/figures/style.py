"""How figures look on paper: sizes, fonts and colour maps."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap

from loopscope.widgets.palette import DIVERGING

# Width in inches: one and two columns of a two-column paper (88 and 180 mm), a 16:9 slide.
WIDTHS = {"one column": 88 / 25.4, "two columns": 180 / 25.4, "slide": 254 / 25.4}

# Text stays text: fonttype 42 embeds TrueType in PDF, "none" keeps <text> in SVG.
RC = {
    "font.family": "DejaVu Sans",
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


def whole_ticks(ax: Axes, axis: str = "x") -> None:
    """Only whole numbers on an axis that counts recurrences, layers or tokens."""
    from matplotlib.ticker import MaxNLocator

    getattr(ax, f"{axis}axis").set_major_locator(MaxNLocator(integer=True))
