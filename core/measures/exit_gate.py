"""Exit gates: the chance of leaving at each recurrence, and where a threshold would leave."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from loopscope.core.arrays import F32, F64, I64
from loopscope.core.formula import Formula
from loopscope.core.model.architecture import ExitRule

HAZARD = Formula(
    "hazard", "λ_r = sigmoid(w · s_r + b)", "probability", "exit gate, Zhu et al. arXiv 2510.25741"
)
EXIT = Formula(
    "exit probability",
    "p_r = λ_r Π_{j<r} (1 − λ_j); the last recurrence run takes the rest",
    "probability",
    "arXiv 2510.25741",
)
EXIT_AT: dict[ExitRule, Formula] = {
    "distribution": Formula(
        "exits at",
        "min{r : Σ_{j≤r} λ_j Π_{i<j} (1 − λ_i) ≥ threshold}, else the last recurrence",
        "recurrence",
        "arXiv 2510.25741; threshold of the config",
    ),
    "hazard": Formula(
        "exits at",
        "min{r : λ_r ≥ threshold}, else the last recurrence",
        "recurrence",
        "LoopUS, halting_strategy threshold; threshold of the config",
    ),
}


def survival(hazards: npt.NDArray[np.floating]) -> F64:
    """Chance of not having left before each recurrence, ``Π_{j<r} (1 - λ_j)``, float64 ``[R, T]``.

    Parameters
    ----------
    hazards
        ``[R, T]``, ``λ_r`` of recurrence 1..R, 0 to 1.
    """
    stay = np.cumprod(1 - hazards.astype(np.float64), axis=0)
    return np.concatenate([np.ones_like(stay[:1]), stay[:-1]])


def exit_distribution(hazards: F32) -> F64:
    """``p_r``, float64 ``[R, T]``; sums to 1 over the recurrences, as the last takes the rest."""
    before = survival(hazards)
    p = hazards * before
    if len(p):
        p[-1] = before[-1]
    return np.asarray(p, dtype=np.float64)


def left_by(hazards: npt.NDArray[np.floating], rule: ExitRule) -> F64:
    """What a threshold is held against after each recurrence, float64 ``[R, T]``; it only rises.

    The chance of having left ("distribution"), or the largest hazard so far ("hazard").
    """
    wide = hazards.astype(np.float64)
    if rule == "distribution":
        return np.asarray(np.cumsum(wide * survival(wide), axis=0))
    return np.asarray(np.fmax.accumulate(wide, axis=0))


def exit_recurrence(hazards: F32, threshold: float, rule: ExitRule = "distribution") -> I64:
    """The recurrence at which each token leaves, int64 ``[T]``; 0 when none was run."""
    if not len(hazards):
        return np.zeros(hazards.shape[1], np.int64)
    left = left_by(hazards, rule) >= threshold
    return np.where(left.any(0), left.argmax(0) + 1, len(hazards)).astype(np.int64)
