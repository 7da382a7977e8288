"""The runs of a recording as a file, or the segments of one that is being made, have them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import check_regular, reason, shortened
from loopscope.core.recordings.checking import DTYPES, Checked, checked
from loopscope.core.recordings.lock import locked_elsewhere
from loopscope.core.recordings.results import MODEL
from loopscope.core.recordings.schema import (
    MIGRATIONS,
    VERSION,
    About,
    Head,
    read_about,
    read_head,
)
from loopscope.core.recordings.segments import Segment, is_file_at, segments_in, segments_of
from loopscope.core.recordings.writing import first_own
from loopscope.core.run.file_blocks import FileBlock, FileSource
from loopscope.core.run.kept_rows import kept_rows

# Bytes of JSON that a head may have: a vocabulary of a million pieces fits.
MOST_TEXT = 64 << 20


@dataclass(slots=True)
class Part:
    """One run as the file has it: what is said of it, and blocks of its own rows by name.

    model : of the first, arrays of what was measured of the model.
    """

    head: Head
    blocks: dict[str, list[FileBlock]] = field(default_factory=dict)
    about: About = field(default_factory=About)
    model: dict[str, list[FileBlock]] = field(default_factory=dict)


def text_of(block: FileBlock | None, where: str) -> Any:
    """JSON that an array of bytes holds.

    Raises `LoopscopeError`, which begins with ``where``, for an array that holds none.
    """
    if block is None or block.dtype != np.uint8 or len(block.shape) != 1 or len(block) > MOST_TEXT:
        raise LoopscopeError(f"{where}: is missing or no text")
    try:
        return json.loads(block[:].tobytes())
    except (ValueError, RecursionError):
        raise LoopscopeError(f"{where}: is not JSON") from None


def parts_of_file(file: Checked) -> list[Part]:
    """The runs of an HDF5 file.

    Raises `LoopscopeError` for a file that holds none, or runs that are damaged.
    """
    where, arrays = shortened(file.source.path), file.arrays
    said = read_about(
        _migrated(text_of(arrays.get("about"), f"{where}, 'about'"), file.version), where
    )
    found: list[Part] = []
    while f"runs/{len(found)}/head" in arrays:
        group = f"runs/{len(found)}/"
        values = _migrated(text_of(arrays[group + "head"], where + group), file.version)
        own = _within(arrays, group)
        found.append(Part(read_head(values, f"{where}, {group}head"), own, said))
    if not found:
        raise LoopscopeError(f"{where}: holds no run")
    found[0].model = _within(arrays, f"{MODEL}/")
    return found


def _within(arrays: Mapping[str, FileBlock], group: str) -> dict[str, list[FileBlock]]:
    """Arrays of a group, by their names in it."""
    return {
        name.removeprefix(group): [block]
        for name, block in arrays.items()
        if name.startswith(group)
    }


def _migrated(values: Any, version: int) -> Any:
    for step in range(version, VERSION):
        values = MIGRATIONS[step](values)
    return values


class SegmentParts:
    """What segments hold, on top of the file where they go on from it.

    parts : the runs so far.

    Parameters
    ----------
    path
        Of the recording; its segments are there.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._left = path, segments_of(path)
        check_regular(self._left)
        # Both stay open: the last rows are read when the name has gone already.
        self._source = FileSource(self._left)
        self._file = self._left.open("rb")
        finalize(self, self._file.close)
        self._end = 0
        self._about = About()
        self.parts: list[Part] = []

    def read(self) -> bool:
        """Take what has been written since the last time; returns whether there is anything.

        Raises `LoopscopeError` for what is no recording.
        """
        start = self._end
        try:
            for segment in segments_in(self._file, self._left, start):
                self._take(segment, first=not self._end)
                self._end = segment.offset + segment.nbytes
        except OSError as problem:
            text = f"{shortened(self._left)}: cannot be read: {reason(problem)}"
            raise LoopscopeError(text) from None
        for part in self.parts:
            part.about = self._about
        return self._end > start

    @property
    def ended(self) -> bool:
        """Whether they have been taken away: what they hold is in the file then."""
        # Who goes on with the file begins others, by the same name.
        return not is_file_at(self._file, self._left)

    @property
    def abandoned(self) -> bool:
        """Whether nobody writes them any more: its writer was killed, or its disk refused."""
        return not locked_elsewhere(self._file)

    def _take(self, segment: Segment, *, first: bool) -> None:
        line, parts, where = segment.line, self.parts, str(self._left)
        if first and line.get("begins") == "again":
            parts += parts_of_file(checked(self._path))
            self._about = parts[0].about
        if "about" in line:
            self._about = read_about(line["about"], where)
        elif "head" in line:
            _put_head(parts, line.get("run"), read_head(line["head"], where), self._left)
        elif "rows" in line:
            _put_rows(parts, segment, self._source)
        elif "array" in line:
            _put_array(parts, segment, self._source)
        elif "model_array" in line and parts:
            block = _array_block(segment, self._source, shortened(self._left))
            parts[0].model[str(line["model_array"])] = [block]


def _put_head(parts: list[Part], run: Any, head: Head, left: Path) -> None:
    if run == len(parts):
        parts.append(Part(head))
    elif isinstance(run, int) and 0 <= run < len(parts):
        parts[run].head = head
    else:
        raise LoopscopeError(f"{shortened(left)}: has a run {run!r} out of turn")


def _put_rows(parts: list[Part], segment: Segment, source: FileSource) -> None:
    """Add rows that follow those there are."""
    line, where = segment.line, shortened(source.path)
    run, name, n = line.get("run"), line["rows"], line.get("n")
    if not (isinstance(run, int) and 0 <= run < len(parts) and isinstance(n, int) and n > 0):
        raise LoopscopeError(f"{where}: has rows of no run")
    part = parts[run]
    info = part.head.info
    state = (len(info.token_ids), info.architecture.d_model)
    shape, dtype = kept_rows(info.architecture, state, part.head.capture).get(name, ((), ""))
    blocks = part.blocks.setdefault(name, [])
    done = first_own(part.head, name, info.architecture.n_block) + sum(map(len, blocks))
    block = FileBlock(source, segment.offset, (n, *shape), np.dtype(dtype or "u1"))
    first = line.get("first")
    if not dtype or not isinstance(first, int) or block.nbytes != segment.nbytes:
        raise LoopscopeError(f"{where}: has rows of no known kind")
    if first >= 0 and first + n <= done:
        return  # sealed already, by a process that was killed before it took its segments away
    if first != done:
        raise LoopscopeError(f"{where}: has rows that do not follow those before")
    blocks.append(block)


def _put_array(parts: list[Part], segment: Segment, source: FileSource) -> None:
    """Add an array that is no rows; a later one of a name takes its place."""
    line, where = segment.line, shortened(source.path)
    run = line.get("run")
    if not isinstance(run, int) or not 0 <= run < len(parts):
        raise LoopscopeError(f"{where}: has an array of no run")
    parts[run].blocks[str(line["array"])] = [_array_block(segment, source, where)]


def _array_block(segment: Segment, source: FileSource, where: str) -> FileBlock:
    """The array that a segment says it holds."""
    shape, dtype = segment.line.get("shape"), segment.line.get("dtype")
    if dtype not in DTYPES or not isinstance(shape, list) or not all(type(n) is int for n in shape):
        raise LoopscopeError(f"{where}: has an array of no shape")
    block = FileBlock(source, segment.offset, tuple(shape), np.dtype(dtype))
    if min(shape, default=-1) < 0 or block.nbytes != segment.nbytes:
        raise LoopscopeError(f"{where}: has an array that is not of its shape")
    return block
