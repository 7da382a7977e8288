"""The readout on paper."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from loopscope.core.labels import at_position
from loopscope.core.views.answers_data import AnswerMap
from loopscope.core.views.readout import Data
from loopscope.widgets.figures.matrix import empty
from loopscope.widgets.figures.style import Page, colour_map
from loopscope.widgets.figures.words import fit, width_of
from loopscope.widgets.palette import DISTANCE_MAP, SIMILARITY_MAP, black_is_legible
from loopscope.widgets.plots.ticks import count_ticks

# No taller than a printed page, in inches.
_TALLEST = 8.8
# Points of a cell below which its bars would cover what they stand on.
_CROWDED = 4.0
_INK = "#1C1C1E"


def draw(data: Data, figure: Figure, page: Page) -> None:
    """Draw answers, shades and flip marks; ``figure`` gets a height that fits the tokens."""
    if data.missing:
        figure.set_layout_engine("constrained")
        empty(figure, data.missing)
        return
    ax, _ = draw_answer_map(data, figure, page, Normalize(0, 1))
    ticks = [r for r in count_ticks(data.first + data.n_columns - 1) if r >= data.first]
    ax.set_xticks([r - data.first + 1 for r in ticks], [str(r) for r in ticks])
    below = ";\nfoot of a cell: its exit probability" if data.has_exits else ""
    ax.set_xlabel(f"recurrence r  (bar: the answer flips{below})")


def draw_answer_map(
    data: AnswerMap, figure: Figure, page: Page, norm: Normalize
) -> tuple[Axes, Colorbar]:
    """Draw any map of answers, its values coloured by ``norm``; the ticks below are the caller's.

    ``figure`` gets a height that fits the tokens.
    """
    figure.set_layout_engine("constrained")
    ax = figure.add_subplot()
    n_rows, n, shade = len(data.tokens), data.n_columns, data.shade
    size = float(str(page.rc["xtick.labelsize"]))
    row_height = 1.75 * size / 72
    above_and_below = (13 if data.has_exits else 11.5) * size / 72
    height = min(n_rows * row_height + above_and_below, _TALLEST)
    row_height = (height - above_and_below) / n_rows
    size = min(size, 72 * row_height / 1.25)
    figure.set_figheight(height)
    name = {"similarity": SIMILARITY_MAP, "distance": DISTANCE_MAP}[shade.colours]
    image = ax.imshow(
        np.ma.masked_invalid(data.values.T), cmap=colour_map(name + "_r" * shade.low_is_bright),
        norm=norm, aspect="auto", interpolation="none", extent=(0.5, n + 0.5, n_rows - 0.5, -0.5),
    )  # fmt: skip
    labels = [
        at_position(t, fit(x, size, 8 * size))
        for t, x in zip(data.tokens, data.labels, strict=True)
    ]
    longest = max(width_of(label, size) for label in labels)
    cell_width = (page.width * 72 - longest - 14 * size) / n
    _write_answers(ax, data, cell_width, size, name)
    _mark_flips(ax, data, cell_width)
    _draw_exits(ax, data)
    ax.set_yticks(range(n_rows), labels, fontsize=size)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_ylabel("token")
    # On top, where its label has room however few the tokens are.
    bar = figure.colorbar(image, ax=ax, location="top", pad=0.02, aspect=36, shrink=0.6)
    bar.set_label(f"{shade.whole} ({data.lens_label})")
    bar.outline.set_visible(False)
    return ax, bar


def _write_answers(ax: Axes, data: AnswerMap, cell_width: float, size: float, colours: str) -> None:
    """Every cell's answer where it fits, else one text for each run of one answer."""
    widest = max(width_of(data.text(a), size) for a in data.texts)
    each = cell_width >= min(widest + 2, 5 * size)
    levels = data.shade.levels(data.values)
    if each:
        places = [(row, r, 1) for r, row in np.ndindex(levels.shape)]
    else:
        places = [(s.row, s.first - 1, s.last - s.first + 1) for s in data.spans()]
    for row, r, length in places:
        answer = data.text(int(data.top[r, row]))
        number = data.shade.text(float(data.values[r, row]))
        numbered = each and data.numbers and np.isfinite(data.values[r, row])
        if numbered and cell_width >= width_of(f"{answer} {number}", size) + 2:
            answer += f" {number}"
        text = fit(answer, size, length * cell_width - 2)
        if text:
            under = levels[r : r + max(1, int(width_of(text, size) / cell_width)), row].mean()
            ax.text(
                r + 1 if each else r + 0.5 + 1.5 / cell_width, row, text,
                ha="center" if each else "left", va="center_baseline", fontsize=size,
                color=_ink(float(under), colours), clip_on=True,
            )  # fmt: skip


def _mark_flips(ax: Axes, data: AnswerMap, cell_width: float) -> None:
    """A bar at each flip; at the foot of the row where cells are so narrow that bars may touch."""
    r, row = np.nonzero(data.marked)
    crowded = cell_width < _CROWDED
    edged = ((2.2, "white"), (1.0, _INK))
    for width, colour in ((0.5 * cell_width, _INK),) if crowded else edged:
        top = row + (0.25 if crowded else -0.5)
        ax.vlines(r + 0.5, top, row + 0.5, colors=colour, linewidths=width)


def _draw_exits(ax: Axes, data: AnswerMap) -> None:
    """A line at the foot of each cell, as long as its exit probability is of 1."""
    if not data.has_exits:
        return
    r, row = (index.ravel() for index in np.indices(data.exits.shape))
    left, long = r + 0.55, 0.9 * data.exits.ravel()
    for ends, colour in ((np.full_like(long, 0.9), "white"), (long, _INK)):
        ax.hlines(row + 0.43, left, left + ends, colors=colour, linewidths=1.4)


def _ink(level: float, colours: str) -> str:
    """Black or white, whichever is more legible on the shade of a level; NaN has none."""
    if level != level:
        return _INK
    rgb = np.array(colour_map(colours)(level)[:3])
    return _INK if black_is_legible(rgb) else "white"
