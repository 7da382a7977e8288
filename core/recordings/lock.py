"""Who writes a file: one process at a time; the system lets go of it when that one ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

from loopscope.core.errors import LoopscopeError

# The byte that is locked on Windows, where a lock keeps others from reading: far beyond the end.
_BYTE = 1 << 40

if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO, *, release: bool = False) -> None:
        here = file.tell()
        file.seek(_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK if release else msvcrt.LK_NBLCK, 1)
        finally:
            file.seek(here)
else:
    import fcntl

    def _lock(file: BinaryIO, *, release: bool = False) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_UN if release else fcntl.LOCK_EX | fcntl.LOCK_NB)


def locked(file: BinaryIO) -> bool:
    """Lock an open file for as long as it is open; False where another process holds it."""
    try:
        _lock(file)
    except OSError:
        return False
    return True


def locked_elsewhere(file: BinaryIO) -> bool:
    """Whether another holds the lock of an open file; it is not kept here."""
    if not locked(file):
        return True
    _lock(file, release=True)
    return False


def held(path: Path, refusal: str) -> BinaryIO:
    """Open a file whose lock stands for a folder; it is held until the file is closed.

    Raises `LoopscopeError` with ``refusal`` where another process holds it.
    """
    file = path.open("ab")
    if not locked(file):
        file.close()
        raise LoopscopeError(refusal)
    return file


def remove_held(file: BinaryIO, path: str | os.PathLike[str]) -> None:
    """Delete a file that is locked here and close it: in this order where the system lets us."""
    if sys.platform == "win32":
        file.close()
        os.unlink(path)
    else:
        os.unlink(path)
        file.close()
