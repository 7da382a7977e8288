"""Exits of a run, token by token: where each rule stops and what it says there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from loopscope.core.arrays import F64, I64, Bools
from loopscope.core.labels import visible
from loopscope.core.measures.exits import (
    RULES,
    Rule,
    Signals,
    below_resolution,
    exit_at,
    still_running,
)
from loopscope.core.measures.readout import NO_ANSWER
from loopscope.core.run.recording import Recording


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One rule on the tokens of the run.

    at : int64 ``[T]``, exit recurrence.  stopped : bool ``[T]``, False where the rule never held.
    answers : text of the answer there.
    agrees : float64 ``[T]``, 1 where the full run says the same.
    unresolved : bool ``[T]``, of `below_resolution`.
    missing : why the rule cannot be computed, or "" (then the arrays are empty).
    """

    rule: Rule
    threshold: float
    at: I64
    stopped: Bools
    answers: tuple[str, ...]
    agrees: F64
    unresolved: Bools
    missing: str = ""

    @property
    def name(self) -> str:
        """The rule with its threshold: "relative step < 0.01"."""
        return f"{self.rule.name} {self.rule.sign[0]} {self.threshold:g}" + self.rule.sign[3:]


def outcomes_of(
    run: Signals, threshold_of: Callable[[Rule, float], float], gate: float, recording: Recording
) -> tuple[Outcome, ...]:
    """Stop this run's tokens by every rule."""
    outcomes = []
    for rule in RULES:
        threshold = threshold_of(rule, gate)
        if run.missing.get(rule.key) == "":
            continue
        if rule.key in run.missing:
            none = np.zeros(0)
            outcomes.append(
                Outcome(rule, threshold, none.astype(np.int64), none.astype(bool), (), none,
                        none.astype(bool), run.missing[rule.key])
            )  # fmt: skip
            continue
        at, stopped = exit_at(still_running(rule, run.values[rule.key], threshold))
        columns = np.arange(len(at))
        answers = texts_of(run.answers[at - 1, columns], recording)
        same, noise = run.same[at - 1, columns], below_resolution(rule, run, threshold)
        outcomes.append(Outcome(rule, threshold, at, stopped, answers, same, noise))
    return tuple(outcomes)


def texts_of(ids: I64, recording: Recording) -> tuple[str, ...]:
    """Readable answers of token ids ``[n]``; "–" where there is none."""
    return tuple("–" if i == NO_ANSWER else visible(recording.label(int(i))) for i in ids)
