"""Linear probes: what is readable of a label from the state, by recurrence and by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from loopscope.core.measures.intervals import SHARE_KIND, with_n
from loopscope.core.measures.linear_probes import (
    LINEAR_PROBES,
    PERMUTED,
    READ,
    LinearProbes,
)
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import PROMPTS, Lack, Request, Table, ViewDefinition
from loopscope.core.views.curves_data import Curve, Curves, curves_table
from loopscope.core.views.prompts_or_task import NO_PROMPTS, why_no_prompts

LABEL = "Fit linear probes"
NOT_YET = "No probe has been fitted yet."
LACKS = Lack("measurement", LABEL)
LabelKind = Literal["auto", "file", "hops", "answers", "tokens"]
# Labels that the statement names.
MOST_SAID = 3


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the probes."""

    labels: LabelKind = setting(
        "auto",
        "Labels",
        "What is looked for in the state of each token; of the next fit",
        labels={
            "auto": "the first of these that there is",
            "file": "those of the prompt file",
            "hops": "letters so many hops on (task hops)",
            "answers": "the right answer, where it is read out",
            "tokens": "this token, the one before, the next",
        },
        at_hand=True,
    )
    null: bool = setting(
        True, "Labels permuted", "What the same probes read of labels that mean nothing, dashed"
    )
    prompts: int = setting(
        256, "Prompts", "Of the prompt set, or generated for the task hops; half are fitted",
        low=2, high=10_000,
    )  # fmt: skip
    permutations: int = setting(20, "Permutations", "Of the labels", low=0, high=1000)
    seed: int = setting(0, "Seed", "Of generated prompts, of the halves and of the permutations")


@dataclass(frozen=True, slots=True, eq=False)
class Data(Curves):
    """A curve for each label along effective depth; ``result`` is None before it is measured."""

    result: LinearProbes | None = None


def why_not(recording: Recording) -> str:
    """Why no probe can be fitted, or ""."""
    return why_no_prompts(recording)


REQUEST = Request(
    LABEL,
    "Fits a linear map from the states of half of the prompts to a label of their tokens, at every "
    "place, and tests it on the other half",
    LINEAR_PROBES,
    why_not,
)


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Draw what was read at each place."""
    result = recording.result(LINEAR_PROBES)
    if result is None:
        text = why_not(recording) or NOT_YET
        lacks = LACKS if text == NOT_YET else PROMPTS if text == NO_PROMPTS else None
        return Data(text, (READ, PERMUTED), (), "", READ.name, READ, missing=text, lacks=lacks)
    return Data(
        statement=statement(result),
        formulas=(READ, PERMUTED),
        curves=_curves(result, options),
        x_label="layers of the block run so far",
        y_label=f"{READ.name} [{READ.unit}]",
        formula=READ,
        bands=with_n(SHARE_KIND, result.tested),
        result=result,
    )


def _curves(result: LinearProbes, options: Options) -> tuple[Curve, ...]:
    places = ({"recurrence": 0}, *(result.places.at(i) for i in range(len(result.places))))
    x = np.array([0.0, *result.places.depths])
    notes = ("start", *result.places.labels)
    n, found = len(result.labels), result.accuracy
    curves = [
        Curve(
            name, x, found.value[i], found.low[i], found.high[i], role="token", index=i, count=n,
            places=places, notes=notes,
        )
        for i, name in enumerate(result.labels)
    ]  # fmt: skip
    if options.null and result.permutations:
        curves.append(
            Curve(
                "labels permuted, the highest", x, result.null.max(0), role="reference",
                dashed=True, places=places,
            )
        )  # fmt: skip
    return tuple(curves)


def statement(result: LinearProbes) -> str:
    """Say where each label is read best, beside its null, and over how many prompts."""
    said = [_best(result, i) for i in range(min(len(result.labels), MOST_SAID))]
    more = len(result.labels) - len(said)
    text = f"{result.model}, fitted on {result.fitted} and tested on {result.tested} of the "
    text += f"{result.prompts}: {'; '.join(said)}"
    text += f"; and {more} more" if more else ""
    rare = float(result.left_out.max())
    return text + (f"; up to {rare:.0%} of the tokens have rarer labels, left out" if rare else "")


def _best(result: LinearProbes, i: int) -> str:
    """One label at the place where it is read best."""
    found = result.accuracy
    at = int(np.nanargmax(found.value[i]))
    where = ("start", *result.places.labels)[at]
    text = f"“{result.labels[i]}” is read best at {where}, {found.value[i, at]:.3g}"
    if np.isfinite(found.low[i, at]):
        text += f" ({found.low[i, at]:.3g} to {found.high[i, at]:.3g})"
    if result.permutations:
        text += f", permuted {result.null[i, at]:.3g}"
    return text + f", commonest label {result.commonest[i]:.3g}"


def table(data: Data) -> Table:
    """One row for each label and place."""
    return curves_table(data, x="layers run", curve="label")


VIEW = ViewDefinition(Options, compute, table, request=REQUEST)
