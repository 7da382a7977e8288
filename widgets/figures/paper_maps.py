"""The pictures of `loopscope paper` that are no curves: trajectory, maps by depth, floorplan."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loopscope.core.arrays import F64
from loopscope.core.paper.findings import DepthMap, Findings
from loopscope.core.paper.plan import LENGTHS, MAPS
from loopscope.widgets.figures.matrix import empty, hatch_absent
from loopscope.widgets.figures.page_figure import PageFigure
from loopscope.widgets.figures.paper_curves import CODA, PAGE, PRELUDE, recurrence_colour
from loopscope.widgets.figures.state_space import LAYER_MARKERS
from loopscope.widgets.figures.style import colour_map
from loopscope.widgets.palette import DISTANCE_MAP, LIGHT, SIMILARITY_MAP

_TITLES = {
    "attention": "attention: mean over heads of ‖A − A′‖_F",
    "cosine": "residual stream: mean cosine",
}
# Panels that the recurrences of a trajectory are shared among, and layers that are named.
_PANELS, _NAMED = 4, 8
# Cells between two patterns and between two recurrences; inches of the largest pattern and of the
# tallest floorplan.
_GAP, _BETWEEN, _PATTERN, _TALLEST = 2, 6, 0.5, 40.0
# Labels along a map's side.
_LABELS = 14


def trajectory_figure(found: Findings) -> Figure:
    """The final token in the plane of two joint components; a panel has a quarter of the way."""
    figure = PageFigure(PAGE)
    with figure.settings():
        figure.set_layout_engine("constrained")
        paths = [path for path in found.trajectories if np.isfinite(path).all()]
        if not paths:
            empty(figure, "The states are not finite: there is no plane to draw them in.")
            return figure
        figure.set_figheight(1.9 * len(paths) + 0.3)
        rows = figure.subplots(len(paths), _PANELS, squeeze=False, sharex="row", sharey="row")
        for axes, path in zip(rows, paths, strict=True):
            for part, ax in zip(np.array_split(np.arange(len(path)), _PANELS), axes, strict=True):
                _path(ax, path, part)
        for i, (axes, part) in enumerate(
            zip(rows.T, np.array_split(np.arange(len(paths[0])), _PANELS), strict=True)
        ):
            if len(part):
                axes[0].set_title(f"r = {part[0] + 1} to {part[-1] + 1}", loc="left", fontsize=7)
            axes[-1].set_xlabel("PC 1")
            if i == 0:
                for n, ax in enumerate(axes, start=1):
                    ax.set_ylabel(f"prompt {n}: PC 2")
        _name_markers(figure, found)
        figure.settle_fonts()
    return figure


def _path(ax: Axes, path: F64, part: np.ndarray) -> None:
    """Some recurrences of a path ``[n, L, 2]``, over all of it in grey."""
    n, layers = path.shape[:2]
    ax.plot(*path.reshape(-1, 2).T, color=LIGHT.muted, lw=0.3, alpha=0.5)
    for r in part:
        colour = recurrence_colour(r / (n - 1))
        after = path[r + 1, :1] if r + 1 < n else path[r, -1:]
        ax.plot(*np.concatenate([path[r], after]).T, color=colour, lw=0.7)
        for layer in range(layers):
            marker = LAYER_MARKERS[layer % len(LAYER_MARKERS)]
            ax.plot(*path[r, layer], marker=marker, color=colour, ms=2.5, lw=0)


def _name_markers(figure: Figure, found: Findings) -> None:
    n = found.arch.n_block
    if 1 < n <= _NAMED:
        handles = [
            Line2D([], [], marker=LAYER_MARKERS[i], color=LIGHT.text, lw=0, ms=3,
                   label=found.arch.layer_name(i))
            for i in range(n)
        ]  # fmt: skip
        figure.legend(handles=handles, loc="outside upper left", ncols=min(n, 8), frameon=False)


def maps_figure(found: Findings) -> Figure:
    """Attention distance and cosine of every place with every other, a row for each length."""
    figure = PageFigure(PAGE)
    with figure.settings():
        figure.set_layout_engine("constrained")
        figure.set_figheight((PAGE.width / 2 - 0.5) * len(LENGTHS))
        rows = figure.subplots(len(LENGTHS), len(MAPS), squeeze=False)
        for axes, length in zip(rows, LENGTHS, strict=True):
            for ax, by in zip(axes, MAPS, strict=True):
                _map(ax, found.maps[by, length])
        figure.settle_fonts()
    return figure


def _map(ax: Axes, own: DepthMap) -> None:
    values, n = np.ma.masked_invalid(own.values), len(own.values)
    far = own.by == "attention"
    low, high = (0.0, max(float(values.max()), 1e-12)) if far else (float(values.min()), 1.0)
    image = ax.imshow(
        values, cmap=colour_map(DISTANCE_MAP + "_r" if far else SIMILARITY_MAP),
        norm=Normalize(low, high), interpolation="none",
    )  # fmt: skip
    if np.ma.is_masked(values):
        hatch_absent(ax)
    ends = own.n_prelude + own.n_layers * np.arange(len(own.recurrences) + 1)
    for end in ends:
        if 0 < end < n and n / len(ends) > own.n_layers / 2:
            ax.axhline(end - 0.5, color="white", lw=0.3)
            ax.axvline(end - 0.5, color="white", lw=0.3)
    step = max(1, -(-n // _LABELS))
    at = list(range(0, n, step))
    ax.set_xticks(at, [own.names[i] for i in at], rotation=90)
    ax.set_yticks(at, [own.names[i] for i in at])
    ax.tick_params(length=2)
    ax.spines[:].set_visible(False)
    ax.set_title(f"{_TITLES[own.by]}; r ≤ {own.recurrences[-1]}", loc="left", fontsize=6)
    bar = ax.figure.colorbar(image, ax=ax, pad=0.02, shrink=0.8)
    bar.outline.set_visible(False)


def floorplan_figure(found: Findings) -> Figure:
    """Every pattern of the first prompt, a row of heads for each layer, upward by depth."""
    figure = PageFigure(PAGE)
    with figure.settings():
        figure.set_layout_engine("constrained")
        if found.floorplan is None:
            empty(figure, "The first prompt could not be run.")
            return figure
        arch, plan = found.arch, found.plan
        groups = [(PRELUDE, arch.n_prelude)] + [("block", arch.n_block)] * plan.shown
        groups.append((CODA, arch.n_coda))
        picture, tops = _plan_picture(found.floorplan, groups)
        height, width = picture.shape[:2]
        across = min(PAGE.width - 0.7, _PATTERN * arch.layer.n_heads)
        figure.set_figheight(min(_TALLEST, across * height / width) + 0.4)
        ax = figure.add_subplot()
        ax.imshow(picture, interpolation="none")
        ax.set_yticks([at for at, _ in tops], [name for _, name in tops])
        side = found.floorplan.shape[-1]
        heads = range(arch.layer.n_heads)
        ax.set_xticks([h * (side + _GAP) + side / 2 for h in heads], [str(h) for h in heads])
        ax.set_xlabel("head")
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        figure.settle_fonts()
    return figure


def _plan_picture(
    patterns: np.ndarray, groups: list[tuple[str, int]]
) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """The picture ``[height, width, 3]``, 0..1, and where each group's middle is, from the top."""
    heads, side = patterns.shape[1:3]
    width = heads * (side + _GAP) - _GAP
    shade = PowerNorm(0.5, 0, 255)
    strips: list[np.ndarray] = []
    middles: list[tuple[float, str]] = []
    row, r, filled = 0, 0, 0
    for kind, n in groups:
        if not n:
            continue
        r += kind == "block"
        colours = colour_map({PRELUDE: "Blues", CODA: "Reds"}.get(kind, "Greys"))
        begun = filled
        for layer in patterns[row : row + n]:
            strip = np.ones((side + _GAP, width, 3))
            for head, pattern in enumerate(layer):
                left = head * (side + _GAP)
                strip[_GAP:, left : left + side] = colours(shade(pattern))[..., :3]
            strips.append(strip)
            filled += len(strip)
        strips.append(np.ones((_BETWEEN, width, 3)))
        name = {PRELUDE: "prelude", CODA: "coda"}.get(kind, f"r = {r}")
        middles.append(((begun + filled) / 2, name))
        filled += _BETWEEN
        row += n
    whole = np.concatenate(strips[::-1])
    return whole, [(filled - at, name) for at, name in middles]
