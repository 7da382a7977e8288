"""A matrix of similarities on paper: what the head figures share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from loopscope.core.measures.heads import PatternMeasure
from loopscope.widgets.figures.style import Page, colour_map
from loopscope.widgets.figures.words import in_two_lines
from loopscope.widgets.palette import SIMILARITY_MAP
from loopscope.widgets.plots.matrix_steps import STEPS, labelled, log_edges, on_log_axis
from loopscope.widgets.plots.ticks import log_ticks

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


def measured(
    ax: Axes, values: np.ndarray, measure: PatternMeasure, far: float,
    columns: Sequence[int] = (), rows: Sequence[int] = (), near: float = 0.0,
) -> ScalarMappable:  # fmt: skip
    """Draw ``values`` with identical patterns bright; ``columns`` and ``rows`` as in `cells`.

    With ``near`` on a log scale of the differences from identical patterns.
    """
    if near:
        unlike, whole = np.abs(values - measure.identical), abs(far - measure.identical)
        shown = np.where(np.isfinite(unlike), np.maximum(unlike, near), np.nan)
        image = cells(ax, shown, SIMILARITY_MAP + "_r", LogNorm(near, whole), columns, rows)
        if np.isnan(values).any():
            hatch_absent(ax)
        return image
    name = SIMILARITY_MAP + ("_r" if measure.is_distance else "")
    norm = Normalize(min(far, measure.identical), max(far, measure.identical))
    image = cells(ax, values, name, norm, columns, rows)
    if np.isnan(values).any():
        hatch_absent(ax)
    return image


def measure_label(measure: PatternMeasure, reference: str = "", *, log: bool = False) -> str:
    """Measure, what it is compared to, unit, and which end means the same."""
    unit = "nats, " if measure.key == "jensen_shannon" else ""
    if log:
        less = "" if measure.is_distance else f"{measure.identical:g} − "
        return f"{less}{measure.label}{reference} ({unit}log scale)"
    return f"{measure.label}{reference} ({unit}{measure.identical:g} = same)"


def cells(
    ax: Axes, values: np.ndarray, name: str, norm: Normalize,
    columns: Sequence[int] = (), rows: Sequence[int] = (), first: int = 1,
) -> ScalarMappable:  # fmt: skip
    """Draw one cell for each entry; NaN is left blank.

    Columns stand at ``first`` and on, rows at 0, 1, ...; given the numbers that they stand at on a
    log axis, each is as wide as it is there, and all together as wide as before.
    """
    n_rows, n_columns = values.shape
    shown, colours = np.ma.masked_invalid(values), colour_map(name)
    image: ScalarMappable
    if columns or rows:
        across = (
            first - 0.5 + (log_edges(columns, n_columns) if columns else np.arange(n_columns + 1))
        )
        down = (log_edges(rows, n_rows) if rows else np.arange(n_rows + 1)) - 0.5
        image = ax.pcolormesh(across, down, shown, cmap=colours, norm=norm, rasterized=True)
        ax.set_ylim(n_rows - 0.5, -0.5)
        ax.set_xlim(first - 0.5, first + n_columns - 0.5)
    else:
        image = ax.imshow(
            shown, cmap=colours, norm=norm, aspect="auto", interpolation="none",
            extent=(first - 0.5, first + n_columns - 0.5, n_rows - 0.5, -0.5),
        )  # fmt: skip
    ax.tick_params(length=2)
    ax.spines[:].set_visible(False)
    return image


def recurrence_axis(
    ax: Axes, axis: str, numbers: Sequence[int], log: bool, room: float, page: Page,
    first: int = 1,
) -> None:  # fmt: skip
    """Label recurrences on an axis of cells, of ``room`` inches; ``first`` as in `cells`."""
    size = font_size(page) / 72
    start, text = (0, 1.25 * size) if axis == "y" else (first, 0.0)
    widest = text or (len(str(numbers[-1])) + 1.5) * 0.6 * size
    n = len(numbers)
    if log:
        edges = log_edges(numbers, n)
        at = on_log_axis(edges, numbers, None, lambda _: widest / room * n)
        middles = ((edges[:-1] + edges[1:]) / 2 - 0.5 + start)[at]
    else:
        step = every(n, room, widest)
        at = labelled(n, step, numbers=True, first=numbers[0])
        middles = np.array(at) + start
    getattr(ax, f"set_{axis}ticks")(middles, [str(numbers[i]) for i in at])


def set_log_ticks(bar: Colorbar) -> None:
    """Give a log bar the ticks of the screen's."""
    ticks = log_ticks(float(bar.norm.vmin or 1), float(bar.norm.vmax or 1), 6)
    bar.set_ticks([v for v, _ in ticks], labels=[text for _, text in ticks])
    bar.minorticks_off()


def bar_above(ax: Axes, image: ScalarMappable, label: str) -> Colorbar:
    """Put a bar on top, where its label has room however few the rows are."""
    bar = ax.figure.colorbar(image, ax=ax, location="top", pad=0.02, aspect=36, shrink=0.9)
    # It is centred on the cells, which begin after the labels of the rows.
    room = 0.76 * ax.figure.bbox.width / ax.figure.dpi * 72
    size = float(bar.ax.xaxis.label.get_fontsize())
    bar.set_label(in_two_lines(label, size, room))
    bar.outline.set_visible(False)
    return bar


def hatch_absent(ax: Axes) -> None:
    """Hatch what the cells leave blank: it is absent, not 0."""
    ax.patch.set(hatch="////////", edgecolor="#C4C4C4", linewidth=0)


def every(n: int, room: float, needed: float, strides: Sequence[int] = STEPS) -> int:
    """Return the step at which ``n`` labels of ``needed`` inches fit ``room`` inches."""
    return next((s for s in strides if s * room / max(n, 1) >= needed), strides[-1])
