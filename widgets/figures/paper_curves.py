"""The curves of `loopscope paper`: steps, the way to the end, stages on the paper's three axes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from loopscope.core.arrays import F64
from loopscope.core.measures.intervals import Estimate
from loopscope.core.paper.findings import Findings, Stage
from loopscope.widgets.figures.page_figure import PageFigure
from loopscope.widgets.figures.style import Page, colour_map, log_axis, whole_ticks
from loopscope.widgets.palette import LIGHT, OKABE_ITO, RECURRENCE_MAP

PAGE = Page("two columns")
# Of layers where there are more than colours that can be told apart, as the paper has it.
LAYER_MAP = "winter"
PRELUDE, CODA = "#2166AC", "#B2182B"
# Opacity of a band, how much of the map is used, names along an axis, inches of a row.
_BAND, _LIGHTEST, _NAMES = 0.18, 0.92, 12
_ROW = 1.35
Colour = str | tuple[float, float, float, float]


def steps_figure(found: Findings) -> Figure:
    """Size of each layer's step and its cosine with the recurrence before."""
    return _two(
        found,
        (found.steps["step_size"], found.steps["step_cosine"]),
        ("‖x[r,l] − x[r−1,l]‖", "cos(x[r,l], x[r−1,l])"),
    )


def ends_figure(found: Findings) -> Figure:
    """Distance of each layer to its last state, and the cosine with it."""
    deep = found.plan.deep
    return _two(
        found,
        (found.ends["distance"], found.ends["distance_cosine"]),
        (f"‖x[r,l] − x[{deep},l]‖", f"cos(x[r,l], x[{deep},l])"),
    )


def _two(found: Findings, curves: tuple[Estimate, Estimate], labels: tuple[str, str]) -> Figure:
    """A line for each layer over recurrences; the first on a log axis, with the rounding floor."""
    figure = PageFigure(PAGE)
    with figure.settings():
        figure.set_layout_engine("constrained")
        figure.set_figheight(2.5)
        left, right = figure.subplots(1, 2)
        for ax, own, label in zip((left, right), curves, labels, strict=True):
            _by_layer(ax, own, log=ax is left)
            log_axis(ax, "x")
            ax.set_xlabel("recurrence r")
            ax.set_ylabel(label)
        log_axis(left)
        left.axhline(found.floor, color=LIGHT.muted, ls=":", lw=0.8)
        _name_layers(figure, [left, right], found)
        figure.settle_fonts()
    return figure


def stages_figure(found: Findings) -> Figure:
    """Each stage measure by depth, by recurrence and by layer, up to the shown recurrence."""
    figure = PageFigure(PAGE)
    with figure.settings():
        figure.set_layout_engine("constrained")
        figure.set_figheight(_ROW * len(found.stages) + 0.5)
        rows = figure.subplots(len(found.stages), 3, squeeze=False)
        for axes, own in zip(rows, found.stages.values(), strict=True):
            _stage_row(axes, own, found)
        titles = ("by effective depth", "by recurrence", "by layer")
        labels = ("layers run", "layer of the block", "recurrence r")
        for column, title, label in zip(rows.T, titles, labels, strict=True):
            column[0].set_title(title, loc="left", fontsize=7)
            column[-1].set_xlabel(label)
        _name_recurrences(figure, list(rows[:, 1]), found.plan.shown)
        _name_layers(figure, list(rows[:, 2]), found)
        figure.settle_fonts()
    return figure


def deep_figure(found: Findings) -> Figure:
    """Each stage measure to the last recurrence: a line for each layer, and over the layers."""
    figure = PageFigure(PAGE)
    with figure.settings():
        figure.set_layout_engine("constrained")
        figure.set_figheight(_ROW * len(found.stages) + 0.5)
        rows = figure.subplots(len(found.stages), 2, squeeze=False)
        for (left, right), own in zip(rows, found.stages.values(), strict=True):
            _by_layer(left, own.curve)
            _null(left, own)
            log_axis(left, "x")
            some = _some(found.plan.deep)
            _by_recurrence(right, own, some, own.coda_deep, log=True)
            left.set_ylabel(_label(own))
        rows[0][0].set_title("by layer", loc="left", fontsize=7)
        rows[0][1].set_title("by recurrence: 1, 2, 4, …", loc="left", fontsize=7)
        rows[-1][0].set_xlabel("recurrence r")
        rows[-1][1].set_xlabel("layer of the block")
        _name_layers(figure, list(rows[:, 0]), found)
        _name_recurrences(figure, list(rows[:, 1]), found.plan.deep, log=True)
        figure.settle_fonts()
    return figure


def _some(deep: int) -> list[int]:
    """Recurrences 1, 2, 4 and on, and the last."""
    powers = [1 << i for i in range(deep.bit_length())]
    return sorted({*(r for r in powers if r <= deep), deep})


def _label(own: Stage) -> str:
    unit = own.measure.formula.unit.split(",")[0]
    return own.name + ("" if unit in ("1", "0..1") else f"\n[{unit}]")


def _stage_row(axes: list[Axes], own: Stage, found: Findings) -> None:
    shown = found.plan.shown
    _by_depth(axes[0], own, shown)
    _by_recurrence(axes[1], own, list(range(1, shown + 1)), own.coda)
    c = own.curve
    cut = Estimate(c.value[:shown], c.low[:shown], c.high[:shown], c.n[:shown])
    _by_layer(axes[2], cut)
    _null(axes[2], own)
    whole_ticks(axes[2])
    axes[0].set_ylabel(_label(own))


def _line(ax: Axes, x: F64, own: tuple[F64, F64, F64], colour: Colour, log: bool = False) -> None:
    """A line with its band; a single point as a marker."""
    y, low, high = (np.where(v > 0, v, np.nan) if log else v for v in own)
    ax.plot(x, y, color=colour, marker="." if len(x) <= 16 else None, ms=5 if len(x) == 1 else 3)
    ax.fill_between(x, low, high, color=colour, alpha=_BAND, lw=0)


def _row(own: Estimate, at: int) -> tuple[F64, F64, F64]:
    return own.value[at], own.low[at], own.high[at]


def _by_layer(ax: Axes, own: Estimate, log: bool = False) -> None:
    """A line for each layer over recurrences; ``own`` is ``[R, L]``."""
    n, layers = own.value.shape
    x = np.arange(1.0, n + 1)
    for layer in range(layers):
        one = (own.value[:, layer], own.low[:, layer], own.high[:, layer])
        _line(ax, x, one, layer_colour(layer, layers), log)


def _by_recurrence(
    ax: Axes, own: Stage, recurrences: list[int], coda: Estimate, log: bool = False
) -> None:
    """A line for each recurrence over the layers, with prelude and coda at the ends."""
    layers = own.curve.value.shape[1]
    for r in recurrences:
        at = np.log(r) / np.log(recurrences[-1]) if log else (r - 1) / (recurrences[-1] - 1)
        _line(ax, np.arange(float(layers)), _row(own.curve, r - 1), recurrence_colour(at))
    p, c = len(own.prelude.value), len(coda.value)
    _outside(ax, own.prelude, -p, PRELUDE)
    _outside(ax, coda, layers, CODA)
    names = [*(f"p{i}" for i in range(p)), *map(str, range(layers)), *(f"c{i}" for i in range(c))]
    step = max(1, -(-len(names) // _NAMES))
    ax.set_xticks(range(-p, layers + c)[::step], names[::step])
    if own.null is not None:
        ax.plot(np.arange(float(layers)), own.null, color=LIGHT.muted, ls="--", lw=0.7)


def _outside(ax: Axes, own: Estimate, first: int, colour: str) -> None:
    if len(own.value):
        x = np.arange(float(first), first + len(own.value))
        _line(ax, x, (own.value, own.low, own.high), colour)


def _by_depth(ax: Axes, own: Stage, shown: int) -> None:
    """One curve through prelude, recurrences and coda, coloured by what it runs through."""
    p, layers = len(own.prelude.value), own.curve.value.shape[1]
    _outside(ax, own.prelude, 1, PRELUDE)
    for r in range(shown):
        x = p + 1 + np.arange(float(layers)) + r * layers
        _line(ax, x, _row(own.curve, r), recurrence_colour(r / (shown - 1)))
        if own.null is not None:
            ax.plot(x, own.null, color=LIGHT.muted, ls="--", lw=0.7)
    _outside(ax, own.coda, p + 1 + shown * layers, CODA)
    whole_ticks(ax)


def _null(ax: Axes, own: Stage) -> None:
    """The value of even attention, where every layer has the same."""
    if own.null is not None and np.ptp(own.null) < 1e-9:
        ax.axhline(float(own.null[0]), color=LIGHT.muted, ls="--", lw=0.7)


def layer_colour(layer: int, n: int) -> Colour:
    """Colour of a layer of the block."""
    if n <= len(OKABE_ITO):
        return OKABE_ITO[layer]
    return colour_map(LAYER_MAP)(layer / (n - 1))


def recurrence_colour(at: float) -> Colour:
    """Colour of a recurrence, 0 the first and 1 the last; the palest end is lost on white."""
    return colour_map(RECURRENCE_MAP)(_LIGHTEST * at)


def _name_layers(figure: Figure, axes: list[Axes], found: Findings) -> None:
    """A legend above where colours tell layers apart, else a bar beside."""
    n = found.arch.n_block
    if n > len(OKABE_ITO):
        image = ScalarMappable(Normalize(0, n - 1), colour_map(LAYER_MAP))
        whole_ticks(_bar(figure, axes, image, "layer of the block").ax, "y")
    elif n > 1:
        names = [found.arch.layer_name(i) for i in range(n)]
        axes[-1].legend(axes[-1].lines[:n], names, frameon=False, ncols=2, loc="best")


def _name_recurrences(figure: Figure, axes: list[Axes], n: int, log: bool = False) -> None:
    """A bar beside: what the colour of a recurrence is."""
    scale = LogNorm(1, n ** (1 / _LIGHTEST)) if log else Normalize(1, 1 + (n - 1) / _LIGHTEST)
    bar = _bar(figure, axes, ScalarMappable(scale, colour_map(RECURRENCE_MAP)), "recurrence r")
    bar.ax.set_ylim(1, n)
    if log:
        bar.set_ticks([r for r in _some(n) if r == n or 2 * r <= n])
        bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
        bar.minorticks_off()
    else:
        whole_ticks(bar.ax, "y")


def _bar(figure: Figure, axes: list[Axes], image: ScalarMappable, label: str) -> Colorbar:
    bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=50)
    bar.set_label(label)
    bar.outline.set_visible(False)
    return bar
