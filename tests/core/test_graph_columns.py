"""Folding: nothing is lost, what differs is never folded, the cursor is always drawn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopscope.core.views.graph.columns import Column, columns


def pairs(n: int, breaks=(), fold="auto", room=8, kept=()) -> list[tuple[int, int]]:
    return [(c.first, c.last) for c in columns(n, breaks, fold, room, kept).columns]


def test_what_fits_is_not_folded_and_what_does_not_is() -> None:
    assert pairs(8) == [(r, r) for r in range(1, 9)]
    assert pairs(9, room=8) == [(1, 1), (2, 2), (3, 3), (4, 6), (7, 7), (8, 8), (9, 9)]
    assert pairs(1000, room=5) == [(1, 1), (2, 2), (3, 998), (999, 999), (1000, 1000)]
    assert pairs(1000, room=3) == [(1, 1), (2, 999), (1000, 1000)]
    assert pairs(0) == []


def test_always_and_never() -> None:
    assert pairs(7, fold="always", room=50) == [(1, 1), (2, 6), (7, 7)]
    assert len(pairs(500, fold="never", room=5)) == 500
    # Two columns take no less room than what they would be folded into.
    assert pairs(4, fold="always") == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_the_cursor_and_what_differs_stay() -> None:
    assert pairs(100, room=6, kept=(50,)) == [(1, 1), (2, 49), (50, 50), (51, 99), (100, 100)]
    # A cut at 40 only: both its neighbours are ends of a stretch.
    assert pairs(100, breaks=(40, 41), room=6) == [
        (1, 1), (2, 38), (39, 39), (40, 40), (41, 41), (42, 99), (100, 100),
    ]  # fmt: skip
    assert pairs(100, breaks=range(1, 102), room=6) == [(r, r) for r in range(1, 101)]


@given(
    st.integers(0, 60),
    st.sets(st.integers(-3, 70)),
    st.sampled_from(["auto", "always", "never"]),
    st.integers(3, 20),
    st.sets(st.integers(-3, 70), max_size=3),
)
def test_every_recurrence_is_in_one_column_in_order(n, breaks, fold, room, kept) -> None:
    found = columns(n, breaks, fold, room, kept)
    assert [r for c in found.columns for r in range(c.first, c.last + 1)] == list(range(1, n + 1))
    for c in found.columns:
        if c.times > 1:
            assert not any(c.first < b <= c.last for b in breaks)
            assert not any(c.first <= k <= c.last for k in kept)
    for r in range(1, n + 1):
        column = found.at(found.place(r))
        assert column.first <= r <= column.last
    assert found.folded == any(c.times > 1 for c in found.columns)


def test_a_column_says_how_many_it_stands_for() -> None:
    assert Column(4, 196).times == 193
    assert columns(300, (), "auto", 8).folded


def test_wider_room_folds_less() -> None:
    folded = [
        sum(c.times > 1 for c in columns(30, (15,), "auto", room).columns) for room in (6, 31)
    ]
    assert folded == [2, 0]
    with pytest.raises(IndexError):
        columns(3, (), "never", 3).at(4)
