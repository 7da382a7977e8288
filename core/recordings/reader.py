"""Open a recording: sealed, being made, or left by a process that was killed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import shortened
from loopscope.core.recordings.checking import DTYPES, Checked, checked, is_hdf5
from loopscope.core.recordings.lock import locked
from loopscope.core.recordings.results import (
    KEYS,
    MODEL,
    MODEL_KEYS,
    NUMBERS,
    WORDS,
    put_results,
)
from loopscope.core.recordings.schema import (
    MIGRATIONS,
    VERSION,
    About,
    Head,
    read_about,
    read_head,
)
from loopscope.core.recordings.segments import Segment, read_segments, segments_of
from loopscope.core.recordings.writing import first_own, seal
from loopscope.core.results import ResultKey, Results
from loopscope.core.run.file_blocks import FileBlock, FileSource
from loopscope.core.run.recording import Recording, kept_rows
from loopscope.core.run.rows import Rows

# Bytes of JSON that a head may have: a vocabulary of a million pieces fits.
MOST_TEXT = 64 << 20


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """What a file holds.

    runs : a branch comes after the run that it was cut off.  parents : indices of those, or None.
    about : of the whole file.  read_only : another process is writing it.
    notes : what was found at opening, for people; such as what was recovered.
    """

    path: Path
    runs: tuple[Recording, ...]
    parents: tuple[int | None, ...]
    about: About
    read_only: bool = False
    notes: tuple[str, ...] = ()

    @property
    def provenance(self) -> dict[str, str]:
        """Flat strings for file metadata and footers, of the first run and of the file."""
        own = self.runs[0].info.provenance()
        also = {"command": self.about.command, "torch": self.about.torch}
        return own | {key: value for key, value in also.items() if value}


def is_recording(path: Path) -> bool:
    """Whether ``path`` is to be opened as a recording; nothing else of it is looked at."""
    return (path.is_file() and is_hdf5(path)) or segments_of(path).is_file()


def open_recording(path: Path) -> RecordingFile:
    """Open a recording without its checkpoint.

    Rows stay in the file and are read when they are asked for. What a killed process left is
    sealed into the file; while another process writes, what it has written so far is read.
    Raises `LoopscopeError`, one line that names the file, for anything that is no recording.
    """
    left = segments_of(path)
    if not left.is_file():
        return _opened(path, _of_file(checked(path)))
    with left.open("rb+") as held:
        dead = locked(held)
        file = _with_segments(path, left)
        if not dead:
            return _noted(file, "it is being recorded by another process: read only", True)
        try:
            seal(path, file.runs, file.about)
        except LoopscopeError as problem:
            return _noted(file, f"it was left unfinished, and cannot be sealed: {problem}", True)
    left.unlink(missing_ok=True)
    n = sum(run.n_recurrences for run in file.runs)
    sealed = open_recording(path)
    return _noted(sealed, f"it was left unfinished: {n} recurrences were recovered")


def _noted(file: RecordingFile, note: str, read_only: bool = False) -> RecordingFile:
    return RecordingFile(
        file.path, file.runs, file.parents, file.about, read_only, (*file.notes, note)
    )


@dataclass(slots=True)
class _Part:
    """One run as the file has it: what is said of it, and blocks of its own rows by name.

    model : of the first, arrays of what was measured of the model.
    """

    head: Head
    blocks: dict[str, list[FileBlock]] = field(default_factory=dict)
    about: About = field(default_factory=About)
    model: dict[str, list[FileBlock]] = field(default_factory=dict)


def _text(block: FileBlock | None, where: str) -> Any:
    """JSON that an array of bytes holds."""
    if block is None or block.dtype != np.uint8 or len(block.shape) != 1 or len(block) > MOST_TEXT:
        raise LoopscopeError(f"{where}: is missing or no text")
    try:
        return json.loads(block[:].tobytes())
    except (ValueError, RecursionError):
        raise LoopscopeError(f"{where}: is not JSON") from None


def _of_file(file: Checked) -> list[_Part]:
    """The runs of an HDF5 file."""
    where, arrays = shortened(file.source.path), file.arrays
    said = read_about(
        _migrated(_text(arrays.get("about"), f"{where}, 'about'"), file.version), where
    )
    found: list[_Part] = []
    while f"runs/{len(found)}/head" in arrays:
        group = f"runs/{len(found)}/"
        values = _migrated(_text(arrays[group + "head"], where + group), file.version)
        own = _within(arrays, group)
        found.append(_Part(read_head(values, f"{where}, {group}head"), own, said))
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


def _with_segments(path: Path, left: Path) -> RecordingFile:
    """What segments hold, on top of the file where they go on from it."""
    source = FileSource(left)
    parts: list[_Part] = []
    said = About()
    for i, segment in enumerate(read_segments(left)):
        line = segment.line
        if i == 0 and line.get("begins") == "again":
            parts = _of_file(checked(path))
            said = parts[0].about
        if "about" in line:
            said = read_about(line["about"], str(left))
        elif "head" in line:
            head = read_head(line["head"], str(left))
            _put_head(parts, line.get("run"), head, left)
        elif "rows" in line:
            _put_rows(parts, segment, source)
        elif "array" in line:
            _put_array(parts, segment, source)
        elif "model_array" in line and parts:
            name = str(line["model_array"])
            parts[0].model[name] = [_array_block(segment, source, shortened(left))]
    for part in parts:
        part.about = said
    if not parts:
        raise LoopscopeError(f"{shortened(left)}: ends before a run has begun")
    return _opened(path, parts)


def _put_head(parts: list[_Part], run: Any, head: Head, left: Path) -> None:
    if run == len(parts):
        parts.append(_Part(head))
    elif isinstance(run, int) and 0 <= run < len(parts):
        parts[run].head = head
    else:
        raise LoopscopeError(f"{shortened(left)}: has a run {run!r} out of turn")


def _put_rows(parts: list[_Part], segment: Segment, source: FileSource) -> None:
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


def _put_array(parts: list[_Part], segment: Segment, source: FileSource) -> None:
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


def _opened(path: Path, parts: Sequence[_Part]) -> RecordingFile:
    runs: list[Recording] = []
    said = parts[0].about
    label = _labels(said.pieces)
    for i, part in enumerate(parts):
        runs.append(_run(part, runs, label, f"{shortened(path)}, run {i}"))
        runs[-1].shared = runs[0].shared
    _put_results(runs[0].shared.results, parts[0].model, shortened(path), MODEL_KEYS)
    return RecordingFile(path, tuple(runs), tuple(part.head.parent for part in parts), said)


def _labels(pieces: tuple[str, ...]) -> Callable[[int], str]:
    if not pieces:
        return str
    return lambda i: pieces[i] if 0 <= i < len(pieces) else str(i)


def _run(
    part: _Part, before: Sequence[Recording], label: Callable[[int], str], where: str
) -> Recording:
    head, info = part.head, part.head.info
    parent = _parent(head, before, where)
    state = (len(info.token_ids), info.architecture.d_model)
    rows = {}
    for name, (shape, dtype) in kept_rows(info.architecture, state, head.capture).items():
        begun = Rows(shape, dtype)
        if parent is not None:
            if name not in parent.kept or parent.kept[name].shape != shape:
                raise LoopscopeError(f"{where}: keeps '{name}', which its parent does not")
            begun = parent.kept[name].begun(first_own(head, name, info.architecture.n_block))
        blocks = part.blocks.get(name, [])
        for block in blocks:
            if block.shape[1:] != shape or block.dtype != begun.dtype:
                raise LoopscopeError(f"{where}: '{name}' has the shape {list(block.shape)}")
        rows[name] = begun.extended(blocks)
    if not len(rows["states"]):
        raise LoopscopeError(f"{where}: has no initial state")
    made = Recording.of_rows(
        info, rows, head.capture, label, parent=parent, shared_layers=head.shared_layers
    )
    made.effects.update({(i, r): float(change) for i, r, change in head.effects})
    made.weight_identity = dict(head.weight_identity)
    _put_extras(made, part.blocks, where)
    return made


def _parent(head: Head, before: Sequence[Recording], where: str) -> Recording | None:
    if head.parent is None:
        return None
    if not 0 <= head.parent < len(before):
        raise LoopscopeError(f"{where}: was cut off a run that does not come before it")
    parent = before[head.parent]
    same = parent.info.token_ids == head.info.token_ids
    alike = parent.info.architecture == head.info.architecture
    if not (same and alike and 0 <= head.shared_layers <= parent.layers_done):
        raise LoopscopeError(f"{where}: shares layers that its parent does not have")
    return parent


def _put_extras(made: Recording, blocks: Mapping[str, list[FileBlock]], where: str) -> None:
    """Arrays that are no rows, as `writing.extras` has them."""
    t, d = made.n_tokens, made.info.architecture.d_model
    ids, directions = blocks.get("direction_ids"), blocks.get("directions")
    if ids and directions:
        if len(ids[0].shape) != 1 or directions[0].shape != (len(ids[0]), d):
            raise LoopscopeError(f"{where}: 'directions' has the shape {list(directions[0].shape)}")
        kept = zip(ids[0][:].tolist(), directions[0][:].astype(np.float32), strict=True)
        made.readout_directions.update(kept)
    error = blocks.get("float32_error")
    if error:
        if error[0].shape[1:] != (t,):
            raise LoopscopeError(f"{where}: 'float32_error' has the shape {list(error[0].shape)}")
        made.float32_error = error[0][:].astype(np.float32)
    _put_results(made.results, blocks, where, KEYS)


def _put_results(
    into: Results,
    blocks: Mapping[str, list[FileBlock]],
    where: str,
    keys: tuple[ResultKey[Any], ...],
) -> None:
    """What was measured and takes long, as `results.flattened` has it."""
    if WORDS in blocks:
        words = _text(blocks[WORDS][0], f"{where}, '{WORDS}'")
        arrays = {name: own[0][:] for name, own in blocks.items() if name.startswith(NUMBERS)}
        put_results(into, words, arrays, where, keys)
