"""Statements over training seeds: the seed is the unit, arms are paired by it.

With few seeds asymptotic tests say too much. The permutation test enumerates every sign of the
paired differences; the interval is a bootstrap-t, whose resamples are enumerated too where there
are few enough. Equivalence is two one-sided tests against a margin fixed beforehand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from loopscope.core.arrays import F64

# Of accuracy, fixed before anything was trained.
MARGIN = 0.03
# As many signs or resamples as are enumerated; more of them are drawn.
MOST, SEED = 1 << 17, 0
# Relative: equal values in another order have a spread of this size.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm against another over seeds.

    differences : one a seed, first minus second.
    mean, low, high : with the bootstrap-t interval of 95 %; infinite ends where too few resamples
        vary to have one.
    p : exact two-sided sign-flip permutation, at least ``2 / 2^n``.
    equivalent : whether the 90 % bootstrap-t interval lies within ``margin`` of 0.
    """

    differences: tuple[float, ...]
    mean: float
    low: float
    high: float
    p: float
    equivalent: bool
    margin: float


def compare(first: F64, second: F64, margin: float = MARGIN) -> Comparison:
    """Compare two arms, ``[n]`` values each, one a seed, in the same order of seeds.

    Raises ValueError for fewer than two seeds or unequal numbers of them.
    """
    d = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    if len(d) < 2:
        raise ValueError("a comparison needs at least two seeds")
    low, high = bootstrap_t(d, 0.95)
    inner = bootstrap_t(d, 0.90)
    return Comparison(
        tuple(map(float, d)), float(d.mean()), low, high, sign_flip_p(d),
        equivalent=-margin < inner[0] and inner[1] < margin, margin=margin,
    )  # fmt: skip


def sign_flip_p(differences: F64) -> float:
    """Two-sided p of the mean of paired differences ``[n]`` under exchange within each pair.

    Exact: over all ``2^n`` signs for up to 17 seeds; more seeds draw `MOST` signs, the observed
    ones counted among them.
    """
    d = np.asarray(differences, dtype=np.float64)
    n = len(d)
    if 1 << n <= MOST:
        signs = np.array(list(product((1.0, -1.0), repeat=n)))
    else:
        rng = np.random.default_rng(SEED)
        signs = np.vstack([np.ones(n), rng.choice([-1.0, 1.0], (MOST - 1, n))])
    means = np.abs(signs @ d) / n
    # Sums of the same numbers in another order differ by rounding.
    return float((means >= abs(d.mean()) - _ROUNDING * np.abs(d).max(initial=0)).mean())


def bootstrap_t(values: F64, level: float = 0.95) -> tuple[float, float]:
    """Bootstrap-t interval of the mean of ``[n]`` values (Efron & Tibshirani 1993, chapter 12).

    ``mean - t* se`` with ``t*`` the quantiles of ``(mean* - mean) / se*`` over resamples. A
    resample without spread is infinitely far off: where values repeat so often that such resamples
    reach into the tails (shares of 0 and 1, say), the ends are infinite, as the data then do not
    say how far the mean may be off. So they are where all values are equal.
    """
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    mean, se = float(x.mean()), float(x.std(ddof=1)) / math.sqrt(n)
    if se <= _ROUNDING * float(np.abs(x).max()):
        return -math.inf, math.inf
    rows = x[_resamples(n)]
    off, spread = rows.mean(1) - mean, rows.std(axis=1, ddof=1) / math.sqrt(n)
    flat = spread <= _ROUNDING * np.abs(x).max()
    far = np.copysign(np.inf, off)
    t = np.where(flat, np.where(off == 0, 0.0, far), off / np.where(flat, 1.0, spread))
    low = float(np.quantile(t, (1 - level) / 2, method="lower"))
    high = float(np.quantile(t, (1 + level) / 2, method="higher"))
    return mean - high * se, mean - low * se


def _resamples(n: int) -> npt.NDArray[np.int64]:
    """Indices of resamples, ``[m, n]``: every one for few values, else drawn."""
    if n**n <= MOST:
        return np.array(list(product(range(n), repeat=n)))
    return np.random.default_rng(SEED).integers(0, n, (20_000, n))
