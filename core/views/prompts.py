"""Prompt set: any live measure over a prompt file, its mean and every prompt's own value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from loopscope.core.formula import Formula
from loopscope.core.measures.intervals import MEAN_KIND, MEAN_METHOD, with_n
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
        at_hand=True,
    )
    band: bool = setting(True, "95 % interval", "Over prompts; its formula is under ?")


@dataclass(frozen=True, slots=True, eq=False)
class Data(PromptCurves):
    """Mean by recurrence, a curve for each layer where the measure has one.

    result : what is drawn, or None.
    """

    result: OverPrompts | None = None


REQUEST = Request(
    LABEL,
    "Runs every prompt of the file as far as this run has gone and takes the measure chosen in "
    "the settings of each",
    PROMPT_MEASURES,
    why_not,
)


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Draw what was measured over the prompt set in use."""
    quantity = OFFERED[options.measure]
    measured = recording.result(PROMPT_MEASURES)
    result = None if measured is None else measured.of(quantity.key)
    prompts = recording.shared.prompts
    lacks, missing = lack(recording)
    if result is None or (prompts is not None and result.prompts != prompts):
        if not missing:
            assert prompts is not None
            lacks, name = Lack("measurement", LABEL), quantity.formula.name
            missing = (
                f"{name[0].upper()}{name[1:]} has not been measured over {prompts.name} "
                f"({len(prompts)} prompts)."
            )
        return Data(
            missing, (quantity.formula, MEAN), (), "recurrence r", quantity.formula.name,
            quantity.formula, missing=missing, lacks=lacks, bundled=takes_bundled(recording),
        )  # fmt: skip
    nothing = result.why_nothing()
    texts = tuple(item.text for item in result.prompts.items)
    rows = PromptRows(
        result.prompts,
        result.how,
        (Column(quantity.formula.name, quantity.formula.text(), _by_place(result)),),
        texts,
        result.missing,
        index_of(recording.info.prompt, texts),
    )
    return Data(
        statement=nothing or _statement(result) + of_uncut(recording, result.how),
        formulas=(quantity.formula, MEAN),
        curves=() if nothing else _curves(result, recording, options.band),
        x_label="recurrence r",
        y_label=f"{axis_label(quantity)}, mean over {_prompts(len(result.prompts))}",
        formula=quantity.formula,
        log_y=quantity.log,
        cursor="recurrence",
        missing=nothing,
        bands=_interval(result) if options.band else "",
        rows=rows,
        result=result,
    )


def _interval(result: OverPrompts) -> str:
    mean = result.mean
    known = bool(np.isfinite(mean.low).any())
    return with_n(MEAN_KIND, int(mean.n.max(initial=0))) if known else ""


def _by_place(result: OverPrompts) -> np.ndarray:
    return result.values if result.has_layers else result.values[..., 0]


def _curves(result: OverPrompts, recording: Recording, band: bool) -> tuple[Curve, ...]:
    mean = result.mean
    r = np.arange(1.0, len(mean.value) + 1)
    layers = mean.value.shape[1]
    # One prompt has no interval to draw.
    ends = band and bool(np.isfinite(mean.low).any())
    names = recording.info.architecture.layer_names
    return tuple(
        Curve(
            names[i] if result.has_layers else "",
            r, mean.value[:, i],
            mean.low[:, i] if ends else None, mean.high[:, i] if ends else None,
            role="layer" if result.has_layers else "only", index=i, count=layers,
            place={"layer": i} if layers > 1 else {},
            places=tuple({"recurrence": int(at)} for at in r),
        )
        for i in range(layers)
    )  # fmt: skip


def _prompts(n: int) -> str:
    return "1 prompt" if n == 1 else f"{n} prompts"


def _statement(result: OverPrompts) -> str:
    """Say the mean with its interval at the first and the last recurrence that have one."""
    mean, name = result.mean, result.measure.formula.name
    known = np.flatnonzero(np.isfinite(mean.value).any(1))
    text = f"{name[0].upper()}{name[1:]}, mean over {_prompts(len(result.prompts))} of "
    text += f"{result.prompts.name}: "
    ends = dict.fromkeys([int(known[0]), int(known[-1])])
    text += ", ".join(f"{_mean_text(result, r)} at recurrence {r + 1}" for r in ends)
    if len(result.prompts) == 1:
        return f"{text}; one prompt has no interval"
    least = int(mean.n[known].min())
    if least < len(result.prompts):
        text += f"; {least} of {len(result.prompts)} prompts have a number"
    return text


def _mean_text(result: OverPrompts, r: int) -> str:
    value, low, high = (x[r] for x in (result.mean.value, result.mean.low, result.mean.high))
    if len(value) == 1:
        n = int(result.mean.n[r, 0])
        ends = f" (95 % {low[0]:.3g} to {high[0]:.3g}, n = {n})"
        alike = f" (all {n} prompts alike, so no interval)" if n > 1 else ""
        return f"{value[0]:.3g}{ends if np.isfinite(low[0]) else alike}"
    finite = value[np.isfinite(value)]
    return f"{finite.min():.3g} to {finite.max():.3g} over {len(value)} layers"


def table(data: Data) -> Table:
    """The means with their intervals, then every prompt's values."""
    columns = (
        "line",
        "prompt",
        "recurrence",
        "layer",
        "value",
        "low",
        "high",
        "prompts",
        "interval",
    )
    return Table(columns, _rows(data))


def _rows(data: Data) -> Iterator[tuple[object, ...]]:
    result = data.result
    if result is None:
        return
    mean = result.mean
    for r, i in np.ndindex(mean.value.shape):
        ends = float(mean.low[r, i]), float(mean.high[r, i])
        layer = i if result.has_layers else ""
        yield (
            "",
            "mean",
            r + 1,
            layer,
            float(mean.value[r, i]),
            *ends,
            int(mean.n[r, i]),
            _interval(result),
        )
    if data.rows is not None:
        for line, text, r, i, value in prompt_rows(data.rows):
            yield line, text, r, i if result.has_layers else "", value, "", "", "", ""


VIEW = ViewDefinition(Options, compute, table, request=REQUEST)
