"""How often the intervals hold the true value, simulated: what they promise and what they cannot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from loopscope.core.measures.intervals import (
    FEW,
    bootstrap_mean,
    bootstrap_ratio,
    two_way_mean,
    wilson_share,
)

pytestmark = pytest.mark.slow

RNG = np.random.default_rng()
SAMPLES = 2000
# Three standard errors of a coverage of 0.95 over so many samples.
CLOSE = 0.015
Draw = Callable[[tuple[int, int]], np.ndarray]
# The means' data, their true mean, and the least coverage at each of `SIZES` prompts.
MEANS: dict[str, tuple[Draw, float, tuple[float, ...]]] = {
    "normal": (lambda size: RNG.normal(size=size), 0.0, (0.95,) * 8),
    "exponential": (
        lambda size: RNG.exponential(size=size), 1.0,
        (0.95, 0.95, 0.95, 0.95, 0.95, 0.935, 0.945, 0.945),
    ),
    "lognormal 0.5": (
        lambda size: RNG.lognormal(0, 0.5, size), np.exp(0.125),
        (0.95, 0.95, 0.95, 0.95, 0.95, 0.93, 0.94, 0.94),
    ),
    "lognormal 1": (
        lambda size: RNG.lognormal(0, 1, size), np.exp(0.5),
        (0.93, 0.92, 0.92, 0.92, 0.92, 0.89, 0.91, 0.92),
    ),
}  # fmt: skip
SHARES: dict[str, tuple[Draw, float]] = {
    "0 or 1, 0.7": (lambda size: (RNG.uniform(size=size) < 0.7).astype(float), 0.7),
    "0 or 1, 0.95": (lambda size: (RNG.uniform(size=size) < 0.95).astype(float), 0.95),
    "8 answers": (lambda size: RNG.binomial(8, 0.9, size) / 8, 0.9),
    "8 answers alike": (lambda size: RNG.binomial(8, RNG.beta(4.5, 0.5, size)) / 8, 0.9),
    "beta 5 1": (lambda size: RNG.beta(5, 1, size), 5 / 6),
    "0 or 1, 0.5": (lambda size: (RNG.uniform(size=size) < 0.5).astype(float), 0.5),
}
SIZES = (2, 3, 4, 5, 7, 8, 16, 24)


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Each test draws the same, whichever others are run."""
    global RNG
    RNG = np.random.default_rng(7)


def covered(found: object, truth: float) -> float:
    low, high = found.low, found.high  # type: ignore[attr-defined]
    return float(((low <= truth + 1e-12) & (truth - 1e-12 <= high)).mean())


@pytest.mark.parametrize("kind", MEANS)
def test_means(kind: str) -> None:
    draw, truth, expected = MEANS[kind]
    for n, least in zip(SIZES, expected, strict=True):
        share = covered(bootstrap_mean(draw((n, SAMPLES))), truth)
        assert least - CLOSE <= share, (n, share)
        # Wide where few units show no skew, and no wider than that takes.
        assert share <= (0.998 if n < FEW else 0.985), (n, share)


def test_ratios() -> None:
    """Prompts of different lengths; long ones are more surprising."""
    for n in SIZES[2:]:
        tokens = RNG.integers(5, 100, (n, SAMPLES)).astype(float)
        nll = tokens * (2 + tokens / 100) * RNG.gamma(4, 0.25, (n, SAMPLES))
        length = np.arange(5, 100)
        truth = (length * (2 + length / 100)).sum() / length.sum()
        share = covered(bootstrap_ratio(nll, tokens), truth)
        assert 0.93 - CLOSE <= share <= (0.995 if n < FEW else 0.98), (n, share)


@pytest.mark.parametrize("kind", SHARES)
def test_shares(kind: str) -> None:
    draw, truth = SHARES[kind]
    for n in SIZES:
        share = covered(wilson_share(draw((n, SAMPLES))), truth)
        assert share >= 0.93 - CLOSE, (n, share)


@pytest.mark.parametrize("of_draws", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["normal", "exponential"])
def test_draws_and_prompts(kind: str, of_draws: float) -> None:
    """Effects of draws, of prompts and of both together; three draws, as a probe makes."""
    draw, mean, _ = MEANS[kind]
    for draws, prompts in ((1, 4), (3, 3), (3, 8), (3, 64), (10, 24)):
        held = []
        for _ in range(SAMPLES):
            values = draw((1, prompts)) - mean + RNG.normal(size=(draws, prompts))
            if draws > 1:  # else the interval is for other prompts alone
                values = values + of_draws * (draw((draws, 1)) - mean)
            found = two_way_mean(values)
            held.append(found.low <= 0 <= found.high)
        # Three draws that differ more than the mean of 64 prompts does are all that there is.
        least = 0.9 if kind == "exponential" and prompts == 64 and of_draws else 0.95
        assert least - CLOSE <= np.mean(held) <= 0.999, (draws, prompts, np.mean(held))


def test_what_is_alike_in_all_prompts_is_held_exactly() -> None:
    """Two or four coins that fall alike: the interval of 0 or 1 still holds the half."""
    for n in (2, 4):
        none, all_ = wilson_share(np.zeros((n, 1))), wilson_share(np.ones((n, 1)))
        # The share of which none in n is as rare as 2.5 %.
        assert (1 - none.high[0]) ** n == pytest.approx(0.025)
        assert all_.low[0] == pytest.approx(1 - none.high[0])
        assert (none.low[0], all_.high[0]) == (0, 1)
        found = two_way_mean(np.zeros((3, n)))
        assert found.high == pytest.approx(none.high[0])


def test_what_no_interval_can_do() -> None:
    """An outcome of one in twenty: most samples of eight hold none, and a mean's interval knows no
    better. A share's interval knows that 0 of 8 is not never."""
    rare = (RNG.uniform(size=(8, SAMPLES)) < 0.05).astype(float)
    assert covered(bootstrap_mean(rare), 0.05) < 0.6
    assert covered(wilson_share(rare), 0.05) > 0.93
