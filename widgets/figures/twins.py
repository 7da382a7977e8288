"""The figure of `loopscope twins`: accuracy by hop count of the three models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from loopscope.core.experiments.twin_results import KINDS, NAMES, Kind, TwinResult
from loopscope.widgets.figures.style import Page, whole_ticks
from loopscope.widgets.palette import LIGHT, OKABE_ITO

PAGE = Page("two columns")
COLOURS: dict[Kind, str] = dict(zip(KINDS, OKABE_ITO, strict=False))
MARKERS: dict[Kind, str] = {"looped": "o", "deep": "s", "shallow": "^"}
# Looped and deep lie on each other where the claim holds: small dots on dashes over large squares.
SIZES: dict[Kind, float] = {"looped": 2.6, "deep": 6.5, "shallow": 3.5}
WIDTHS: dict[Kind, float] = {"looped": 1.0, "deep": 2.4, "shallow": 1.0}
ORDER: dict[Kind, int] = {"looped": 4, "deep": 2, "shallow": 3}


def accuracy_figure(
    shipped: Mapping[Kind, TwinResult], small: Mapping[Kind, Sequence[TwinResult]]
) -> Figure:
    """The bundled three at the left with their intervals, every seed of the small ones right."""
    with rc_context(PAGE.rc):
        figure = Figure(figsize=(PAGE.width, 2.5), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2, sharey=True)
        for kind in KINDS:
            if kind in shipped:
                _line(left, shipped[kind], kind, label=NAMES[kind], interval=True)
            for result in small.get(kind, ()):
                _line(right, result, kind)
        _guessing(left, shipped.values())
        _guessing(right, [result for results in small.values() for result in results])
        left.set_ylabel("accuracy")
        left.set_ylim(-0.03, 1.03)
        left.set_title("bundled, one seed", loc="left")
        right.set_title("small, every seed", loc="left")
        for ax in (left, right):
            ax.set_xlabel("hops")
            whole_ticks(ax)
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=4,
                      frameon=False)  # fmt: skip
        return figure


def _guessing(ax: Axes, results: Iterable[TwinResult]) -> None:
    some = next(iter(results), None)
    if some is not None:
        hops = [c.hops for c in some.accuracy]
        chance = [c.chance for c in some.accuracy]
        ax.plot(hops, chance, color=LIGHT.muted, lw=0.8, ls="--", label="guessing")


def _line(
    ax: Axes, result: TwinResult, kind: Kind, *, label: str | None = None, interval: bool = False
) -> None:
    hops = [c.hops for c in result.accuracy]
    values = np.array([c.value for c in result.accuracy])
    ax.plot(
        hops, values, color=COLOURS[kind], marker=MARKERS[kind], ms=SIZES[kind], lw=WIDTHS[kind],
        zorder=ORDER[kind], label=label,
    )  # fmt: skip
    if interval:
        low = values - [c.low for c in result.accuracy]
        high = np.array([c.high for c in result.accuracy]) - values
        ends = np.clip([low, high], 0, None)
        ax.errorbar(hops, values, ends, color=COLOURS[kind], lw=0, elinewidth=1)
