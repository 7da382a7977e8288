"""Bootstrap intervals over prompts, against scipy drawing the same resamples and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap, norm

from loopscope.core.measures.intervals import (
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_share,
    wilson_interval,
)


def scipy_interval(samples, statistic, paired: bool = False):
    found = bootstrap(
        samples, statistic, n_resamples=2000, method="percentile", vectorized=True, axis=0,
        paired=paired, rng=np.random.default_rng(0),
    )  # fmt: skip
    return found.confidence_interval


def test_the_mean_is_scipys_to_the_last_digit() -> None:
    values = np.random.default_rng(3).lognormal(size=(23, 4, 2))
    found = bootstrap_mean(values)
    np.testing.assert_allclose(found.value, values.mean(0), rtol=1e-14)
    for i in np.ndindex(4, 2):
        low, high = scipy_interval((values[(slice(None), *i)],), np.mean)
        assert found.low[i] == pytest.approx(low, rel=1e-12)
        assert found.high[i] == pytest.approx(high, rel=1e-12)
    assert (found.n == 23).all()


def test_the_ratio_keeps_a_prompts_parts_together_as_scipy_does_for_pairs() -> None:
    rng = np.random.default_rng(5)
    tokens = rng.integers(3, 400, 31).astype(float)
    nll = tokens * rng.gamma(9, 0.3, 31)

    def ratio(a, b, axis):
        return a.sum(axis=axis) / b.sum(axis=axis)

    found = bootstrap_ratio(nll[:, None], tokens[:, None])
    low, high = scipy_interval((nll, tokens), ratio, paired=True)
    assert found.value[0] == pytest.approx(nll.sum() / tokens.sum(), rel=1e-14)
    assert found.low[0] == pytest.approx(low, rel=1e-12)
    assert found.high[0] == pytest.approx(high, rel=1e-12)
    # Of the exponential only the interpolation between two resamples differs.
    perplexity = scipy_interval((nll, tokens), lambda a, b, axis: np.exp(ratio(a, b, axis)), True)
    np.testing.assert_allclose(np.exp([found.low[0], found.high[0]]), perplexity, rtol=1e-6)


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


def test_shares_that_are_all_alike_keep_a_width() -> None:
    shares = np.array([[1.0, 0.5], [1.0, 0.25], [1.0, 1.0]])
    found, plain = bootstrap_share(shares), bootstrap_mean(shares)
    assert (found.low[0], found.high[0]) == wilson_interval(3, 3)
    assert (found.low[1], found.high[1]) == (plain.low[1], plain.high[1])
    counted = bootstrap_share(4 * shares, np.full((3, 2), 4.0))
    np.testing.assert_allclose(counted.low, found.low)
    np.testing.assert_allclose(counted.high, found.high)
    single = bootstrap_share(np.ones(4))  # one number a prompt
    assert (single.low, single.high) == wilson_interval(4, 4)
    assert np.isnan(bootstrap_share(np.ones((1, 1))).low).all()
