"""Settling measured on dynamics whose answer is known."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from recordings import recording_of, synthetic_recording
from trajectories import R, contraction, rotation

from loopscope.core.measures.distance_left import linear_limit
from loopscope.core.measures.settling import (
    distance_to_end,
    fitted_rate,
    is_settled,
    relative_floor,
)
from loopscope.core.measures.settling_classes import SettlingClass, settling_class
from loopscope.core.run.steps import relative_step, step_size
from loopscope.core.selection import Selection
from loopscope.core.views.settling import (
    Options,
    compute,
    stop_reason,
)

r = np.arange(R + 1)[:, None]


def logistic(a: float, n: int) -> np.ndarray:
    x = [0.4]
    for _ in range(n):
        x.append(a * x[-1] * (1 - x[-1]))
    return np.array(x)[:, None]


def kind(states: np.ndarray, **asked: float) -> SettlingClass:
    return settling_class(states, **asked)[0].kind


# ---- measures on small arrays, by hand ----
def test_steps_and_distances_by_hand() -> None:
    states = np.array([[[0, 0]], [[3, 4]], [[3, 0]], [[3, 0]]], np.float32)
    np.testing.assert_array_equal(step_size(states), [[5], [4], [0]])
    np.testing.assert_allclose(relative_step(states), [[1], [4 / 3], [0]])
    np.testing.assert_array_equal(distance_to_end(states), [[3], [4], [0], [0]])
    np.testing.assert_allclose(distance_to_end(states, True), [[1], [4 / 3], [0], [0]])


def test_relative_step_is_nan_where_the_norm_is_0() -> None:
    states = np.array([[[3, 4]], [[0, 0]], [[0, 0]]], np.float32)
    np.testing.assert_array_equal(relative_step(states), [[np.nan], [np.nan]])
    np.testing.assert_array_equal(step_size(states), [[5], [0]])


def test_differences_are_taken_in_float64() -> None:
    # In float32 the sum of these squares overflows.
    states = np.array([[[0.0, 0.0]], [[3e30, 4e30]]], np.float32)
    np.testing.assert_allclose(step_size(states), [[5e30]], rtol=1e-6)


def test_per_layer_steps_are_those_of_each_layer() -> None:
    recording = synthetic_recording(n_block=3, rate=0.5)
    x = recording.layer_states.astype(float)
    got = step_size(recording.layer_states)
    assert got.shape == (11, 3, 5)
    assert got[4, 2, 1] == pytest.approx(math.dist(x[5, 2, 1], x[4, 2, 1]))
    np.testing.assert_allclose(got[1:4] / got[:3], 0.5, rtol=1e-4)


@pytest.mark.parametrize(("dtype", "bits"), [("bfloat16", 7), ("float16", 10), ("float32", 23)])
def test_the_floor_is_the_size_of_uniform_rounding_errors(dtype: str, bits: int) -> None:
    # Entries just above 1 have one unit in the last place of 2^-m: an independent simulation.
    rng = np.random.default_rng(0)
    exact = 1 + rng.uniform(0, 2.0**-7, size=(1, 4096)) + 1e-3
    unit = 2.0**-bits
    error = np.linalg.norm(np.round(exact / unit) * unit - exact)
    floor = relative_floor(dtype) * np.linalg.norm(exact)
    assert floor == pytest.approx(error, rel=0.05)


# ---- the rate ----
def test_rate_of_an_exact_contraction() -> None:
    steps = step_size(contraction(0.7)[:, None])[:, 0]
    assert fitted_rate(steps) == pytest.approx(0.7, rel=1e-9)


def test_rate_is_the_least_squares_slope() -> None:
    rng = np.random.default_rng(1)
    steps = np.exp(-0.3 * np.arange(20) + rng.normal(size=20))
    slope = np.polyfit(np.arange(14, 20), np.log(steps[14:]), 1)[0]
    assert fitted_rate(steps, n_points=6) == pytest.approx(math.exp(slope))


def test_rate_leaves_out_rounding_noise() -> None:
    floor = 1e-3
    steps = np.maximum(0.5 ** np.arange(40), floor / 2)
    assert fitted_rate(steps, floor) == pytest.approx(0.5)
    assert fitted_rate(steps) > 0.95, "without the floor the noise is what is fitted"


@pytest.mark.parametrize(("floors", "counts"), [(31.0, False), (33.0, True)])
def test_a_rate_is_fitted_to_steps_above_32_rounding_floors(floors: float, counts: bool) -> None:
    floor = 1e-6
    steps = np.array([1.0, 0.5, 0.25, 0.125, floors * floor])
    fit = np.polyfit(range(5), np.log(steps), 1)[0] if counts else np.log(0.5)
    assert fitted_rate(steps, floor, 5) == pytest.approx(np.exp(fit))


@pytest.mark.parametrize("steps", [[], [1.0, 0.5], [0.0] * 9, [np.nan] * 9])
def test_no_rate_without_three_points(steps: list[float]) -> None:
    assert math.isnan(fitted_rate(np.array(steps)))


# ---- classes ----
def test_contraction_settles_with_its_evidence() -> None:
    (found,) = settling_class(contraction(0.7), 1e-2, 3)
    assert found.kind is SettlingClass.SETTLED
    assert found.period is None
    assert found.rate == pytest.approx(0.7, abs=0.005)
    assert (found.tolerance, found.window, found.n_steps) == (1e-2, 3, R)
    s = contraction(0.7)
    assert found.relative_step == pytest.approx(math.dist(s[-1], s[-2]) / math.hypot(*s[-1]))


def test_settled_needs_the_whole_window() -> None:
    s = contraction(0.5)
    below = np.flatnonzero(relative_step(s[:, None])[:, 0] < 1e-2)[0]
    for window in (1, 3, 5):
        assert kind(s[: below + 1 + window], window=window) is SettlingClass.SETTLED
        assert kind(s[: below + window], window=window) is not SettlingClass.SETTLED


@pytest.mark.parametrize("period", [2, 3, 5, 7])
def test_rotation_is_an_orbit(period: int) -> None:
    (found,) = settling_class(rotation(period))
    assert (found.kind, found.period) == (SettlingClass.ORBIT, period)
    assert found.describe() == f"orbit of period {period}"


def test_orbit_needs_a_round_that_repeats() -> None:
    enough = next(n for n in range(30) if kind(rotation(5, n=n)) is SettlingClass.ORBIT)
    assert enough == 10
    assert kind(rotation(5, n=enough - 5)) is SettlingClass.TOO_FEW_STEPS


def test_spiral_that_closes_in_is_never_an_orbit_nor_a_drift() -> None:
    for n in range(12, 120):
        found = kind(rotation(5, rate=0.93, n=n))
        assert found in (SettlingClass.TOO_FEW_STEPS, SettlingClass.SETTLED), n
    assert found is SettlingClass.SETTLED


@pytest.mark.parametrize(("a", "period"), [(3.2, 2), (3.5, 4), (3.55, 8)])
def test_logistic_map(a: float, period: int) -> None:
    (found,) = settling_class(logistic(a, 400), 1e-3)
    assert (found.kind, found.period) == (SettlingClass.ORBIT, period)


def test_logistic_map_below_3_settles_and_chaos_does_not() -> None:
    assert kind(logistic(2.8, 200)) is SettlingClass.SETTLED
    assert kind(logistic(3.9, 200), tolerance=1e-4) is SettlingClass.WANDERING


def test_states_drawn_anew_each_time_wander_and_do_not_drift() -> None:
    rng = np.random.default_rng(0)
    assert kind(rng.normal(size=(40, 16))) is SettlingClass.WANDERING
    # The same shape of motion on a hundredth of the state's norm is no wandering.
    assert kind(10 + 0.3 * rng.normal(size=(40, 16))) is SettlingClass.SLOW_DRIFT


@pytest.mark.parametrize("growth", [1.05, 1.5, 3.0])
def test_expansion_diverges(growth: float) -> None:
    assert kind(np.array([1.0, 2.0]) * growth**r) is SettlingClass.DIVERGED


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_growth_by_sums_at_a_falling_relative_step_never_diverges(power: float) -> None:
    # ‖s_r‖ = (10 + r)^p: the relative step falls as p / (10 + r), however the step itself grows.
    norms = (10 + np.arange(81.0)) ** power
    states = np.array([0.6, 0.8]) * norms[:, None]
    for n in range(6, 81):
        assert kind(states[: n + 1]) is not SettlingClass.DIVERGED, n


def test_a_burst_in_a_long_drift_does_not_diverge_and_a_late_explosion_does() -> None:
    sizes = np.r_[np.full(40, 25.0), 25 * 1.02 ** np.arange(8.0)]
    norms = 150 + np.cumsum(sizes)
    drift = np.array([0.6, 0.8]) * norms[:, None]
    assert kind(drift) is SettlingClass.SLOW_DRIFT
    late = np.r_[np.full(40, 1.0), 1.0 + 0.01 * 1.5 ** np.arange(20.0)]
    assert kind(np.array([0.6, 0.8]) * late[:, None]) is SettlingClass.DIVERGED


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_diverge(bad: float) -> None:
    states = contraction(0.5)
    states[-1, 1] = bad
    assert kind(states) is SettlingClass.DIVERGED


@pytest.mark.parametrize("step", [0.5, 0.1, 0.01, 0.001])
def test_constant_step_is_slow_drift_even_below_the_tolerance(step: float) -> None:
    states = np.array([2.0, 1.0, 0.0]) + step * r * np.array([0.0, 0.6, 0.8])
    assert kind(states) is SettlingClass.SLOW_DRIFT


def test_random_walk_is_slow_drift() -> None:
    walks = np.cumsum(np.random.default_rng(0).normal(size=(1601, 64, 16)), axis=0)
    assert {s.kind for s in settling_class(walks)} == {SettlingClass.SLOW_DRIFT}


def test_jitter_around_a_point_below_the_tolerance_has_settled() -> None:
    rng = np.random.default_rng(0)
    assert kind(5 + 1e-3 * rng.normal(size=(60, 8))) is SettlingClass.SETTLED


def test_rounding_noise_at_rest_has_settled() -> None:
    states = contraction(0.5, 200).astype(np.float32)
    states[150:, 0] += np.float32(2.4e-7) * np.arange(51, dtype=np.float32)
    assert kind(states) is SettlingClass.SETTLED


def test_a_fall_that_will_arrive_soon_is_not_called_a_drift() -> None:
    assert kind(contraction(0.9, 12)) is SettlingClass.TOO_FEW_STEPS
    assert kind(contraction(0.98, 400), tolerance=1e-6) is SettlingClass.TOO_FEW_STEPS
    assert kind(contraction(0.995, 40), tolerance=1e-4) is SettlingClass.SLOW_DRIFT


@pytest.mark.parametrize("n", [0, 1, 2])
def test_fewer_recurrences_than_the_window(n: int) -> None:
    found = settling_class(np.zeros((n + 1, 4, 3)))
    assert [f.kind for f in found] == [SettlingClass.TOO_FEW_STEPS] * 4
    assert all(f.n_steps == n for f in found)


def test_states_that_are_zero_throughout_have_settled() -> None:
    assert kind(np.zeros((9, 3))) is SettlingClass.SETTLED


def test_each_token_has_its_own_class() -> None:
    together = np.stack([contraction(0.6), rotation(5), 1.2**r * np.ones(3)], 1)
    found = [s.kind for s in settling_class(together)]
    assert found == [SettlingClass.SETTLED, SettlingClass.ORBIT, SettlingClass.DIVERGED]


@pytest.mark.parametrize("rate", [0.9, 0.97, 0.985])
def test_small_steps_far_from_their_limit_are_not_settled(rate: float) -> None:
    """``s_r = x + rate^r y``: the true distance to the limit is known."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 16))
    states = x + 0.7 * rate ** np.arange(400)[:, None] * y
    far = np.linalg.norm(states - x, axis=1) / np.linalg.norm(states, axis=1)
    step = relative_step(states[:, None])[:, 0]
    n = int(np.flatnonzero(step < 1e-2)[0]) + 4  # small enough three times running
    (found,) = settling_class(states[: n + 1])
    assert found.relative_step < 1e-2 < far[n]
    assert found.kind is not SettlingClass.SETTLED
    assert found.distance_left == pytest.approx(far[n], rel=1e-6)
    until = int(np.flatnonzero(far <= 1e-2)[0])
    assert kind(states[:until]) is SettlingClass.TOO_FEW_STEPS
    assert kind(states[: until + 2]) is SettlingClass.SETTLED


@pytest.mark.parametrize("period", [2, 5, 40])
def test_the_distance_left_of_a_spiral_is_that_to_its_centre(period: int) -> None:
    states = rotation(period, rate=0.9, n=60)
    (found,) = settling_class(states)
    true = np.linalg.norm(states[-1] - [1, 1, 2]) / np.linalg.norm(states[-1])
    assert found.distance_left == pytest.approx(true, rel=1e-3)


def spirals(modes: list[tuple[float, float, float, float, float]], n: int) -> np.ndarray:
    """``Σ size · rate^r · (a point of an ellipse)``, ``[n + 1, 12]``, each mode in its own plane.

    A mode is (rate, recurrences of a round, short axis over long, phase, size).
    """
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))[0]
    r, y = np.arange(n + 1)[:, None], np.zeros((n + 1, 12))
    for i, (rate, period, ratio, phase, size) in enumerate(modes):
        turn = 2 * np.pi * r / period + phase
        ellipse = np.cos(turn) * axes[2 * i] + ratio * np.sin(turn) * axes[2 * i + 1]
        y += size * rate**r * ellipse
    return y


@pytest.mark.parametrize("rate", [0.9, 0.97, 0.985, 0.995])
def test_slow_spirals_on_any_ellipse_are_not_settled_far_from_their_centre(rate: float) -> None:
    """Near the ends of a long ellipse steps are small, whatever is left of the way."""
    grid = product((5.5, 12, 40, 160), (1.0, 0.1, 0.01), (0.0, 0.7, 1.4, 2.1))
    n = 700
    y = np.stack([spirals([(rate, *mode, 1.0)], n) for mode in grid], 1)
    centre = np.zeros(12)
    centre[0] = 1.3
    states = (centre + y).astype(np.float32)
    far = np.linalg.norm(y, axis=-1) / np.linalg.norm(states, axis=-1)
    judged = 0
    for r in range(10, n, 31):
        kinds = settling_class(states[: r + 1])
        settled = np.array([found.kind is SettlingClass.SETTLED for found in kinds])
        assert (far[r][settled] <= 1.001e-2).all(), r
        judged += int((settled & (far[r] < 5e-3)).sum())
    assert judged > 100 or rate == 0.995  # most that have arrived are said to have


def test_several_modes_are_not_settled_far_from_where_they_lead() -> None:
    modes = [(0.98, 40, 0.1, 0.3, 1.0), (0.93, 7, 1.0, 0.0, 1.5), (0.97, 15, 0.2, 2.0, 0.6)]
    y = spirals(modes, 400)
    states = np.r_[[2.0] * 12] + y
    far = np.linalg.norm(y, axis=1) / np.linalg.norm(states, axis=1)
    for r in range(20, 400, 9):
        (found,) = settling_class(states[: r + 1])
        assert found.kind is not SettlingClass.SETTLED or far[r] <= 1.001e-2, r
        if r >= 60 and far[r] > 1e-3:
            assert found.distance_left >= 0.99 * far[r], r
    assert found.kind is SettlingClass.SETTLED


def test_the_limit_of_a_linear_map_is_exact() -> None:
    ellipse = spirals([(0.97, 30, 0.05, 0.4, 1.0)], 40)[:, None]
    assert linear_limit(ellipse, 2)[0] == pytest.approx(np.linalg.norm(ellipse[-1]), rel=1e-6)
    three = spirals([(0.97, 30, 0.5, 0, 1), (0.9, 7, 1, 0, 1), (0.95, 12, 0.7, 0, 1)], 30)[:, None]
    assert linear_limit(three, 6)[0] == pytest.approx(np.linalg.norm(three[-1]), rel=1e-3)
    line = np.cumsum(np.ones((20, 1, 3)), axis=0)
    assert not linear_limit(line, 2)[0] < 1e6  # steps that do not shrink lead nowhere
    assert np.isnan(linear_limit(np.zeros((20, 1, 3)), 2)[0])
    assert np.isnan(linear_limit(ellipse[:4], 2)[0])
    assert np.isnan(linear_limit(np.where(np.arange(20) == 7, np.nan, 1.0)[:, None, None], 2)[0])


def in_dtype(dtype: str, rate: float, n: int = 400) -> np.ndarray:
    """A contraction whose state is rounded to ``dtype`` at every recurrence."""
    kind_ = getattr(torch, dtype)
    generator = torch.Generator().manual_seed(0)
    x, s = (torch.randn(64, generator=generator).to(kind_) for _ in range(2))
    states = [s.float().numpy()]
    for _ in range(n):
        s = (x.float() + rate * (s.float() - x.float())).to(kind_)
        states.append(s.float().numpy())
    return np.array(states)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_what_rounding_could_hide_is_a_class_of_its_own(dtype: str) -> None:
    """Rounding stops the state short of its limit: its steps are 0, whatever is left."""
    states = in_dtype(dtype, 0.985)
    (half,) = settling_class(states, dtype=dtype)
    assert half.relative_step < 1e-2
    limit = torch.randn(64, generator=torch.Generator().manual_seed(0)).numpy()
    left = np.linalg.norm(states[-1] - limit) / np.linalg.norm(limit)
    assert left > 1e-2  # it stands still more than the tolerance away
    assert half.kind is SettlingClass.UNRESOLVED
    (exact,) = settling_class(in_dtype("float32", 0.985), dtype="float32")
    assert exact.kind in (SettlingClass.SETTLED, SettlingClass.TOO_FEW_STEPS)
    data = compute(recording_of(states[:, None], dtype), Selection(), Options())
    assert f"1 below resolution (steps within the rounding of {dtype}" in data.statement
    assert "float32 would show it" in data.statement
    assert not data.unsettled()


def test_a_fast_fall_into_the_rounding_of_half_precision_has_settled() -> None:
    assert kind(in_dtype("bfloat16", 0.5, 40), dtype="bfloat16") is SettlingClass.SETTLED


def test_equal_neighbours_do_not_hide_an_orbit() -> None:
    round_ = np.array([[1.0, 2.0], [1.0, 2.0], [-3.0, 1.0]])
    (found,) = settling_class(np.tile(round_, (8, 1)))
    assert (found.kind, found.period) == (SettlingClass.ORBIT, 3)


@pytest.mark.parametrize("rest", [4, 6, 20])
def test_an_orbit_that_rests_in_its_round_is_not_settled(rest: int) -> None:
    """It stands still for longer than the window, then jumps: at every recurrence it is an orbit."""
    one, other = np.random.default_rng(0).normal(size=(2, 8))
    states = np.tile(np.stack([one] * rest + [other]), (5, 1))
    for n in range(len(states) - rest, len(states) + 1):
        (found,) = settling_class(states[:n])
        assert (found.kind, found.period) == (SettlingClass.ORBIT, rest + 1), n
    # Thrown off once it comes to rest again; a jitter about the tolerance comes back as well.
    assert kind(np.stack([one] * 20 + [other] + [one] * 12)) is SettlingClass.SETTLED
    jitter = one + 1.1e-2 * np.linalg.norm(one) / 4 * np.random.default_rng(1).normal(size=(80, 8))
    steps = relative_step(jitter[:, None])[:, 0]
    ends = [n for n in range(20, 81) if (steps[n - 3 : n] < 1e-2).all()]
    assert ends
    assert (steps[ends[0] - 60 : ends[-1]] > 1e-2).any()
    assert {kind(jitter[: n + 1]) for n in ends} == {SettlingClass.SETTLED}


@pytest.mark.parametrize("period", [17, 24, 40, 64])
def test_long_orbits(period: int) -> None:
    rng = np.random.default_rng(3)
    round_ = rng.normal(size=(period, 8))
    (found,) = settling_class(np.tile(round_, (4, 1)))
    assert (found.kind, found.period) == (SettlingClass.ORBIT, period)
    (early,) = settling_class(np.tile(round_, (4, 1))[: period + 5])
    assert early.kind is SettlingClass.TOO_FEW_STEPS


def test_a_round_that_is_not_over_is_not_enough_steps() -> None:
    round_ = np.random.default_rng(4).normal(size=(6, 5))
    start = np.random.default_rng(5).normal(size=(1, 5))
    states = np.concatenate([start, np.tile(round_, (4, 1))])
    assert kind(states[:12]) is SettlingClass.TOO_FEW_STEPS  # 11 recurrences, period 6
    assert kind(states[:14]) is SettlingClass.ORBIT
    wild = np.random.default_rng(6).normal(size=(140, 5))
    assert kind(wild) is SettlingClass.WANDERING
    data = compute(recording_of(wild[:, None]), Selection(), Options())
    assert "1 wandering (no orbit of a period up to 64, none neared up to 43)" in data.statement
    data = compute(recording_of(wild[:41, None]), Selection(), Options())
    assert "(no orbit of a period up to 20, none neared up to 13)" in data.statement


def test_playing_does_not_stop_far_from_the_limit() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 16))
    states = x + 0.7 * 0.985 ** np.arange(700)[:, None] * y
    assert stop_reason(recording_of(states[:60, None]), Options()) is None
    assert "so is what is left" in str(stop_reason(recording_of(states[:400, None]), Options()))
    slow = in_dtype("bfloat16", 0.985)
    said = stop_reason(recording_of(slow[:, None], "bfloat16"), Options())
    assert "below what bfloat16 resolves" in str(said)


def test_is_settled() -> None:
    rows = np.array([[0.1, 0.1], [0.009, 0.02], [0.009, 0.009], [0.001, 0.009]])
    assert is_settled(rows, 1e-2, 2)
    assert not is_settled(rows, 1e-2, 3)
    assert not is_settled(rows[:1], 1.0, 2)
    assert not is_settled(np.where(rows == 0.001, np.nan, rows), 1e-2, 2)
    assert not is_settled(np.zeros((0, 2)), 1e-2, 1)
    assert not is_settled(np.zeros((5, 0)), 1e-2, 1)


# ---- the limits between the classes ----
def test_small_steps_drift_where_above_seven_tenths_of_them_add_up() -> None:
    """A jitter that remembers itself goes straight on for six steps now and then."""
    rng, jitter = np.random.default_rng(0), np.zeros((61, 4000, 3))
    for i in range(1, 61):
        jitter[i] = 0.8 * jitter[i - 1] + rng.normal(size=(4000, 3))
    states = np.array([10.0, 5.0, 0.0]) + 1e-4 * jitter
    kinds = np.array([found.kind for found in settling_class(states)])
    steps = np.linalg.norm(np.diff(states[-7:], axis=0), axis=-1)
    straightness = np.linalg.norm(states[-1] - states[-7], axis=-1) / steps.sum(0)
    drifts = straightness[kinds == SettlingClass.SLOW_DRIFT]
    assert set(kinds) == {SettlingClass.SETTLED, SettlingClass.SLOW_DRIFT}
    assert len(drifts) > 10
    assert 0.7 < drifts.min() < 0.71


@pytest.mark.parametrize(
    ("step", "expected"), [(0.09, SettlingClass.SLOW_DRIFT), (0.11, SettlingClass.WANDERING)]
)
def test_a_state_that_moves_by_a_tenth_of_its_norm_wanders(
    step: float, expected: SettlingClass
) -> None:
    rng, angle = np.random.default_rng(3), 2 * math.asin(step / 2)
    states = [np.eye(64)[0]]
    for _ in range(200):
        aside = rng.normal(size=64)
        aside -= (aside @ states[-1]) * states[-1]
        aside /= np.linalg.norm(aside)
        states.append(math.cos(angle) * states[-1] + math.sin(angle) * aside)
    np.testing.assert_allclose(relative_step(np.array(states)), step)
    assert kind(np.array(states)) is expected


@pytest.mark.parametrize(
    ("more", "expected"), [(60, SettlingClass.TOO_FEW_STEPS), (70, SettlingClass.SLOW_DRIFT)]
)
def test_a_fall_is_given_64_recurrences_to_arrive(more: int, expected: SettlingClass) -> None:
    n, start = 20, np.array([1.0, 2.0, -1.0])
    # After n + more recurrences what is left of the way is the tolerance, relative to the norm.
    arrived = 1e-2 * np.linalg.norm([3.0, -1.0, 2.0]) / np.linalg.norm(start)
    assert kind(contraction(arrived ** (1 / (n + more)), n)) is expected
