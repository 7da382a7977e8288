"""The runs of a session: which there are, which is shown, and how a change is taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from loopscope.app.bench.run_tree import Change, History, Run, RunTree
from loopscope.app.bench.second_runs import SecondRuns, Wait
from loopscope.app.bench.session import Session
from loopscope.core.interventions.base import Intervention
from loopscope.core.run.pairing import STEP_PAIRINGS, StepPairing
from loopscope.core.run.recorded import Recorded
from loopscope.core.run.requests import RunRequest, request_of
from loopscope.core.run.runner import Runner
from loopscope.core.selection import Selection
from loopscope.core.sessions.saved import SavedRun

if TYPE_CHECKING:
    from loopscope.core.recordings.reader import RecordingFile
    from loopscope.core.run.elsewhere import AnyRun


class Runs:
    """The tree of runs with everything that the user may do to it.

    It asks the runner and never waits: what the worker answers is taken up in a frame, through
    ``wait``.

    Parameters
    ----------
    show_now
        Takes up the run that the runner was told to show, in this frame.
    """

    def __init__(
        self,
        runner: Runner,
        session: Session,
        second_runs: SecondRuns,
        wait: Wait,
        show_now: Callable[[Run], None],
    ) -> None:
        self._runner, self._session, self._second_runs = runner, session, second_runs
        self._wait, self._show_now = wait, show_now
        self.tree, self.history = RunTree(), History()

    # ---- what the runner shows ----
    def register(
        self, stepper: AnyRun | Recorded, request: RunRequest | None, left_at: Selection
    ) -> None:
        """The runner shows this run now; one that is new begins a tree of its own.

        ``request`` is what a new one was begun with, ``left_at`` where the cursor was in the run
        before.
        """
        session = self._session
        run = self.tree.of(stepper)
        if run is None:
            if request is None:
                return  # a run of the tree that went while it was being shown
            run = self._add_root(stepper, request, left_at)
        session.run = run
        self._second_runs.run_shown(run)
        session.runs_changed.emit()

    def _add_root(self, stepper: AnyRun | Recorded, request: RunRequest, left_at: Selection) -> Run:
        before, second = self._session.run, self._session.second
        if before is not None:
            before.cursor = left_at
        if before not in self.tree.runs:
            before = None
        run = self.tree.add(stepper, request)
        if before is not None:
            self._note_root(before, run, None if second is None else second.run)
        self._drop_surplus(run)
        self._second_runs.remove_of_prompt(before, run)
        self._second_runs.begin_again()
        return run

    def adopt(
        self, made: Sequence[tuple[SavedRun, RunRequest, AnyRun | Recorded]]
    ) -> dict[int, Run]:
        """Take runs of a session, each after its parent, into the tree; by their ids there.

        ``RunRequest`` is how a root was begun.
        """
        runs: dict[int, Run] = {}
        for saved, request, stepper in made:
            parent = None if saved.parent is None else runs[saved.parent]
            run = self.tree.add(stepper, request if parent is None else parent.request, parent)
            run.name, run.named, run.cursor = saved.name, saved.named, saved.cursor
            runs[saved.id] = run
        return runs

    def adopt_recorded(
        self, steppers: Sequence[AnyRun | Recorded], parents: Sequence[int | None]
    ) -> list[Run]:
        """Take the runs of a recording into the tree, each after its parent."""
        runs: list[Run] = []
        for stepper, at in zip(steppers, parents, strict=True):
            parent = None if at is None else runs[at]
            request = request_of(stepper.recording) if parent is None else parent.request
            runs.append(self.tree.add(stepper, request, parent))
        self._session.runs_changed.emit()
        return runs

    def adopt_more(self, file: RecordingFile) -> None:
        """Take those runs of a recording into the tree that have come since it was shown."""
        there = {id(run.stepper.recording): run for run in self.tree}
        new = [i for i, run in enumerate(file.runs) if id(run) not in there]
        for i in new:
            recording, at = file.runs[i], file.parents[i]
            parent = None if at is None else there.get(id(file.runs[at]))
            request = request_of(recording) if parent is None else parent.request
            run = there[id(recording)] = self.tree.add(Recorded(recording), request, parent)
            run.cursor = Selection(token=recording.n_tokens - 1)
        if new:
            self._session.runs_changed.emit()

    def forget(self) -> None:
        """Drop all runs; they belong to a model that is no longer loaded."""
        self.tree.clear()
        self.history.forget_runs()
        self._session.run = None
        self._second_runs.forget()
        self._session.runs_changed.emit()

    # ---- showing ----
    def show(self, run: Run) -> None:
        """Make ``run`` the one that is shown; if it is the second run, the two change places."""
        before, second = self._session.run, self._session.second
        if run is before or run not in self.tree.runs:
            return
        if not self._runner.resume(run.stepper):
            return  # its model has been replaced meanwhile
        if before is not None:
            before.cursor = self._session.selection
        swap = second is not None and second.run is run
        if not swap:
            self._second_runs.remove_of_prompt(before, run)
        self._session.run = run
        self._show_now(run)
        if swap and before is not None:
            self._second_runs.show(before)
        else:
            self._second_runs.pair()
        self._session.runs_changed.emit()

    # ---- branching ----
    def branch(self, interventions: tuple[Intervention, ...]) -> None:
        """Branch off the run shown, run as far, and make the parent the second run."""
        parent = self._session.run
        if parent is None:
            self._session.message.emit("There is no run to cut into yet")
            return
        stepper, layers = parent.stepper, parent.stepper.recording.layers_done
        if isinstance(stepper, Recorded) or self._session.no_model:
            self._session.message.emit(self._session.no_model)
            return

        def done(future: Future[AnyRun]) -> None:
            if future.cancelled() or parent not in self.tree.runs:
                return  # its model has gone meanwhile
            if (error := future.exception()) is not None:
                self._session.message.emit(str(error))
            else:
                self._add_branch(future.result(), parent, layers)

        self._wait(self._runner.call(lambda loaded, _: stepper.branch(interventions)), done)

    def _add_branch(self, stepper: AnyRun, parent: Run, layers: int) -> None:
        branch = self.tree.add(stepper, parent.request, parent)
        branch.cursor = self._session.selection
        self._drop_surplus(branch)
        self._note_branch(parent, branch)
        self._show_branch(branch, parent)
        if self._session.run is branch:
            self._runner.advance(max(layers - stepper.recording.layers_done, 0))

    def _show_branch(self, branch: Run, parent: Run) -> None:
        self.show(branch)
        self._second_runs.show(parent)

    # ---- the second run ----
    def put_second(self, run: Run | None) -> None:
        """Make ``run`` the second run, or show the first one alone; among runs it can be undone."""
        before, model = self._session.second, self._second_runs.model
        self._second_runs.show(run)
        old = None if before is None else before.run
        if model is not None or run is old or run is self._session.run:
            return  # another model is not kept for the sake of undo
        text = "show alone" if run is None else f"{run.name} as second run"
        self.history.note(Change(text, lambda: self._put(old), lambda: self._put(run)))
        self._session.runs_changed.emit()

    def _put(self, run: Run | None) -> None:
        self._second_runs.show(run if run in self.tree.runs else None)

    def set_step_pairing(self, step_pairing: StepPairing) -> None:
        """How the second run follows the one shown."""
        before = self._session.step_pairing
        self._second_runs.set_step_pairing(step_pairing)
        if step_pairing != before:
            self.history.note(
                Change(
                    f"second run {STEP_PAIRINGS[step_pairing]}",
                    lambda: self._second_runs.set_step_pairing(before),
                    lambda: self._second_runs.set_step_pairing(step_pairing),
                )
            )
            self._session.runs_changed.emit()

    # ---- names and deleting ----
    def rename(self, run: Run, name: str) -> None:
        """Give a run a name; it is kept for good then."""
        before, was_named = run.name, run.named

        def give(text: str, named: bool) -> None:
            run.name, run.named = text, named
            self._second_runs.rename(run)
            self._session.runs_changed.emit()

        give(name, True)
        self.history.note(
            Change(f"name {name}", lambda: give(before, was_named), lambda: give(name, True))
        )
        self._session.runs_changed.emit()

    def delete(self, run: Run) -> None:
        """Delete a run and its branches; another is shown when it was among them."""
        branches = len(self.tree.branch_of(run)) - 1
        if branches + 1 == len(self.tree):
            which = "the run that all others branched from" if branches else "the only run"
            self._session.message.emit(
                f"{run.name} is {which}; change the prompt to begin another first"
            )
            return
        shown, second = self._session.run, self._session.second
        second_run = None if second is None else second.run
        removed = self._remove(run)

        def bring_back() -> None:
            self.tree.restore(removed)
            if shown is not None:
                self.show(shown)
            if second_run is not None:
                self._second_runs.show(second_run)
            self._session.runs_changed.emit()

        self.history.note(Change(f"delete {run.name}", bring_back, lambda: self._remove(run)))
        its = f" and its {branches} branch{'es' * (branches != 1)}" if branches else ""
        self._session.message.emit(f"Deleted {run.name}{its}; Undo brings it back")
        self._session.runs_changed.emit()

    def let_go(self, run: Run) -> None:
        """Free the memory of a run and its branches for good, unless no other run is left."""
        branch = self.tree.branch_of(run)
        if len(branch) == len(self.tree):
            return
        self._remove(run)
        self.history.forget_runs()  # what can be undone holds the runs
        names = ", ".join(own.name for own in branch)
        self._session.message.emit(f"Let go of {names}; this cannot be undone")
        self._session.runs_changed.emit()

    def _remove(self, run: Run) -> list[tuple[int, Run]]:
        """Take a run and its branches out of the tree; show what is left."""
        going = self.tree.branch_of(run)
        left = [r for r in self.tree if r not in going]
        self._second_runs.remove_among(going)
        if self._session.run in going:
            self.show(run.parent or left[-1])
            self._second_runs.remove_among(going)
        removed = self.tree.remove(run)
        self._session.runs_changed.emit()
        return removed

    # ---- undo ----
    def undo(self) -> None:
        """Take the last change back and say which it was."""
        change = self.history.undo()
        self._session.message.emit(
            "There is nothing to undo" if change is None else f"Undone: {change.text}"
        )
        self._session.runs_changed.emit()

    def redo(self) -> None:
        """Make the last undone change again."""
        change = self.history.redo()
        self._session.message.emit(
            "There is nothing to redo" if change is None else f"Redone: {change.text}"
        )
        self._session.runs_changed.emit()

    def _note_root(self, before: Run, after: Run, second_run: Run | None) -> None:
        """Remember that ``after`` was begun while ``before`` and ``second_run`` were shown."""

        def undo() -> None:
            if before in self.tree.runs:
                self.show(before)
                if second_run is not None and second_run in self.tree.runs:
                    self._second_runs.show(second_run)

        self.history.note(Change(after.name, undo, lambda: self.show(after)))

    def _note_branch(self, parent: Run, branch: Run) -> None:
        """Remember that ``branch`` was made and shown in place of its parent."""
        removed: list[tuple[int, Run]] = []

        def undo() -> None:
            if parent in self.tree.runs:
                self.show(parent)
                self._second_runs.remove_among(self.tree.branch_of(branch))
                removed[:] = self.tree.remove(branch)

        def redo() -> None:
            self.tree.restore(removed)
            self._show_branch(branch, parent)

        self.history.note(Change(branch.name, undo, redo))

    def _drop_surplus(self, newest: Run) -> None:
        second = self._session.second
        shown = (newest, self._session.run, None if second is None else second.run)
        dropped = self.tree.drop_surplus([run for run in shown if run is not None])
        if dropped:
            names = ", ".join(run.name for run in dropped)
            self._session.message.emit(f"{names} removed: so many are kept that have no name")
