"""Stitching: whether a second model can go on from this one's state, linearly mapped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.formula import Formula
from loopscope.core.measures.intervals import MEAN_KIND, SHARE_KIND, Estimate, with_n
from loopscope.core.measures.stitching import (
    ACCURACY,
    BY_RIDGE,
    CEILING,
    NATS,
    NULL,
    STITCHING,
    TRAINED,
    Stitching,
)
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import (
    PROMPTS,
    SECOND_MODEL,
    Lack,
    Request,
    Table,
    ViewDefinition,
)
from loopscope.core.views.curves_data import Curve, Curves
from loopscope.core.views.prompts_or_task import NO_PROMPTS, why_no_prompts
from loopscope.core.views.second_run import SecondRun

LABEL = "Stitch the two models"
NO_MODEL = "There is no second model to stitch with."
NOT_YET = "The two models have not been stitched."
ALONE = f"Can a second model go on from this one's state, linearly mapped? {NO_MODEL}"
LACKS = Lack("measurement", LABEL)
FORMULAS = (ACCURACY, BY_RIDGE, TRAINED, NULL, CEILING)


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the stitching."""

    direction: Literal["into", "back"] = setting(
        "into",
        "Stitch",
        "Whose state is mapped and who goes on; of the next stitching",
        labels={
            "into": "this model's state into the second",
            "back": "the second model's state into this",
        },
        at_hand=True,
    )
    steps: int = setting(
        0,
        "Train the map",
        "Steps of training on the task, from the ridge map at the best place on",
        high=100_000,
        lowest="not: ridge alone",
    )
    reference: str = setting(
        "",
        "Another seed",
        "Checkpoint of the kind of the model that goes on and another training seed: how well two "
        "of a kind are stitched",
    )
    prompts: int = setting(
        200, "Prompts", "Of the prompt set, or generated for the task hops; half are fitted",
        low=2, high=10_000,
    )  # fmt: skip
    seed: int = setting(0, "Seed", "Of generated prompts, of the halves and of the training")


@dataclass(frozen=True, slots=True, eq=False)
class Data(Curves):
    """Scores by place of the first model; ``result`` is None before it is measured."""

    result: Stitching | None = None


def why_not(recording: Recording) -> str:
    """Why nothing can be stitched, or ""."""
    return why_no_prompts(recording)


REQUEST = Request(
    LABEL,
    "Fits linear maps from every place of the one model to every place of the other on half of the "
    "prompts and lets the other go on from them on the other half",
    STITCHING,
    why_not,
    second_run=NO_MODEL,
)


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Draw how well the second model goes on from each place."""
    result = recording.result(STITCHING)
    if result is None:
        why = why_not(recording)
        lacks = SECOND_MODEL if not why else PROMPTS if why == NO_PROMPTS else None
        text = why or ALONE
        return Data(text, FORMULAS, (), "", ACCURACY.name, ACCURACY, missing=text, lacks=lacks)
    formula = formula_of(result)
    kind = SHARE_KIND if result.metric == "accuracy" else MEAN_KIND
    return Data(
        statement=statement(result),
        formulas=(formula, *FORMULAS[1:]),
        curves=_curves(result),
        x_label=f"state of {result.first.name} after "
        + ("layer" if result.first.after_layers else "recurrence r"),
        y_label=f"{formula.name} [{formula.unit}]",
        formula=formula,
        bands=with_n(kind, result.tested),
        result=result,
    )


def formula_of(result: Stitching) -> Formula:
    """Return the formula of the scores, with their unit."""
    return ACCURACY if result.metric == "accuracy" else NATS


def compute_second(
    recording: Recording, second_run: SecondRun, selection: Selection, options: Options
) -> Data:
    """The same beside a second run."""
    data = compute(recording, selection, options)
    if data.lacks == SECOND_MODEL:
        return replace(data, statement=NOT_YET, missing=NOT_YET, lacks=LACKS)
    if data.result is None:
        return data
    there, names = second_run.recording.info.checkpoint, (data.result.first, data.result.second)
    if there not in (side.name for side in names):
        text = f"Stitched with another model than {there}: stitch again. "
        return replace(data, statement=text + data.statement)
    cut = recording.info.interventions or second_run.recording.info.interventions
    statement = f"{data.statement}; of the models uncut" if cut else data.statement
    return replace(data, statement=statement)


def _curves(result: Stitching) -> tuple[Curve, ...]:
    first = result.first
    x = first.places.astype(np.float64)
    notes = tuple(f"into {result.second.label(j)}" for j in result.best)

    def best(found: Estimate) -> tuple[F64, F64, F64]:
        return result.of_best(found.value), result.of_best(found.low), result.of_best(found.high)

    def curve(name: str, index: int, y: F64, low: F64, high: F64) -> Curve:
        return Curve(name, x, y, low, high, role="token", index=index, count=5, notes=notes)

    curves = [curve("ridge, best place", 0, *best(result.ridge))]
    if result.steps:
        found = result.trained
        curves.append(curve("trained there", 1, found.value, found.low, found.high))
    if result.seed_name:
        curves.append(curve(f"{result.seed_name} there", 2, *best(result.seed)))
    for i, (name, found) in enumerate(
        (("itself there", result.itself), ("position means alone", result.null)), start=3
    ):
        at = result.of_best(found.value)
        # Two references need a colour each.
        curves.append(
            Curve(name, x, at, role="token", index=i, count=5, dashed=True, notes=notes)
        )  # fmt: skip
    return tuple(curves)


def statement(result: Stitching) -> str:
    """Say from where the second model goes on best and worst, beside null and ceiling."""
    at = result.of_best(result.ridge.value)
    order = np.argsort(-at if result.metric == "accuracy" else at, kind="stable")
    top, bottom = int(order[0]), int(order[-1])
    unit = "right" if result.metric == "accuracy" else "nats a token"
    text = (
        f"{result.first.name} into {result.second.name}: by ridge {_said(result, top)} {unit} from "
        f"{result.first.label(top)} into {result.second.label(int(result.best[top]))}, "
        f"{_said(result, bottom)} from {result.first.label(bottom)} into "
        f"{result.second.label(int(result.best[bottom]))}"
    )
    if result.steps:
        text += f"; trained {result.trained.value[top]:.3g} and {result.trained.value[bottom]:.3g}"
    null, itself = (result.of_best(e.value) for e in (result.null, result.itself))
    text += f"; position means alone {null[top]:.3g} and {null[bottom]:.3g}, "
    text += f"itself {itself[top]:.3g} and {itself[bottom]:.3g}"
    if result.seed_name:
        seed = result.of_best(result.seed.value)
        text += f", {result.seed_name} {seed[top]:.3g} and {seed[bottom]:.3g}"
    text += f"; uncut {result.uncut:.3g}"
    return text + (
        f"; fitted on {result.n_tokens:,} tokens of {result.fitted}, tested on {result.tested} of "
        f"the {result.prompts}"
    )


def _said(result: Stitching, i: int) -> str:
    j = int(result.best[i])
    value, low, high = (e[i, j] for e in (result.ridge.value, result.ridge.low, result.ridge.high))
    return f"{value:.3g}" + (f" ({low:.3g} to {high:.3g})" if np.isfinite(low) else "")


def table(data: Data) -> Table:
    """One row for each pair of places."""
    formula = data.formula
    columns = (
        "from", "into", f"{formula.name}, ridge [{formula.unit}]", "low", "high", "interval",
        "best", "trained", "position means alone", "itself", "another seed",
    )  # fmt: skip
    return Table(columns, _rows(data))


def _rows(data: Data) -> Iterator[tuple[object, ...]]:
    result = data.result
    if result is None:
        return
    ridge = result.ridge
    for i, j in np.ndindex(ridge.value.shape):
        best = bool(result.best[i] == j)
        yield (
            int(result.first.places[i]), int(result.second.places[j]), float(ridge.value[i, j]),
            float(ridge.low[i, j]), float(ridge.high[i, j]), data.bands, int(best),
            float(result.trained.value[i]) if best and result.steps else "",
            float(result.null.value[j]), float(result.itself.value[j]),
            float(result.seed.value[j]) if result.seed_name else "",
        )  # fmt: skip


VIEW = ViewDefinition(Options, compute, table, request=REQUEST, compute_second=compute_second)
