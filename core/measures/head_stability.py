"""When heads stop changing, and whether that goes with the settling of their layer.

The source paper derives it (Proposition 4.2, arXiv 2604.11791): where a layer's state converges
its attention patterns must. How fast, and in which order, is a question of measuring.
"""

from __future__ import annotations

import numpy as np

from loopscope.core.arrays import F64, I64
from loopscope.core.formula import Formula

# Steps this many rounding floors above it take part in the correlation with heads.
ABOVE_FLOOR = 30

STABLE_SINCE = Formula(
    "stable since",
    "min{r : |D(A[q], A[q−1]) − same| < tolerance for all q from r to the last}, D as shown",
    "recurrence",
    "Loopscope",
)
WITH_SETTLING = Formula(
    "correlation with settling",
    "Pearson's r of log |D(A[r], A[r−1]) − same|, mean over the layer's heads, and log relative "
    f"step of the layer, over (r, l); steps below {ABOVE_FLOOR} × the rounding floor left out",
    "−1..1",
    "after Proposition 4.2, arXiv 2604.11791",
)
RANKS = Formula(
    "rank correlation",
    "Spearman's ρ of a head's stable since and its layer's settled since (median relative step "
    "below its tolerance from there to the last), over heads that have both",
    "−1..1",
    "Spearman 1904; ties take their mean rank",
)


def stable_since(changes: F64, tolerance: float) -> I64:
    """First recurrence from which a change stays below ``tolerance`` to the last one.

    Parameters
    ----------
    changes
        ``[R, ...]``, row 0 is recurrence 1: how far each is from the recurrence before.

    Returns
    -------
    int64 ``[...]``; 0 for "not yet": the last change is not below it, or there is none. NaN is not
    below.
    """
    n = len(changes)
    if not n:
        return np.zeros(changes.shape[1:], np.int64)
    calm = (changes < tolerance)[::-1]
    length = np.where(calm.all(0), n, np.argmin(calm, axis=0))
    return np.where(length > 0, n - length + 1, 0).astype(np.int64)


def correlate(steps: F64, changes: F64, floor: float) -> tuple[float, int]:
    """Pearson's r between log step and log head change over (recurrence, layer), and its n.

    ``[R, L]`` each. Points within `ABOVE_FLOOR` rounding floors are left out: both measures end
    in noise there, which would correlate too. NaN with fewer than 3 points or where one of the
    two does not vary.
    """
    known = np.isfinite(steps) & np.isfinite(changes) & (changes > 0)
    known &= np.nan_to_num(steps) > ABOVE_FLOOR * floor
    n = int(known.sum())
    return (_pearson(np.log(steps[known]), np.log(changes[known])) if n >= 3 else np.nan), n


def rank_correlation(a: I64, b: I64) -> tuple[float, int]:
    """Spearman's ρ of two arrays of recurrences, alike in shape, and its n; 0 in either is none.

    NaN with fewer than 3 pairs or where one of the two does not vary.
    """
    known = (a > 0) & (b > 0)
    n = int(known.sum())
    return (_pearson(_ranks(a[known]), _ranks(b[known])) if n >= 3 else np.nan), n


def _ranks(values: I64) -> F64:
    """Ranks from 1; equal values share their mean."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place])


def _pearson(x: F64, y: F64) -> float:
    dx, dy = x - x.mean(), y - y.mean()
    size = np.sqrt((dx @ dx) * (dy @ dy))
    return float(np.clip(dx @ dy / size, -1, 1)) if size > 0 else float("nan")
