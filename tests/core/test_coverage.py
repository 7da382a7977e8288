"""How often the intervals hold the true value, simulated: what they promise and what they cannot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from loopscope.core.measures.intervals import (
    bootstrap_mean,
    bootstrap_ratio,
    two_way_mean,
    wilson_share,
)

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(7)
SAMPLES = 2000
# Three standard errors of a coverage of 0.95 over so many samples.
CLOSE = 0.015
Draw = Callable[[tuple[int, int]], np.ndarray]
# The means' data, their true mean, and the least coverage at 3, 5, 8, 16 and 24 prompts.
MEANS: dict[str, tuple[Draw, float, tuple[float, ...]]] = {
    "normal": (lambda size: RNG.normal(size=size), 0.0, (0.95, 0.95, 0.95, 0.95, 0.95)),
    "exponential": (lambda size: RNG.exponential(size=size), 1.0, (0.88, 0.91, 0.94, 0.95, 0.95)),
    "lognormal 0.5": (
        lambda size: RNG.lognormal(0, 0.5, size), np.exp(0.125), (0.92, 0.93, 0.93, 0.94, 0.95),
    ),
    "lognormal 1": (
        lambda size: RNG.lognormal(0, 1, size), np.exp(0.5), (0.84, 0.87, 0.90, 0.91, 0.93),
    ),
}  # fmt: skip
SHARES: dict[str, tuple[Draw, float]] = {
    "0 or 1, 0.7": (lambda size: (RNG.uniform(size=size) < 0.7).astype(float), 0.7),
    "0 or 1, 0.95": (lambda size: (RNG.uniform(size=size) < 0.95).astype(float), 0.95),
    "8 answers": (lambda size: RNG.binomial(8, 0.9, size) / 8, 0.9),
    "8 answers alike": (lambda size: RNG.binomial(8, RNG.beta(4.5, 0.5, size)) / 8, 0.9),
    "beta 5 1": (lambda size: RNG.beta(5, 1, size), 5 / 6),
}
SIZES = (3, 5, 8, 16, 24)


def covered(found: object, truth: float) -> float:
    low, high = found.low, found.high  # type: ignore[attr-defined]
    return float(((low <= truth + 1e-12) & (truth - 1e-12 <= high)).mean())


@pytest.mark.parametrize("kind", MEANS)
def test_means(kind: str) -> None:
    draw, truth, expected = MEANS[kind]
    for n, least in zip(SIZES, expected, strict=True):
        share = covered(bootstrap_mean(draw((n, SAMPLES))), truth)
        assert least - CLOSE - 0.01 <= share <= 0.985, (n, share)


def test_ratios() -> None:
    """Prompts of different lengths; long ones are more surprising."""
    for n in SIZES[1:]:
        tokens = RNG.integers(5, 100, (n, SAMPLES)).astype(float)
        nll = tokens * (2 + tokens / 100) * RNG.gamma(4, 0.25, (n, SAMPLES))
        length = np.arange(5, 100)
        truth = (length * (2 + length / 100)).sum() / length.sum()
        share = covered(bootstrap_ratio(nll, tokens), truth)
        assert 0.91 - CLOSE <= share <= 0.98, (n, share)


@pytest.mark.parametrize("kind", SHARES)
def test_shares(kind: str) -> None:
    draw, truth = SHARES[kind]
    for n in SIZES:
        share = covered(wilson_share(draw((n, SAMPLES))), truth)
        assert share >= 0.93 - CLOSE, (n, share)


@pytest.mark.parametrize("of_draws", [0.0, 0.3, 1.0])
def test_draws_and_prompts(of_draws: float) -> None:
    """Effects of draws, of prompts and of both together; three draws, as a probe makes."""
    for draws, prompts in ((3, 8), (3, 64), (10, 24)):
        held = []
        for _ in range(SAMPLES):
            values = of_draws * RNG.normal(size=(draws, 1)) + RNG.normal(size=(1, prompts))
            found = two_way_mean(values + RNG.normal(size=(draws, prompts)))
            held.append(found.low <= 0 <= found.high)
        assert 0.92 <= np.mean(held) <= 0.99, (draws, prompts, np.mean(held))


def test_what_no_interval_can_do() -> None:
    """An outcome of one in twenty: most samples of eight hold none, and a mean's interval knows no
    better. A share's interval knows that 0 of 8 is not never."""
    rare = (RNG.uniform(size=(8, SAMPLES)) < 0.05).astype(float)
    assert covered(bootstrap_mean(rare), 0.05) < 0.6
    assert covered(wilson_share(rare), 0.05) > 0.93
