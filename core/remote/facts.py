"""What a seat says of itself, its models and its runs: plain data that travels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loopscope.core.arrays import F32
from loopscope.core.checkpoint.devices import DeviceChoice
from loopscope.core.checkpoint.headers import TensorInfo
from loopscope.core.model.architecture import Architecture
from loopscope.core.remote.packing import Packed
from loopscope.core.run.run_info import RunInfo

# What is not sent unless it is asked for.
ON_DEMAND = "patterns"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model is.

    host, worker : names.  device : what the machine calls it.  memory : bytes of the device.
    torch, threads : of the process there.
    """

    host: str
    worker: str
    device: str
    memory: int
    torch: str
    threads: int


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """All of a loaded model but its weights; the fields are those of `Loaded` and `Checkpoint`.

    tokenizer : the text of its tokenizer.json, None without one.  problem : why it has none.
    """

    model: int
    place: Place
    path: str
    name: str
    family: str
    recognised_by: str
    architecture: Architecture
    config: dict[str, Any]
    tensors: dict[str, TensorInfo]
    notes: tuple[str, ...]
    tokenizer: str | None
    problem: str
    device: DeviceChoice
    dtype: str
    weights_hash: str
    warning: str | None
    weight_identity: dict[str, str]
    nbytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Began:
    """A run that was begun or cut off: its number, what it is, ``s_0``, and what acted on that."""

    run: int
    info: RunInfo
    initial: F32
    effects: dict[tuple[int, int], float]


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Rows of a run's layers ``first .. last - 1`` and of the recurrences that they end.

    seconds : that running them took.
    """

    first: int
    last: int
    rows: dict[str, Packed]
    effects: dict[tuple[int, int], float]
    seconds: float

    @property
    def nbytes(self) -> int:
        """Bytes that travel."""
        return sum(packed.nbytes for packed in self.rows.values())


@dataclass(frozen=True, slots=True)
class Look:
    """How far a task is; ``items`` are what it has found since the last look."""

    share: float
    doing: str
    done: bool
    items: tuple[Any, ...] = ()
