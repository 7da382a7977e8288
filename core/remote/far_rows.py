"""Rows that lie elsewhere and are fetched when they are read; what came stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from loopscope.core.run.budget import Block, Budget
from loopscope.core.run.file_blocks import Array
from loopscope.core.run.rows import Rows

# Returns rows ``first .. last - 1``, or None where they are lost.
Fetch = Callable[[int, int], Array | None]
# Rows fetched at a time are at most so many bytes, so that a long wait can be given up.
MOST_BYTES = 1 << 22


class FarRows(Rows):
    """Rows of which only the number is here until somebody reads them.

    Rows that are lost read as NaN, as those of a layer that was skipped do.

    fetch : gets them; a run that is cut off another one sets its own.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: npt.DTypeLike,
        fetch: Fetch,
        budget: Budget | None = None,
    ) -> None:
        super().__init__(shape, dtype, budget)
        self.fetch = fetch
        # By row: the block that it is in, and where in that.
        self._come: dict[int, tuple[Block, int]] = {}

    @override
    def append(self, row: Array) -> None:
        """Count one row more; ``row`` stands for it and has its shape.

        Raises `ValueError` for another shape.
        """
        if row.shape != self.shape:
            raise ValueError(f"a row of shape {self.shape} is expected, not {row.shape}")
        self._n += 1

    @override
    def rows(self, first: int, last: int) -> Array:
        if not 0 <= first <= last <= self._n:
            raise IndexError(f"rows {first} to {last} of {self._n}")
        out = np.full((last - first, *self.shape), np.nan, self.dtype)
        for a, b in self._missing(first, last):
            self._get(a, b)
        for i in range(first, last):
            place = self._come.get(i)
            if place is not None:
                block, at = place
                out[i - first] = block.data[at : at + 1][0]
        out.flags.writeable = False
        return out

    @override
    def part(self, i: int, part: int) -> Array:
        one: Array = self[i][part]
        return one

    def _missing(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Stretches that have not come yet, in parts of few bytes."""
        most = max(1, MOST_BYTES // max(self.row_bytes, 1))
        a = first
        while a < last:
            if a in self._come:
                a += 1
                continue
            b = a + 1
            while b < last and b - a < most and b not in self._come:
                b += 1
            yield a, b
            a = b

    def _get(self, first: int, last: int) -> None:
        rows = self.fetch(first, last)
        if rows is None:
            return
        block = Block(np.ascontiguousarray(rows, self.dtype), self.budget)
        self.budget.make_room(rows.nbytes)
        block.filled(rows.nbytes)
        self.budget.filled(block)
        for i in range(first, last):
            self._come[i] = (block, i - first)

    @override
    def begun(self, n: int) -> FarRows:
        if not 0 <= n <= self._n:
            raise IndexError(f"cannot begin with {n} of {self._n} rows")
        other = FarRows(self.shape, self.dtype, self.fetch, self.budget)
        other._n = other._given = n
        other._come = {i: place for i, place in list(self._come.items()) if i < n}
        return other

    @property
    def come(self) -> int:
        """How many of the rows are here."""
        return len(self._come)

    @property
    @override
    def nbytes(self) -> int:
        return sum(i >= self._given for i in list(self._come)) * self.row_bytes

    @property
    @override
    def held(self) -> int:
        own = {id(b): b for i, (b, _) in list(self._come.items()) if i >= self._given}
        return sum(block.held for block in own.values())
