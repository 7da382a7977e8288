"""Intervals over prompts, against plain loops over resamples and scipy's distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, norm, sem
from scipy.stats import t as student

from loopscope.core.measures.intervals import (
    N_RESAMPLES,
    bootstrap_mean,
    bootstrap_ratio,
    two_way_mean,
    widening,
    wilson_interval,
    wilson_share,
)


def by_hand(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Bootstrap-t of ``Σ a / Σ b``, resample by resample, drawn as scipy's bootstrap draws."""
    rng, n = np.random.default_rng(0), len(a)

    def of(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
        ratio = a.sum() / b.sum()
        residual = a - ratio * b
        return ratio, np.sqrt((residual**2).sum() / (n * (n - 1))) / b.mean()

    value, se = of(a, b)
    every = []
    for rows in rng.integers(0, n, (N_RESAMPLES, n)):
        other, error = of(a[rows], b[rows])
        every.append((other - value) / error)
    low, high = np.percentile(every, [2.5, 97.5])
    return value - high * se, value - low * se


def test_the_mean_has_the_bootstrap_t_interval() -> None:
    values = np.random.default_rng(3).lognormal(size=(23, 2, 2))
    found = bootstrap_mean(values)
    np.testing.assert_allclose(found.value, values.mean(0), rtol=1e-14)
    for i in np.ndindex(2, 2):
        expected = by_hand(values[(slice(None), *i)], np.ones(23))
        assert (found.low[i], found.high[i]) == pytest.approx(expected, rel=1e-9)
    assert (found.n == 23).all()


def test_the_ratio_keeps_a_prompts_parts_together() -> None:
    rng = np.random.default_rng(5)
    tokens = rng.integers(3, 400, 31).astype(float)
    nll = tokens * rng.gamma(9, 0.3, 31)
    found = bootstrap_ratio(nll[:, None], tokens[:, None])
    assert found.value[0] == pytest.approx(nll.sum() / tokens.sum(), rel=1e-14)
    assert (found.low[0], found.high[0]) == pytest.approx(by_hand(nll, tokens), rel=1e-9)


def test_few_prompts_have_students_interval() -> None:
    values = np.random.default_rng(1).normal(5, 2, (4, 3))
    for n in (2, 3, 4):
        found = bootstrap_mean(values[:n])
        wider = sem(values[:n]) * widening(n)
        low, high = student.interval(0.95, n - 1, values[:n].mean(0), wider)
        np.testing.assert_allclose(found.low, low, rtol=1e-12)
        np.testing.assert_allclose(found.high, high, rtol=1e-12)
    # So has one outlier among equal numbers: a third of the resamples do not know of it.
    odd = np.array([1.0] * 7 + [5.0])[:, None]
    found = bootstrap_mean(odd)
    low, high = student.interval(0.95, 7, 1.5, sem(odd[:, 0]))
    assert (found.low[0], found.high[0]) == pytest.approx((low, high))


def test_many_normal_values_have_the_interval_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(5, 2, (4000, 1))
    found = bootstrap_mean(values)
    half = norm.ppf(0.975) * values.std() / np.sqrt(4000)
    assert found.low[0] == pytest.approx(found.value[0] - half, abs=0.1 * half)
    assert found.high[0] == pytest.approx(found.value[0] + half, abs=0.1 * half)


def test_a_prompt_without_a_number_is_left_out_of_that_entry_alone() -> None:
    values = np.random.default_rng(2).normal(size=(9, 3))
    values[4, 1] = np.nan
    values[:, 2] = np.nan
    found = bootstrap_mean(values)
    whole = bootstrap_mean(values[:, :1])
    assert (found.low[0], found.high[0]) == (whole.low[0], whole.high[0])
    less = bootstrap_mean(np.delete(values[:, 1:2], 4, axis=0))
    assert (found.value[1], found.low[1], found.high[1]) == (less.value, less.low, less.high)
    assert np.isnan([found.value[2], found.low[2], found.high[2]]).all()
    assert found.n.tolist() == [9, 8, 0]
    tokens = np.full((9, 3), 2.0)
    tokens[0] = 0  # nothing was counted for it
    assert bootstrap_ratio(values, tokens).n.tolist() == [8, 7, 0]


@pytest.mark.parametrize("n", [2, 3, 24])
def test_prompts_that_are_alike_have_no_interval_of_a_mean(n: int) -> None:
    """A width of 0 held the truth of a coin in half of the samples of two."""
    found = bootstrap_mean(np.column_stack([np.full(n, 0.1), np.arange(n)]))
    assert np.isnan([found.low[0], found.high[0]]).all()
    assert found.value[0] == pytest.approx(0.1)
    assert found.low[1] < found.value[1] < found.high[1]
    lengths = np.arange(1.0, n + 1)
    assert np.isnan(bootstrap_ratio(0.3 * lengths, lengths).low)


def test_one_prompt_has_a_value_and_no_interval() -> None:
    found = bootstrap_mean(np.array([[2.5, np.nan]]))
    assert found.value[0] == 2.5
    assert np.isnan([found.low, found.high]).all()
    assert found.n.tolist() == [1, 0]


def test_large_sets_are_drawn_in_blocks_with_the_same_draws(monkeypatch) -> None:
    values = np.random.default_rng(4).normal(size=(50, 3))
    whole = bootstrap_mean(values)
    monkeypatch.setattr("loopscope.core.measures.intervals._BLOCK", 333)
    parts = bootstrap_mean(values)
    np.testing.assert_allclose(parts.low, whole.low, rtol=1e-12)
    np.testing.assert_allclose(parts.high, whole.high, rtol=1e-12)


def test_shares_that_are_all_alike_have_prompts_as_units() -> None:
    shares = np.array([[1.0, 0.0, 0.5]] * 3)
    found = wilson_share(shares)
    exact = beta.ppf(0.025, 3, 1), beta.ppf(0.975, 1, 3)  # Clopper and Pearson's of 3 and 0 of 3
    expected = ((exact[0], 1), (0, exact[1]), wilson_interval(1.5, 3))
    for i, ends in enumerate(expected):
        assert (found.low[i], found.high[i]) == pytest.approx(ends)
    counted = wilson_share(4 * shares, np.full((3, 3), 4.0))
    np.testing.assert_allclose(counted.low, found.low)
    np.testing.assert_allclose(counted.high, found.high)
    single = wilson_share(np.ones(4))  # one number a prompt
    assert (float(single.low), float(single.high)) == pytest.approx((beta.ppf(0.025, 4, 1), 1))
    assert np.isnan(wilson_share(np.ones((1, 1))).low).all()


def test_shares_count_as_many_units_as_their_spread_says() -> None:
    rng = np.random.default_rng(8)
    answers = rng.uniform(size=(40, 6)) < 0.7  # six answers a prompt, independent
    p, t = answers.mean(), student.ppf(0.975, 39)
    units = p * (1 - p) / sem(answers.mean(1)) ** 2
    found = wilson_share(answers.mean(1))
    ends = float(found.low), float(found.high)
    assert ends == pytest.approx(wilson_interval(p * units, units, t))
    assert 120 < units < 480  # about all 240, as nothing holds a prompt's answers together
    one = wilson_share(answers[:, 0].astype(float))
    p = answers[:, 0].mean()
    ends = float(one.low), float(one.high)
    assert ends == pytest.approx(wilson_interval(39 * p, 39, t))  # one answer, one unit, but one
    together = wilson_share(answers.sum(1).astype(float), np.full(40, 6.0))
    assert float(together.low) == pytest.approx(float(found.low))


def test_draws_and_prompts_that_are_all_alike_keep_a_width() -> None:
    found = two_way_mean(np.zeros((3, 64)))
    assert (found.mean, found.n_draws, found.n_prompts) == (0, 3, 64)
    assert (found.low, found.high) == pytest.approx((-0.0560, 0.0560), abs=1e-4)


def test_draws_and_prompts_by_hand() -> None:
    values = np.random.default_rng(2).normal(size=(3, 5)) + np.array([[0.0], [1.0], [3.0]])
    draws = 5 * ((values.mean(1) - values.mean()) ** 2).sum() / 2
    prompts = 3 * ((values.mean(0) - values.mean()) ** 2).sum() / 4
    freedom = (draws + prompts) ** 2 / (draws**2 / 2 + prompts**2 / 4)
    half = student.ppf(0.975, freedom) * np.sqrt((draws + prompts) / 15)
    half *= 1 + min(0.9, 3.8 / (freedom + 1))
    found = two_way_mean(values)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half))
