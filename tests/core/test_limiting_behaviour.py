"""Algorithm 1 of the source paper: against a loop written from its text, and on known dynamics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from loopscope.core.measures.limiting_behaviour import (
    LEAST_RECURRENCES,
    Behaviour,
    Limit,
    cosine_series,
    distance_series,
    limiting_behaviour,
    noise_of,
)

N = 128


def by_the_text(s: list[float], tau: float, rho: float) -> tuple[str, float, float, float]:
    """One series, step by step as the paper has it; shares no code with the measure."""
    n = len(s)
    slope, level = np.polyfit(range(n), s, 1)
    flat = [s[i] - (slope * i + level) for i in range(n)]
    windowed = [flat[i] * 0.5 * (1 - math.cos(2 * math.pi * i / (n - 1))) for i in range(n)]
    m = np.abs(np.fft.rfft(windowed))[1:]
    k = max(range(len(m)), key=lambda i: m[i])
    amplitude, frequency = 4 * m[k] / n, (k + 1) / n
    if sum(v >= 1 - tau for v in s) >= rho * n:
        return "fixed point", frequency, amplitude, slope
    if amplitude >= tau / 2 and frequency >= 2 / n:
        return "orbit", frequency, amplitude, slope
    if slope > tau / n:
        return "slider", frequency, amplitude, slope
    return "unknown", frequency, amplitude, slope


def judge(states: np.ndarray, series=cosine_series, **asked: float) -> Limit:
    return limiting_behaviour(series(states[:, None]), **asked)[0]


# ---- the algorithm ----
def test_it_is_the_algorithm_of_the_text() -> None:
    rng = np.random.default_rng(0)
    kinds: set[str] = set()
    for _ in range(300):
        n = int(rng.integers(LEAST_RECURRENCES - 1, 140))
        i = np.arange(n)
        columns = []
        for _ in range(4):
            wave = rng.choice([0, 0.01, 0.1]) * np.sin(2 * np.pi * rng.uniform(0, 0.5) * i + 1)
            slide = rng.choice([0, 1e-4, 1e-2]) * (i - n) + rng.choice([0, 0.02]) * rng.normal(
                size=n
            )
            columns.append(rng.uniform(0.5, 1) + wave + slide)
        tau, rho = rng.uniform(0.01, 0.2), rng.uniform(0.3, 1)
        found = limiting_behaviour(np.stack(columns, 1), tau, rho)
        for column, limit in zip(columns, found, strict=True):
            kind, frequency, amplitude, slope = by_the_text(list(column), tau, rho)
            kinds.add(kind)
            assert limit.kind.value == kind
            if amplitude > 1e-9:  # of rounding alone any frequency may be the strongest
                assert limit.frequency == pytest.approx(frequency)
            assert limit.amplitude == pytest.approx(amplitude, rel=1e-9, abs=1e-12)
            assert limit.slope == pytest.approx(slope, rel=1e-6, abs=1e-12)
            assert limit.n == n
    assert kinds == {"fixed point", "orbit", "slider", "unknown"}


def test_the_amplitude_of_a_sine_is_its_own() -> None:
    i = np.arange(N)
    s = 0.7 + 0.1 * np.sin(2 * np.pi * 16 * i / N)
    (found,) = limiting_behaviour(s[:, None])
    assert (found.kind, found.frequency) == (Behaviour.ORBIT, 16 / N)
    assert found.amplitude == pytest.approx(0.1, rel=0.02)
    assert found.describe() == "orbit of period 8"


@pytest.mark.parametrize(("n_near", "kind"), [(116, "fixed point"), (115, "unknown")])
def test_a_fixed_point_needs_the_share_rho(n_near: int, kind: str) -> None:
    # 0.9 x 128 = 115.2; the others are just below 1 - tau, so neither orbit nor slider.
    s = np.full(N, 0.951)
    s[n_near:] = 0.9499
    (found,) = limiting_behaviour(s[:, None])
    assert found.kind.value == kind
    assert found.share_near == n_near / N


def test_one_turn_over_the_whole_series_is_no_orbit() -> None:
    i = np.arange(N)
    once, twice = (0.5 + 0.2 * np.cos(2 * np.pi * k * i / N) for k in (1, 3))
    assert [f.kind.value for f in limiting_behaviour(np.stack([once, twice], 1))][1] == "orbit"
    assert limiting_behaviour(once[:, None])[0].kind is not Behaviour.ORBIT


def test_a_slope_away_from_the_end_is_no_slider() -> None:
    up = np.linspace(0.5, 0.8, N)
    found = limiting_behaviour(np.stack([up, up[::-1]], 1))
    assert [f.kind for f in found] == [Behaviour.SLIDER, Behaviour.UNKNOWN]
    assert found[0].slope == pytest.approx(0.3 / (N - 1))


def test_too_few_and_broken_series_say_so() -> None:
    short = limiting_behaviour(np.ones((LEAST_RECURRENCES - 2, 2)))
    assert [f.kind for f in short] == [Behaviour.TOO_FEW_STEPS] * 2
    assert math.isnan(short[0].slope)
    assert not short[0].unsettled
    s = np.ones((N, 2))
    s[3, 1] = np.nan
    assert [f.kind for f in limiting_behaviour(s)] == [Behaviour.FIXED_POINT, Behaviour.NOT_FINITE]
    assert limiting_behaviour(np.ones((LEAST_RECURRENCES - 1, 1)))[0].kind is Behaviour.FIXED_POINT


# ---- the series ----
def test_series_by_hand() -> None:
    states = np.array([[[3.0, 4.0]], [[4.0, 3.0]], [[0.0, 5.0]]])
    assert cosine_series(states)[:, 0] == pytest.approx([0.8, 0.6])
    assert distance_series(states)[:, 0] == pytest.approx([1 - 10**0.5 / 5, 1 - 20**0.5 / 5])
    assert cosine_series(states[:1]).shape == distance_series(states[:1]).shape == (0, 1)
    assert np.isnan(cosine_series(np.zeros((3, 1, 2)))).all()


# ---- known dynamics ----
r = np.arange(N)[:, None]


def test_a_contraction_is_a_fixed_point() -> None:
    states = np.array([3.0, -1.0, 2.0]) + 0.7**r * np.array([1.0, 2.0, -1.0])
    assert judge(states).kind is Behaviour.FIXED_POINT
    assert judge(states, distance_series).kind is Behaviour.FIXED_POINT


@pytest.mark.parametrize("series", [cosine_series, distance_series])
def test_a_rotation_of_period_five_is_an_orbit_of_period_five(series) -> None:
    angle = 2 * np.pi * r[:, 0] / 5
    states = np.array([1.0, 1.0, 2.0]) + np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    found = judge(states, series)
    assert found.kind is Behaviour.ORBIT
    assert 1 / found.frequency == pytest.approx(5, rel=0.02)


@pytest.mark.parametrize(("a", "period"), [(2.8, 0), (3.2, 2), (3.5, 4), (3.55, 8)])
def test_the_logistic_map_doubles_its_period(a: float, period: int) -> None:
    x = [0.4]
    for _ in range(2000):
        x.append(a * x[-1] * (1 - x[-1]))
    states = np.array(x[-N:])[:, None]
    found = judge(states, distance_series)
    if not period:
        assert found.kind is Behaviour.FIXED_POINT
        return
    # The strongest oscillation is told, which for all of them is the one first born, period 2.
    assert found.kind is Behaviour.ORBIT
    assert 1 / found.frequency == pytest.approx(2, rel=0.02)
    # The longer periods are in the spectrum of the series all the same.
    s = distance_series(states[:, None])[:, 0]
    power = np.abs(np.fft.rfft((s - s.mean())[-120:]))
    assert power[120 // period] > 1e-3 * power.max()
    assert period == 8 or power[120 // 8] < 1e-3 * power.max()


def test_a_slow_slider_and_an_expansion() -> None:
    states = np.array([1.0, 0.0]) + 0.02 * r * np.array([0.0, 1.0])
    assert judge(states).kind is Behaviour.SLIDER
    assert judge(states, distance_series).kind is Behaviour.SLIDER
    # Growing along one direction does not turn: the cosine calls it a point, the distance not.
    growing = 1.02**r * np.array([1.0, 2.0])
    assert judge(growing).kind is Behaviour.FIXED_POINT
    assert judge(growing, distance_series).kind is Behaviour.SLIDER


def test_noise_is_unknown() -> None:
    rng = np.random.default_rng(0)
    # In many dimensions states drawn anew are all at right angles to the last.
    noise = rng.normal(size=(N, 4, 40000))
    assert {f.kind for f in limiting_behaviour(cosine_series(noise))} == {Behaviour.UNKNOWN}


def test_what_moves_within_the_rounding_of_the_dtype_is_below_resolution() -> None:
    # By hand: bfloat16 has 7 mantissa bits, 2^-7 / √12 · 32 = 0.0722; float16 10, 0.0090.
    assert noise_of("distance", "bfloat16") == pytest.approx(0.07217, abs=1e-5)
    assert noise_of("cosine", "float16") == pytest.approx(0.00902**2 / 2, rel=1e-2)
    r = np.arange(64)
    still, orbit = np.full(64, 0.96), 0.96 + 0.03 * np.sin(2 * np.pi * r / 8)
    far = 0.8 + 0.1 * np.sin(2 * np.pi * r / 8)
    columns = np.stack([still, orbit, far], 1)

    def kinds(dtype: str) -> list[Behaviour]:
        return [f.kind for f in limiting_behaviour(columns, noise=noise_of("distance", dtype))]

    unresolved = Behaviour.UNRESOLVED
    assert kinds("bfloat16") == [unresolved, unresolved, Behaviour.ORBIT]
    assert kinds("float32") == [Behaviour.FIXED_POINT, Behaviour.ORBIT, Behaviour.ORBIT]
    assert not limiting_behaviour(columns, noise=0.08)[0].unsettled
