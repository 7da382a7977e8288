"""Tasks to the workers, rows to the store; a worker that dies and a run that fails stop nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopscope.core.errors import LoopscopeError
from loopscope.core.remote.cluster import WorkerFacts, versions
from loopscope.core.remote.spread import Undone, spread
from loopscope.core.sweeps.cell import Outcome, do_task, other_weights
from loopscope.core.sweeps.grid import Task, runs_of, tasks_of
from loopscope.core.sweeps.store import Failure, Store
from loopscope.core.sweeps.study import OpenedStudy

if TYPE_CHECKING:
    from distributed import Client

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a study's cells is done, what is not, and what else the store has.

    recordings : runs that are still to be kept as recordings.
    """

    done: int
    left: int
    others: int
    recordings: int = 0


def standing(opened: OpenedStudy, store: Store) -> Standing:
    """Compare a study with what the store has."""
    done = left = recordings = 0
    for checkpoint in opened.study.checkpoints:
        for run in runs_of(opened, checkpoint):
            had = len(store.done.get(run.key, set()) & set(run.wanted))
            done, left = done + had, left + len(run.wanted) - had
            recordings += bool(run.record) and run.key not in store.recorded
    return Standing(done, left, sum(map(len, store.done.values())) - done, recordings)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What one run of a checkpoint took on a worker: seconds, and the process's memory in bytes."""

    checkpoint: str
    seconds: float
    memory: int


def calibrate(opened: OpenedStudy, client: Client) -> list[Calibration]:
    """Make the first run of each checkpoint once to warm up and once more to see what it takes."""
    found: list[Calibration] = []
    for task in tasks_of(opened, {}, {}):
        if len(found) < len(opened.study.checkpoints) and (
            not found or found[-1].checkpoint != task.checkpoint.name
        ):
            one = next(task.alone())
            seconds, memory = client.submit(timed, one, pure=False).result()
            found.append(Calibration(task.checkpoint.name, seconds, memory))
    return found


def timed(task: Task) -> tuple[float, int]:
    """Run on a worker; raises `LoopscopeError` where the run cannot be made."""
    import psutil

    for _ in range(2):
        began = time.perf_counter()
        outcome = do_task(task)
        seconds = time.perf_counter() - began
    if outcome.failures:
        raise LoopscopeError(next(iter(outcome.failures.values())))
    return seconds, int(psutil.Process().memory_info().rss)


def run_study(
    opened: OpenedStudy,
    store: Store,
    client: Client,
    workers: dict[str, WorkerFacts],
    report: Report = lambda done, left: None,
) -> None:
    """Make every cell that the store lacks; ``report`` is given cells done here and cells left.

    Failures are in `Store.failures`. Raises `LoopscopeError` where rows cannot be written and where
    the cluster is lost; what came before is in the store then, as it is on Ctrl-C.
    """
    about = {
        "study": opened.name, "folder": opened.folder,
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "versions": dict(versions()),
        "workers": [{"address": a, "host": w.host, "device": w.device} for a, w in workers.items()],
    }  # fmt: skip
    store.say_study(opened.text, about)
    left, done = standing(opened, store).left, 0
    report(0, left)
    tasks = tasks_of(opened, store.done, store.weights, store.recorded)
    for task, given in spread(client, do_task, tasks):
        if isinstance(given, Undone):
            given = Outcome((), dict.fromkeys((run.key for run in task.runs), given.why))
        outcome = _of_one_model(store, task, given)
        runs = {run.key: run for run in task.runs}
        store.failures += [Failure.of(task, runs[k], why) for k, why in outcome.failures.items()]
        store.append(task, outcome.blocks)
        store.keep_recordings(task, outcome.recordings)
        done += task.n_cells
        report(done, left - done)
    store.flush()


def _of_one_model(store: Store, task: Task, outcome: Outcome) -> Outcome:
    """The outcome, or failures where this worker's weights are not those of the store's rows."""
    own = task.checkpoint
    if not outcome.weights:
        return outcome
    about = {
        "path": own.path, "weights sha256": outcome.weights, "device": outcome.device,
        "dtype": own.dtype,
    }  # fmt: skip
    store.say_checkpoint(own.name, about)
    if store.weights[own.name] == outcome.weights:
        return outcome
    why = other_weights(own.path, outcome.weights, store.weights[own.name])
    return Outcome((), dict.fromkeys((run.key for run in task.runs), why))
