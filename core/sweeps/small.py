"""Small models that commands train: trained and measured by the workers of a cluster.

A worker on this machine trains into the folder itself, so that a training that is stopped goes on
where it was. One elsewhere keeps what it has begun in the folder of its user's caches, and the
finished files travel.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_path

from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.small_models import SmallModel, folder_of, is_trained, train
from loopscope.core.families.native import config_of
from loopscope.core.files import make_folder, read_bytes, written
from loopscope.core.remote.spread import Undone, spread
from loopscope.core.version import package_version

if TYPE_CHECKING:
    from distributed import Client

# Files of a trained model, and the largest that is sent.
MOST_FILES, MOST_BYTES = 64, 256 << 20
WEIGHTS_LAST = "model.safetensors"
BUNDLED = "bundled:"
Files = dict[str, bytes]
Report = Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Training:
    """One model to train.

    root : the folder with a folder for each, where the worker is on this machine; "" elsewhere.
    """

    table: str
    key: str
    seed: int
    root: str = ""

    def alone(self) -> Iterator[Training]:
        """Return its parts as tasks of their own: itself, as it has one part."""
        yield self


def models_of(table: str) -> tuple[SmallModel, ...]:
    """Return the small models of the table "ablations", "quick", "twins" or "arms"."""
    from loopscope.core.experiments.ablations import QUICK, VARIANTS
    from loopscope.core.experiments.arms import ARMS
    from loopscope.core.experiments.twins import TWINS

    return {"ablations": VARIANTS, "quick": QUICK, "twins": TWINS, "arms": ARMS}[table]


def do_training(task: Training) -> Files:
    """Train on a worker; returns the folder's files where they are wanted elsewhere."""
    model = next(own for own in models_of(task.table) if own.key == task.key)
    if task.root:
        train(model, task.seed, Path(task.root))
        return {}
    root = user_cache_path("loopscope") / "trainings" / _digest(model)
    files = files_of(train(model, task.seed, root))
    shutil.rmtree(folder_of(model, task.seed, root), ignore_errors=True)
    return files


def _digest(model: SmallModel) -> str:
    """What a training that was begun may be gone on with: all that decides it, and our version."""
    how = [package_version(), model.plan.as_json(), config_of(model.arch)]
    return hashlib.sha256(json.dumps(how, sort_keys=True).encode()).hexdigest()[:16]


def train_missing(
    table: str, root: Path, seeds: Sequence[int], report: Report, client: Client | None, here: bool
) -> None:
    """Train every model of ``table`` that has no checkpoint in ``root``.

    ``here`` says whether the workers of ``client`` write to this machine's disk. A training that
    was stopped goes on where it was. Raises `LoopscopeError` when one fails; the others are kept.
    """
    todo = [
        (model, Training(table, model.key, seed, str(root.absolute()) if here else ""))
        for seed in seeds
        for model in models_of(table)
        if not is_trained(model, seed, root)
    ]
    make_folder(root)
    if not todo or client is None:
        return
    by_key = {(task.key, task.seed): model for model, task in todo}
    failed = ""
    for done, (task, files) in enumerate(spread(client, do_training, (t for _, t in todo)), 1):
        if isinstance(files, Undone):
            failed = failed or f"{task.key}, seed {task.seed}: {files.why}"
        else:
            put_files(folder_of(by_key[task.key, task.seed], task.seed, root), files)
        report(done / len(todo), f"{done} of {len(todo)} models trained")
    if failed:
        raise LoopscopeError(f"a training failed, {failed}; run the same command to go on with it")


@dataclass(frozen=True, slots=True)
class Measuring:
    """One model to measure.

    work : what is done with the loaded model; a function of a module, or a part of one.
    path : ``bundled:NAME``, or a name to call the model by.  files : of a model of its own.
    """

    work: Callable[[Loaded], Any]
    path: str
    files: Files

    def alone(self) -> Iterator[Measuring]:
        """Return its parts as tasks of their own: itself, as it has one part."""
        yield self

    @classmethod
    def of(cls, work: Callable[[Loaded], Any], path: str) -> Measuring:
        """What is done with the model at ``path``, whose files go along."""
        return cls(work, path, {} if path.startswith(BUNDLED) else files_of(Path(path)))


def do_measuring(task: Measuring) -> Any:
    """Load a model, from the files that came along, and measure it."""
    if not task.files:
        return task.work(load(task.path, "cpu"))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / Path(task.path).name
        put_files(place, task.files)
        return task.work(load(str(place), "cpu"))


def measure_models(
    todo: Sequence[Measuring], client: Client | None, report: Callable[[int], None]
) -> list[Any]:
    """Measure every model; returns what was found in the order of ``todo``.

    Without ``client`` in this process. ``report`` is told how many are done. Raises
    `LoopscopeError` for the first that could not be measured.
    """
    found: dict[int, Any] = {}
    places = {id(task): i for i, task in enumerate(todo)}
    for task, outcome in _outcomes(todo, client):
        if isinstance(outcome, Undone):
            raise LoopscopeError(f"{Path(task.path).name}: {outcome.why}")
        found[places[id(task)]] = outcome
        report(len(found))
    return [found[i] for i in range(len(todo))]


def _outcomes(
    todo: Sequence[Measuring], client: Client | None
) -> Iterator[tuple[Measuring, Any | Undone]]:
    if client is None:
        return ((task, do_measuring(task)) for task in todo)
    return spread(client, do_measuring, todo)


def files_of(folder: Path) -> Files:
    """The files of a model's folder, by their names; raises `LoopscopeError` where it has more."""
    names = sorted(own.name for own in folder.iterdir() if own.is_file())
    if len(names) > MOST_FILES:
        raise LoopscopeError(f"{folder}: has more files than a small model's")
    return {name: read_bytes(folder / name, MOST_BYTES) for name in names}


def put_files(folder: Path, files: Files) -> None:
    """Write the files of a model, the weights last: where they are, the folder is complete.

    Raises `LoopscopeError` for a file's name that leads out of the folder.
    """
    if not files:
        return
    make_folder(folder)
    for name in sorted(files, key=lambda name: name == WEIGHTS_LAST):
        if name != os.path.basename(name) or name in ("", ".", ".."):
            raise LoopscopeError(f"a worker sent a file called '{name[:40]}'")
        with written(folder / name) as part:
            part.write_bytes(files[name])


@contextlib.contextmanager
def cluster_for(address: str | None, jobs: int) -> Iterator[tuple[Client, bool]]:
    """Connect to workers for trainings, and whether they are on this machine.

    Those at ``address``, else at most ``jobs`` of this machine's own.
    """
    from loopscope.core.remote.cluster import check_workers, connected

    with connected(address, jobs) as client:
        if address is not None:
            check_workers(client, ())
        yield client, address is None
