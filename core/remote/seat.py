"""What lives on a worker: models, their runs, and the measurements that need the model.

A `Seat` is a Dask actor. Its methods run one after the other in a thread of the worker; what takes
long (loading, measuring, continuing a text) is a task in a thread of its own, which is looked at
and cancelled by short calls.
"""

from __future__ import annotations

import os
import platform
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from typing_extensions import override

from loopscope.core.arrays import F32
from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.interventions.base import Intervention
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.remote.facts import ON_DEMAND, Began, Chunk, Look, ModelFacts, Place
from loopscope.core.remote.packing import Packed, pack
from loopscope.core.run.jobs import Job
from loopscope.core.run.kept_rows import BY_LAYER, Capture, count_of
from loopscope.core.run.recording import Recording
from loopscope.core.run.run_info import RunInfo
from loopscope.core.run.stepper import Stepper
from loopscope.core.system import host_bytes


class Task(Job[Any]):
    """A job in a thread of its own. ``doing`` says what it does, ``items`` come one by one."""

    def __init__(self, name: str, steps_first: Callable[[], bool]) -> None:
        super().__init__(name, steps_first=steps_first)
        self.doing = name
        self.items: list[Any] = []
        self.seen = 0

    @property
    def given_up(self) -> bool:
        """Whether nobody wants the rest."""
        return self._cancelled.is_set()

    def run(self, work: Callable[[], Any]) -> None:
        """Do the work in this thread; the future has what comes of it."""
        try:
            result = work()
        except BaseException as error:  # of any kind: whoever asked is told
            self.future.set_exception(error)
        else:
            self.future.set_result(result)

    @override
    def cancel(self) -> None:
        self._cancelled.set()  # its future says so when it has ended


@dataclass(slots=True)
class _Kept:
    """What a seat holds by number."""

    models: dict[int, Loaded] = field(default_factory=dict)
    runs: dict[int, tuple[int, Stepper]] = field(default_factory=dict)
    tasks: dict[int, Task] = field(default_factory=dict)
    # Numbers of one seat are never those of another, which a call under way may still name.
    next: int = field(default_factory=lambda: random.SystemRandom().getrandbits(32) << 20)

    def number(self) -> int:
        self.next += 1
        return self.next


class Seat:
    """Models and runs on one worker, each known by a number."""

    def __init__(self) -> None:
        self._kept = _Kept()
        self._guard = threading.Lock()
        self._stepping = False
        self._uploads: dict[int, dict[str, list[F32]]] = {}

    def ping(self) -> int:
        """Say that the process is there."""
        return os.getpid()

    # ---- tasks ----
    def start(self, function: Callable[..., Any], *arguments: Any) -> int:
        """Begin ``function(seat, task, *arguments)`` in a thread; returns the task's number."""
        with self._guard:
            number = self._kept.number()
            task = Task(getattr(function, "__name__", "work"), lambda: self._stepping)
            self._kept.tasks[number] = task
        work = threading.Thread(
            target=task.run, args=(lambda: function(self, task, *arguments),), daemon=True
        )
        work.start()
        return number

    def look(self, number: int) -> Look:
        """How far a task is."""
        task = self._kept.tasks[number]
        done = task.future.done()  # before the items: none comes after it
        items = tuple(task.items[task.seen :])
        task.seen += len(items)
        return Look(task.progress, task.doing, done, items)

    def take(self, number: int) -> Any:
        """The result of a task that is done; raises what it raised."""
        return self._kept.tasks.pop(number).future.result()

    def cancel(self, number: int) -> None:
        """Give a task up."""
        if (task := self._kept.tasks.get(number)) is not None:
            task.cancel()

    # ---- models ----
    def add_model(self, loaded: Loaded) -> ModelFacts:
        """Keep a model."""
        with self._guard:
            number = self._kept.number()
            self._kept.models[number] = loaded
        return _facts(number, loaded)

    def model(self, number: int) -> Loaded:
        """The model of that number."""
        return self._kept.models[number]

    def drop_model(self, number: int) -> None:
        """Give a model's memory back, with its runs."""
        loaded = self._kept.models.pop(number, None)
        for run in [run for run, (model, _) in self._kept.runs.items() if model == number]:
            del self._kept.runs[run]
        if loaded is not None:
            loaded.release()

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of a module here."""
        return function(*arguments)

    # ---- runs ----
    def begin(
        self,
        model: int,
        prompt: Prompt,
        seed: int,
        start: str,
        start_scale: float,
        interventions: tuple[Intervention, ...],
        capture: Capture,
        initial: F32 | None = None,
    ) -> Began:
        """Begin a run, from ``initial``, ``[T, d]``, where that is given; see `Stepper.begin`."""
        stepper = Stepper(self._kept.models[model], capture)
        stepper.begin(
            prompt,
            seed=seed,
            start=start,  # type: ignore[arg-type]
            start_scale=start_scale,
            initial_state=initial,
            interventions=interventions,
        )
        return self._add_run(model, stepper)

    def _add_run(self, model: int, stepper: Stepper) -> Began:
        with self._guard:
            number = self._kept.number()
            self._kept.runs[number] = model, stepper
        recording = stepper.recording
        return Began(number, recording.info, recording.state(0), dict(recording.effects))

    def stepper(self, run: int) -> Stepper:
        """The run of that number."""
        return self._kept.runs[run][1]

    def branch(self, run: int, interventions: tuple[Intervention, ...], layers: int) -> Began:
        """Cut a run off at ``layers`` layers, or where the interventions begin to act before."""
        model, stepper = self._kept.runs[run]
        return self._add_run(model, as_far(stepper, layers).branch(interventions))

    def drop_run(self, run: int) -> None:
        """Forget a run."""
        self._kept.runs.pop(run, None)

    def advance(self, run: int, have: int, to: int, seconds: float, most: int, slow: bool) -> Chunk:
        """Run up to ``to`` layers, for ``seconds`` at the most, and return those from ``have`` on.

        At least one layer, and no more than take ``most`` bytes.
        """
        began = time.perf_counter()
        recording = self._step(run, have, to, seconds)
        taken = time.perf_counter() - began
        layer = sum(rows.row_bytes for name, rows in recording.kept.items() if name != ON_DEMAND)
        last = min(recording.layers_done, to, have + max(1, most // max(layer, 1)))
        return _chunk(recording, have, max(last, have), slow, taken)

    def _step(self, run: int, have: int, to: int, seconds: float) -> Recording:
        stepper = self._kept.runs[run][1]
        recording, until = stepper.recording, time.perf_counter() + seconds
        self._stepping = True
        try:
            while recording.layers_done < to:
                stepper.step_layer()
                if recording.layers_done > have and time.perf_counter() > until:
                    break
        finally:
            self._stepping = False
        return recording

    def run_to(self, run: int, to: int, seconds: float) -> int:
        """Run up to ``to`` layers without sending any; returns how many are done."""
        return self._step(run, 0, to, seconds).layers_done

    def rows(self, run: int, name: str, first: int, last: int, slow: bool) -> Packed:
        """Rows of one kind."""
        return pack(self._kept.runs[run][1].recording.kept[name].rows(first, last), slow=slow)

    def direction(self, run: int, token: int) -> F32:
        """See `Stepper.readout_direction`; float32 ``[d]``."""
        return self._kept.runs[run][1].readout_direction(token)

    # ---- runs that come from a recording ----
    def upload(self, number: int, name: str, rows: F32) -> int:
        """Take rows ``[n, ...]`` of a recording to continue; ``number`` 0 begins one."""
        if number == 0:
            with self._guard:
                number = self._kept.number()
            self._uploads[number] = {}
        self._uploads[number].setdefault(name, []).append(np.array(rows))
        return number

    def resume(
        self, number: int, model: int, info: RunInfo, capture: Capture,
        effects: dict[tuple[int, int], float],
    ) -> Began:  # fmt: skip
        """Stand where a recording ends whose rows were uploaded."""
        from loopscope.core.recordings.going_on import resume

        loaded, parts = self._kept.models[model], self._uploads.pop(number)
        rows = {name: np.concatenate(own) for name, own in parts.items()}
        recording = recording_of(info, rows, capture)
        recording.effects.update(effects)
        return self._add_run(model, resume(loaded, recording))


def recording_of(info: RunInfo, rows: dict[str, Any], capture: Capture) -> Recording:
    """Return a recording of arrays, as `kept_rows` names them."""
    from loopscope.core.run.rows import Rows

    kept = {}
    for name, array in rows.items():
        kept[name] = Rows(array.shape[1:], array.dtype)
        for row in array:
            kept[name].append(row)
    return Recording.of_rows(info, kept, capture)


def as_far(stepper: Stepper, layers: int) -> Stepper:
    """The run as it stood after ``layers`` layers: it may have been run ahead of who asks."""
    recording = stepper.recording
    if recording.layers_done <= layers:
        return stepper
    before = recording.prefix(layers, recording.info)
    before.effects = {
        (i, r): change
        for (i, r), change in recording.effects.items()
        if recording.info.interventions[i].done_before(r, recording.n_layers) < layers
    }
    before.results = recording.results
    return Stepper.at_the_end_of(stepper.loaded, before)


def _chunk(recording: Recording, first: int, last: int, slow: bool, seconds: float) -> Chunk:
    n = recording.n_layers
    rows = {}
    for name, own in recording.kept.items():
        if name == ON_DEMAND:
            continue
        a, b = count_of(name, first, first // n), count_of(name, last, last // n)
        if name not in BY_LAYER and a == b:
            continue
        rows[name] = pack(own.rows(a, b), slow=slow)
    return Chunk(first, last, rows, dict(recording.effects), seconds)


def place_of(loaded: Loaded, worker: str = "") -> Place:
    """Where this process has a model."""
    device = loaded.device.device
    name, memory = platform.processor() or platform.machine(), host_bytes() or 0
    if device.type == "cuda":
        about = torch.cuda.get_device_properties(device)
        name, memory = about.name, int(about.total_memory)
    return Place(
        platform.node(), worker, name, memory, str(torch.__version__), torch.get_num_threads()
    )


def _facts(number: int, loaded: Loaded) -> ModelFacts:
    checkpoint, text, problem = loaded.checkpoint, None, loaded.tokenizer.problem
    if checkpoint.tokenizer_file is not None and not problem:
        text = checkpoint.tokenizer_file.read_text("utf-8")
    return ModelFacts(
        model=number,
        place=place_of(loaded),
        path=str(checkpoint.path),
        name=checkpoint.name,
        family=checkpoint.family.name,
        recognised_by=checkpoint.recognised_by,
        architecture=checkpoint.architecture,
        config=checkpoint.config,
        tensors=checkpoint.tensors,
        notes=checkpoint.notes,
        tokenizer=text,
        problem=problem,
        device=loaded.device,
        dtype=loaded.dtype,
        weights_hash=loaded.weights_hash,
        warning=loaded.warning,
        weight_identity=loaded.weight_identity,
        nbytes=loaded.nbytes,
    )
