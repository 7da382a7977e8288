"""95 % intervals for what was counted or averaged over few units, mostly prompts.

Means and ratios have the bootstrap-t interval, shares Wilson's with an effective number of units.
Few units do not show how skewed they are, so that an interval that is right for normal data holds
the mean of skewed data too seldom: below `FEW` units a mean's interval, and one over draws and
prompts always, is at least as wide as exponential data need (`widening`). Simulated on normal,
exponential and lognormal (0.5) data and the like, from 2 units on, all hold the true value in about
95 % of cases or more; of a tail as long as a lognormal's of sigma 1 in 90 %. An outcome so rare
that no unit had it is not seen at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from loopscope.core.arrays import F64, I64, Bools

# Two-sided 95 % of the normal distribution.
Z_95 = 1.959963984540054


def wilson_interval(right: float, n: float, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval of a proportion ``right / n`` (Wilson 1927); (nan, nan) for n = 0.

    Unlike the normal interval it stays inside 0..1 and keeps a width at 0 % and 100 %.
    """
    if n == 0:
        return math.nan, math.nan
    p = right / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def widening(units: float) -> float:
    """Factor by which Student's interval of so many exponential units holds their mean in 95 %.

    ``1 + min(0.9, 3.8 / units)``, fitted to simulations of 2 to 24 units (it needs 1.91, 1.79, 1.46
    and 1.33 at 2, 4, 8 and 12); normal data are held in 97 to 99 %.
    """
    return 1 + min(0.9, 3.8 / units)


def never_seen(n: int) -> float:
    """Largest share that 0 of ``n`` leaves possible at 95 % (Clopper & Pearson 1934)."""
    return float(1 - 0.025 ** (1 / n))


# Resamples of a bootstrap interval, and the seed they are drawn with.
N_RESAMPLES, BOOTSTRAP_SEED = 4000, 0
# Draws that are held at a time.
_BLOCK = 1 << 22
# A resample whose standard error is this share of the sample's own has no spread to speak of, and
# the share of such resamples above which their quantiles mean nothing.
_NO_SPREAD, _MOST_WITHOUT = 0.05, 0.01
# Units from which on a bootstrap-t sees how skewed they are.
FEW = 8
MEAN_METHOD = (
    f"95 % bootstrap-t over prompts (Efron & Tibshirani 1993), {N_RESAMPLES:,} resamples, seed "
    f"{BOOTSTRAP_SEED}; Student's t where over 1 % of the resamples have no spread; below {FEW} "
    "prompts no narrower than Student's t times 1 + min(0.9, 3.8 / n), which holds the mean of "
    "exponential data in 95 %"
)
SHARE_METHOD = (
    "95 % Wilson interval over prompts with p (1 − p) / se² effective units and Student's quantile "
    "(Franco et al. 2019); with prompts as units where all are alike, exact (Clopper & Pearson "
    "1934) where that is none or all"
)
TWO_WAY_METHOD = (
    "95 % interval over prompts and draws: mean squares of the two-way table, Student's t with "
    "Satterthwaite's f degrees of freedom times 1 + min(0.9, 3.8 / (f + 1)), for skewed draws and "
    "prompts; the exact width of 0 of P where all are alike"
)
# The same in the few words that a legend has room for.
MEAN_KIND, SHARE_KIND, TWO_WAY_KIND = (
    "95 % bootstrap-t", "95 % Wilson", "95 % over prompts and draws",
)  # fmt: skip


def with_n(kind: str, n: int) -> str:
    """Say an interval in a few words: level, kind and how many prompts it rests on."""
    return f"{kind}, n = {n} prompt{'' if n == 1 else 's'}"


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A mean over prompts with its 95 % interval; all arrays have one shape.

    value, low, high : float64; NaN where no prompt has a number. The ends are NaN with fewer than
        two prompts as well, and of a mean where all are alike: that says nothing about others.
    n : int64, prompts that have a number.
    """

    value: F64
    low: F64
    high: F64
    n: I64


def bootstrap_mean(
    values: F64, *, n_resamples: int = N_RESAMPLES, seed: int = BOOTSTRAP_SEED
) -> Estimate:
    """Mean over prompts with its 95 % interval, as `bootstrap_ratio` of ones.

    ``values`` is ``[P, ...]``, one row a prompt; NaN where a prompt has no number, which leaves
    the prompt out of that entry and of its resamples. Every entry sees the same resamples.
    """
    return bootstrap_ratio(values, np.ones(values.shape), n_resamples=n_resamples, seed=seed)


def bootstrap_ratio(
    numerator: F64,
    denominator: F64,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = BOOTSTRAP_SEED,
) -> Estimate:
    """``R = Σ numerator / Σ denominator`` over prompts with its 95 % bootstrap-t interval.

    Both are ``[P, ...]``; whole prompts are drawn with replacement, so numerator and denominator
    of a prompt stay together. A prompt that is NaN in either, or 0 below, is left out. The ends are
    ``R - t* se``, ``t*`` the 97.5 % and 2.5 % quantiles of ``(R* - R) / se*``, with the standard
    error of a linearised ratio. Where more than 1 % of the resamples have no spread (fewer than
    five prompts, few different values) ``t*`` is Student's quantile. Below `FEW` prompts each end
    is at least Student's quantile times `widening` away. No ends where all prompts have one ratio:
    how far others may be from it is not seen.
    """
    value, se, parts = _linearised(numerator, denominator)
    low, high = (np.full(value.shape, np.nan) for _ in range(2))
    # Entries that the same prompts have a number for are resampled together.
    masks, group = np.unique(parts.known, axis=1, return_inverse=True)
    for i, mask in enumerate(masks.T):
        if mask.sum() < 2:
            continue
        columns = np.flatnonzero(group.ravel() == i)
        part = np.ix_(mask, columns)
        below = parts.denominator[part]
        quantiles = _quantiles(parts.rest[part], below, se[columns], n_resamples, seed)
        n = int(mask.sum())
        least = _t_95(n - 1) * widening(n) if n < FEW else -math.inf
        low[columns] = value[columns] - np.maximum(quantiles[1], least) * se[columns]
        high[columns] = value[columns] - np.minimum(quantiles[0], -least) * se[columns]
    alike = se == 0
    low[alike], high[alike] = np.nan, np.nan
    return _estimate(numerator.shape[1:], value, low, high, parts.known)


def wilson_share(part: F64, whole: F64 | None = None) -> Estimate:
    """A share over prompts with its 95 % interval: ``Σ part / Σ whole``, or the mean of ``part``.

    ``part`` is ``[P, ...]``; without ``whole`` it holds shares 0..1, NaN where a prompt has none.
    Wilson's interval of ``n = p (1 - p) / se²`` units with Student's quantile (Franco, Little,
    Louis & Slud 2019, Journal of Survey Statistics and Methodology 7), so that a prompt of many
    answers is more than one unit and less than that many. Where all prompts are alike they are the
    units of the plain interval, and where that is none or all, of the exact one.
    """
    value, se, parts = _linearised(part, np.ones(part.shape) if whole is None else whole)
    low, high = (np.full(value.shape, np.nan) for _ in range(2))
    n = parts.known.sum(0)
    for i in np.flatnonzero(n > 1):
        p = min(max(float(value[i]), 0.0), 1.0)
        units, quantile = float(n[i]), Z_95
        if se[i] > 0:
            units, quantile = p * (1 - p) / se[i] ** 2, _t_95(int(n[i]) - 1)
        low[i], high[i] = wilson_interval(p * units, units, quantile)
        if se[i] == 0 and p in (0.0, 1.0):
            low[i], high[i] = (0.0, never_seen(n[i])) if p == 0 else (1 - never_seen(n[i]), 1.0)
    return _estimate(part.shape[1:], value, low, high, parts.known)


@dataclass(frozen=True, slots=True, eq=False)
class _Ratios:
    """Ratios of ``K`` entries, ``[P, K]``; ``rest`` is ``numerator - R denominator``."""

    known: Bools
    denominator: F64
    rest: F64


def _linearised(numerator: F64, denominator: F64) -> tuple[F64, F64, _Ratios]:
    """Ratios ``[K]`` and their standard errors, NaN where there is none."""
    top = numerator.reshape(len(numerator), -1).astype(np.float64)
    below = np.broadcast_to(denominator, numerator.shape).reshape(top.shape).astype(np.float64)
    known = np.isfinite(top) & np.isfinite(below) & (below != 0)
    top, below, n = np.where(known, top, 0.0), np.where(known, below, 0.0), known.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = top.sum(0) / below.sum(0)
        rest = np.where(known, top - value * below, 0.0)
        # What rounding leaves of equal ratios is no spread.
        rest[:, np.abs(rest).max(0, initial=0) <= 1e-12 * np.abs(top).max(0, initial=0)] = 0.0
        se = np.sqrt((rest**2).sum(0) * n / (n - 1.0)) / below.sum(0)
    return value, se, _Ratios(known, below, rest)


def _estimate(shape: tuple[int, ...], value: F64, low: F64, high: F64, known: Bools) -> Estimate:
    n = known.sum(0, dtype=np.int64)
    in_shape = [x.reshape(shape) for x in (value, low, high)]
    return Estimate(in_shape[0], in_shape[1], in_shape[2], n.reshape(shape))


def _quantiles(rest: F64, below: F64, se: F64, n_resamples: int, seed: int) -> tuple[F64, F64]:
    """2.5 and 97.5 % of ``(R* - R) / se*``, ``[P, K]`` to ``[K]`` each."""
    p, k = rest.shape
    rng = np.random.default_rng(seed)
    ratios = np.empty((n_resamples, k))
    without = np.zeros(k)
    step = max(1, _BLOCK // max(p, k))
    for first in range(0, n_resamples, step):
        rows = min(step, n_resamples - first)
        # How often each resample holds each prompt: resampling is then a product of matrices.
        counts = _counts(rng, rows, p)
        total = counts @ below
        change = counts @ rest / total
        squares = counts @ rest**2 - 2 * change * (counts @ (rest * below))
        squares += change**2 * (counts @ below**2)
        errors = np.sqrt(squares.clip(0) * p / (p - 1.0)) / total
        flat = errors <= _NO_SPREAD * se
        without += flat.sum(0)
        ratios[first : first + rows] = np.divide(
            change, errors, out=np.sign(change) * 1e300, where=~flat
        )
    low, high = np.percentile(ratios, [2.5, 97.5], axis=0)
    plain = without > _MOST_WITHOUT * n_resamples
    t = _t_95(p - 1)
    return np.where(plain, -t, low), np.where(plain, t, high)


@cache
def _t_95(freedom: float) -> float:
    """Two-sided 95 % of Student's distribution."""
    from scipy.special import stdtrit  # not at start: it takes a tenth of a second

    return float(stdtrit(freedom, 0.975))


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over draws and prompts with its 95 % interval.

    The ends are NaN where one prompt has none. n_draws, n_prompts : that it is the mean of.
    """

    mean: float
    low: float
    high: float
    n_draws: int = 0
    n_prompts: int = 0


def two_way_mean(values: F64) -> Interval:
    """Mean of ``[draws, P]`` with a 95 % interval for other draws and other prompts.

    Draws and prompts are crossed and both random: the variance of the mean is ``(MS_draws +
    MS_prompts) / (draws P)``, a little too large by the residual's mean square; degrees of freedom
    after Satterthwaite 1946, Student's quantile times `widening` of one more than these. With one
    draw the interval is over prompts alone. Two or three draws that differ much leave it wide.
    Prompts that are NaN in any draw are left out. Where all are alike, each end is the exact width
    of 0 of P away.
    """
    known = values[:, np.isfinite(values).all(0)]
    n_draws, n = known.shape
    if n == 0:
        return Interval(math.nan, math.nan, math.nan, n_draws, 0)
    mean = float(known.mean())
    if n < 2:
        return Interval(mean, math.nan, math.nan, n_draws, n)
    squares = n_draws * float(known.mean(0).var(ddof=1)), 0.0
    if n_draws > 1:
        squares = squares[0], n * float(known.mean(1).var(ddof=1))
    total = sum(squares)
    if total <= 1e-24 * max(mean * mean, 1e-300):
        half = never_seen(n)
        return Interval(mean, mean - half, mean + half, n_draws, n)
    freedom = total**2 / (squares[0] ** 2 / (n - 1) + squares[1] ** 2 / max(n_draws - 1, 1))
    half = _t_95(freedom) * widening(freedom + 1) * math.sqrt(total / (n_draws * n))
    return Interval(mean, mean - half, mean + half, n_draws, n)


def _counts(rng: np.random.Generator, n_resamples: int, n: int) -> F64:
    """How often each resample holds each of ``n``, ``[n_resamples, n]``."""
    drawn = rng.integers(0, n, (n_resamples, n)) + n * np.arange(n_resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n_resamples * n)
    return np.asarray(counts.reshape(n_resamples, n), dtype=np.float64)
