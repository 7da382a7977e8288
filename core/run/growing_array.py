"""An array that one thread appends to while others read its rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FIRST_ROWS = 4


def rows_allocated(n: int) -> int:
    """Rows that are allocated for ``n`` of them: a growing array doubles."""
    rows = FIRST_ROWS
    while rows < n:
        rows *= 2
    return rows


class GrowingArray:
    """An array that grows along its first axis by doubling; rows once appended never change.

    shape, dtype : of a row.
    """

    def __init__(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self._buffer: npt.NDArray[Any] = np.empty((FIRST_ROWS, *shape), dtype)
        self._n = 0

    def append(self, row: npt.NDArray[Any]) -> None:
        """Append one row."""
        if self._n == len(self._buffer):
            grown = np.empty((2 * self._n, *self._buffer.shape[1:]), self._buffer.dtype)
            grown[: self._n] = self._buffer
            self._buffer = grown
        self._buffer[self._n] = row
        self._n += 1

    def rows(self, n: int) -> npt.NDArray[Any]:
        """Return the first ``n`` rows, which cannot be written to."""
        view = self._buffer[:n]
        view.flags.writeable = False
        return view

    def copy_from(self, other: GrowingArray, n: int) -> None:
        """Take the first ``n`` rows of another array of the same shape."""
        self._buffer = np.empty((rows_allocated(n), *other._buffer.shape[1:]), other._buffer.dtype)
        self._buffer[:n] = other._buffer[:n]
        self._n = n

    @property
    def nbytes(self) -> int:
        """Bytes allocated."""
        return self._buffer.nbytes

    @property
    def nbytes_next(self) -> int:
        """Bytes that the next append will allocate."""
        return self._buffer.nbytes * 2 if self._n == len(self._buffer) else 0
