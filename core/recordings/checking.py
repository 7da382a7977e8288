"""Where the arrays of an HDF5 file lie, found out by a process that may crash in our place."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import check_regular, reason, shortened
from loopscope.core.recordings.schema import FORMAT, VERSION
from loopscope.core.run.file_blocks import FileBlock, FileSource

MOST_SECONDS = 60
MOST_INDEX = 64 << 20
DTYPES = ("<f4", "<f8", "<i8", "<c16", "|u1")
_MAGIC = b"\x89HDF\r\n\x1a\n"
# One thread and no more: each would claim memory of its own.
_ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Checked:
    """A file whose arrays are known to lie within it.

    version : of its layout.  arrays : by their path in the file.
    """

    source: FileSource
    version: int
    arrays: dict[str, FileBlock]


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does; False for what cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def checked(path: Path) -> Checked:
    """Look into a file that is not trusted; raises `LoopscopeError`, one line, for no recording."""
    size = check_regular(path)
    if not is_hdf5(path):
        raise _error(path, "is no recording: it is not HDF5")
    said = _index(path)
    if said.get("format") != FORMAT:
        raise _error(path, "is HDF5, but no recording of Loopscope")
    version = said.get("version")
    if not isinstance(version, int) or not version >= 1:
        raise _error(path, "does not say of which version its layout is")
    if version > VERSION:
        raise _error(path, f"has layout {version}, of a newer Loopscope; this reads {VERSION}")
    source = FileSource(path)
    arrays = {
        name: _block(source, size, name, entry) for name, entry in said.get("arrays", {}).items()
    }
    return Checked(source, version, arrays)


def _index(path: Path) -> dict[str, Any]:
    """What `index` says of the file, in a process of its own."""
    script = Path(__file__).with_name("index.py")
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(script), str(path)],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=MOST_SECONDS,
            env=os.environ | _ALONE, creationflags=flags, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _error(path, f"cannot be read as HDF5 within {MOST_SECONDS} s") from None
    except OSError as problem:
        raise _error(path, f"cannot be checked: {reason(problem)}") from None
    if done.returncode or len(done.stdout) > MOST_INDEX:
        raise _error(path, "is damaged: the HDF5 library cannot read it")
    try:
        said = json.loads(done.stdout)
    except ValueError:  # it died in the middle of a word
        said = None
    if not isinstance(said, dict):
        raise _error(path, "is damaged: the HDF5 library cannot read it")
    if "problem" in said:
        raise _error(path, f"cannot be read as a recording: {said['problem']}")
    return said


def _block(source: FileSource, size: int, name: str, entry: Any) -> FileBlock:
    dtype, shape, offset = entry
    if dtype not in DTYPES or not shape or min(shape) < 0 or offset < 0:
        raise _error(source.path, f"'{name[:80]}' is no array of a recording")
    # In Python's own numbers, which do not overflow.
    nbytes = math.prod(shape) * int(dtype[2:])
    if offset + nbytes > size:
        raise _error(source.path, f"'{name[:80]}' would lie beyond its end: it was cut")
    return FileBlock(source, offset, tuple(shape), np.dtype(dtype))


def _error(path: Path, why: str) -> LoopscopeError:
    return LoopscopeError(f"{shortened(path)}: {why}")
