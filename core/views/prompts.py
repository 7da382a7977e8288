"""Prompt set: any live measure over a prompt file, its mean and every prompt's own value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from loopscope.core.formula import Formula
from loopscope.core.measures.intervals import MEAN_METHOD
from loopscope.core.measures.over_prompts import PROMPT_MEASURES, OverPrompts
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import Lack, Request, Table, ViewDefinition
from loopscope.core.views.curves_data import Curve
from loopscope.core.views.depth import OFFERED, Key, axis_label
from loopscope.core.views.prompt_curves import (
    Column,
    PromptCurves,
    PromptRows,
    index_of,
    lack,
    of_uncut,
    prompt_rows,
    takes_bundled,
    why_not,
)

LABEL = "Measure over the prompt set"
MEAN = Formula(
    "mean over prompts",
    "(1/P) Σ_p of each prompt's own average; a prompt without a number is left out",
    "of the measure",
    MEAN_METHOD,
)


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the means over the prompt set."""

    measure: Key = setting(
        "relative_step",
        "Measure",
        "Taken of every prompt; what was measured before is kept",
        labels={m.key: m.formula.name for m in OFFERED.values()},
    )
    band: bool = setting(True, "95 % interval", "Over prompts; its formula is under ?")


@dataclass(frozen=True, slots=True, eq=False)
class Data(PromptCurves):
    """Mean by recurrence, a curve for each layer where the measure has one.

    found : what is drawn, or None.
    """

    found: OverPrompts | None = None


REQUEST = Request(
    LABEL,
    "Runs every prompt of the file as far as this run has gone and takes the measure chosen in "
    "the settings of each",
    PROMPT_MEASURES,
    why_not,
)


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Draw what was measured over the prompt set in use."""
    what = OFFERED[options.measure]
    measured = recording.result(PROMPT_MEASURES)
    found = None if measured is None else measured.of(what.key)
    prompts = recording.shared.prompts
    lacks, missing = lack(recording)
    if found is None or (prompts is not None and found.prompts != prompts):
        if not missing:
            assert prompts is not None
            lacks, name = Lack("measurement", LABEL), what.formula.name
            missing = (
                f"{name[0].upper()}{name[1:]} has not been measured over {prompts.name} "
                f"({len(prompts)} prompts)."
            )
        return Data(
            missing, (what.formula, MEAN), (), "recurrence r", what.formula.name, what.formula,
            missing=missing, lacks=lacks, bundled=takes_bundled(recording),
        )  # fmt: skip
    nothing = found.why_nothing()
    texts = tuple(item.text for item in found.prompts.items)
    rows = PromptRows(
        found.prompts,
        found.how,
        (Column(what.formula.name, what.formula.text(), _by_place(found)),),
        texts,
        found.missing,
        index_of(recording.info.prompt, texts),
    )
    return Data(
        statement=nothing or _statement(found) + of_uncut(recording, found.how),
        formulas=(what.formula, MEAN),
        curves=() if nothing else _curves(found, recording, options.band),
        x_label="recurrence r",
        y_label=f"{axis_label(what)}, mean over {_prompts(len(found.prompts))}",
        formula=what.formula,
        log_y=what.log,
        cursor="recurrence",
        missing=nothing,
        rows=rows,
        found=found,
    )


def _by_place(found: OverPrompts) -> np.ndarray:
    return found.values if found.has_layers else found.values[..., 0]


def _curves(found: OverPrompts, recording: Recording, band: bool) -> tuple[Curve, ...]:
    mean = found.mean
    r = np.arange(1.0, len(mean.value) + 1)
    layers = mean.value.shape[1]
    # One prompt has no interval to draw.
    ends = band and bool(np.isfinite(mean.low).any())
    names = recording.info.architecture.layer_names
    return tuple(
        Curve(
            names[i] if found.has_layers else "",
            r, mean.value[:, i],
            mean.low[:, i] if ends else None, mean.high[:, i] if ends else None,
            role="layer" if found.has_layers else "only", index=i, count=layers,
            place={"layer": i} if layers > 1 else {},
            places=tuple({"recurrence": int(at)} for at in r),
        )
        for i in range(layers)
    )  # fmt: skip


def _prompts(n: int) -> str:
    return "1 prompt" if n == 1 else f"{n} prompts"


def _statement(found: OverPrompts) -> str:
    """Say the mean with its interval at the first and the last recurrence that have one."""
    mean, name = found.mean, found.measure.formula.name
    known = np.flatnonzero(np.isfinite(mean.value).any(1))
    text = f"{name[0].upper()}{name[1:]}, mean over {_prompts(len(found.prompts))} of "
    text += f"{found.prompts.name}: "
    ends = dict.fromkeys([int(known[0]), int(known[-1])])
    text += ", ".join(f"{_said(found, r)} at recurrence {r + 1}" for r in ends)
    if len(found.prompts) == 1:
        return f"{text}; one prompt has no interval"
    least = int(mean.n[known].min())
    if least < len(found.prompts):
        text += f"; {least} of {len(found.prompts)} prompts have a number"
    return text


def _said(found: OverPrompts, r: int) -> str:
    value, low, high = (x[r] for x in (found.mean.value, found.mean.low, found.mean.high))
    if len(value) == 1:
        ends = f" (95 % {low[0]:.3g} to {high[0]:.3g}, n = {found.mean.n[r, 0]})"
        interval = ends if np.isfinite(low[0]) else ""
        return f"{value[0]:.3g}{interval}"
    shown = value[np.isfinite(value)]
    return f"{shown.min():.3g} to {shown.max():.3g} over {len(value)} layers"


def table(data: Data) -> Table:
    """The means with their intervals, then every prompt's values."""
    columns = ("line", "prompt", "recurrence", "layer", "value", "low", "high", "prompts")
    return Table(columns, _rows(data))


def _rows(data: Data) -> Iterator[tuple[object, ...]]:
    found = data.found
    if found is None:
        return
    mean = found.mean
    for r, i in np.ndindex(mean.value.shape):
        ends = float(mean.low[r, i]), float(mean.high[r, i])
        layer = i if found.has_layers else ""
        yield "", "mean", r + 1, layer, float(mean.value[r, i]), *ends, int(mean.n[r, i])
    if data.rows is not None:
        for line, text, r, i, value in prompt_rows(data.rows):
            yield line, text, r, i if found.has_layers else "", value, "", "", ""


VIEW = ViewDefinition(Options, compute, table, request=REQUEST)
