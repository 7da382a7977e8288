"""Interchange: what becomes of an answer when part of the state is that of another prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loopscope.core.arrays import I64
from loopscope.core.formula import Formula
from loopscope.core.measures.intervals import Estimate
from loopscope.core.results import ResultKey

# What is exchanged: one token that is read out, drawn for each prompt; all that are; all others.
Part = Literal["answer", "answers", "others"]

FOLLOWED = Formula(
    "answers that follow",
    "share of a prompt's read-out tokens (of the exchanged one alone, where that is one) that say "
    "after R what the other prompt says there uncut, of those where the two say different things; "
    "x_t ← x′_t at the exchanged tokens at one place, mean over prompts",
    "share of tokens",
    "interchange intervention, Geiger et al. arXiv 2106.02997",
)
KEPT = Formula(
    "answers as before", "the same that say what they say uncut", "share of tokens", "Loopscope"
)
THIRD = Formula(
    "a third prompt's answers",
    "the same that say what a third prompt says there uncut, where that is neither of the two",
    "share of tokens",
    "null: an answer that is neither followed nor kept, hit by chance",
)


@dataclass(frozen=True, slots=True, eq=False)
class Interchange:
    """What was found at each of ``E`` places.

    model : its name.  part : what was exchanged.  recurrences : ``R`` of every run.
    after_layers : whether the places are after layers (of a model with no loop) or recurrences.
    places : int64 ``[E]``, recurrence from 1, or layer from 0.
    followed, kept, third : ``[E]`` with intervals over prompts.
    prompts : what they are, in words.  n_prompts : that have another one to be exchanged with.
    different, n_tokens : tokens in which a prompt and the other differ (median), and has (median).
    right : share of the uncut answers that are right; NaN where the file gives none.
    """

    model: str
    part: Part
    recurrences: int
    after_layers: bool
    places: I64
    followed: Estimate
    kept: Estimate
    third: Estimate
    prompts: str
    n_prompts: int
    different: float
    n_tokens: float
    right: float


INTERCHANGE = ResultKey("interchange", Interchange, "model")
