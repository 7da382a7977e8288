"""Intervals for what was counted or averaged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from loopscope.core.arrays import F64, I64

# Two-sided 95 % of the normal distribution.
Z_95 = 1.959963984540054


def wilson_interval(right: float, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval of a proportion ``right / n`` (Wilson 1927); (nan, nan) for n = 0.

    Unlike the normal interval it stays inside 0..1 and keeps a width at 0 % and 100 %.
    """
    if n == 0:
        return math.nan, math.nan
    p = right / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


# Resamples of a bootstrap interval, and the seed they are drawn with.
N_RESAMPLES, BOOTSTRAP_SEED = 2000, 0
# Draws that are held at a time.
_BLOCK = 1 << 22
ONE_PROMPT = "One prompt has no interval: its mean over prompts is its own value."


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A mean over prompts with its 95 % interval; all arrays have one shape.

    value, low, high : float64; NaN where no prompt has a number. The ends are NaN with fewer than
        two prompts as well: one prompt says nothing about others.
    n : int64, prompts that have a number.
    """

    value: F64
    low: F64
    high: F64
    n: I64


def bootstrap_mean(
    values: F64, *, n_resamples: int = N_RESAMPLES, seed: int = BOOTSTRAP_SEED
) -> Estimate:
    """Mean over prompts with its 95 % percentile bootstrap interval (Efron & Tibshirani 1993).

    ``values`` is ``[P, ...]``, one row a prompt; NaN where a prompt has no number, which leaves
    the prompt out of that entry and of its resamples. Every entry sees the same resamples, so that
    a curve's interval is one of curves.
    """
    return bootstrap_ratio(values, np.ones(values.shape), n_resamples=n_resamples, seed=seed)


def bootstrap_share(part: F64, whole: F64 | None = None) -> Estimate:
    """A share over prompts with its 95 % interval: ``Σ part / Σ whole``, or the mean of ``part``.

    ``part`` is ``[P, ...]``; without ``whole`` it holds shares 0..1. A bootstrap of prompts that
    are all alike has no width, which would say that nothing else is possible: there the interval is
    Wilson's, with the prompts as its units.
    """
    found = bootstrap_mean(part) if whole is None else bootstrap_ratio(part, whole)
    for place in np.argwhere((found.low == found.high) & (found.n > 1)):
        at = tuple(place)
        n = int(found.n[at])
        found.low[at], found.high[at] = wilson_interval(float(found.value[at]) * n, n)
    return found


def bootstrap_ratio(
    numerator: F64,
    denominator: F64,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = BOOTSTRAP_SEED,
) -> Estimate:
    """``Σ numerator / Σ denominator`` over prompts with its 95 % percentile bootstrap interval.

    Both are ``[P, ...]``; whole prompts are drawn with replacement, so numerator and denominator
    of a prompt stay together. A prompt that is NaN in either, or 0 below, is left out. The
    exponential of the ends is the interval of the exponential: percentiles keep their order.
    """
    shape = numerator.shape[1:]
    top = numerator.reshape(len(numerator), -1).astype(np.float64)
    below = np.broadcast_to(denominator, numerator.shape).reshape(top.shape).astype(np.float64)
    known = np.isfinite(top) & np.isfinite(below) & (below != 0)
    value, low, high = (np.full(top.shape[1], np.nan) for _ in range(3))
    # Entries that the same prompts have a number for are resampled together.
    masks, group = np.unique(known, axis=1, return_inverse=True)
    for i, mask in enumerate(masks.T):
        if not mask.any():
            continue
        columns = np.flatnonzero(group.ravel() == i)
        a, b = top[np.ix_(mask, columns)], below[np.ix_(mask, columns)]
        value[columns] = a.sum(0) / b.sum(0)
        if mask.sum() > 1:
            low[columns], high[columns] = _ends(a, b, n_resamples, seed)
    n = known.sum(0, dtype=np.int64)
    in_shape = [x.reshape(shape) for x in (value, low, high)]
    return Estimate(in_shape[0], in_shape[1], in_shape[2], n.reshape(shape))


def _ends(a: F64, b: F64, n_resamples: int, seed: int) -> tuple[F64, F64]:
    """2.5 and 97.5 % of the resampled ratios, ``[P, K]`` to ``[K]`` each."""
    p, k = a.shape
    rng = np.random.default_rng(seed)
    ratios = np.empty((n_resamples, k))
    step = max(1, _BLOCK // p)
    for first in range(0, n_resamples, step):
        rows = min(step, n_resamples - first)
        # How often each resample holds each prompt: resampling is then a product of matrices.
        counts = _counts(rng, rows, p)
        ratios[first : first + rows] = (counts @ a) / (counts @ b)
    low, high = np.percentile(ratios, [2.5, 97.5], axis=0)
    return low, high


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval; the ends are NaN where one prompt has none."""

    mean: float
    low: float
    high: float


def bootstrap_two_way(
    values: F64, *, n_resamples: int = N_RESAMPLES, seed: int = BOOTSTRAP_SEED
) -> Interval:
    """Mean of ``[draws, P]`` with a 95 % percentile interval over draws and prompts together.

    Both are drawn with replacement, independently, so that the interval holds for other prompts
    and for other draws of what was random. Prompts that are NaN in any draw are left out.
    """
    known = values[:, np.isfinite(values).all(0)]
    n_draws, n = known.shape
    if n == 0:
        return Interval(math.nan, math.nan, math.nan)
    mean = float(known.mean())
    if n < 2:
        return Interval(mean, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    rows = _counts(rng, n_resamples, n_draws)
    columns = _counts(rng, n_resamples, n)
    means = np.einsum("sd,sd->s", rows, columns @ known.T) / (n_draws * n)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(mean, float(low), float(high))


def _counts(rng: np.random.Generator, n_resamples: int, n: int) -> F64:
    """How often each resample holds each of ``n``, ``[n_resamples, n]``."""
    drawn = rng.integers(0, n, (n_resamples, n)) + n * np.arange(n_resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n_resamples * n)
    return np.asarray(counts.reshape(n_resamples, n), dtype=np.float64)
