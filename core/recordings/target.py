"""A file that the HDF5 library writes to, and that never refuses.

The library takes the process down when the disk is full as it closes a file. So the room is taken
before it begins, and what is refused all the same is told when it has ended.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Of a file besides its arrays, at most; for each array and at all.
_WORDS = 1 << 16


@contextmanager
def target(path: Path, nbytes: int, n_arrays: int) -> Iterator[Target]:
    """Give a new file for arrays of ``nbytes`` in all; raises `OSError` where they do not fit."""
    with path.open("w+b", buffering=0) as file:
        _reserve(file.fileno(), path, nbytes + (n_arrays + 1) * _WORDS)
        made = Target(file.fileno())
        yield made
        made.truncate(made.seek(0, os.SEEK_END))
        if made.problem is not None:
            raise made.problem


def _reserve(descriptor: int, path: Path, nbytes: int) -> None:
    """Take room on the disk, or see that there is some; raises `OSError` where there is not."""
    if not hasattr(os, "posix_fallocate"):  # Windows and macOS
        if shutil.disk_usage(path.parent).free < nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return
    try:
        os.posix_fallocate(descriptor, 0, nbytes)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system without it
            raise


class Target:
    """What h5py takes for a file. problem : the first thing that the system refused, or None."""

    def __init__(self, descriptor: int) -> None:
        # Where it ends for the library: the room that was taken is longer.
        self._descriptor, self._end = descriptor, 0
        self.problem: OSError | None = None

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place; returns it."""
        if whence == os.SEEK_END:
            offset, whence = self._end + offset, os.SEEK_SET
        return os.lseek(self._descriptor, offset, whence)

    def tell(self) -> int:
        """The place where it is."""
        return self.seek(0, os.SEEK_CUR)

    def read(self, n: int) -> bytes:
        """Read ``n`` bytes; zeros where there are none."""
        return os.read(self._descriptor, n).ljust(n, b"\0")

    def readinto(self, into: memoryview) -> int:
        """Fill ``into``; with zeros where there is nothing."""
        into[:] = self.read(len(into))
        return len(into)

    def write(self, data: memoryview) -> int:
        """Write all of ``data``, or keep why it is not."""
        view = memoryview(data)
        with self._noted():
            while len(view):
                view = view[os.write(self._descriptor, view) :]
        self._end = max(self._end, self.tell())
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        """End the file at ``size``, by default here."""
        end = self.tell() if size is None else size
        with self._noted():
            os.ftruncate(self._descriptor, end)
        self._end = end
        return end

    def flush(self) -> None:
        """Nothing is held back."""

    @contextmanager
    def _noted(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            self.problem = self.problem or problem
