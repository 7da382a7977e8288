"""The runs of a session made again, each as far as it was.

A branch is cut from its parent when that has come as far as the branch itself, so that it holds
what it held: the parent may have gone on since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from loopscope.core.errors import Cancelled, LoopscopeError
from loopscope.core.interventions.base import MOST_RECURRENCES
from loopscope.core.run.jobs import Job
from loopscope.core.sessions.saved import SavedRun

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyRun

# Begins a root of the tree; takes a run that is recorded, None for one that is not.
Begin = Callable[[SavedRun], "AnyRun"]
Take = Callable[[SavedRun], "AnyRun | None"]


class Rebuild:
    """Makes the runs of one session again.

    made : the runs begun so far, by their ids.  problems : why runs are not there, or not as far
    as they were, a line each; the others are made all the same.

    Parameters
    ----------
    runs
        Each after the run that it branched from.
    n_layers
        Of the model's recurrent block.
    begin
        Begins a root.
    take
        Gives a run as its recording has it; where that raises `LoopscopeError` it is made again.
    """

    def __init__(
        self,
        runs: Sequence[SavedRun],
        n_layers: int,
        begin: Begin,
        take: Take = lambda run: None,
    ) -> None:
        self._runs, self._n_layers, self._begin, self._take = runs, n_layers, begin, take
        self.made: dict[int, AnyRun] = {}
        self.problems: list[str] = []
        self._total = max(sum(self._own_layers(run) for run in runs), 1)
        self._done = 0

    def _own_layers(self, run: SavedRun) -> int:
        """Layers that have to be run for it: those that it does not share with its parent."""
        if run.recorded is not None:
            return 0
        if run.parent is None:
            return run.layers
        parent = next(other for other in self._runs if other.id == run.parent)
        added = run.interventions[len(parent.interventions) :]
        starts = [own.starts_at(self._n_layers) for own in added]
        shared = min([*starts, parent.layers, run.layers])
        return run.layers - max(shared, 0)

    def run(self, job: Job[Any]) -> None:
        """Make all of them. Raises `Cancelled`, with those in ``made`` that were begun."""
        for run in self._runs:
            if run.parent is None:
                self._make(run, partial(self._begin, run), job)

    def _make(self, run: SavedRun, begin: Callable[[], AnyRun], job: Job[Any]) -> None:
        """Begin one run, step it, and cut its branches off it on the way."""
        try:
            stepper = self.made[run.id] = self._taken(run) or begin()
            self._check(run)
            cut = len(run.interventions)
            for other in sorted(self._branches(run), key=lambda other: other.layers):
                self._step(stepper, min(other.layers, run.layers), job)
                added = other.interventions[cut:]
                self._make(other, partial(stepper.branch, added), job)
            self._step(stepper, run.layers, job)
        except Cancelled:
            raise
        except LoopscopeError as error:
            self.problems.append(f"{run.name}: {error}")

    def _taken(self, run: SavedRun) -> AnyRun | None:
        try:
            return self._take(run)
        except LoopscopeError as error:
            self.problems.append(f"{run.name} is made again: {error}")
            return None

    def _check(self, run: SavedRun) -> None:
        if run.layers > MOST_RECURRENCES * self._n_layers:
            raise LoopscopeError(f"more than {MOST_RECURRENCES:,} recurrences cannot be run")

    def _branches(self, run: SavedRun) -> Iterator[SavedRun]:
        return (other for other in self._runs if other.parent == run.id)

    def _step(self, stepper: AnyRun, layers: int, job: Job[Any]) -> None:
        while stepper.recording.layers_done < layers:
            job.report(min(self._done / self._total, 1.0))
            stepper.step_layer()
            self._done += 1
