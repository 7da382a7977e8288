"""Rows on their way: whatever they hold comes out bit for bit, and those of another process once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from loopscope.core.remote.far_rows import FarRows
from loopscope.core.remote.packing import pack, unpack
from loopscope.core.run.budget import Budget

SHAPES = arrays.array_shapes(min_dims=1, max_dims=3, max_side=9)
BITS = arrays.arrays(np.uint32, SHAPES)


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and one.tobytes() == np.ascontiguousarray(other).tobytes()
    )


@given(BITS, st.sampled_from(["any", "bfloat16", "float16"]), st.booleans())
def test_floats_come_out_bit_for_bit(bits: np.ndarray, kind: str, slow: bool) -> None:
    rows = bits.view(np.float32)
    if kind == "bfloat16":
        rows = (bits & np.uint32(0xFFFF0000)).view(np.float32)
    elif kind == "float16":
        rows = bits.astype(np.uint16).view(np.float16).astype(np.float32)
    assert same(unpack(pack(rows, slow=slow)), rows)


@given(arrays.arrays(np.int64, SHAPES))
def test_ids_come_out_as_they_were(ids: np.ndarray) -> None:
    assert same(unpack(pack(ids)), ids)


def test_what_needs_fewer_bytes_takes_fewer() -> None:
    rng = np.random.default_rng(0)
    full = rng.normal(size=(4, 16, 64)).astype(np.float32)
    half = (full.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    causal = np.tril(rng.random((4, 64, 64))).astype(np.float32)
    assert pack(full).nbytes == full.nbytes
    assert pack(half).nbytes == full.nbytes // 2
    assert pack(full.astype(np.float16).astype(np.float32)).nbytes == full.nbytes // 2
    assert pack(np.arange(100)).nbytes == 400
    assert pack(causal).nbytes == causal.nbytes
    assert pack(causal, slow=True).nbytes < 0.7 * causal.nbytes


class Source:
    """Rows elsewhere: what was asked for, and whether they are lost."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.asked, self.lost = rows, [], False

    def fetch(self, first: int, last: int) -> np.ndarray | None:
        self.asked.append((first, last))
        return None if self.lost else self.rows[first:last]


@pytest.fixture
def source() -> Source:
    return Source(np.random.default_rng(1).random((12, 3, 5)).astype(np.float32))


def far(source: Source, n: int, budget: Budget | None = None) -> FarRows:
    rows = FarRows((3, 5), "<f4", source.fetch, budget)
    for _ in range(n):
        rows.append(np.broadcast_to(np.float32(0), (3, 5)))
    return rows


def test_rows_are_fetched_when_they_are_read_and_once(source: Source) -> None:
    rows = far(source, 10)
    assert (len(rows), rows.nbytes, rows.held, source.asked) == (10, 0, 0, [])
    assert np.array_equal(rows[4], source.rows[4])
    assert np.array_equal(rows.rows(2, 8), source.rows[2:8])
    assert source.asked == [(4, 5), (2, 4), (5, 8)]
    assert np.array_equal(rows.first(8)[2:], source.rows[2:8])
    assert source.asked[3:] == [(0, 2)]
    assert rows.nbytes == rows.held == 8 * rows.row_bytes
    with pytest.raises(IndexError):
        rows.rows(5, 11)
    with pytest.raises(ValueError, match="read-only"):
        rows.rows(0, 2)[0] = 1


def test_lost_rows_are_empty_and_those_that_came_stay(source: Source) -> None:
    rows = far(source, 6)
    rows.rows(0, 3)
    source.lost = True
    got = rows.rows(0, 6)
    assert np.array_equal(got[:3], source.rows[:3])
    assert np.isnan(got[3:]).all()
    source.lost = False  # there again
    assert np.array_equal(rows.rows(0, 6), source.rows[:6])


def test_a_branch_has_what_came_and_asks_for_the_rest_itself(source: Source) -> None:
    rows = far(source, 6)
    rows.rows(1, 4)
    branch = rows.begun(3)
    other = Source(source.rows + 1)
    other.rows[:3] = source.rows[:3]
    branch.fetch = other.fetch
    branch.append(np.zeros((3, 5), np.float32))
    assert np.array_equal(branch.rows(0, 4), other.rows[:4])
    assert other.asked == [(0, 1), (3, 4)]
    assert branch.nbytes == branch.row_bytes  # what was run before it counts where it was run


def test_beyond_the_budget_they_go_to_a_file(source: Source) -> None:
    budget = Budget(2 * 60)
    rows = far(source, 8, budget)
    for i in range(8):
        assert np.array_equal(rows[i], source.rows[i])
    assert budget.held <= 3 * 60
    assert budget.spilled
    assert np.array_equal(rows.rows(0, 8), source.rows[:8])
    assert len(source.asked) == 8
