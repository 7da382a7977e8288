"""A matrix of similarities on paper: what the head figures share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from loopscope.core.measures.heads import PatternMeasure
from loopscope.widgets.figures.style import Page, colour_map
from loopscope.widgets.palette import SIMILARITY_MAP
from loopscope.widgets.plots.matrix_steps import STEPS, labelled

# No taller than a printed page, in inches.
TALLEST = 8.8


def empty(figure: Figure, text: str) -> None:
    """Draw only ``text``."""
    figure.set_figheight(0.6)
    ax = figure.add_subplot()
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, ha="center", va="center", wrap=True)


def font_size(page: Page) -> float:
    """Return the tick labels' size in points."""
    return float(str(page.rc["xtick.labelsize"]))


def measured(ax: Axes, values: np.ndarray, measure: PatternMeasure, far: float) -> AxesImage:
    """Draw ``values`` with identical patterns bright."""
    name = SIMILARITY_MAP + ("_r" if measure.is_distance else "")
    image = cells(ax, values, name, min(far, measure.identical), max(far, measure.identical))
    if np.isnan(values).any():
        hatch_absent(ax)
    return image


def measure_label(measure: PatternMeasure, reference: str = "") -> str:
    """Measure, what it is compared to, unit, and which end means the same."""
    unit = "nats, " if measure.key == "jensen_shannon" else ""
    return f"{measure.label}{reference} ({unit}{measure.identical:g} = same)"


def cells(ax: Axes, values: np.ndarray, name: str, low: float, high: float) -> AxesImage:
    """Draw one cell for each entry; NaN is left blank."""
    n_rows, n_columns = values.shape
    image = ax.imshow(
        np.ma.masked_invalid(values), cmap=colour_map(name), vmin=low, vmax=high, aspect="auto",
        interpolation="none", extent=(0.5, n_columns + 0.5, n_rows - 0.5, -0.5),
    )  # fmt: skip
    ax.tick_params(length=2)
    ax.spines[:].set_visible(False)
    return image


def bar_above(ax: Axes, image: AxesImage, label: str) -> Colorbar:
    """Put a bar on top, where its label has room however few the rows are."""
    bar = ax.figure.colorbar(image, ax=ax, location="top", pad=0.02, aspect=36, shrink=0.9)
    bar.set_label(label)
    bar.outline.set_visible(False)
    return bar


def hatch_absent(ax: Axes) -> None:
    """Hatch what the cells leave blank: it is absent, not 0."""
    ax.patch.set(hatch="////////", edgecolor="#C4C4C4", linewidth=0)


def recurrence_ticks(n: int, room: float, page: Page) -> list[int]:
    """Recurrences to label on an axis of ``room`` inches."""
    widest = (len(str(n)) + 1.5) * 0.6 * font_size(page) / 72
    return [i + 1 for i in labelled(n, every(n, room, widest), numbers=True)]


def every(n: int, room: float, needed: float, strides: Sequence[int] = STEPS) -> int:
    """Return the step at which ``n`` labels of ``needed`` inches fit ``room`` inches."""
    return next((s for s in strides if s * room / max(n, 1) >= needed), strides[-1])
