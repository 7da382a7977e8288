"""Exits over a prompt set: agreement and recurrences at every threshold, with intervals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.measures.exits import RULES, Rule, Signals, stops
from loopscope.core.measures.intervals import Estimate, bootstrap_ratio, wilson_share
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.prompts.prompt_set import PromptSet
from loopscope.core.results import ResultKey


@dataclass(frozen=True, slots=True, eq=False)
class Swept:
    """One rule at several thresholds ``[G]``, over the tokens of a prompt set.

    used, agree : float64 ``[P, G]``, sums over each prompt's tokens.  n : float64 ``[P]``.
    mean_used, agreement : over all tokens, intervals over prompts ``[G]`` (Wilson's where all
        prompts agree alike).
    """

    thresholds: F64
    used: F64
    agree: F64
    n: F64
    mean_used: Estimate
    agreement: Estimate


def swept(rule: Rule, signals: tuple[Signals, ...], thresholds: F64) -> Swept:
    """Stop every prompt of a set by one rule at every threshold, ``[K]``.

    Means are over tokens (``Σ_p Σ_t / Σ_p T_p``); whole prompts are resampled.
    """
    every = [stops(rule, one, thresholds) for one in signals]
    used, agree = (np.array([getattr(s, k) for s in every]) for k in ("used", "agree"))
    n = np.array([float(s.n) for s in every])
    return Swept(
        thresholds, used, agree, n, bootstrap_ratio(used, n[:, None]),
        wilson_share(agree, n[:, None]),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class ExitsOverPrompts:
    """What was simulated.

    signals : of every prompt that has a token to look at, and ``rows`` its place in the set.
    sweeps : by rule; a rule that cannot be computed is in ``missing`` with the reason.
    only_answers : whether only the places of answers were looked at (the file gives answers).
    opens, left_out : for each prompt, text that runs it, and why it was left out or "".
    """

    prompts: PromptSet
    how: HowRun
    signals: tuple[Signals, ...]
    rows: tuple[int, ...]
    sweeps: dict[str, Swept]
    missing: dict[str, str]
    only_answers: bool
    opens: tuple[str, ...]
    left_out: tuple[str, ...]
    _kept: dict[tuple[str, float], Swept] = field(default_factory=dict)

    @classmethod
    def of(cls, signals: list[Signals], **rest: Any) -> ExitsOverPrompts:
        """Sweep every rule that can be computed in all prompts."""
        kept = tuple(signals)
        missing: dict[str, str] = {}
        for one in kept:
            missing |= one.missing
        sweeps: dict[str, Swept] = {
            rule.key: swept(rule, kept, rule.thresholds)
            for rule in RULES
            if kept and rule.key not in missing
        }
        return cls(signals=kept, sweeps=sweeps, missing=missing, **rest)

    def at(self, rule: Rule, threshold: float) -> Swept:
        """One rule at one threshold; kept, as views ask again at every step of a run."""
        key = rule.key, threshold
        if key not in self._kept:
            self._kept[key] = swept(rule, self.signals, np.array([threshold]))
        return self._kept[key]


EXITS_OVER_PROMPTS = ResultKey("exits", ExitsOverPrompts, "model")
