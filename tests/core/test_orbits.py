"""Orbits that are neared but not reached, told from those that are reached and from spirals."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from recordings import recording_of

from loopscope.core.measures.settling_classes import (
    Settling,
    SettlingClass,
    longest_periods,
    settling_class,
)
from loopscope.core.selection import Selection
from loopscope.core.views.settling import Options, compute, table


def approached(
    rng: np.random.Generator, period: int, rate: float, n: int, size: float = 1.0, d: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """States ``[n + 1, d]`` that near a random orbit, and their true relative distance from it."""
    r = np.arange(n + 1)
    orbit = rng.normal(size=(period, d))[r % period]
    states = orbit + size * rate ** r[:, None] * rng.normal(size=d)
    far = np.linalg.norm(states - orbit, axis=1) / np.linalg.norm(states, axis=1)
    return states.astype(np.float32), far


def judge(states: np.ndarray) -> Settling:
    return settling_class(states)[0]


@pytest.mark.parametrize("rate", [0.9, 0.95, 0.98, 0.985, 0.995])
@pytest.mark.parametrize("period", [2, 3, 5, 8, 13])
def test_an_orbit_that_is_neared_is_named_with_the_distance_left(period: int, rate: float) -> None:
    """The truth is known at every recurrence: which orbit, and how far the state is from it."""
    rng = np.random.default_rng(period)
    states, far = approached(rng, period, rate, 160)
    for n in range(max(3 * period, 10), 161, 7):
        found = judge(states[: n + 1])
        if found.kind is SettlingClass.TOO_FEW_STEPS:  # it comes back, for less than a round
            continue
        near = far[n] <= 1e-2
        expected = SettlingClass.ORBIT if near else SettlingClass.NEARING_ORBIT
        assert (found.kind, found.period) == (expected, period), n
        assert found.unsettled
        assert found.distance_left == pytest.approx(far[n], rel=1e-2, abs=1e-5), n


def test_a_state_that_comes_back_nearly_is_not_on_its_orbit_yet() -> None:
    """It comes back within the tolerance, as every step of the way is small: most is left."""
    states, far = approached(np.random.default_rng(1), 2, 0.995, 60, 0.5)
    back = np.linalg.norm(states[2:] - states[:-2], axis=1) / np.linalg.norm(states[2:], axis=1)
    assert (back[-3:] < 1e-2).all()
    assert far[-1] > 0.1
    found = judge(states)
    assert (found.kind, found.period) == (SettlingClass.NEARING_ORBIT, 2)
    assert found.describe() == "nearing an orbit of period 2"
    assert found.distance_left == pytest.approx(far[-1], rel=1e-3)


def test_an_orbit_neared_from_both_sides_keeps_its_period() -> None:
    """The error changes its sign with each round, as before a period doubles."""
    r = np.arange(121)
    orbit = np.random.default_rng(2).normal(size=(3, 6))[r % 3]
    error = 0.4 * 0.97**r * (-1.0) ** (r // 3)
    states = orbit + error[:, None] * np.random.default_rng(3).normal(size=6)
    for n in (30, 60, 90):
        found = judge(states[: n + 1])
        assert (found.kind, found.period) == (SettlingClass.NEARING_ORBIT, 3), n
        true = np.linalg.norm(states[n] - orbit[n]) / np.linalg.norm(states[n])
        assert found.distance_left == pytest.approx(true, rel=1e-2)


def test_a_spiral_of_several_modes_nears_no_orbit() -> None:
    """500 sums of spirals that shrink by more than 1 % a recurrence: they lead to a point."""
    rng = np.random.default_rng(4)
    wrong = 0
    for _ in range(500):
        n = int(rng.integers(20, 200))
        r = np.arange(n)[:, None]
        states = rng.normal(size=8) * np.ones((n, 1))
        for _ in range(int(rng.integers(1, 4))):
            turn = rng.choice([0, np.pi, 2 * np.pi / rng.integers(2, 9), rng.uniform(0, np.pi)])
            a, b = rng.normal(size=(2, 8))
            wave = a * np.cos(turn * r) + b * np.sin(turn * r)
            states = states + rng.choice([0.1, 0.5, 1]) * rng.uniform(0.9, 0.989) ** r * wave
        kind = judge(states.astype(np.float32)).kind
        wrong += kind in (SettlingClass.ORBIT, SettlingClass.NEARING_ORBIT)
    # Two modes can look like one for a while: 0.2 % of 6,000.
    assert wrong <= 3


def test_neither_noise_nor_walks_nor_what_leaves_an_orbit_near_one() -> None:
    rng = np.random.default_rng(5)
    r = np.arange(90)[:, None]
    for _ in range(60):
        leaves = rng.normal(size=(4, 8))[r[:, 0] % 4] + 1e-2 * 1.03**r * rng.normal(size=8)
        two_turns = np.cos(r * rng.uniform(0, 3, 8)) + np.sin(r * rng.uniform(0, 3, 8))
        for states in (rng.normal(size=(90, 8)), rng.normal(size=(90, 8)).cumsum(0), leaves,
                       two_turns):  # fmt: skip
            assert judge(states).kind is not SettlingClass.NEARING_ORBIT


def test_a_jitter_about_an_orbit_is_the_orbit() -> None:
    rng = np.random.default_rng(6)
    orbit = rng.normal(size=(5, 8))[np.arange(80) % 5]
    found = judge(orbit + 2e-3 * rng.normal(size=(80, 8)))
    assert (found.kind, found.period) == (SettlingClass.ORBIT, 5)
    assert found.distance_left < 1e-2


def test_the_statement_and_the_file_say_the_distance_left() -> None:
    rng = np.random.default_rng(7)
    (one, far), (two, farther) = approached(rng, 3, 0.98, 40, 0.2), approached(rng, 3, 0.98, 40, 2)
    data = compute(recording_of(np.stack([one, two], 1)), Selection(), Options())
    assert [s.describe() for s in data.settling] == ["nearing an orbit of period 3"] * 2
    low, high = sorted([far[-1], farther[-1]])
    said = data.statement.split("2 nearing an orbit of period 3 (")[1]
    words = said.split(" of its norm left)")[0].split(" to ")
    assert [float(w) for w in words] == pytest.approx([low, high], rel=1e-2)
    text = io.StringIO()
    table_ = table(data)
    csv.writer(text).writerows([table_.columns, *table_.rows])
    last = [
        row for row in csv.DictReader(io.StringIO(text.getvalue())) if row["recurrence"] == "40"
    ]
    assert [float(row["distance left [1]"]) for row in last[:2]] == pytest.approx(
        [far[-1], farther[-1]], rel=1e-3
    )
    assert [row["period [recurrences]"] for row in last[:2]] == ["3", "3"]


@pytest.mark.parametrize(
    ("n", "longest"), [(1, (1, 1)), (7, (3, 2)), (20, (10, 7)), (400, (64, 43))]
)
def test_the_longest_orbits_looked_for(n: int, longest: tuple[int, int]) -> None:
    assert longest_periods(n) == longest
    states = np.random.default_rng(8).normal(size=(400, 8))
    p = longest[1]
    if p > 1:  # the longest is found, one longer is not
        known, _ = approached(np.random.default_rng(9), p, 0.995, n, 3.0)
        assert judge(known).kind is SettlingClass.NEARING_ORBIT
        known, _ = approached(np.random.default_rng(9), p + 1, 0.995, n, 3.0)
        assert judge(known).kind is not SettlingClass.NEARING_ORBIT
    assert judge(states).kind is SettlingClass.WANDERING
