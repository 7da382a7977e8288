"""Curves on paper: what every view that draws lines over recurrences or depth shares."""

from __future__ import annotations

from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loopscope.core.views.curves_data import Curve, Curves
from loopscope.widgets.figures.matrix import empty
from loopscope.widgets.figures.style import Page, colour_map, log_axis, whole_ticks
from loopscope.widgets.palette import LIGHT, OKABE_ITO, RECURRENCE_MAP, token_colour

# Line styles that matplotlib has no name for.
LINES: dict[str, Any] = {"dash-dot": "-.", "dash-dot-dot": (0, (6, 1.5, 1, 1.5, 1, 1.5))}
# Recurrences that are named one by one; more of them get a scale.
MOST_NAMED = 6
# Entries that a legend above the plot has room for.
MOST_ENTRIES = 16
# Characters of a legend that fit into one column of a page.
NARROW = 72
# Characters of the vertical axis' label that fit beside a plot of one column.
LABEL_WIDTH = 34
# Letters of a name on the horizontal axis, of one that stands upright, and of a line of one.
NAME, UPRIGHT, LEAST_NAME = 44, 16, 9
# Curves with bands up to which these are drawn in full.
FEW_BANDS = 3


def draw_curves(data: Curves, figure: Figure, page: Page) -> None:
    """Draw the curves with their intervals, a legend above and a scale for recurrences."""
    figure.set_layout_engine("constrained")
    if data.missing or not data.curves:
        empty(figure, data.missing or "There is nothing to draw.")
        return
    figure.set_figheight(curves_height(page))
    ax = figure.add_subplot()
    draw_on(ax, data)
    if data.x_names:
        name_ticks(ax, data.x_names, page)
        ax.set_xlim(-0.5, len(data.x_names) - 0.5)
    entries = _entries(ax, marked=bool(data.marks))
    if entries:
        # As many columns as the longest name leaves room for.
        room = NARROW if page.preset == "one column" else 2 * NARROW
        columns = max(1, min(3, room // (max(len(name) for _, name in entries) + 6)))
        columns = min(columns, len(entries))
        rows = -(-len(entries) // columns)
        legend_above(figure, *zip(*entries, strict=True), columns=columns)
        figure.set_figheight(figure.get_figheight() + 0.11 * rows)


def curves_height(page: Page) -> float:
    """Height in inches of a plot of curves, without its legend."""
    return page.width * (0.66 if page.preset == "one column" else 0.5)


def legend_above(figure: Figure, *entries: Any, columns: int, **options: Any) -> None:
    """Put a legend above the plot, where no curve is: of ``entries``, or all that has a name."""
    figure.legend(
        *entries, loc="outside upper left", ncols=columns, frameon=False, alignment="left",
        borderaxespad=0.2, **options,
    )  # fmt: skip


def draw_on(ax: Axes, data: Curves) -> None:
    """Draw the curves on axes that are there already; the legend is the caller's."""
    if data.log_x:
        log_axis(ax, "x")
    if data.log_y:
        log_axis(ax)
    recurrences = [c for c in data.curves if c.role == "recurrence"]
    scale = len(recurrences) > MOST_NAMED
    named: set[str] = set()
    # Several bands over each other would hide the curves.
    banded = sum(c.low is not None for c in data.curves)
    alpha = 0.18 if banded <= FEW_BANDS else 0.08
    lead = next((c for c in data.curves if c.low is not None), None)
    named_x = bool(data.x_names)
    for c in data.curves:
        band = data.bands if c is lead and data.bands else "_nolegend_"
        label = "" if scale and c.role == "recurrence" else c.name
        _draw(
            ax,
            c,
            data.log_y,
            "_nolegend_" if label in named or not label else label,
            alpha,
            band,
            bars=named_x,
        )
        named.add(label)
    for at, name in data.marks:
        # Named in the legend: beside its line the name would cross the curves.
        ax.axvline(at, color=LIGHT.muted, ls=":", lw=0.8, label=name)
    if data.x_shown is not None and data.x_shown[1] > data.x_shown[0]:
        left, right = data.x_shown
        room = 0.02 * (right - left)
        ends = (left / 1.05, right * 1.05) if data.log_x else (left - room, right + room)
        ax.set_xlim(*ends)
    if data.whole_x and not data.log_x and not data.x_names:
        whole_ticks(ax, from_one=all(len(c.x) and c.x.min() > 0 for c in data.curves))
    ax.set_xlabel(data.x_label)
    ax.set_ylabel(fill(data.y_label, LABEL_WIDTH))
    if scale:
        first, last = recurrences[0].index + 1, recurrences[-1].index + 1
        mappable = ScalarMappable(Normalize(first, last / 0.92), colour_map(RECURRENCE_MAP))
        bar = ax.figure.colorbar(mappable, ax=ax, pad=0.02, aspect=24)
        bar.ax.set_ylim(first, last)
        bar.set_label("recurrence r")
        bar.outline.set_visible(False)


def name_ticks(ax: Axes, names: tuple[str, ...], page: Page) -> None:
    """Name the things at 0, 1, ... across: in lines, or upright where these have no room."""
    letters = NARROW if page.preset == "one column" else 2 * NARROW
    wide = int(0.75 * letters / len(names))
    if wide >= LEAST_NAME:
        ax.set_xticks(range(len(names)), [fill(short_name(name), wide) for name in names])
        return
    step = -(-len(names) // (letters // 3))
    shown = [short_name(name, UPRIGHT) for name in names[::step]]
    ax.set_xticks(range(0, len(names), step), shown, rotation=90, va="top")


def short_name(name: str, most: int = NAME) -> str:
    """A name with its middle left out where it is long."""
    return name if len(name) <= most else f"{name[: most // 2]}…{name[-most // 2 + 1 :]}"


def _draw(
    ax: Axes, c: Curve, log: bool, label: str, alpha: float, band: str, *, bars: bool
) -> None:
    y = np.where(c.y > 0, c.y, np.nan) if log else c.y
    colour = paper_colour(c)
    faint = c.role == "token" and c.count > len(OKABE_ITO)
    ax.plot(
        c.x, y, color=colour, ls=LINES.get(c.line, c.line), label=label,
        lw=0.7 if c.role == "reference" or faint or c.count > 40 else None,
        marker="." if len(c.x) <= 16 and c.role != "reference" else None,
        ms=9 if len(c.x) == 1 else 3,
    )  # fmt: skip
    if c.low is not None and c.high is not None and bars:  # between two things there is nothing
        ax.vlines(c.x, c.low, c.high, color=colour, lw=1, label=band)
    elif c.low is not None and c.high is not None:
        ax.fill_between(c.x, c.low, c.high, color=colour, alpha=alpha, lw=0, label=band)


def paper_colour(c: Curve) -> str | tuple[float, float, float, float]:
    """What the curve is drawn with on white."""
    if c.role == "reference":
        return LIGHT.muted
    if c.role == "only":
        return LIGHT.text
    if c.role == "recurrence":
        # The palest end of the map is lost on white.
        return colour_map(RECURRENCE_MAP)(0.92 * c.index / max(c.count - 1, 1))
    return token_colour(c.index)


def _entries(ax: Axes, marked: bool) -> list[tuple[Artist, str]]:
    """Handles and names, as many as there is room for; the rest is counted."""
    handles, names = ax.get_legend_handles_labels()
    entries = list(zip(handles, names, strict=True))
    if len(entries) == 1 and isinstance(entries[0][0], Line2D) and not marked:
        return []
    if len(entries) > MOST_ENTRIES:
        more = f"and {len(entries) - MOST_ENTRIES + 1} more"
        last = entries[MOST_ENTRIES - 1][0]
        entries = [*entries[: MOST_ENTRIES - 1], (last, more)]
    return entries
