"""Interchange: whether an answer follows when part of the state is that of another prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loopscope.core.measures.interchange import (
    FOLLOWED,
    INTERCHANGE,
    KEPT,
    THIRD,
    Interchange,
    Part,
)
from loopscope.core.measures.intervals import SHARE_KIND, Estimate, with_n
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import PROMPTS, Lack, Request, Table, ViewDefinition
from loopscope.core.views.curves_data import Curve, Curves, curves_table
from loopscope.core.views.prompts_or_task import NO_PROMPTS, why_no_prompts

LABEL = "Exchange states"
NOT_YET = "No states have been exchanged yet."
LACKS = Lack("measurement", LABEL)
FORMULAS = (FOLLOWED, KEPT, THIRD)
PARTS: dict[Part, str] = {
    "answer": "the state of one token that is read out",
    "answers": "the states of all tokens that are read out",
    "others": "the states of all tokens that are not read out",
}


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the exchange."""

    part: Part = setting(
        "answer",
        "Exchange",
        "What each prompt gets of the other one; of the next exchange",
        labels={
            "answer": "one token that is read out, drawn",
            "answers": "all tokens that are read out",
            "others": "all other tokens",
        },
        at_hand=True,
    )
    recurrences: int = setting(
        0,
        "Recurrences",
        "Of every run, which is read out at its end",
        high=100_000,
        lowest="as the run in the bench",
    )
    prompts: int = setting(
        200, "Prompts", "Of the prompt set, or generated for the task hops", low=2, high=5000
    )
    seed: int = setting(0, "Seed", "Of generated prompts and of the tokens drawn")


@dataclass(frozen=True, slots=True, eq=False)
class Data(Curves):
    """Answers that follow and that stay, by place; ``result`` is None before it is measured."""

    result: Interchange | None = None


def why_not(recording: Recording) -> str:
    """Why nothing can be exchanged, or ""."""
    return why_no_prompts(recording)


REQUEST = Request(
    LABEL,
    "Puts part of the state of another prompt into the run of each, at every place in turn, runs "
    "on and reads out",
    INTERCHANGE,
    why_not,
)


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Draw what became of the answers."""
    result = recording.result(INTERCHANGE)
    if result is None:
        text = why_not(recording) or NOT_YET
        lacks = LACKS if text == NOT_YET else PROMPTS if text == NO_PROMPTS else None
        return Data(text, FORMULAS, (), "", "share", FOLLOWED, missing=text, lacks=lacks)
    n = int(result.followed.n.max(initial=0))
    return Data(
        statement=statement(result),
        formulas=FORMULAS,
        curves=_curves(result),
        x_label="exchanged after layer" if result.after_layers else "exchanged after recurrence r",
        y_label="share of the answers at R",
        formula=FOLLOWED,
        cursor="" if result.after_layers else "recurrence",
        bands=with_n(SHARE_KIND, n),
        result=result,
    )


def _curves(result: Interchange) -> tuple[Curve, ...]:
    key = "layer" if result.after_layers else "recurrence"
    places = tuple(
        {"recurrence": 1, "layer": int(p)} if result.after_layers else {key: int(p)}
        for p in result.places
    )
    x = result.places.astype(np.float64)

    def curve(name: str, found: Estimate, index: int) -> Curve:
        return Curve(
            name, x, found.value, found.low, found.high, role="token", index=index, count=2,
            places=places,
        )  # fmt: skip

    return (
        curve("as the other prompt", result.followed, 0),
        curve("as before", result.kept, 1),
        Curve(
            "as a third prompt", x, result.third.value, role="reference", dashed=True,
            places=places,
        ),
    )  # fmt: skip


def statement(result: Interchange) -> str:
    """Say where fewest and most answers follow, beside the null, and how unlike the prompts are."""
    found = result.followed
    if not np.isfinite(found.value).any():
        return (
            f"{result.model}: every prompt and the other one say the same uncut, so nothing can be "
            "seen to follow."
        )
    low, high = int(np.nanargmin(found.value)), int(np.nanargmax(found.value))
    where = "layer" if result.after_layers else "recurrence"
    at = [f"after {where} {result.places[i]}" for i in (low, high)]
    stay = " and ".join(f"{result.kept.value[i]:.3g}" for i in (low, high))
    text = (
        f"{result.model}, {PARTS[result.part]} exchanged: {_said(found, low)} of the answers "
        f"follow at the least ({at[0]}), {_said(found, high)} at the most ({at[1]}); {stay} stay; "
        f"a third prompt's are hit in at most {np.nanmax(_known(result.third.value)):.3g}"
    )
    text += f"; {result.n_prompts} of the {result.prompts}, R = {result.recurrences}"
    text += f"; a prompt and the other differ in {result.different:g} of {result.n_tokens:g} tokens"
    return text + (f"; {result.right:.3g} right uncut" if np.isfinite(result.right) else "")


def _known(values: np.ndarray) -> np.ndarray:
    return values if np.isfinite(values).any() else np.zeros(1)


def _said(found: Estimate, i: int) -> str:
    ends = f" ({found.low[i]:.3g} to {found.high[i]:.3g})" if np.isfinite(found.low[i]) else ""
    return f"{found.value[i]:.3g}{ends}"


def table(data: Data) -> Table:
    """One row for each curve and place."""
    return curves_table(data, x="after", curve="answers")


VIEW = ViewDefinition(Options, compute, table, request=REQUEST)
