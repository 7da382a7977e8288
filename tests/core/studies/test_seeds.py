"""Statements over seeds: against scipy, against loops, and by simulation."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import permutation_test

from loopscope.core.experiments.studies.seeds import (
    MARGIN,
    bootstrap_t,
    compare,
    sign_flip_p,
)

RNG = np.random.default_rng(0)


def mean_of(x: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean(x, axis=axis)


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_sign_flips_against_scipy(n: int) -> None:
    for _ in range(4):
        d = RNG.normal(0.5, 1, n)
        truth = permutation_test((d,), mean_of, permutation_type="samples", n_resamples=np.inf)
        assert sign_flip_p(d) == pytest.approx(truth.pvalue)
    assert sign_flip_p(np.full(n, 0.1)) == pytest.approx(2 / 2**n)  # the smallest there is
    assert sign_flip_p(np.zeros(n)) == 1.0


def test_many_seeds_are_drawn_and_close_to_exact() -> None:
    d = RNG.normal(0.2, 1, 18)
    truth = permutation_test((d,), mean_of, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_p(d) == pytest.approx(truth.pvalue, abs=0.006)


def test_the_bootstrap_t_is_the_one_of_the_book() -> None:
    """Every resample by a loop, the quantiles by sorting."""
    x = np.array([0.1, 0.4, 0.35, 0.8])
    se = x.std(ddof=1) / 2
    t = []
    for rows in product(range(4), repeat=4):
        y = x[list(rows)]
        spread = y.std(ddof=1) / 2
        off = y.mean() - x.mean()
        t.append(off / spread if spread > 1e-12 else math.copysign(math.inf, off))
    t.sort()
    at_low, at_high = 0.05 * 255, 0.95 * 255
    low, high = bootstrap_t(x, 0.90)
    assert low == pytest.approx(x.mean() - t[math.ceil(at_high)] * se)
    assert high == pytest.approx(x.mean() - t[math.floor(at_low)] * se)


@pytest.mark.parametrize("n", [5, 10])
def test_the_interval_covers_what_it_says(n: int) -> None:
    rng = np.random.default_rng(1)
    for draw in (lambda: rng.standard_normal(n), lambda: rng.exponential(1, n) - 1):
        hits = 0
        for _ in range(150):
            low, high = bootstrap_t(draw())
            hits += low <= 0 <= high
        assert hits / 150 >= 0.90


def test_values_that_say_nothing_have_no_interval() -> None:
    assert bootstrap_t(np.full(5, 0.3)) == (-math.inf, math.inf)
    assert not all(map(math.isfinite, bootstrap_t(np.array([0.0, 0, 0, 0, 1]))))


def test_a_comparison_is_paired_by_seed() -> None:
    base = np.array([0.2, 0.5, 0.7, 0.9, 0.4])
    noise = np.array([0.001, -0.002, 0.0015, -0.001, 0.0005])
    alike = compare(base + noise, base)
    assert alike.equivalent
    assert abs(alike.mean) < 0.001
    assert alike.margin == MARGIN == 0.03
    better = compare(base + 0.1 + noise, base)
    assert not better.equivalent
    assert better.p == pytest.approx(2 / 32)
    assert better.low > 0.09
    # The same values without their pairs are not told apart.
    shuffled = compare((base + 0.1 + noise)[[1, 2, 3, 4, 0]], base)
    assert shuffled.low < 0 < shuffled.high
    # A ceiling is no equivalence.
    assert not compare(np.ones(5), np.ones(5)).equivalent
    with pytest.raises(ValueError, match="two seeds"):
        compare(np.ones(1), np.ones(1))
