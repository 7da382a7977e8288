"""The state-space plotter on paper: the same strokes, markers and angle as on the screen."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from loopscope.core.labels import at_position
from loopscope.core.measures.projection import turn
from loopscope.core.views.state_space.data import (
    CLOSED_BELOW,
    N_COLOURS,
    Data,
    Stroke,
    placed,
    scale_position,
    seen,
    strokes,
)
from loopscope.core.views.state_space.overlay import Overlay
from loopscope.widgets.figures.curves import LABEL_WIDTH
from loopscope.widgets.figures.point_names import name_points
from loopscope.widgets.figures.style import Page, colour_map
from loopscope.widgets.palette import LIGHT, RECURRENCE_MAP, token_colour
from loopscope.widgets.views.state_space.overlay_looks import Look, legend_names, look

LAYER_MARKERS = ("o", "s", "^", "D", "v", "p", "h", "*")
# The yellow end of viridis cannot be read on white.
# Of a colour bar, between two labels.
TICK_APART = 0.12
_LIGHTEST = 0.86
# Tokens up to which the last cycle of each is outlined, and named in the legend.
_FEW = 12
_ALL_MARKS = 1500
_INK = "#1C1C1E"
_MUTED = "#6A6A70"


def draw(data: Data, figure: Figure, page: Page) -> None:
    """Draw ``data`` on the empty ``figure``; the height follows from the width."""
    figure.set_layout_engine("constrained")
    plot = page.width * (0.52 if page.preset == "slide" else 0.72)
    figure.set_figheight(plot + (0 if data.empty else _legend_height(_handles(data), page)))
    ax = figure.add_subplot()
    if data.empty:
        ax.set_axis_off()
        ax.text(0.5, 0.5, data.statement, ha="center", va="center", wrap=True, color=_MUTED)
        return
    place = placed(data, data.options.azimuth, data.options.elevation)
    width = float(str(page.rc["lines.linewidth"]))
    _draw_paths(ax, data, width)
    for part in strokes(data):
        _draw_stroke(ax, data, place, part, width)
    _draw_second_run(ax, data, width)
    _draw_ends(ax, data, place, width)
    if len(data.tokens) <= _FEW:
        _draw_cycles(ax, data, place, width)
    _frame(ax, data, place)
    _legend(figure, ax, data, page)
    if len(data.tokens) <= _FEW and data.options.colour == "recurrence":
        _name_tokens(ax, data, place, _legend_size(page))


def _colour(part: Stroke, data: Data) -> tuple[float, float, float, float] | str:
    if part.colour is not None:
        return token_colour(part.colour)
    return colour_map(RECURRENCE_MAP)(_LIGHTEST * scale_position(part))


def _draw_stroke(ax: Axes, data: Data, place: np.ndarray, part: Stroke, width: float) -> None:
    xy = place[list(part.rows), part.first : part.last + 1]
    # Matplotlib breaks a line at NaN by itself.
    ax.add_collection(
        LineCollection(
            list(xy), colors=[_colour(part, data)], alpha=part.alpha, linewidths=width,
            capstyle="round", joinstyle="round",
        )
    )  # fmt: skip
    if place.shape[0] * place.shape[1] > _ALL_MARKS:
        return
    for layer in np.unique(data.layers):
        at = np.arange(part.first, part.last + 1)
        at = at[data.layers[at] == layer]
        dots = place[np.ix_(part.rows, at)].reshape(-1, 2)
        ax.plot(
            *dots.T, _marker(layer), color=_colour(part, data), alpha=part.alpha,
            markersize=1.8 * width, markeredgewidth=0,
        )  # fmt: skip


def _marker(layer: int) -> str:
    return LAYER_MARKERS[layer % len(LAYER_MARKERS)] if layer >= 0 else "o"


def _draw_ends(ax: Axes, data: Data, place: np.ndarray, width: float) -> None:
    """The newest state of every token, after each layer if those are shown, and the start."""
    n_stations = place.shape[1]
    newest = colour_map(RECURRENCE_MAP)(_LIGHTEST)
    for row in range(len(data.tokens)):
        by_token = data.options.colour == "token"
        colour = token_colour(row % N_COLOURS) if by_token else newest
        for s in range(max(n_stations - len(np.unique(data.layers)), 0), n_stations):
            ax.plot(
                *place[row, s], _marker(int(data.layers[s])), color=colour,
                markersize=5 * width, markeredgecolor="white", markeredgewidth=0.4, zorder=4,
            )  # fmt: skip
        if not data.by_layer:
            ax.plot(
                *place[row, 0], "o", markersize=3.6 * width, markerfacecolor="none",
                markeredgecolor=colour if by_token else colour_map(RECURRENCE_MAP)(0.0),
                markeredgewidth=0.6, zorder=3,
            )  # fmt: skip


def _name_tokens(ax: Axes, data: Data, place: np.ndarray, size: float) -> None:
    """Name each token at its end: colours say recurrences."""
    ends = place[:, -1]
    rows = [row for row in range(len(ends)) if np.isfinite(ends[row]).all()]
    names = [at_position(data.tokens[row], _short(data.labels[row])) for row in rows]
    others = [place.reshape(-1, 2), *(at.reshape(-1, 2) for _, at, _ in _overlays(data))]
    crowd = np.concatenate(others)
    if rows:
        ax.margins(0.1)  # room for names at the edge
        name_points(ax, ends[rows], names, crowd[np.isfinite(crowd).all(1)], size, _INK)


def _overlays(data: Data) -> Iterator[tuple[Overlay, np.ndarray, Look]]:
    """Overlays with where they are seen and how they look."""
    for overlay in data.overlays:
        at = seen(data, overlay.points, data.options.azimuth, data.options.elevation)
        yield overlay, at, look(overlay, LIGHT)


def _draw_paths(ax: Axes, data: Data, width: float) -> None:
    """Runs from other starts behind the run itself, the run beside over it."""
    for overlay, at, style in _overlays(data):
        if overlay.kind == "path":
            dashes, order = ((0, (1, 1.2)), 3) if style.dashed else ("-", 1)
            ax.add_collection(
                LineCollection(
                    list(at), colors=[style.colour], linewidths=0.6 * width, alpha=0.7,
                    linestyles=[dashes], zorder=order,
                )
            )  # fmt: skip
            ax.plot(*at[:, -1].T, "o", color=style.colour, markersize=2.4 * width, zorder=2)


def _draw_second_run(ax: Axes, data: Data, width: float) -> None:
    """Fixed and slow points, and modes, in front of the run."""
    for overlay, at, style in _overlays(data):
        if overlay.kind == "segment":
            dashes = (0, (1, 1.2)) if style.dashed else "-"
            ax.add_collection(
                LineCollection(
                    list(at), colors=[style.colour], linewidths=width, linestyles=[dashes], zorder=5
                )
            )
        elif overlay.kind == "points":
            for station, layer in enumerate(overlay.layers):
                cross = style.marker == "x"
                marker = _marker(int(layer)) if data.by_layer and not cross else style.marker
                ax.plot(
                    *at[:, station].T, linestyle="none", marker=marker, color=style.colour,
                    markersize=(4.4 if cross or style.hollow else 3.4) * width, zorder=4.5,
                    markerfacecolor="none" if style.hollow else style.colour,
                    markeredgecolor=style.colour if cross or style.hollow else "white",
                    markeredgewidth=0.6,
                )  # fmt: skip


def _draw_cycles(ax: Axes, data: Data, place: np.ndarray, width: float) -> None:
    """The last full cycle of each token, closed; dashed while it does not repeat yet."""
    for row in range(len(data.tokens)):
        cycle = place[row, data.last_cycle]
        if len(cycle) >= 2:
            closed = np.vstack([cycle, cycle[:1]])
            style = "-" if data.closing[row] <= CLOSED_BELOW else (0, (3, 2))
            ax.plot(*closed.T, linestyle=style, color=_INK, linewidth=0.7 * width, zorder=3)


def _frame(ax: Axes, data: Data, place: np.ndarray) -> None:
    finite = place[np.isfinite(place).all(-1)]
    # Matplotlib leaves collections out of the range at times.
    for _, at, _ in _overlays(data):
        ax.update_datalim(at[np.isfinite(at).all(-1)])
    ax.autoscale_view()
    if np.ptp(finite, axis=0).max() == 0:
        ax.set_xlim(finite[0, 0] - 1, finite[0, 0] + 1)
        ax.set_ylim(finite[0, 1] - 1, finite[0, 1] + 1)
    if data.is_3d or data.options.equal_scale:
        ax.set_aspect("equal", adjustable="datalim")
    if not data.is_3d:
        ax.set_xlabel(data.axes[0].label)
        ax.set_ylabel(fill(data.axes[1].label, LABEL_WIDTH))
        return
    ax.set_axis_off()
    ax.margins(0.1)
    _draw_axes(ax, data)
    ax.set_title(
        "   ".join(axis.short for axis in data.axes) + " of variance",
        color=_MUTED,
        fontsize="medium",
    )


def _draw_axes(ax: Axes, data: Data) -> None:
    """Where the three axes point, as arrows in the corner."""
    length = 22.0
    arrows = turn(np.eye(3), data.options.azimuth, data.options.elevation)
    for axis, arrow in zip(data.axes, arrows, strict=True):
        tip = tuple(length * arrow[:2])
        for text, at, style in (("", tip, "-|>"), (axis.name, tuple(1.5 * np.array(tip)), None)):
            ax.annotate(
                text, xy=(0.1, 0.12), xycoords="axes fraction", xytext=at,
                textcoords="offset points", ha="center", va="center", color=_MUTED,
                annotation_clip=False,
                arrowprops=None if style is None else {
                    "arrowstyle": "<|-", "color": _MUTED, "lw": 0.7, "shrinkA": 0, "shrinkB": 0,
                },
            )  # fmt: skip


def _legend(figure: Figure, ax: Axes, data: Data, page: Page) -> None:
    if data.options.colour == "recurrence":
        colours = colour_map(RECURRENCE_MAP)(np.linspace(0, _LIGHTEST, 128))
        scale = ScalarMappable(Normalize(0, 1), ListedColormap(colours))
        bar = figure.colorbar(scale, ax=ax, shrink=0.5, aspect=16, pad=0.02)
        bar.set_label("recurrence")
        ticks = _apart(data.colour_ticks())
        bar.set_ticks([at for at, _ in ticks], labels=[str(r) for _, r in ticks])
        bar.outline.set_visible(False)
    handles = _handles(data)
    figure.legend(
        handles=handles, loc="outside lower center", ncols=_columns(handles, page), frameon=False,
        handletextpad=0.3, columnspacing=1.0,
    )  # fmt: skip


def _apart(ticks: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """The ends of a colour bar, and the ticks between that have room."""
    kept: list[tuple[float, int]] = []
    for tick in sorted(ticks, key=lambda tick: -abs(tick[0] - 0.5)):
        if all(abs(tick[0] - other[0]) >= TICK_APART for other in kept):
            kept.append(tick)
    return sorted(kept)


def _columns(handles: list[Line2D], page: Page) -> int:
    """Columns of the legend that fit the page."""
    longest = max(len(str(handle.get_label())) for handle in handles)
    size = _legend_size(page)
    return min(max(int(page.width * 72 / (0.62 * size * longest + 3 * size)), 1), 6)


def _legend_height(handles: list[Line2D], page: Page) -> float:
    """Inches that the legend takes."""
    rows = -(-len(handles) // _columns(handles, page))
    return 1.5 * rows * _legend_size(page) / 72


def _legend_size(page: Page) -> float:
    return float(str(page.rc["legend.fontsize"]))


def _handles(data: Data) -> list[Line2D]:
    handles = _shape_handles(data)
    if data.options.colour == "token":
        tokens = list(zip(data.tokens, data.labels, strict=True))
        handles += [
            _handle("o", at_position(t, _short(label)), token_colour(i))
            for i, (t, label) in enumerate(tokens[:_FEW])
        ]
        if len(tokens) > _FEW:
            handles.append(Line2D([], [], linestyle="none", label=f"+ {len(tokens) - _FEW} more"))
    return [*_second_run_handles(data), *handles]


def _second_run_handles(data: Data) -> list[Line2D]:
    handles = []
    for overlay, name in legend_names(data.overlays):
        style, label = look(overlay, LIGHT), _short(name)
        if style.marker:
            # With every layer shown the shapes say which layer, and no one of them stands for all.
            if data.by_layer and style.marker == "D":
                label = f"{label}, in the layers' shapes"
            handles.append(_handle(style.marker, label, style.colour, style.hollow))
        else:
            dashes = (0, (1, 1.2)) if style.dashed else "-"
            handles.append(Line2D([], [], color=style.colour, linestyle=dashes, label=label))
    return handles


def _shape_handles(data: Data) -> list[Line2D]:
    if data.by_layer:
        return [
            _handle(_marker(layer), data.layer_names[layer], _MUTED)
            for layer in range(min(data.n_layers, _FEW))
        ]
    start = data.start_words.removeprefix("the ")
    return [_handle("o", start, _MUTED, hollow=True), _handle("o", "end", _MUTED)]


def _handle(marker: str, label: str, colour: str, hollow: bool = False) -> Line2D:
    return Line2D(
        [], [], linestyle="none", marker=marker, color=colour, label=label, markersize=4,
        markerfacecolor="none" if hollow else colour, markeredgewidth=0.7,
    )  # fmt: skip


def _short(text: str) -> str:
    """Keep long tokens short."""
    return text if len(text) <= 16 else text[:15] + "…"
