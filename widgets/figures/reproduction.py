"""The figures of `loopscope reproduce`, drawn from its measured numbers alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from loopscope.core.experiments.study import Study
from loopscope.widgets.figures.style import Page, colour_map, log_axis, whole_ticks
from loopscope.widgets.palette import LIGHT, OKABE_ITO, RECURRENCE_MAP

PAGE = Page("two columns")
STAGE_NAMES = {
    "entropy": "mixing score [nats]",
    "matrix_entropy": "matrix entropy [nats]",
    "column_concentration": "ColSum concentration",
    "residual_norm": "residual norm",
}


def _figure(height: float) -> Figure:
    figure = Figure(figsize=(PAGE.width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def settling_figure(study: Study) -> Figure:
    """Each layer's relative step, and head change, by recurrence; the trained count is marked.

    Bands are 95 % intervals over prompts.
    """
    with rc_context(PAGE.rc):
        figure = _figure(2.4)
        left, right = figure.subplots(1, 2)
        r = np.arange(1, study.recurrences + 1)
        for layer, curve in enumerate(np.array(study.layer_relative_step).T):
            left.plot(r, curve, color=OKABE_ITO[layer], label=f"layer {layer}")
            ends = np.array(study.layer_relative_step_interval)[:, layer].T
            left.fill_between(r, *ends, color=OKABE_ITO[layer], alpha=0.18, lw=0)
        left.set_ylabel("relative step of layer l,\nmedian over tokens")
        right.plot(r, study.head_change, color=LIGHT.text)
        ends = np.array(study.head_change_interval).T
        right.fill_between(r, *ends, color=LIGHT.text, alpha=0.18, lw=0)
        right.set_ylabel("head change (Frobenius),\nmean over heads")
        for ax in (left, right):
            log_axis(ax)
            _mark_trained(ax, study)
        left.legend(frameon=False)
        return figure


def stages_figure(study: Study) -> Figure:
    """Four stage measures over the layers of the block, a line for each recurrence."""
    with rc_context(PAGE.rc):
        figure = _figure(1.9)
        for ax, (key, name) in zip(figure.subplots(1, 4), STAGE_NAMES.items(), strict=True):
            curves = np.array(study.stages[key])
            for r, curve in enumerate(curves):
                colour = colour_map(RECURRENCE_MAP)(0.92 * r / max(len(curves) - 1, 1))
                ax.plot(np.arange(len(curve)), curve, color=colour, lw=0.7)
            ax.set_title(f"{name}\nrepeat r = {study.repeats[key][0]:.3f}", fontsize=7)
            ax.set_xlabel("layer of the block")
            whole_ticks(ax)
        return figure


def ablations_figure(groups: Sequence[tuple[str, Sequence[Study]]]) -> Figure:
    """Relative step and accuracy by recurrence, a column for each variant, a line for each seed."""
    with rc_context(PAGE.rc):
        figure = _figure(3.1)
        axes = figure.subplots(2, len(groups), sharex=True, sharey="row")
        for column, (name, studies) in enumerate(groups):
            top, bottom = axes[0, column], axes[1, column]
            for study in studies:
                r = np.arange(1, study.recurrences + 1)
                colour = OKABE_ITO[study.seed % len(OKABE_ITO)]
                top.plot(r, study.relative_step, color=colour, lw=0.9)
                bottom.plot(r, study.accuracy, color=colour, lw=0.9, label=f"seed {study.seed}")
            top.set_title(name.replace(", ", ",\n"), fontsize=7)
            log_axis(top)
            for ax in (top, bottom):
                _mark_trained(ax, studies[0], words=False)
                ax.set_xticks([1, studies[0].trained, studies[0].recurrences])
            bottom.axhline(studies[0].chance, color=LIGHT.muted, ls="--", lw=0.7)
            bottom.set_ylim(0, 1.04)
            top.set_xlabel("")
        axes[0, 0].set_ylabel("relative step,\nmedian over tokens")
        axes[1, 0].set_ylabel("accuracy, 2 hops\n(dashed: chance)")
        axes[1, 0].legend(frameon=False, loc="center right", fontsize=5)
        return figure


def _mark_trained(ax: Axes, study: Study, words: bool = True) -> None:
    label = f"trained R = {study.trained}" if words else None
    ax.axvline(study.trained, color=LIGHT.muted, ls=":", lw=0.8, label=label)
    ax.set_xlabel("recurrence r")
    whole_ticks(ax)
