"""Rows of one shape in blocks that never move: one thread appends, any number read."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload
from weakref import ref

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from loopscope.core.run.budget import Block, Budget, shared_budget
from loopscope.core.run.file_blocks import Array, FileBlock

# A row of at least this is a block of its own, the array that was given: nothing is copied.
LARGE_ROW = 1 << 20
# The first block of small rows; each further one is twice as large, up to the second number.
SMALLEST_BLOCK, LARGEST_BLOCK = 1 << 16, 1 << 25


class Rows:
    """Rows that only become more and never change; a reader first learns how many there are.

    shape, dtype : of a row.  budget : of the memory that they take.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: npt.DTypeLike, budget: Budget | None = None
    ) -> None:
        self.budget = budget or shared_budget()
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.row_bytes = math.prod(shape) * self.dtype.itemsize
        self._blocks: list[Block] = []
        # The first row of each block; one more than blocks, the last where the next begins.
        self._starts = [0]
        self._filling: Array = np.empty(0)  # the last block, where it has room
        self._n = 0
        self._given = 0  # rows that were not appended here
        # What was last put together of several blocks, for as long as anyone holds it.
        self._gathered: ref[Array] | None = None

    def __len__(self) -> int:
        return self._n

    def append(self, row: Array) -> None:
        """Append one row, of `shape`. A large one is kept as it is: the caller gives it away.

        Raises `ValueError` for another shape.
        """
        if row.shape != self.shape:
            raise ValueError(f"a row of shape {self.shape} is expected, not {row.shape}")
        if self.row_bytes >= LARGE_ROW:
            self._add(Block(np.ascontiguousarray(row, self.dtype)[None], self.budget))
        else:
            if self._n == self._starts[-1]:
                self._begin_block()
            self._filling[self._n - self._starts[-2]] = row
        self._filled(1)

    def append_all(self, rows: Array) -> None:
        """Append several small rows, ``[n, ...]``, or large ones, which are given away.

        Raises `ValueError` for rows of another shape.
        """
        if rows.shape[1:] != self.shape:
            raise ValueError(f"rows of shape {self.shape} are expected, not {rows.shape[1:]}")
        if self.row_bytes >= LARGE_ROW:
            for row in rows:
                self.append(row)
            return
        done = 0
        while done < len(rows):
            if self._n == self._starts[-1]:
                self._begin_block()
            at, n = self._n - self._starts[-2], min(len(rows) - done, self._starts[-1] - self._n)
            self._filling[at : at + n] = rows[done : done + n]
            self._filled(n)
            done += n

    def _begin_block(self) -> None:
        self._filling = np.empty((self._next_block(), *self.shape), self.dtype)
        self._add(Block(self._filling, self.budget))

    def _filled(self, n: int) -> None:
        """Count ``n`` rows that lie in the last block now."""
        self._n += n
        block = self._blocks[-1]
        block.filled(n * self.row_bytes)
        if self._n == self._starts[-1]:
            self.budget.filled(block)

    def _add(self, block: Block, n: int | None = None) -> None:
        # The block first: a reader looks for rows only below a count it has been given.
        self._blocks.append(block)
        self._starts.append(self._starts[-1] + (len(block) if n is None else n))

    def _next_block(self) -> int:
        least = max(1, SMALLEST_BLOCK // max(self.row_bytes, 1))
        most = max(1, LARGEST_BLOCK // max(self.row_bytes, 1))
        return least if not self._blocks else min(2 * max(len(self._blocks[-1]), least // 2), most)

    def rows(self, first: int, last: int) -> Array:
        """Rows ``first .. last - 1``, ``[last - first, *shape]``, which cannot be written to.

        Part of a block where one holds them all, else a copy, put together of several. Raises
        `IndexError` for rows that are not there.
        """
        if not 0 <= first <= last <= self._n:
            raise IndexError(f"rows {first} to {last} of {self._n}")
        at = bisect_right(self._starts, first) - 1
        parts = []
        while first < last:
            start, end = self._starts[at], min(self._starts[at + 1], last)
            parts.append(self._blocks[at].data[first - start : end - start])
            first, at = end, at + 1
        if not parts:
            parts = [np.empty((0, *self.shape), self.dtype)]
        out = parts[0] if len(parts) == 1 else np.concatenate(parts)
        out.flags.writeable = False
        return out

    def first(self, n: int) -> Array:
        """The first ``n`` rows, ``[n, *shape]``; several who ask share one copy of them."""
        kept = None if self._gathered is None else self._gathered()
        if kept is None or len(kept) < n:
            kept = self.rows(0, n)
            self._gathered = ref(kept)
        return kept[:n]

    def __getitem__(self, i: int) -> Array:
        row: Array = self.rows(i, i + 1)[0]
        return row

    def part(self, i: int, part: int) -> Array:
        """Entry ``part`` of row ``i``, a row without its first axis.

        Of a row in a file no more than that is read. Raises `IndexError` for a row that is not
        there.
        """
        if not 0 <= i < self._n:
            raise IndexError(f"row {i} of {self._n}")
        at = bisect_right(self._starts, i) - 1
        data, row = self._blocks[at].data, i - self._starts[at]
        one: Array = data.part(row, part) if isinstance(data, FileBlock) else data[row][part]
        one.flags.writeable = False
        return one

    def begun(self, n: int) -> Rows:
        """Return rows that begin with the first ``n`` of these: the same memory, no copy.

        Raises `IndexError` for more than there are.
        """
        if not 0 <= n <= self._n:
            raise IndexError(f"cannot begin with {n} of {self._n} rows")
        other = Rows(self.shape, self.dtype, self.budget)
        for i, block in enumerate(self._blocks):
            start, end = self._starts[i], min(self._starts[i + 1], n)
            if start < end:
                # What of the last one lies beyond is for these rows to fill, not the others.
                other._add(block, end - start)
        other._n = other._given = n
        return other

    def extended(self, blocks: Iterable[Array | FileBlock]) -> Rows:
        """Add blocks ``[n, ...]`` that are there already, in a file or elsewhere.

        Returns these rows.
        """
        for block in blocks:
            self._add(Block(block))
        self._n = self._given = self._starts[-1]
        return self

    @property
    def nbytes(self) -> int:
        """Bytes of the rows that were appended here; shared ones count where they were made."""
        return (self._n - self._given) * self.row_bytes

    @property
    def held(self) -> int:
        """Bytes of the rows that were appended here and are in memory."""
        own = bisect_right(self._starts, self._given) - 1
        return sum(block.held for block in self._blocks[own:])


@dataclass(frozen=True, slots=True)
class Picked(Sequence[Array]):
    """Entry ``part`` of some rows, each looked up when it is asked for."""

    rows: Rows
    places: range
    part: int

    @override
    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, i: int) -> Array: ...

    @overload
    def __getitem__(self, i: slice) -> Picked: ...

    @override
    def __getitem__(self, i: int | slice) -> Array | Picked:
        if isinstance(i, slice):
            return Picked(self.rows, self.places[i], self.part)
        return self.rows.part(self.places[i], self.part)
