"""Correspondence of two models, on paper."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from loopscope.core.views.correspondence import Data
from loopscope.widgets.figures.matrix import (
    TALLEST,
    bar_above,
    cells,
    empty,
    every,
    font_size,
    hatch_absent,
    measure_label,
)
from loopscope.widgets.figures.style import Page
from loopscope.widgets.palette import SIMILARITY_MAP
from loopscope.widgets.plots.matrix_steps import head_steps


def draw(data: Data, figure: Figure, page: Page) -> None:
    """Draw the matrix with the best monotone alignment on it."""
    figure.set_layout_engine("constrained")
    if data.missing or data.comparison is None:
        empty(figure, data.missing)
        return
    n, m = data.values.shape
    line = font_size(page) / 72
    width = figure.get_figwidth() - 8 * line
    around = 13 * line
    height = min(max(n * 1.3 * line, 0.45 * width), TALLEST - around)
    figure.set_figheight(height + around)
    ax = figure.add_subplot()
    name = SIMILARITY_MAP + ("_r" if data.measure.is_distance else "")
    norm = Normalize(min(data.far, data.near), max(data.far, data.near))
    image = cells(ax, data.drawn, name, norm)
    if np.isnan(data.drawn).any():
        hatch_absent(ax)
    bar = bar_above(ax, image, measure_label(data.measure))
    if data.level is not None and np.isfinite(data.level).any():
        # What permuted prompts reach, of the columns in between.
        bar.ax.axvspan(
            float(np.nanmin(data.level)), float(np.nanmax(data.level)), 0, 0.3, color="black"
        )
    if data.weak is not None:
        _hatch(ax, data.weak)
    rows = every(n, height, 1.25 * line, head_steps(data.row_group or 1))
    columns = every(m, width, 1.5 * line, head_steps(data.column_group or 1))
    ax.set_yticks(range(0, n, rows), data.rows[::rows])
    ax.set_xticks([i + 1 for i in range(0, m, columns)], data.columns[::columns], rotation=90)
    if data.path:
        xs = [j + 1 for j in data.path]
        ax.plot(xs, range(n), color="black", lw=2.2, solid_joinstyle="round")
        ax.plot(xs, range(n), color="white", lw=1, marker=".", ms=3, label="alignment")
    closest = [(i, j) for i, j in enumerate(data.best) if j >= 0]
    if closest:
        ax.plot(
            [j + 1 for _, j in closest], [i for i, _ in closest], "o", ms=3, mfc="white",
            mec="black", mew=0.6,
        )  # fmt: skip
    suffix = ".head" if data.compared == "heads" else ""
    one, other = (
        f"{'recurrence:' if len(places.recurrences) > 1 else ''}layer"
        for places in (data.comparison.places, data.comparison.second_places)
    )
    place = f"layer{suffix}, recurrence {data.recurrence}" if suffix else one
    ax.set_xlabel(f"{data.comparison.second}: {other}{suffix}")
    ax.set_ylabel(f"{data.comparison.first}: {place}")


def _hatch(ax: Axes, weak: np.ndarray) -> None:
    """Hatch cells that permuted prompts are as alike in, runs of rows at once."""
    for column in range(weak.shape[1]):
        edges = np.flatnonzero(np.diff(np.r_[0, weak[:, column].astype(int), 0]))
        for first, after in edges.reshape(-1, 2).tolist():
            corner = column + 0.5, first - 0.5
            ax.add_patch(
                Rectangle(
                    corner, 1, after - first, fill=False, hatch="//////", edgecolor="#FFFFFFB0",
                    linewidth=0,
                )
            )  # fmt: skip
