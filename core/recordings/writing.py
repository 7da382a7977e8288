"""Recordings into one HDF5 file: all at once, or sealed from what was kept while they ran.

While a run is made its new rows are appended as segments (`segments`) by a thread of its own,
which only reads the recording: stepping does not wait for the disk. Closing seals them into an
HDF5 file that appears whole; until then the segments are all that a killed process leaves, and
all that is needed.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import reason, shortened, written
from loopscope.core.recordings.results import MODEL, MODEL_KEYS, flattened
from loopscope.core.recordings.schema import FORMAT, VERSION, About, Head, as_json, head_of
from loopscope.core.recordings.segments import SegmentWriter, segments_of
from loopscope.core.recordings.target import Target, target
from loopscope.core.run.file_blocks import Array
from loopscope.core.run.kept_rows import count_of
from loopscope.core.run.recording import Recording
from loopscope.core.run.rows import Rows

# Seconds that what was made may wait before it is written.
INTERVAL = 0.5
# Bytes of rows that are put together at a time.
_PART = 1 << 25


def about(recordings: Sequence[Recording], command: str) -> About:
    """What is said of the whole file."""
    torch = sys.modules.get("torch")
    pieces: tuple[str, ...] = ()
    if recordings and recordings[0].label is not str:
        size = recordings[0].info.architecture.vocab_size
        pieces = tuple(recordings[0].label(i) for i in range(size))
    return About(
        command,
        "" if torch is None else str(torch.__version__),
        0 if torch is None else int(torch.get_num_threads()),
        pieces,
    )


def save(path: Path, recordings: Sequence[Recording], command: str = "") -> None:
    """Write recordings into a file that is complete or not there at all.

    A branch comes after the run that it was cut off: then the rows they share are written once.
    Raises `LoopscopeError` where the system refuses.
    """
    seal(path, recordings, about(recordings, command))


def seal(
    path: Path,
    recordings: Sequence[Recording],
    said: About,
    report: Callable[[float], None] = lambda share: None,
) -> None:
    """`save` with what is said of the file given.

    ``report`` is told how much of it is written, 0 to 1; what it raises ends the writing, and
    nothing is there then.
    """
    every = [own for recording in recordings for own in recording.kept.values()]
    nbytes = sum(len(own) * own.row_bytes for own in every)
    also = [extras(recording) for recording in recordings]
    nbytes += sum(array.nbytes for own in also for array in own.values())
    model = model_extras(recordings)
    nbytes += sum(array.nbytes for array in model.values())
    nbytes += sum(map(len, said.pieces)) * 12  # each character, escaped, and what joins them
    with (
        written(path, (RuntimeError,)) as part,
        target(part, nbytes, len(every)) as raw,
        h5_file(raw) as file,
    ):
        file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
        _put_text(file, "about", as_json(said))
        for name, array in model.items():
            file.create_dataset(f"{MODEL}/{name}", data=array)
        done = 0
        for i, recording in enumerate(recordings):
            group = file.create_group(f"runs/{i}")
            head = head_of(recording, parent_of(recording, recordings[:i]))
            _put_text(group, "head", as_json(head))
            for name, rows in recording.kept.items():
                first = first_own(head, name, recording.n_layers)
                n = count_of(name, recording.layers_done, recording.n_recurrences)
                made = group.create_dataset(name, (n - first, *rows.shape), rows.dtype.str)
                for a, b in parts(rows, first, n):
                    made[a - first : b - first] = rows.rows(a, b)
                    done += (b - a) * rows.row_bytes
                    report(min(done / max(nbytes, 1), 1.0))
            for name, array in also[i].items():
                group.create_dataset(name, data=array)


def h5_file(file: Target) -> Any:
    """Begin an HDF5 file."""
    import h5py  # not at start-up

    return h5py.File(file, "w")


def _put_text(group: Any, name: str, values: dict[str, Any]) -> None:
    raw = np.frombuffer(json.dumps(values).encode(), np.uint8)
    group.create_dataset(name, data=raw)


def extras(recording: Recording) -> dict[str, Any]:
    """Arrays that are no rows: unembedding rows, the error against float32, results."""
    kept: dict[str, Any] = {}
    directions = dict(recording.readout_directions)
    if directions:
        kept["direction_ids"] = np.array(list(directions), "<i8")
        kept["directions"] = np.stack(list(directions.values())).astype("<f4")
    if recording.float32_error is not None:
        kept["float32_error"] = np.asarray(recording.float32_error, "<f4")
    return kept | flattened(recording.results)


def model_extras(recordings: Sequence[Recording]) -> dict[str, Any]:
    """Arrays of what was measured of the model, which all runs share."""
    return flattened(recordings[0].shared.results, MODEL_KEYS) if recordings else {}


def parent_of(recording: Recording, before: Sequence[Recording]) -> int | None:
    """The index of the run that a recording was cut off, where that is among those before."""
    parent = recording.parent
    return next((i for i, other in enumerate(before) if other is parent), None)


def first_own(head: Head, name: str, n_layers: int) -> int:
    """The first row of ``name`` that a run does not share with its parent."""
    if head.parent is None:
        return 0
    return count_of(name, head.shared_layers, head.shared_layers // n_layers)


def parts(rows: Rows, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Cut rows ``first .. last - 1`` into parts that take little memory."""
    size = max(1, _PART // max(rows.row_bytes, 1))
    for a in range(first, last, size):
        yield a, min(a + size, last)


@dataclass(slots=True)
class _Tracked:
    """A recording that is being written; of each kind of row how many are."""

    recording: Recording
    head: Head
    done: dict[str, int] = field(default_factory=dict)
    said: dict[str, Any] = field(default_factory=dict)
    extras: tuple[object, ...] = ()


class RecordingWriter:
    """Writes recordings to ``path`` while they are made; `close` seals the file.

    ``begun`` are recordings that ``path`` holds already, which go on. Raises `LoopscopeError`
    where the file is being written by someone else, or the system refuses.
    """

    def __init__(self, path: Path, command: str = "", begun: Sequence[Recording] = ()) -> None:
        self.path, self._command = path, command
        # Why nothing more is written, or "": the run itself goes on.
        self.problem = ""
        self._guard = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        # Whether a run that was begun elsewhere has changed, or there is another.
        self._anything_new = not begun
        self._about: About | None = None
        self._runs: list[_Tracked] = []
        # Of what was measured of the model, what is written.
        self._model: tuple[object, ...] = _model_now(begun)
        try:
            self._segments = SegmentWriter(segments_of(path))
            self._segments.append({"begins": "again" if begun else "new"})
        except FileExistsError:
            raise LoopscopeError(
                f"{shortened(path)}: is being recorded elsewhere, or was left unfinished: open it "
                f"first, or delete {segments_of(path).name}"
            ) from None
        except OSError as problem:
            raise LoopscopeError(f"cannot write {shortened(path)}: {reason(problem)}") from None
        for recording in begun:
            self.add(recording)
            tracked = self._runs[-1]
            tracked.done = {name: len(rows) for name, rows in recording.kept.items()}
            tracked.said, tracked.extras = as_json(tracked.head), _extras_now(recording)
        self._thread = threading.Thread(target=self._serve, name="recording", daemon=True)
        self._thread.start()

    def add(self, recording: Recording) -> None:
        """Write this one as well, and all that is appended to it; a branch after its parent."""
        with self._guard:
            before = [tracked.recording for tracked in self._runs]
            head = head_of(recording, parent_of(recording, before))
            self._runs.append(_Tracked(recording, head))
        self._wake.set()

    def flush(self) -> None:
        """Write all that has been made so far."""
        with self._guard:
            if not self.problem:
                try:
                    self._write_new()
                    if not self._segments.in_place:
                        raise FileNotFoundError("the file or its drive is gone")
                except OSError as problem:
                    self.problem = (
                        f"recording to {shortened(self.path)} has ended: {reason(problem)}; the "
                        "run goes on"
                    )

    def close(self, report: Callable[[float], None] = lambda share: None) -> None:
        """Write the rest and seal the file; the segments then go.

        ``report`` is told how much of it is sealed, 0 to 1. Raises `LoopscopeError` where the file
        cannot be written, and what ``report`` raises: what the segments hold is there at the next
        opening.
        """
        self._closing = True
        self._wake.set()
        self._thread.join()
        self.flush()
        if not self._anything_new:
            self._segments.remove()  # the file is as it was
            return
        runs = [tracked.recording for tracked in self._runs]
        try:
            seal(self.path, runs, self._about or about(runs, self._command), report)
        except BaseException:
            self._segments.close()
            raise
        self._segments.remove()

    def leave(self) -> None:
        """Write no more, after a `problem`: who opens the file completes it."""
        self._closing = True
        self._wake.set()
        with self._guard:
            self._segments.close()

    def _serve(self) -> None:
        while not self._closing:
            self._wake.wait(INTERVAL)
            self._wake.clear()
            self.flush()
            if not self._closing:
                # What is made between two looks is written together.
                threading.Event().wait(INTERVAL / 2)

    def _write_new(self) -> None:
        if self._about is None and self._runs:
            self._about = about([self._runs[0].recording], self._command)
            self._segments.append({"about": as_json(self._about)})
        for i, tracked in enumerate(self._runs):
            self._write_run(i, tracked)
        runs = [tracked.recording for tracked in self._runs]
        if (now := _model_now(runs)) != self._model:
            for name, array in model_extras(runs).items():
                line = {"model_array": name, "dtype": array.dtype.str, "shape": array.shape}
                self._append(line, _bytes(array))
            self._model = now

    def _write_run(self, i: int, tracked: _Tracked) -> None:
        recording = tracked.recording
        # The counts first: rows below them are there and never change.
        complete, layers = recording.n_recurrences, recording.layers_done
        said = as_json(head_of(recording, tracked.head.parent))
        if said != tracked.said:
            self._append({"run": i, "head": said})
            tracked.said = said
        if (now := _extras_now(recording)) != tracked.extras:
            for name, array in extras(recording).items():
                line = {"run": i, "array": name, "dtype": array.dtype.str, "shape": array.shape}
                self._append(line, _bytes(array))
            tracked.extras = now
        for name, rows in recording.kept.items():
            first = tracked.done.get(name, first_own(tracked.head, name, recording.n_layers))
            last = count_of(name, layers, complete)
            for a, b in parts(rows, first, last):
                line = {"run": i, "rows": name, "first": a, "n": b - a}
                self._append(line, _bytes(rows.rows(a, b)))
                tracked.done[name] = b

    def _append(self, line: dict[str, Any], payload: memoryview | bytes = b"") -> None:
        self._anything_new = True
        self._segments.append(line, payload)


def _extras_now(recording: Recording) -> tuple[object, ...]:
    """What changes when `extras` do."""
    error = recording.float32_error
    size = None if error is None else error.size
    return recording.results, recording.results.changes, len(recording.readout_directions), size


def _model_now(recordings: Sequence[Recording]) -> tuple[object, ...]:
    """What changes when `model_extras` do."""
    results = recordings[0].shared.results if recordings else None
    return (results, results.changes) if results is not None and results.changes else ()


def _bytes(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
