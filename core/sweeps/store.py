"""Where a sweep's rows are kept: Parquet files that appear whole, one after the other.

A row says what its value is of; which cells are done is read from the rows themselves, so that a
killed sweep has nothing to mend. Needs pyarrow, of the extra ``cluster``.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import make_folder, write_text, written
from loopscope.core.recordings.lock import held
from loopscope.core.sweeps.cell import NO_PLACE, Block
from loopscope.core.sweeps.grid import Run, Task
from loopscope.core.sweeps.parts import (
    FAILURES,
    LOCK,
    PROVENANCE,
    RECORDINGS,
    ROWS,
    STUDY,
    check_extra,
    parts_of,
    read_part,
    read_provenance,
)
from loopscope.core.sweeps.study import NO_STEP

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:  # told by `check_extra` before anything is done
    pa = pq = None

# A part is written when it has so many rows, or so many seconds after the last.
MOST_ROWS, MOST_SECONDS = 500_000, 10.0


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that could not be made, and why."""

    checkpoint: str
    prompts: str
    line: int
    seed: int
    start: str
    intervention: str
    why: str

    @classmethod
    def of(cls, task: Task, run: Run, why: str) -> Failure:
        """Name the run as its rows would be."""
        return cls(
            task.checkpoint.name, run.prompts, run.item.line, run.seed, run.start.label,
            run.intervention, why,
        )  # fmt: skip


class Store:
    """The folder of one sweep; one process writes to it at a time.

    done : for each run's key the cells (measure, R) that have rows.
    recorded : keys of the runs whose recording is there.

    Parameters
    ----------
    folder
        Made where it is not there. Raises `LoopscopeError` where it cannot be, where another
        process writes to it and for a part that cannot be read.
    clock
        Seconds that only rise.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        check_extra()
        self.folder, self._clock = make_folder(folder), clock
        self._lock = held(folder / LOCK, f"{folder}: another sweep writes to this folder")
        try:
            make_folder(folder / ROWS)
            self._parts = parts_of(folder)
            self.done = _done(self._parts)
            self.provenance = read_provenance(folder)
            files = (folder / RECORDINGS).glob("*.h5")
            self.recorded = {file.stem.rpartition("-")[2] for file in files}
        except LoopscopeError:
            self._lock.close()
            raise
        self._number = int(self._parts[-1].stem.removeprefix("part-")) if self._parts else 0
        self._waiting: list[Any] = []
        # The first rows are written at once: what is wrong with the disk is found out early.
        self._n_waiting, self._written_at = 0, -math.inf
        self.failures: list[Failure] = []

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.flush()
        finally:
            self._lock.close()

    @property
    def weights(self) -> dict[str, str]:
        """Hash of each checkpoint's weights, by its name, as far as rows of it were made."""
        known: dict[str, Any] = self.provenance.get("checkpoints", {})
        return {name: str(about["weights sha256"]) for name, about in known.items()}

    def say_study(self, text: str, about: dict[str, Any]) -> None:
        """Keep the study's text, and one more entry of what made rows."""
        write_text(self.folder / STUDY, text)
        self.provenance.setdefault("sessions", []).append(about)
        self._write_provenance()

    def say_checkpoint(self, name: str, about: dict[str, Any]) -> None:
        """Keep what a checkpoint was when its first rows were made."""
        if name not in self.weights:
            self.provenance.setdefault("checkpoints", {})[name] = about
            self._write_provenance()

    def append(self, task: Task, blocks: tuple[Block, ...]) -> None:
        """Take the rows of a task; they are in a file within `MOST_SECONDS` of the next."""
        runs = {run.key: run for run in task.runs}
        if blocks:
            self._waiting.append(_table(task, runs, blocks))
            self._n_waiting += self._waiting[-1].num_rows
        for block in blocks:
            self.done.setdefault(block.run, set()).add((block.measure, block.r))
        late = self._clock() - self._written_at >= MOST_SECONDS
        if late or self._n_waiting >= MOST_ROWS:
            self.flush()

    def keep_recordings(self, task: Task, recordings: dict[str, bytes]) -> None:
        """Write recordings of runs of a task; raises `LoopscopeError`, as of a full disk."""
        runs = {run.key: run for run in task.runs}
        for key, content in recordings.items():
            name = f"{_plain(task.checkpoint.name)}-line{runs[key].item.line}-{key}.h5"
            with written(make_folder(self.folder / RECORDINGS) / name) as part:
                part.write_bytes(content)
            self.recorded.add(key)

    def flush(self) -> None:
        """Write what is waiting as one more part; raises `LoopscopeError`, as of a full disk."""
        if self._waiting:
            path = self.folder / ROWS / f"part-{self._number + 1:06d}.parquet"
            with written(path, (pa.ArrowException,)) as part:
                pq.write_table(pa.concat_tables(self._waiting), part, compression="zstd")
            self._number += 1
            self._waiting, self._n_waiting = [], 0
        failures = self.folder / FAILURES
        if self.failures or failures.exists():
            write_text(failures, json.dumps([asdict(f) for f in self.failures], indent=1) + "\n")
        self._written_at = self._clock()

    def _write_provenance(self) -> None:
        write_text(self.folder / PROVENANCE, json.dumps(self.provenance, indent=1) + "\n")


def _plain(name: str) -> str:
    """A name as it may stand in that of a file."""
    return "".join(c if c.isalnum() or c in "._" else "_" for c in name)[:60]


def _table(task: Task, runs: dict[str, Run], blocks: tuple[Block, ...]) -> Any:
    sizes = [len(block.value) for block in blocks]

    def each(values: list[Any], kind: Any) -> Any:
        return pa.array(np.repeat(np.array(values, dtype=object), sizes), kind)

    def place(axis: str) -> Any:
        values = np.concatenate([getattr(block, axis) for block in blocks])
        return pa.array(values, pa.int32(), mask=values == NO_PLACE)

    own = [runs[block.run] for block in blocks]
    value = np.concatenate([block.value for block in blocks])
    steps = np.full(len(value), task.checkpoint.step)
    return pa.table(
        {
            "run": each([block.run for block in blocks], pa.string()),
            "checkpoint": each([task.checkpoint.name] * len(blocks), pa.string()),
            "prompts": each([run.prompts for run in own], pa.string()),
            "line": each([run.item.line for run in own], pa.int32()),
            "seed": each([run.seed for run in own], pa.int64()),
            "start": each([run.start.label for run in own], pa.string()),
            "intervention": each([run.intervention for run in own], pa.string()),
            "measure": each([block.measure for block in blocks], pa.string()),
            "R": each([block.r for block in blocks], pa.int32()),
            "layer": place("layer"),
            "head": place("head"),
            "token": place("token"),
            "value": pa.array(value, pa.float64(), mask=np.isnan(value)),
            "unit": each([block.unit for block in blocks], pa.string()),
            "note": each([block.note for block in blocks], pa.string()),
            "step": pa.array(steps, pa.int64(), mask=steps == NO_STEP),
        }
    )


def _done(parts: list[Path]) -> dict[str, set[tuple[str, int]]]:
    done: dict[str, set[tuple[str, int]]] = {}
    for part in parts:
        cells = (
            read_part(part, ("run", "measure", "R")).group_by(["run", "measure", "R"]).aggregate([])
        )
        columns = (cells.column(name).to_pylist() for name in ("run", "measure", "R"))
        for run, measure, r in zip(*columns, strict=True):
            done.setdefault(run, set()).add((measure, r))
    return done
