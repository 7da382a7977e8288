"""Exits simulated on a run that went on: where a rule would have stopped, and what it had said.

Nothing is run again: a rule looks at numbers of recurrences up to its own, so stopping there leaves
the recurrences before it as they were. Axis names: ``R`` recurrences, ``T`` tokens; row 0 is
recurrence 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from loopscope.core.arrays import F64, I64, Bools
from loopscope.core.formula import Formula
from loopscope.core.measures.base import measure
from loopscope.core.measures.exit_gate import left_by
from loopscope.core.measures.intervals import SHARE_METHOD
from loopscope.core.measures.readout import NO_ANSWER
from loopscope.core.measures.registry import MEASURES
from loopscope.core.measures.settling import NOISE_FLOORS, relative_floor
from loopscope.core.model.architecture import ExitRule
from loopscope.core.run.recording import Recording

RuleKey = Literal["step", "acceleration", "kl", "gate", "hazard"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One exit rule.

    name, short : in words, and for a narrow heading.
    sign : how its number is compared with the threshold.
    measure : key of the live measure it looks at.  running : recurrences in a row it must hold.
    formula : with source.  thresholds : that a sweep goes through, in order.
    gate : how the model's exit gate is read, None for a rule that asks no gate.
    """

    key: RuleKey
    name: str
    short: str
    sign: str
    measure: str
    formula: Formula
    thresholds: F64
    running: int = 1
    gate: ExitRule | None = None


# Twelve a decade, from below float32's rounding to above any step or divergence.
_TAUS = np.geomspace(1e-8, 1e2, 121)
_AT = "exit recurrence"
RULES: tuple[Rule, ...] = (
    Rule(
        "step",
        "relative step",
        "step",
        "< τ",
        "relative_step",
        Formula(
            f"{_AT}, relative step",
            "min{r : ‖s_r − s_{r−1}‖ / ‖s_r‖ < τ}, else R",
            "recurrence",
            "arXiv 2502.05171, 2509.23314",
        ),
        _TAUS,
    ),
    Rule(
        "acceleration",
        "acceleration",
        "acc.",
        "< τ twice",
        "relative_acceleration",
        Formula(
            f"{_AT}, acceleration",
            "min{r : a_{r−1} < τ and a_r < τ}, else R; a_r = ‖Δ_r − Δ_{r−1}‖ / ‖s_r‖",
            "recurrence",
            "arXiv 2509.23314",
        ),
        _TAUS,
        running=2,
    ),
    Rule(
        "kl",
        "KL",
        "KL",
        "< τ",
        "readout_change",
        Formula(
            f"{_AT}, KL",
            "min{r : KL(p_r ‖ p_{r−1}) < τ}, else R; p_r = softmax(head(coda(s_r)))",
            "recurrence",
            "arXiv 2502.05171",
        ),
        _TAUS,
    ),
    Rule(
        "gate",
        "exit gate",
        "gate",
        "≥ q",
        "exit_hazard",
        Formula(
            f"{_AT}, gate",
            "min{r : Σ_{j≤r} λ_j Π_{i<j} (1 − λ_i) ≥ q}, else R",
            "recurrence",
            "arXiv 2510.25741; q of the config",
        ),
        np.linspace(0, 1, 101),
        gate="distribution",
    ),
    Rule(
        "hazard",
        "exit gate, one recurrence",
        "gate λ",
        "≥ q",
        "exit_hazard",
        Formula(
            f"{_AT}, gate, one recurrence",
            "min{r : λ_r ≥ q}, else R",
            "recurrence",
            "LoopUS, halting_strategy threshold; q of the config",
        ),
        np.linspace(0, 1, 101),
        gate="hazard",
    ),
)
BY_KEY: dict[str, Rule] = {rule.key: rule for rule in RULES}
AGREEMENT = Formula(
    "agreement with the full run",
    "share of tokens with argmax p_exit = argmax p_R",
    "share of tokens",
    f"Loopscope; coda lens, arXiv 2502.05171; {SHARE_METHOD}",
)
USED = Formula(
    "recurrences used",
    "mean over tokens of the exit recurrence; R where a rule never holds",
    "recurrences",
    "Loopscope",
)


def limits(rule: Rule, values: F64) -> F64:
    """What the threshold is held against after each recurrence, ``[R, T]``, once and for all.

    The least number so far, at as many recurrences in a row as the rule asks for; of a gate what
    `left_by` gives. Each goes one way only, as a token that has stopped stays so.

    Parameters
    ----------
    values
        float64 ``[R, T]``: the rule's measure; of the gate its hazards ``λ_r``. NaN never stops.
    """
    if rule.gate is not None:
        left = left_by(values, rule.gate)
        return np.maximum.accumulate(np.where(np.isnan(left), -np.inf, left), axis=0)
    held = np.where(np.isnan(values), np.inf, values)
    for _ in range(rule.running - 1):
        held[1:] = np.maximum(held[1:], held[:-1])
        held[:1] = np.inf
    return np.minimum.accumulate(held, axis=0)


def still_running(rule: Rule, values: F64, threshold: float) -> Bools:
    """Whether a token still runs after each recurrence, bool ``[R, T]``."""
    limit = limits(rule, values)
    return np.asarray(limit < threshold if rule.gate else limit >= threshold)


def exits_at(rule: Rule, values: F64, thresholds: F64) -> I64:
    """The exit recurrence at every threshold (in rising order), int64 ``[G, T]``.

    As `exit_at` of `still_running` at each of them, but in one go.
    """
    r, t = values.shape
    g = len(thresholds)
    # Of each recurrence how many thresholds its limit reaches; a threshold's exit follows from how
    # many recurrences still run at it.
    reached = np.searchsorted(thresholds, limits(rule, values).ravel(), side="right")
    places = reached * t + np.tile(np.arange(t), r)
    counts = np.bincount(places, minlength=(g + 1) * t).reshape(g + 1, t)
    upto = counts.cumsum(0)[:g]
    running = upto if rule.gate else r - upto
    return np.asarray(np.minimum(running + 1, r), dtype=np.int64)


def exit_at(still: Bools) -> tuple[I64, Bools]:
    """The recurrence at which each token stops, int64 ``[T]``, and whether it stops by itself.

    A token that never does has used all ``R``.
    """
    n = len(still)
    stopped = ~still[-1] if n else np.zeros(still.shape[1], np.bool_)
    at = np.minimum(still.sum(0) + 1, n)
    return at.astype(np.int64), stopped


def agrees(answers: I64) -> F64:
    """Whether the answer at each recurrence is that of the last, 1 or 0, float64 ``[R, T]``.

    NaN where either is `NO_ANSWER` (a readout that is not finite).
    """
    same = (answers == answers[-1:]).astype(np.float64)
    return np.where((answers == NO_ANSWER) | (answers[-1:] == NO_ANSWER), np.nan, same)


def final_since(same: F64) -> F64:
    """The recurrence from which on the answer is the last one's, float64 ``[T]``; NaN for none.

    ``same`` is what `agrees` gives. Known only with hindsight: no rule can be sure of it.
    """
    n = len(same)
    differs = same[::-1] == 0
    since = np.where(differs.any(0), n - differs.argmax(0) + 1, 1).astype(np.float64)
    return np.where(np.isfinite(same).all(0), since, np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Signals:
    """What the rules look at in one run.

    values : by rule float64 ``[R, T]``.  missing : by rule why it cannot be computed, "" of a rule
        by which other families read their gate.
    same : of `agrees`.  answers : int64 ``[R, T]``, top answer of the coda lens.
    noise : relative step within which rounding could have made it, by the run's dtype.
    """

    values: dict[str, F64]
    missing: dict[str, str]
    same: F64
    answers: I64
    noise: float = 0.0

    def of(self, positions: tuple[int, ...]) -> Signals:
        """Only these tokens."""
        at = list(positions)
        values = {key: v[:, at] for key, v in self.values.items()}
        return Signals(values, self.missing, self.same[:, at], self.answers[:, at], self.noise)


def signals_of(recording: Recording) -> Signals:
    """Gather what the rules look at; needs at least one recurrence with readouts."""
    answers = recording.answers("coda")
    assert answers is not None
    finite = np.isfinite(answers.probabilities[..., 0])
    top = np.where(finite, answers.ids[..., 0], NO_ANSWER)
    values: dict[str, F64] = {}
    missing: dict[str, str] = {}
    read = recording.info.architecture.exit_rule
    for rule in RULES:
        if rule.gate not in (None, read):
            missing[rule.key] = ""
            continue
        measured = measure(recording, MEASURES[rule.measure])
        if measured.missing:
            missing[rule.key] = measured.missing
        else:
            # The recording may have gone on since its answers were taken.
            values[rule.key] = measured.values[: len(top)]
    noise = NOISE_FLOORS * relative_floor(recording.info.dtype)
    return Signals(values, missing, agrees(top), top, noise)


def below_resolution(rule: Rule, signals: Signals, threshold: float) -> Bools:
    """Whether each token stops where the number that stops it may be rounding, bool ``[T]``.

    Its state moves there by no more than `Signals.noise`. Of a rule that looks at such moves only
    where the threshold is within the noise too; what a divergence of answers owes to the rounding
    of the state is not known, whatever its threshold. A gate looks at no change.
    """
    if rule.gate is not None or (rule.key != "kl" and threshold > signals.noise):
        return np.zeros(signals.same.shape[1], np.bool_)
    at, stopped = exit_at(still_running(rule, signals.values[rule.key], threshold))
    steps = signals.values["step"][at - 1, np.arange(len(at))]
    return np.asarray(stopped & (steps <= signals.noise))


@dataclass(frozen=True, slots=True, eq=False)
class Stops:
    """Sums over the tokens of one run, for each threshold ``[G]``: over tokens with an answer.

    used : exit recurrences.  agree : tokens that say what the full run says.  n : tokens.
    """

    used: F64
    agree: F64
    n: int


def stops(rule: Rule, signals: Signals, thresholds: F64) -> Stops:
    """Stop by one rule at every threshold, ``[K]``."""
    values, same = signals.values[rule.key], signals.same
    known = np.isfinite(same).all(0)
    at = exits_at(rule, values[:, known], thresholds)
    columns = np.flatnonzero(known)
    agree = same[at - 1, columns].sum(1)
    return Stops(at.sum(1).astype(np.float64), agree, len(columns))
