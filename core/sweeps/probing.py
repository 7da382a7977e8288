"""The probe of one model on the workers of a cluster: a condition a task.

Each worker runs the batch uncut once, whatever it is given after.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopscope.core.arrays import F64
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.probe.conditions import Plan, conditions, plan_for
from loopscope.core.experiments.probe.running import (
    Batch,
    Cut,
    Cutting,
    check_plan,
    fresh_batch,
    put_together,
)
from loopscope.core.measures.probe import Probe
from loopscope.core.model.architecture import Architecture
from loopscope.core.remote.models import MODELS
from loopscope.core.remote.spread import Undone, spread

if TYPE_CHECKING:
    from distributed import Client

# The task that is no condition: the uncut runs as far as twice R.
LONGER = -1


@dataclass(frozen=True, slots=True)
class Asked:
    """What a probe is asked on the command line; numbers at 0 are `plan_for`'s to fill in."""

    hops: tuple[int, ...]
    prompts: int
    recurrences: int
    mid: int
    late: int
    draws: int

    def plan(self, arch: Architecture) -> Plan:
        """The plan for a model."""
        return plan_for(
            arch.trained_recurrences, recurrences=self.recurrences, mid=self.mid, late=self.late,
            draws=self.draws,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Subject:
    """The model that is probed, as a worker loaded it.

    notes : what the checkpoint says of itself, and the warning of its loading.
    """

    name: str
    weights: str
    architecture: Architecture
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What a worker is asked first."""

    request: LoadRequest

    def alone(self) -> Iterator[Look]:
        """It has one part."""
        yield self


def do_look(task: Look) -> Subject:
    """Load the model on a worker."""
    loaded = MODELS.get(task.request)
    warning = (loaded.warning,) if loaded.warning else ()
    notes = (*loaded.checkpoint.notes, *warning)
    return Subject(loaded.checkpoint.name, loaded.weights_hash, loaded.architecture, notes)


@dataclass(frozen=True, slots=True)
class CutTask:
    """One condition of a probe, by its place among all, or `LONGER`."""

    request: LoadRequest
    weights: str
    batch: Batch
    plan: Plan
    which: int

    def alone(self) -> Iterator[CutTask]:
        """It has one part."""
        yield self


# On a worker: the last batch that was run uncut, by what decides it.
_begun: dict[str, Cutting] = {}


def do_cut(task: CutTask) -> Cut | F64:
    """Make one condition on a worker; returns the scores of the uncut runs for `LONGER`."""
    loaded = MODELS.get(task.request)
    if loaded.weights_hash != task.weights:
        raise LoopscopeError("the checkpoint has other weights than when this began")
    how = (task.weights, task.batch.tokens.tolist(), task.batch.answers.tolist(), task.plan)
    key = hashlib.sha256(pickle.dumps(how)).hexdigest()
    if key not in _begun:
        _begun.clear()
        _begun[key] = Cutting(loaded, task.batch, task.plan)
    cutting = _begun[key]
    return cutting.longer() if task.which == LONGER else cutting.cut(cutting.todo[task.which])


def subject_there(request: LoadRequest, client: Client) -> Subject:
    """Load the model on a worker; raises `LoopscopeError` for what cannot be."""
    ((_, found),) = spread(client, do_look, [Look(request)])
    if isinstance(found, Undone):
        raise LoopscopeError(found.why)
    return found


def probe_there(
    request: LoadRequest,
    subject: Subject,
    asked: Asked,
    client: Client,
    report: Callable[[float], None] = lambda share: None,
) -> Probe:
    """Probe a model on workers; the numbers are those of `probe` on the same kind of machine.

    Raises `LoopscopeError` for what cannot be probed, for the first condition that could not be
    made, and where the cluster is lost.
    """
    arch = subject.architecture
    plan = asked.plan(arch)
    check_plan(arch, plan)
    batch = fresh_batch(subject.name, arch, asked.prompts, asked.hops)
    todo = conditions(arch, plan)
    # The longer ones first, so that none is left alone at the end.
    places = sorted(range(len(todo)), key=lambda i: -len(todo[i].draws))
    tasks = [CutTask(request, subject.weights, batch, plan, i) for i in (LONGER, *places)]
    cuts: dict[int, Cut] = {}
    longer: F64 | None = None
    for done, (task, given) in enumerate(spread(client, do_cut, tasks), start=1):
        if isinstance(given, Undone):
            name = "the uncut runs" if task.which == LONGER else todo[task.which].name
            raise LoopscopeError(f"{name}: {given.why}")
        if isinstance(given, Cut):
            cuts[task.which] = given
        else:
            longer = given
        report(done / len(tasks))
    assert longer is not None
    found = [(condition, cuts[i]) for i, condition in enumerate(todo)]
    trained = arch.trained_recurrences
    return put_together(subject.name, subject.weights, trained, batch, plan, longer, found)
