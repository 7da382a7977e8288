"""The settling plot on paper."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loopscope.core.views.settling_data import Classes, Data, rate_text, short_number
from loopscope.widgets.figures.curves import curves_height, legend_above
from loopscope.widgets.figures.matrix import empty
from loopscope.widgets.figures.style import Page, log_axis
from loopscope.widgets.palette import LIGHT, token_colour
from loopscope.widgets.plots.ticks import count_ticks

# As many names at the curves' ends as can be read.
MOST_NAMES = 8


def draw(data: Data, figure: Figure, page: Page) -> None:
    """Draw step sizes on a log axis with tolerance, trained count and who does not settle."""
    figure.set_layout_engine("constrained")
    if data.missing:
        empty(figure, data.missing)
        return
    figure.set_figheight(curves_height(page))
    ax = figure.add_subplot()
    x = data.recurrences
    marker = "." if len(x) == 1 else None
    log_axis(ax)
    if data.log_r:
        log_axis(ax, "x")
    _draw_curves(ax, data, marker)
    _draw_second(ax, data)
    _draw_lines(ax, data)
    _limit(ax, data)
    _name_unsettled(ax, data)
    first, last = int(data.recurrences[0]), int(data.recurrences[-1])
    if data.x_shown is not None:
        first, last = (int(r) for r in data.x_shown)
    if not data.log_r:
        ax.set_xticks([r for r in count_ticks(last) if r >= first])
    ax.set_xlabel(f"recurrence r ({data.sampled})")
    unit = "" if data.measure == "relative" else f" [{data.formula.unit}]"
    ax.set_ylabel(data.axis_label + unit)
    # Above the plot, where no curve is; how many settled is the caption's to say.
    legend_above(figure, columns=2)


def _draw_curves(ax: Axes, data: Data, marker: str | None) -> None:
    x, values = data.recurrences, np.where(data.values > 0, data.values, np.nan)
    loud = set() if data.per_layer else set(data.unsettled())
    quiet = next((c for c in range(values.shape[1]) if c not in loud), -1)
    for c in range(values.shape[1]):
        if data.per_layer:
            rate = data.layer_rates[c]
            name = data.curve_name(c) + (f", ×{rate:.3g}" if np.isfinite(rate) else "")
            name += f", {_count(data, data.classes[1 + c])}"
            ax.plot(x, values[:, c], color=token_colour(c), marker=marker, label=name)
            continue
        style: dict[str, Any] = {"lw": 1.3, "color": LIGHT.warning} if c in loud else {
            "lw": 0.6, "alpha": 0.8, "color": token_colour(c)
        }  # fmt: skip
        label = "one token each" if c == quiet and values.shape[1] > 1 else None
        ax.plot(x, values[:, c], marker=marker, label=label, **style)
    if not data.per_layer:
        median = np.where(data.median > 0, data.median, np.nan)
        label = ", ".join(filter(None, ["median", rate_text(data.rate)]))
        ax.plot(x, median, color=LIGHT.text, lw=1.8, marker=marker, label=label)


def _draw_second(ax: Axes, data: Data) -> None:
    """The second run's curves, dotted, its median as wide as the first one's."""
    second = data.second
    if second is None:
        return
    x, dots = second.recurrences, (0, (1, 1.5))
    marker = "." if len(x) == 1 else ""  # a line of one point is not seen
    for values in np.where(second.values > 0, second.values, np.nan).T:
        ax.plot(x, values, color=LIGHT.muted, lw=0.6, ls=dots, marker=marker)
    label = f"{data.second_name}"
    if len(second.median):
        median = np.where(second.median > 0, second.median, np.nan)
        rate = rate_text(second.rate)
        text = ", ".join(filter(None, [f"{label}: median", rate]))
        ax.plot(x, median, color=LIGHT.text, lw=1.8, ls=dots, marker=marker, label=text)
    else:
        ax.plot([], [], color=LIGHT.muted, lw=0.6, ls=dots, label=label)


def _draw_lines(ax: Axes, data: Data) -> None:
    """Tolerance, rounding floor (only where the curves come near it) and the trained count."""
    x = data.recurrences
    if len(x) == 1:
        x = np.array([0.5, 1.5]) + x[0] - 1
    tolerance, floor = (np.broadcast_to(v, len(x)) if len(v) == 1 else v
                        for v in (data.tolerance_line, data.floor_line))  # fmt: skip
    label = f"tolerance {short_number(data.tolerance)}"
    ax.plot(x, tolerance, color=LIGHT.text, lw=0.7, ls="--", label=label)
    positive = data.values[data.values > 0]
    if positive.size and np.nanmax(floor) > np.nanmin(positive):
        ax.plot(x, floor, color=LIGHT.muted, lw=0.6, label=f"{data.dtype} rounding")
    if np.isfinite(data.error_line).any():
        error = np.where(data.error_line > 0, data.error_line, np.nan)
        label = "error against float32"
        ax.plot(data.recurrences, error, color=LIGHT.text, lw=0.7, ls=(0, (1, 1.5)), label=label)
    if 0 < data.trained <= data.recurrences[-1]:
        label = f"trained R = {data.trained}"
        ax.axvline(data.trained, color=LIGHT.muted, lw=0.7, ls=":", label=label)


def _limit(ax: Axes, data: Data) -> None:
    """Fit the axes to the curves and the tolerance, whatever else is drawn."""
    others = [] if data.second is None else [data.second.values.ravel()]
    values = np.concatenate([data.values.ravel(), data.tolerance_line, *others])
    values = values[np.isfinite(values) & (values > 0)]
    if values.size:
        low, high = float(values.min()), float(values.max())
        # Steps of rounding noise fall off the bottom.
        low = max(low, min(float(np.nanmin(data.floor_line)) / 3, high))
        pad = max((high / low) ** 0.06, 1.2)
        ax.set_ylim(low / pad, high * pad)
    ends = [data.recurrences] + ([] if data.second is None else [data.second.recurrences])
    first, last = int(data.recurrences[0]), max(int(r[-1]) for r in ends)
    if data.x_shown is not None:
        first, last = (int(r) for r in data.x_shown)
    if data.log_r:
        ax.set_xlim(max(first, 1) / 1.05, last * 1.05)
        return
    room = max(0.02 * (last - first), 0.3)
    ax.set_xlim(first - room, last + room)


def _name_unsettled(ax: Axes, data: Data) -> None:
    """Names at the right end of the curves that do not settle, kept apart from one another."""
    if data.per_layer:
        return
    loud = data.unsettled()
    named = loud if len(loud) <= MOST_NAMES else loud[: MOST_NAMES - 1]
    low, high = np.log10(ax.get_ylim())
    wanted = []
    for c in named:
        known = data.values[np.isfinite(data.values[:, c]) & (data.values[:, c] > 0), c]
        at = (np.log10(known[-1]) - low) / (high - low) if known.size else 1.0
        wanted.append((float(at), f"{data.curve_name(c)}: {data.settling[c].describe()}"))
    wanted.sort(reverse=True)
    if len(named) < len(loud):
        wanted.append((-1.0, f"and {len(loud) - len(named)} more"))
    top = 1.0
    for at, text in wanted:
        top = min(max(at, 0.07 * (len(wanted))), top)
        ax.annotate(
            text, (1.01, top), xycoords="axes fraction", ha="left", va="center",
            color=LIGHT.warning, fontsize="small",
        )  # fmt: skip
        top -= 0.07


def _count(data: Data, place: Classes) -> str:
    """How many tokens have settled at one place of the cycle."""
    word = "settled" if data.options.rules == "loopscope" else "fixed point"
    return f"{place.counts().get(word, 0)} of {len(place.of)} {word}"
