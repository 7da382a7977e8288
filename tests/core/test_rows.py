"""The store under every recording: blocks that never move, shared and read by slices."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from loopscope.core.run import rows as store
from loopscope.core.run.budget import Budget, NoRoom
from loopscope.core.run.file_blocks import FileBlock, FileSource
from loopscope.core.run.rows import LARGE_ROW, Picked, Rows


@pytest.fixture(params=[(3,), (2, 5), (300,)], ids=["small", "matrix", "large"])
def shape(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[int, ...]:
    monkeypatch.setattr(store, "SMALLEST_BLOCK", 64)
    monkeypatch.setattr(store, "LARGEST_BLOCK", 200)
    monkeypatch.setattr(store, "LARGE_ROW", 1200)
    return request.param


def filled(shape: tuple[int, ...], n: int) -> tuple[Rows, list[np.ndarray]]:
    rng, rows = np.random.default_rng(n), Rows(shape, np.float32)
    given = [rng.normal(size=shape).astype(np.float32) for _ in range(n)]
    for row in given:
        rows.append(row)
    return rows, given


def test_every_slice_is_what_was_appended(shape: tuple[int, ...]) -> None:
    n = 23
    rows, given = filled(shape, n)
    whole = np.stack(given)
    for first in range(n + 1):
        for last in range(first, n + 1):
            np.testing.assert_array_equal(rows.rows(first, last), whole[first:last])
    np.testing.assert_array_equal(rows.first(n), whole)
    assert len(rows) == n
    assert rows.nbytes == whole.nbytes
    assert rows.first(0).shape == (0, *shape)
    for first, last in ((0, n + 1), (-1, 2), (5, 4)):
        with pytest.raises(IndexError):
            rows.rows(first, last)


def test_blocks_never_move_and_cannot_be_written(shape: tuple[int, ...]) -> None:
    rows, _ = filled(shape, 3)
    before = [rows[i] for i in range(3)]
    for _ in range(100):
        rows.append(np.zeros(shape, np.float32))
    for i, kept in enumerate(before):
        assert np.shares_memory(kept, rows[i])
        with pytest.raises(ValueError, match="read-only"):
            kept[...] = 0


def test_a_large_row_is_taken_without_a_copy() -> None:
    rows = Rows((LARGE_ROW // 4,), np.float32)
    row = np.ones(LARGE_ROW // 4, np.float32)
    rows.append(row)
    assert np.shares_memory(rows[0], row)
    rows.append(row[::-1])  # not in order: this one has to be
    assert rows.rows(0, 2).flags.c_contiguous
    with pytest.raises(ValueError, match="of shape"):
        rows.append(row[1:])


def test_a_prefix_is_the_same_memory_and_goes_its_own_way(shape: tuple[int, ...]) -> None:
    rows, given = filled(shape, 10)
    for n in range(11):
        other = rows.begun(n)
        assert other.nbytes == 0
        assert all(np.shares_memory(other[i], rows[i]) for i in range(n))
        other.append(np.full(shape, 7, np.float32))
        assert other.nbytes == rows.row_bytes
        np.testing.assert_array_equal(other.rows(0, n + 1), [*given[:n], other[n]])
        assert (other[n] == 7).all()
    np.testing.assert_array_equal(rows.rows(0, 10), given)
    with pytest.raises(IndexError, match="11 of 10"):
        rows.begun(11)


@pytest.fixture
def budget(tmp_path: Path) -> Budget:
    return Budget(2000, tmp_path)


def test_beyond_the_budget_the_oldest_rows_lie_on_the_disk(
    shape: tuple[int, ...], budget: Budget
) -> None:
    rows, given = Rows(shape, np.float32, budget), []
    rng = np.random.default_rng(0)
    branch = None
    for i in range(300):
        given.append(rng.normal(size=shape).astype(np.float32))
        budget.make_room(rows.row_bytes)
        rows.append(given[-1])
        if i == 150:
            branch = rows.begun(101)
        # What is still being filled cannot go.
        assert budget.held == rows.held <= 2000 + 200 + rows.row_bytes
    assert branch is not None
    assert budget.spilled + budget.held == rows.nbytes == 300 * rows.row_bytes
    np.testing.assert_array_equal(rows.first(300), given)
    np.testing.assert_array_equal(branch.first(101), given[:101])
    assert branch.held == branch.nbytes == 0
    for first, last in ((0, 3), (97, 200), (299, 300)):
        np.testing.assert_array_equal(rows.rows(first, last), given[first:last])
    del rows
    gc.collect()
    # The branch's blocks are those that went first.
    assert budget.held == 0
    np.testing.assert_array_equal(branch.first(101), given[:101])
    assert list(budget._folder.iterdir()) == []


def test_what_was_read_stays_when_its_block_goes(budget: Budget) -> None:
    rows = Rows((200,), np.float32, budget)
    for i in range(20):
        rows.append(np.full(200, i, np.float32))
    early = rows[0]
    budget.limit = 0
    budget.make_room(1)
    assert (early == 0).all()
    assert (rows[0] == 0).all()


def test_a_full_disk_is_told_before_anything_is_written(budget: Budget) -> None:
    rows = Rows((LARGE_ROW // 4,), np.float32, budget)
    rows.append(np.zeros(LARGE_ROW // 4, np.float32))
    budget._folder = budget._folder / "gone"
    with pytest.raises(
        NoRoom, match="budget of 1.95 KiB is used up, and the disk takes no more: No such"
    ):
        budget.make_room(LARGE_ROW)
    budget._folder = budget._folder.parent
    budget.make_room(LARGE_ROW)  # with room on the disk it goes on
    assert budget.held == 0
    assert (rows[0] == 0).all()


def test_who_asks_for_all_rows_shares_one_copy() -> None:
    rows, _ = filled((LARGE_ROW // 4,), 3)
    first = rows.first(3)
    assert np.shares_memory(first, rows.first(2))
    rows.append(rows[0])
    assert len(rows.first(4)) == 4
    assert len(first) == 3


def test_picked_rows_are_looked_up_one_by_one() -> None:
    rows, given = filled((2, 5), 9)
    picked = Picked(rows, range(1, 9, 3), 1)
    assert [row.tolist() for row in picked] == [given[i][1].tolist() for i in (1, 4, 7)]
    np.testing.assert_array_equal(picked[-1], given[7][1])
    assert len(picked[1:]) == 2


def test_of_a_row_in_a_file_only_the_part_that_is_wanted_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.arange(6 * 4 * 3 * 3, dtype=np.float32).reshape(6, 4, 3, 3)
    path = tmp_path / "rows"
    path.write_bytes(b"head" + array.tobytes())
    blocks = [FileBlock(FileSource(path), 4, array.shape, array.dtype), array + 1000]
    rows, sizes, read = Rows((4, 3, 3), np.float32).extended(blocks), [], FileSource.read
    monkeypatch.setattr(
        FileSource, "read",
        lambda self, *place: sizes.append(read(self, *place).nbytes) or read(self, *place),
    )  # fmt: skip
    picked = Picked(rows, range(1, 12, 3), 2)
    whole = np.concatenate([array, array + 1000])
    for i, place in enumerate((1, 4, 7, 10)):
        np.testing.assert_array_equal(picked[i], whole[place, 2])
        with pytest.raises(ValueError, match="read-only"):
            picked[i][...] = 0
    assert set(sizes) == {3 * 3 * 4}
    for wrong in (-1, 12):
        with pytest.raises(IndexError):
            rows.part(wrong, 0)
