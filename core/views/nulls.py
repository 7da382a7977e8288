"""Held to nulls: heads against their bound, stages and cycle against what is there anyway."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.measures.base import RUNS_ONCE
from loopscope.core.measures.intervals import MEAN_KIND, with_n
from loopscope.core.measures.nulls import (
    BOUND,
    CHANGE,
    CYCLE,
    NULLS,
    REPETITION,
    SHUFFLED,
    HeldToNulls,
)
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import PROMPTS, RECURRENCE, Lack, Request, Table, ViewDefinition
from loopscope.core.views.curves_data import Curve, Curves
from loopscope.core.views.prompts_or_task import NO_PROMPTS, why_no_prompts

LABEL = "Hold it to nulls"
NOT_YET = "Nothing has been held to its null yet."
TWO = "A change takes two recurrences to be seen."
OF_A_DEEP_MODEL = f"A change takes two recurrences to be seen; {RUNS_ONCE}."
LACKS = Lack("measurement", LABEL)
FORMULAS = (CHANGE, BOUND, REPETITION, CYCLE, SHUFFLED)
# Measures whose curves over the layers are asked to repeat.
STAGES = ("entropy", "matrix_entropy", "column_concentration", "residual_norm")


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the nulls."""

    tolerance: float = setting(
        0.01,
        "Settled below",
        "Median relative step from which on successive recurrences are the same state; of stages",
        high=1,
    )
    prompts: int = setting(
        24, "Prompts", "Of the prompt set, or generated for the task hops", low=2, high=1000
    )
    seed: int = setting(0, "Seed", "Of generated prompts and of what is shuffled")


@dataclass(frozen=True, slots=True, eq=False)
class Data(Curves):
    """Head change and its bound by recurrence; ``result`` is None before it is measured."""

    result: HeldToNulls | None = None


def why_not(recording: Recording) -> str:
    """Why nothing can be held to a null, or ""."""
    if why := why_no_prompts(recording):
        return why
    if recording.n_recurrences > 1:
        return ""
    return OF_A_DEEP_MODEL if recording.info.architecture.runs_once else TWO


REQUEST = Request(
    LABEL,
    "Runs prompts on the model and on a copy with the weights of its block shuffled; compares head "
    "changes with their bound, stages with shuffled layers, the cycle with the spread over prompts",
    NULLS,
    why_not,
)


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Draw head change beside its bound; the statement has stages and cycle."""
    result = recording.result(NULLS)
    if result is None:
        text = why_not(recording) or NOT_YET
        lacks = {NOT_YET: LACKS, NO_PROMPTS: PROMPTS, TWO: RECURRENCE}.get(text)
        return Data(text, FORMULAS, (), "", CHANGE.name, CHANGE, missing=text, lacks=lacks)
    return Data(
        statement=statement(result),
        formulas=FORMULAS,
        curves=_curves(result),
        x_label="recurrence r",
        y_label=f"{CHANGE.name} [{CHANGE.unit}]",
        formula=CHANGE,
        log_y=True,
        cursor="recurrence",
        bands=with_n(MEAN_KIND, result.n_prompts),
        result=result,
    )


def _curves(result: HeldToNulls) -> tuple[Curve, ...]:
    if result.no_bound:
        return ()
    x = np.arange(2.0, result.recurrences + 1)
    places = tuple({"recurrence": int(r)} for r in x)
    found = result.change

    def reference(name: str, index: int, y: F64) -> Curve:
        # Two references need a colour each.
        return Curve(
            name, x, y, role="token", index=index, count=3, dashed=True, places=places
        )  # fmt: skip

    return (
        Curve(
            "change", x, found.value, found.low, found.high, role="token", index=0, count=3,
            places=places,
        ),
        reference("bound", 1, result.bound),
        reference("weights shuffled", 2, result.change_shuffled),
    )  # fmt: skip


def statement(result: HeldToNulls) -> str:
    """Heads, stages and cycle, each beside its null, or why there is none."""
    return (
        f"{result.model}, {result.n_prompts} of the {result.prompts}, R = {result.recurrences}: "
        f"{_heads(result)}; {_stages(result)}; {_cycle(result)}"
    )


def _heads(result: HeldToNulls) -> str:
    if result.no_bound:
        return f"no bound of head change: {result.no_bound}"
    loose = result.bound / np.maximum(result.change.value, 1e-300)
    within = "within" if result.tightest <= 1 else "NOT within"
    return (
        f"head changes are {within} their bound (at most {result.tightest:.2g} of it), which is "
        f"{loose.min():.3g} to {loose.max():.3g} times the mean change"
    )


def _stages(result: HeldToNulls) -> str:
    if result.no_stages:
        return f"no stages: {result.no_stages}"
    said = ", ".join(
        f"{s.measure.replace('_', ' ')} {s.value:.2f} (layers shuffled {s.shuffled:.2f}, p = "
        f"{s.p:.3g}; weights shuffled {s.weights:.2f})"
        for s in result.stages
    )
    return f"stages repeat up to r = {result.until}: {said}"


def _cycle(result: HeldToNulls) -> str:
    if result.no_cycle:
        return f"no cycle: {result.no_cycle}"
    verb = "are" if result.cycle > 1 else "are NOT"
    return (
        f"layers {verb} farther apart than prompts ({result.cycle:.3g} times; weights shuffled "
        f"{result.cycle_shuffled:.3g})"
    )


def table(data: Data) -> Table:
    """Head changes by recurrence, then stages and the cycle, each beside its null."""
    columns = (
        "what",
        "recurrence",
        "value",
        "low",
        "high",
        "bound or null",
        "weights shuffled",
        "p",
    )
    return Table(columns, _rows(data))


def _rows(data: Data) -> Iterator[tuple[object, ...]]:
    result = data.result
    if result is None:
        return
    for i in range(0 if result.no_bound else result.recurrences - 1):
        found = result.change
        yield (
            f"{CHANGE.name} [{CHANGE.unit}]", i + 2, float(found.value[i]), float(found.low[i]),
            float(found.high[i]), float(result.bound[i]), float(result.change_shuffled[i]), "",
        )  # fmt: skip
    for s in result.stages:
        yield (
            f"repetition of {s.measure}",
            result.until,
            s.value,
            "",
            "",
            s.shuffled,
            s.weights,
            s.p,
        )
    yield CYCLE.name, result.recurrences, result.cycle, "", "", 1.0, result.cycle_shuffled, ""


VIEW = ViewDefinition(Options, compute, table, request=REQUEST)
