"""Draw the figures of docs/capability.md from docs/parts.json and docs/results.json.

python tools/draw_capability.py
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from loopscope.core.experiments.arm_results import ArmResult, read_results
from loopscope.core.experiments.parts import AT, NOISE, OVERWRITTEN, Parts, read_parts
from loopscope.widgets.figures.style import Page

DOCS = Path(__file__).resolve().parents[1] / "docs"
COLOURS = {
    "walker": "#0072b2", "halting": "#e69f00", "settling": "#009e73", "anytime": "#cc79a7",
    "deep": "#555555",
    "halting-kept": "#d55e00", "settling-kept": "#56b4e9", "holding": "#000000",
}  # fmt: skip
NAMES = {
    "walker": "walker", "halting": "halting", "settling": "settled", "anytime": "taught to walk",
    "deep": "deep, taught",
    "halting-kept": "halting, half at R = k", "settling-kept": "settled, half at R = k",
    "holding": "held (bundled:looped)",
}  # fmt: skip
Rows = list[Parts]


def main() -> None:
    """Write all six."""
    parts, arms = read_parts(DOCS / "parts.json"), read_results(DOCS / "results.json")
    page = Page("two columns")
    drawings: dict[str, tuple[float, Callable[[Figure], None]]] = {
        "walk": (0.34, lambda figure: _walk(figure, arms)),
        "noise": (0.34, lambda figure: _noise(figure, parts)),
        "once": (0.36, lambda figure: _once(figure, parts)),
        "exchange": (0.34, lambda figure: _exchange(figure, parts)),
        "probe": (0.34, lambda figure: _probe(figure, parts)),
        "parts": (0.42, lambda figure: _parts(figure, parts)),
    }
    for name, (height, draw) in drawings.items():
        with rc_context(page.rc):
            figure = Figure(figsize=(page.width, page.width * height), layout="constrained")
            FigureCanvasAgg(figure)
            draw(figure)
            figure.savefig(DOCS / "images" / f"capability-{name}.png", dpi=150)


def _legend(axes: Axes) -> None:
    """One entry a kind, however many seeds."""
    handles, labels = axes.get_legend_handles_labels()
    kinds = dict(zip(labels, handles, strict=True))
    axes.legend(kinds.values(), kinds.keys(), frameon=False)


def _walk(figure: Figure, arms: list[ArmResult]) -> None:
    way, far = figure.subplots(1, 2)
    for r in (r for r in arms if r.arm in COLOURS and r.arm != "deep"):
        style = {"color": COLOURS[r.arm], "marker": "o", "markersize": 3, "label": NAMES[r.arm]}
        way.plot(range(1, 6), r.walked, **style)
        if r.arm == "walker":
            far.plot([6, 16, 32, 64], r.far, **style)
    way.set(
        xlabel="recurrence r", ylabel="share of queries", ylim=(0, 1.03), title="hop r read out"
    )
    far.set(xlabel="recurrence r", ylim=(0, 1.03), title="the r-th hop, far beyond training")
    way.set_xticks(range(1, 6))
    _legend(way)


def _noise(figure: Figure, parts: Rows) -> None:
    for axes, size, i in zip(
        figure.subplots(1, len(NOISE), sharey=True), NOISE, range(len(NOISE)), strict=True
    ):
        for x, p in enumerate(parts):
            axes.plot([x - 0.15, x + 0.15], [p.shared[i], p.anew[i]], color=COLOURS[p.kind])
            axes.plot(x - 0.15, p.shared[i], "o", color=COLOURS[p.kind], markersize=4)
            axes.plot(x + 0.15, p.anew[i], "o", mfc="white", color=COLOURS[p.kind], markersize=4)
        axes.set_xticks(range(len(parts)), [f"{NAMES[p.kind]} {p.seed}" for p in parts])
        axes.tick_params(axis="x", rotation=40)
        axes.set(title=f"ε = {size}: filled shared, open anew", ylim=(-0.03, 1))
    figure.axes[0].set_ylabel("answers lost")


def _once(figure: Figure, parts: Rows) -> None:
    walkers = [p for p in parts if p.kind == "walker"]
    cuts = list(walkers[0].once)
    axes = figure.subplots()
    words = ("left as it is", "then the clean state", "then the zero state")
    for i, (label, colour) in enumerate(zip(words, ("#d55e00", "#999999", "#0072b2"), strict=True)):
        values = np.array([[p.once[cut][i] for cut in cuts] for p in walkers])
        at = np.arange(len(cuts)) + 0.27 * (i - 1)
        axes.bar(at, values.mean(0), 0.25, color=colour, label=label, alpha=0.6)
        for row in values:
            axes.plot(at, row, "o", color=colour, markersize=3)
    axes.set_xticks(range(len(cuts)), cuts)
    axes.set(
        ylabel="answers lost", title=f"made once, in recurrence {AT} (walkers; a point a seed)"
    )
    axes.legend(frameon=False)


def _exchange(figure: Figure, parts: Rows) -> None:
    pointer, edges = figure.subplots(1, 2, sharey=True)
    for p in parts:
        style = {"color": COLOURS[p.kind], "marker": "o", "markersize": 3, "label": NAMES[p.kind]}
        pointer.plot(range(1, 7), p.exchanged, **style)
        edges.plot(range(1, 7), p.edges_kept, **style)
    pointer.set(title="pointer exchanged: the answer follows", ylabel="share", ylim=(0, 1.03))
    edges.set(title="edges exchanged: as before")
    for axes in (pointer, edges):
        axes.set_xlabel("exchanged after recurrence")
    _legend(edges)


def _probe(figure: Figure, parts: Rows) -> None:
    kinds = [k for k in ("walker", "anytime", "deep") if any(p.kind == k for p in parts)]
    for axes, kind in zip(figure.subplots(1, len(kinds), sharey=True), kinds, strict=True):
        mean = np.mean([p.probe for p in parts if p.kind == kind], axis=0)
        image = axes.imshow(mean, vmin=0, vmax=1, cmap="viridis", origin="lower", aspect="auto")
        n = sum(p.kind == kind for p in parts)
        axes.set(xlabel="hop read", title=f"{NAMES[kind]} ({n} seed{'s' * (n > 1)})")
        axes.set_xticks(range(7))
    figure.axes[0].set_ylabel("after pass")
    figure.colorbar(image, ax=figure.axes, label="share of queries")


def _parts(figure: Figure, parts: Rows) -> None:
    """Bars are means over walkers, points their seeds."""
    walkers = [p for p in parts if p.kind == "walker"]
    noise, other = NOISE.index(0.3), OVERWRITTEN.index("other prompt")
    bars: list[tuple[str, str, Callable[[Parts], float]]] = [
        ("parameters", "noise of 0.3,\nshared", lambda p: p.shared[noise]),
        ("parameters", "noise of 0.3,\nnew each time", lambda p: p.anew[noise]),
        ("graph", "a layer\nfor good", lambda p: _mean(p.lasting)),
        ("graph", "a layer once,\nbegun again", lambda p: _mean(p.once, 2)),
        ("trajectory", "a layer once,\nits state kept", lambda p: _mean(p.once, 0)),
        ("trajectory", "state erased", lambda p: p.overwritten[OVERWRITTEN.index("zero")]),
        ("trajectory", "state of\nanother prompt", lambda p: p.overwritten[other]),
        ("trajectory", "pointer exchanged:\nfollows it", lambda p: float(np.mean(p.exchanged[:5]))),
    ]
    colours = {"parameters": "#0072b2", "graph": "#e69f00", "trajectory": "#009e73"}
    axes = figure.subplots()
    for x, (part, _, value) in enumerate(bars):
        values = [value(p) for p in walkers]
        axes.bar(x, np.mean(values), 0.7, color=colours[part], alpha=0.6, label=part)
        axes.plot([x] * len(values), values, "o", color="black", markersize=3)
    axes.set_xticks(range(len(bars)), [words for _, words, _ in bars])
    axes.set(ylabel="share of answers lost or moved", ylim=(-0.02, 1.02))
    axes.set_title(f"walkers, a point a seed (n = {len(walkers)})")
    _legend(axes)


def _mean(cuts: dict[str, object], at: int | None = None) -> float:
    """Over the cuts that leave out a layer."""
    values = [v if at is None else v[at] for k, v in cuts.items() if k.startswith("layer ")]  # type: ignore[index]
    return float(np.mean([v for v in values if isinstance(v, float)]))


if __name__ == "__main__":
    main()
