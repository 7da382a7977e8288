"""Segments: what of a run has been made, appended to one file while it runs.

A segment is a head of fixed size, a line of JSON that says what it holds, and bytes; both are
checksummed. A process that is killed leaves whole segments and at most one that is cut, which is
where reading ends: what came before is untouched.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import check_regular, reason, shortened
from loopscope.core.recordings.lock import locked, remove_held

MAGIC = b"LSSEG001"
# Mark, bytes of the line, bytes of the payload, checksums of line and payload, of this head.
_HEAD = struct.Struct("<4sIQIII")
_MARK = b"SEG\n"
MOST_LINE = 64 << 20
SUFFIX = ".segments"


def segments_of(path: Path) -> Path:
    """Where the segments of a recording lie while it is being made."""
    # "." has no name of its own, the folder that it is has one.
    path = path if path.name else path.absolute()
    return path.parent / (path.name + SUFFIX)


class SegmentWriter:
    """Appends to a new file of segments, which is locked while it is open.

    Raises `OSError` where the system refuses or there is one already.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = path.open("xb", buffering=0)
        locked(self._file)
        self._write(MAGIC)

    def append(self, line: dict[str, Any], payload: memoryview | bytes = b"") -> None:
        """Append one segment; when this returns, a killed process does not lose it."""
        text = json.dumps(line).encode()
        sums = zlib.crc32(text), zlib.crc32(payload)
        head = struct.pack("<4sIQII", _MARK, len(text), len(payload), *sums)
        self._write(head + struct.pack("<I", zlib.crc32(head)) + text)
        self._write(payload)

    def _write(self, data: memoryview | bytes) -> None:
        view = memoryview(data)
        while len(view):
            view = view[self._file.write(view) :]

    @property
    def in_place(self) -> bool:
        """Whether what is written is found under the file's name: its drive may be gone."""
        return is_file_at(self._file, self._path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def remove(self) -> None:
        """Delete the file: what it holds is elsewhere."""
        if self.in_place:
            remove_held(self._file, self._path)
        else:
            self._file.close()


def is_file_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is the one that a name leads to; False where it leads to none."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Segment:
    """What a segment says it holds, and where its payload lies."""

    line: dict[str, Any]
    offset: int
    nbytes: int


def read_segments(path: Path) -> Iterator[Segment]:
    """Read whole segments, in order, up to the first that is cut or damaged.

    Raises `LoopscopeError` for a file that is none of segments.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            yield from segments_in(file, path)
    except OSError as problem:
        raise LoopscopeError(f"{shortened(path)}: cannot be read: {reason(problem)}") from None


def segments_in(file: BinaryIO, path: Path, start: int = 0) -> Iterator[Segment]:
    """`read_segments` of an open file; ``start`` is where one ended that was read before.

    Raises `OSError` as well.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(start)
    if not start and file.read(len(MAGIC)) != MAGIC:
        raise LoopscopeError(f"{shortened(path)}: is no file of recorded segments")
    while (segment := _next(file, size)) is not None:
        yield segment


def _next(file: BinaryIO, size: int) -> Segment | None:
    raw = file.read(_HEAD.size)
    if len(raw) < _HEAD.size:
        return None
    mark, n_line, nbytes, line_sum, payload_sum, head_sum = _HEAD.unpack(raw)
    if mark != _MARK or zlib.crc32(raw[:-4]) != head_sum:
        return None
    offset = file.tell() + n_line
    if n_line > MOST_LINE or offset + nbytes > size:
        return None
    text = file.read(n_line)
    if zlib.crc32(text) != line_sum or not _sums_to(file, nbytes, payload_sum):
        return None
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return Segment(line, offset, nbytes) if isinstance(line, dict) else None


def _sums_to(file: BinaryIO, nbytes: int, expected: int) -> bool:
    total = 0
    while nbytes:
        piece = file.read(min(nbytes, 1 << 22))
        if not piece:
            return False
        total, nbytes = zlib.crc32(piece, total), nbytes - len(piece)
    return total == expected
