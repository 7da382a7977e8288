"""Which columns the page draws: never more than fit, the ends and the cuts first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loopscope.widgets.figures.graph_slots import choose_slots


def pairs(*arguments) -> list[tuple[int, int]]:
    return [(s.first, s.last) for s in choose_slots(*arguments)]


def test_alike_columns_are_left_out_first_and_then_the_middle() -> None:
    assert pairs(6, (), 6, 8, ()) == [(r, r) for r in range(1, 7)]
    assert pairs(200, (), 6, 8, ()) == [(1, 1), (2, 2), (3, 198), (199, 199), (200, 200)]
    deep = range(1, 25)
    assert pairs(24, deep, 8, 8, (24,)) == [
        (1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 23), (24, 24),
    ]  # fmt: skip
    # A shorter run's last column beside a longer deep model.
    assert (10, 10) in pairs(24, deep, 8, 8, (24, 10))


@given(
    st.integers(1, 60),
    st.sets(st.integers(1, 60)),
    st.lists(st.integers(1, 60), max_size=12),
)
def test_it_fits_and_nothing_is_lost(n, breaks, ends) -> None:
    found = pairs(n, breaks, 6, 8, ends)
    assert len(found) <= 8 or n <= 6
    assert [r for a, b in found for r in range(a, b + 1)] == list(range(1, n + 1))
