"""The runs of a session: a tree of branches, and what can be undone.

A run that begins anew is a root; one that branched from another is its branch. The tree holds
steppers, so every run can be shown, stepped and branched again; nothing in it is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loopscope.core.interventions.base import Source
from loopscope.core.labels import printable
from loopscope.core.run.effects import effect_short, effect_words
from loopscope.core.run.recorded import Recorded
from loopscope.core.run.recording import Recording
from loopscope.core.run.requests import RunRequest
from loopscope.core.selection import Selection

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyRun

# Runs that are kept; named ones are never dropped. What they hold beyond the memory budget is on
# the disk.
KEPT_RUNS = 24


@dataclass(slots=True, eq=False)
class Run:
    """One run of the tree.

    id : unique in the session.  stepper : the run itself, or what is shown of it without a model.
    request : how its root was begun.
    parent : the run it branched from, None for a root.
    name : what the user calls it; ``named`` whether they chose it.  cursor : where it was left.
    """

    id: int
    stepper: AnyRun | Recorded
    request: RunRequest
    parent: Run | None = None
    name: str = ""
    named: bool = False
    cursor: Selection = field(default_factory=Selection)

    def source(self, recurrence: int, layer: int) -> Source | None:
        """Return a place as data, from which its state can be made again.

        None where it has not been run or its start was given as an array.
        """
        recording = self.stepper.recording
        info = recording.info
        if not 0 <= recurrence <= recording.n_recurrences or info.start == "given":
            return None
        return Source(
            token_ids=info.token_ids,
            prompt=info.prompt,
            seed=info.seed,
            start=info.start if info.start in ("zeros", "random") else "default",
            start_scale=info.start_scale,
            recurrence=recurrence,
            layer=layer,
            interventions=info.interventions,
        )

    @property
    def begun_as(self) -> tuple[object, ...]:
        """What it was begun with, whatever intervenes."""
        return begun_as(self.stepper.recording)

    @property
    def description(self) -> str:
        """What sets it apart from its parent, or how it was begun."""
        info, parts = self.stepper.recording.info, []
        inherited = 0
        if self.parent is None:
            seed = f", seed {info.seed}" if info.start == "random" else ""
            parts.append(printable(info.prompt) + seed)
        else:
            inherited = len(self.parent.stepper.recording.info.interventions)
        name = info.architecture.layer_name
        parts += [made.describe(name) for made in info.interventions[inherited:]]
        return "; ".join(parts)

    @property
    def effect(self) -> tuple[str, str]:
        """What its last intervention did, in short and in a sentence; empty without one."""
        recording = self.stepper.recording
        last = len(recording.info.interventions) - 1
        return ("", "") if last < 0 else (effect_short(recording), effect_words(recording, last))


def begun_as(recording: Recording) -> tuple[object, ...]:
    """Prompt, seed and start of a run: runs that differ in these are not compared unasked."""
    info = recording.info
    return info.prompt, info.token_ids, info.seed, info.start, info.start_scale


class RunTree:
    """All runs of one loaded model, roots in the order they were begun."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self._next = 1
        self._named = {"run": 0, "branch": 0}

    def __iter__(self) -> Iterator[Run]:
        """Runs, each before its branches."""
        yield from self._walk(None)

    def _walk(self, parent: Run | None) -> Iterator[Run]:
        for run in self.runs:
            if run.parent is parent:
                yield run
                yield from self._walk(run)

    def __len__(self) -> int:
        return len(self.runs)

    def find(self, run_id: int) -> Run | None:
        """The run with this id, None when there is none."""
        return next((run for run in self.runs if run.id == run_id), None)

    def of(self, stepper: AnyRun | Recorded) -> Run | None:
        """The run that this stepper is."""
        return next((run for run in self.runs if run.stepper is stepper), None)

    def add(
        self, stepper: AnyRun | Recorded, request: RunRequest, parent: Run | None = None
    ) -> Run:
        """Add a run, which gets a name of its own."""
        kind = "run" if parent is None else "branch"
        names = {run.name for run in self.runs}
        while True:  # runs of a session have names of their own
            self._named[kind] += 1
            name = f"{kind} {self._named[kind]}"
            if name not in names:
                break
        run = Run(self._next, stepper, request, parent, name)
        self._next += 1
        self.runs.append(run)
        return run

    def branch_of(self, run: Run) -> list[Run]:
        """The run and everything that branched from it."""
        return [run, *self._walk(run)]

    def remove(self, run: Run) -> list[tuple[int, Run]]:
        """Remove a run and its branches; return them with their places, for `restore`."""
        branch = set(self.branch_of(run))
        removed = [(i, r) for i, r in enumerate(self.runs) if r in branch]
        self.runs = [r for r in self.runs if r not in branch]
        return removed

    def restore(self, removed: list[tuple[int, Run]]) -> None:
        """Put back what `remove` removed, where it was."""
        for i, run in removed:
            self.runs.insert(min(i, len(self.runs)), run)

    def clear(self) -> None:
        """Drop all runs: the model that ran them is not loaded any longer."""
        self.runs.clear()

    def drop_surplus(self, needed: list[Run]) -> list[Run]:
        """Drop the oldest unnamed leaves beyond `KEPT_RUNS`; return them.

        Those ``needed``, such as the runs shown, stay with their ancestors.
        """
        safe = {r for run in needed for r in self._with_ancestors(run)}
        dropped = []
        while len(self.runs) > KEPT_RUNS:
            leaves = [
                r for r in self.runs
                if r not in safe and not r.named and not any(c.parent is r for c in self.runs)
            ]  # fmt: skip
            if not leaves:
                break
            self.runs.remove(leaves[0])
            dropped.append(leaves[0])
        return dropped

    @staticmethod
    def _with_ancestors(run: Run | None) -> Iterator[Run]:
        while run is not None:
            yield run
            run = run.parent


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """Something that can be undone: what it is called, and both ways.

    of_runs : whether it goes with the runs, when their model does.
    """

    text: str
    undo: Callable[[], object]
    redo: Callable[[], object]
    of_runs: bool = True


class History:
    """Changes that were made, and those that were undone."""

    def __init__(self) -> None:
        self.done: list[Change] = []
        self.undone: list[Change] = []

    def note(self, change: Change) -> None:
        """Remember a change that was just made; what had been undone can no longer be redone."""
        self.done.append(change)
        del self.done[:-100]
        self.undone.clear()

    def undo(self) -> Change | None:
        """Take the last change back; returns it."""
        if not self.done:
            return None
        change = self.done.pop()
        self.undone.append(change)
        change.undo()
        return change

    def redo(self) -> Change | None:
        """Make the last undone change again; returns it."""
        if not self.undone:
            return None
        change = self.undone.pop()
        self.done.append(change)
        change.redo()
        return change

    def forget_runs(self) -> None:
        """Forget the changes made to runs, which no longer exist."""
        self.done = [change for change in self.done if not change.of_runs]
        self.undone = [change for change in self.undone if not change.of_runs]
