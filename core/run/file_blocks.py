"""Blocks of rows that lie in a file and are read when they are asked for.

They are read, not mapped: a file that is cut short or whose drive has gone is then an error that
can be told, where a map would take the process down.
"""

from __future__ import annotations

import math
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from weakref import finalize

import numpy as np
import numpy.typing as npt

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import reason, shortened

Array = npt.NDArray[Any]


class FileSource:
    """A file that is held open for reading; what it is called later does not matter.

    Raises `LoopscopeError` where it cannot be opened.
    """

    def __init__(self, path: Path, file: IO[bytes] | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            self._file: Any = file or path.open("rb", buffering=0)
            # With the last block that lies in it.
            self.close = finalize(self, self._file.close)
        except OSError as problem:
            raise self._error(reason(problem)) from None
        # Bytes that were appended.
        self.size = 0

    @classmethod
    def temporary(cls, folder: Path) -> FileSource:
        """Return a new file without a name, to `append` to; raises `OSError`."""
        return cls(folder, tempfile.TemporaryFile(dir=folder, buffering=0))

    def append(self, rows: Array) -> FileBlock:
        """Write rows ``[n, ...]`` behind those that were appended before; raises `OSError`."""
        block = FileBlock(self, self.size, rows.shape, rows.dtype)
        view = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
        with self._lock:
            self._file.seek(self.size)
            done = 0
            while done < len(view):
                done += self._file.write(view[done:])
            self.size += done
        return block

    def read(self, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Read an array of ``shape`` that begins at byte ``offset``.

        Raises `LoopscopeError` where the file ends before, or cannot be read.
        """
        out = np.empty(shape, dtype)
        into = out.reshape(-1).view(np.uint8).data
        try:
            with self._lock:
                self._file.seek(offset)
                done = 0
                while done < len(into):
                    n = self._file.readinto(into[done:])
                    if not n:
                        raise self._error("it ends before what it says that it holds")
                    done += n
        except (OSError, ValueError) as problem:
            raise self._error(reason(problem)) from None
        return out

    def _error(self, why: str) -> LoopscopeError:
        return LoopscopeError(f"{shortened(self.path)}: cannot be read: {why}")


@dataclass(frozen=True, slots=True)
class FileBlock:
    """Rows ``[n, ...]`` that begin at byte ``offset`` of a file."""

    source: FileSource
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Array:
        first, last, _ = rows.indices(len(self))
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        shape = (max(last - first, 0), *self.shape[1:])
        return self.source.read(self.offset + first * row_bytes, shape, self.dtype)

    def part(self, row: int, part: int) -> Array:
        """Entry ``part`` of one row, which is all that is read."""
        shape = self.shape[2:]
        place = row * self.shape[1] + part
        nbytes = math.prod(shape) * self.dtype.itemsize
        return self.source.read(self.offset + place * nbytes, shape, self.dtype)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in the file."""
        return math.prod(self.shape) * self.dtype.itemsize

    def begun(self, n: int) -> FileBlock:
        """Return the first ``n`` rows of it."""
        return FileBlock(self.source, self.offset, (n, *self.shape[1:]), self.dtype)
