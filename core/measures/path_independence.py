"""Path independence: whether different start states end in the same place (Anil et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loopscope.core.arrays import F32, F64, Floats
from loopscope.core.formula import Formula
from loopscope.core.results import ResultKey

SPREAD = Formula(
    "spread",
    "mean over pairs of starts of ‖s_r^a − s_r^b‖ / (½ ‖s_r^a‖ + ½ ‖s_r^b‖)",
    "1",
    "path independence, Anil et al. 2022",
)

FROM_RUN = Formula(
    "distance to the run",
    "‖s_r^a − s_r‖ / (½ ‖s_r^a‖ + ½ ‖s_r‖), median over the shown tokens",
    "1",
    "spread of one pair, after Anil et al. 2022",
)


# Numbers of states that are held in float64 at a time.
_NUMBERS = 1 << 20


def spread(states: Floats) -> F64:
    """Mean pairwise relative distance between runs from different starts.

    Parameters
    ----------
    states
        ``[n, ..., d]``, the same place of ``n`` runs.

    Returns
    -------
    float64 ``[...]``: 0 when all are the same, at most 2. NaN for a single run, for states that
    are not finite, and where both of a pair are 0.
    """
    n = len(states)
    if n < 2:
        return np.full(states.shape[1:-1], np.nan)
    x = np.asarray(states, dtype=np.float64)
    norms = np.linalg.norm(x, axis=-1)
    total = np.zeros(x.shape[1:-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        for a in range(n):
            for b in range(a + 1, n):
                apart = np.linalg.norm(x[a] - x[b], axis=-1)
                total += apart / (0.5 * (norms[a] + norms[b]))
    return np.where(np.isfinite(total), total / (n * (n - 1) / 2), np.nan)


def spread_by_recurrence(states: Floats) -> F64:
    """`spread` of ``n`` whole runs, ``[n, R + 1, ..., d]`` to ``[R + 1, ...]``."""
    # Some recurrences at a time: one costs several calls, all of them a copy in float64.
    some = max(1, _NUMBERS // max(states[:, :1].size, 1))
    parts = range(0, states.shape[1], some)
    return np.concatenate([spread(states[:, first : first + some]) for first in parts])


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """Runs of one prompt from ``n`` starts: float32 ``[n, R + 1, T, d]``, and their names."""

    states: F32
    names: tuple[str, ...]


PATHS = ResultKey("paths", Paths)
