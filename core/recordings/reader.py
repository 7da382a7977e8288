"""Open a recording: sealed, being made, or left by a process that was killed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import shortened
from loopscope.core.recordings.checking import checked, is_hdf5
from loopscope.core.recordings.lock import locked
from loopscope.core.recordings.parts import Part, SegmentParts, parts_of_file, text_of
from loopscope.core.recordings.results import KEYS, MODEL_KEYS, NUMBERS, WORDS, put_results
from loopscope.core.recordings.schema import About, Head
from loopscope.core.recordings.segments import segments_of
from loopscope.core.recordings.writing import first_own, seal
from loopscope.core.results import ResultKey, Results
from loopscope.core.run.file_blocks import FileBlock
from loopscope.core.run.kept_rows import kept_rows
from loopscope.core.run.recording import Recording
from loopscope.core.run.rows import Rows


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """What a file holds.

    runs : a branch comes after the run that it was cut off.  parents : indices of those, or None.
    about : of the whole file.  read_only : another process is writing it.
    notes : what was found at opening, for people; such as what was recovered.
    growing : what another process is writing, to be followed; None for a file that is whole.
    """

    path: Path
    runs: tuple[Recording, ...]
    parents: tuple[int | None, ...]
    about: About
    read_only: bool = False
    notes: tuple[str, ...] = ()
    growing: SegmentParts | None = None

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
        return _opened(path, parts_of_file(checked(path)))
    with left.open("rb+") as held:
        dead = locked(held)
        growing = SegmentParts(path)
        growing.read()
        if not growing.parts:
            raise LoopscopeError(f"{shortened(left)}: ends before a run has begun")
        file = _opened(path, growing.parts)
        if not dead:
            noted = _noted(file, "it is being recorded by another process: read only", True)
            return replace(noted, growing=growing)
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


def _opened(path: Path, parts: Sequence[Part]) -> RecordingFile:
    runs: list[Recording] = []
    said = parts[0].about
    label = labels_of(said.pieces)
    for i, part in enumerate(parts):
        runs.append(run_of(part, runs, label, f"{shortened(path)}, run {i}"))
        runs[-1].shared = runs[0].shared
    _put_results(runs[0].shared.results, parts[0].model, shortened(path), MODEL_KEYS)
    return RecordingFile(path, tuple(runs), tuple(part.head.parent for part in parts), said)


def labels_of(pieces: tuple[str, ...]) -> Callable[[int], str]:
    """Return what gives the text of a token, its id where the file has no texts."""
    if not pieces:
        return str
    return lambda i: pieces[i] if 0 <= i < len(pieces) else str(i)


def run_of(
    part: Part, before: Sequence[Recording], label: Callable[[int], str], where: str
) -> Recording:
    """Return one run, after those ``before`` it; raises `LoopscopeError` where it is none."""
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
        # It may have been measured further than rows were written when the process was killed.
        n = min(len(error[0]), made.n_recurrences)
        made.float32_error = error[0][:n].astype(np.float32) if n else None
    _put_results(made.results, blocks, where, KEYS, {"T": t, "W": d, "L": made.n_layers})


def _put_results(
    into: Results,
    blocks: Mapping[str, list[FileBlock]],
    where: str,
    keys: tuple[ResultKey[Any], ...],
    sizes: Mapping[str, int] | None = None,
) -> None:
    """What was measured and takes long, as `results.flattened` has it."""
    if WORDS in blocks:
        words = text_of(blocks[WORDS][0], f"{where}, '{WORDS}'")
        arrays = {name: own[0][:] for name, own in blocks.items() if name.startswith(NUMBERS)}
        put_results(into, words, arrays, where, keys, sizes)
