"""Which runs there are, which one is shown and which one stands beside it.

The tree of runs with everything that the user may do to it: branch, show, put beside, name, delete,
undo. It asks the runner and never waits; what the worker answers is taken up by `frame` of the
bench, through ``wait``.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, Signal

from loopscope.app.bench.run_tree import Change, History, Run, RunTree
from loopscope.core.interventions.base import Intervention, Source
from loopscope.core.run.pairing import PACES, Pace, Pairing
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.runner import Runner
from loopscope.core.selection import Selection

Wait = Callable[[Future[Any], Callable[[Future[Any]], None]], None]


@dataclass(frozen=True, slots=True, eq=False)
class Companion:
    """The run beside the one shown.

    stepper : the run.  name : what it is called.  run : its place in the tree; None for a run of
    another model.
    """

    stepper: Any
    name: str
    run: Run | None = None


@dataclass(slots=True, eq=False)
class ModelBeside:
    """Another model that is to stand beside whatever is shown, run on the same prompt.

    loaded : the model.  name : what it is called.
    asked : the run it was last begun for.  why_not : why it does not stand there, or "".
    """

    loaded: Any
    name: str
    asked: tuple[Any, ...] = ()
    why_not: str = ""


class Runs(QObject):
    """The runs of one bench.

    Signals
    -------
    changed()
        The tree, a name, the run shown or the one beside is another.
    shown(object)
        A `Run` was asked to be shown; its cursor goes with it.
    message(str)
        Something to say in the status line.
    """

    changed = Signal()
    shown = Signal(object)
    message = Signal(str)

    def __init__(
        self,
        runner: Runner,
        wait: Wait,
        cursor: Callable[[], Selection],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.runner, self._wait, self._cursor = runner, wait, cursor
        self.tree, self.history = RunTree(), History()
        self.current: Run | None = None
        self.second: Companion | None = None
        # Another model that follows the prompt of the run shown, whether it can read it or not.
        self.model: ModelBeside | None = None
        self.pace: Pace = "depth"
        # The cursor of the run beside, where each goes at its own pace.
        self.second_cursor = Selection()

    # ---- what the bench says ----
    def take_in(self, stepper: Any, request: RunRequest, left_at: Selection) -> None:
        """The runner shows this run now; one that is new begins a tree of its own.

        ``left_at`` is where the cursor was in the run before.
        """
        run = self.tree.of(stepper)
        if run is None:
            if self.current is not None:
                self.current.cursor = left_at
            before = self.current if self.current in self.tree.runs else None
            run = self.tree.add(stepper, request)
            if before is not None:
                self._note(run.name, before, run, second_run=self.second)
            self._drop_surplus(run)
            self._leave_behind(before, run)
            if self.model is not None:
                self.model.asked = ()  # begun again, it begins again there too
        self.current = run
        if self.second is not None and self.second.run is run:
            self._take_away()
        self._follow()
        self._pair()
        self.changed.emit()

    def forget(self) -> None:
        """Drop all runs; they belong to a model that is no longer loaded."""
        self.tree.forget()
        self.history.clear()
        self.current = None
        if self.second is not None and self.second.run is not None:
            self.second = None
        self.changed.emit()

    def _take_away(self) -> None:
        self.second = None
        self.runner.set_second_run(None)

    def _leave_behind(self, before: Run | None, after: Run) -> None:
        """Take away a run of the prompt of ``before``, which is not that of ``after``.

        A run of yet another prompt was put there to be compared and stays.
        """
        second = self.second
        if second is None or second.run is None or before is None:
            return
        there = begun_as(second.stepper)
        if there == begun_as(before.stepper) != begun_as(after.stepper):
            self._take_away()
            self.message.emit(
                f"{after.name} is shown alone: {second.name}, which stood beside, was begun "
                f"otherwise (prompt, seed or start)"
            )

    def _follow(self) -> None:
        """Run the prompt that is shown on the other model that stands beside.

        Until it is there, and where it cannot be, nothing of another prompt stands beside.
        """
        model, current = self.model, self.current
        if model is None or current is None or model.asked == begun_as(current.stepper):
            return
        model.asked, model.why_not = begun_as(current.stepper), ""
        if self.second is not None:
            self._take_away()
        request, asked = current.request, model.asked

        def begun(future: Future[Any]) -> None:
            if self.model is not model or model.asked != asked or future.cancelled():
                return  # meanwhile another was put beside or another prompt begun
            if (error := future.exception()) is not None:
                model.why_not = str(error)
                self.message.emit(f"{model.name} does not stand beside: {error}")
            else:
                self.second = Companion(future.result(), model.name)
                self._pair()
            self.changed.emit()

        self._wait(self.runner.call(lambda *_: _begin_on(model.loaded, request)), begun)

    def check_companion(self) -> None:
        """Notice that the runner has let go of the run beside (its model has gone)."""
        if self.second is not None and self.runner.second_run is None:
            self.second = None
            self.changed.emit()

    # ---- showing ----
    def show(self, run: Run) -> None:
        """Make ``run`` the one that is shown; if it stands beside, the two change places."""
        if run is self.current or run not in self.tree.runs:
            return
        before = self.current
        if before is not None:
            before.cursor = self._cursor()
        swap = self.second is not None and self.second.run is run
        if not swap:
            self._leave_behind(before, run)
        self.runner.resume(run.stepper)
        self.current = run
        self.shown.emit(run)
        if swap and before is not None:
            self.put_beside(before)
        else:
            self._pair()
        self.changed.emit()

    def put_beside(self, run: Run | None) -> None:
        """Draw ``run`` beside the one shown; None shows that one alone."""
        if run is None:
            self.model = None
            self._take_away()
        elif run is not self.current:
            self.model = None
            self.second = Companion(run.stepper, run.name, run)
            self._pair()
        self.changed.emit()

    def put_model_beside(self, loaded: Any, name: str) -> None:
        """Run the prompt on another model and draw it beside, for this and every later prompt."""
        self.model = ModelBeside(loaded, name)
        self._follow()
        self.changed.emit()

    def set_pace(self, pace: Pace) -> None:
        """How the run beside follows the one shown."""
        self.pace = pace
        if self.second is None:
            self.message.emit(f"No run stands beside yet; one that is will go {PACES[pace]}")
        self._pair()
        self.changed.emit()

    @property
    def pairing(self) -> Pairing | None:
        """How the two runs go together; None when one is shown alone."""
        if self.current is None or self.second is None:
            return None
        one = self.current.stepper.recording.info.architecture
        other = self.second.stepper.recording.info.architecture
        return Pairing(one, other, self.pace)

    def _pair(self) -> None:
        pairing = self.pairing
        if pairing is not None and self.second is not None:
            self.runner.set_second_run(self.second.stepper, pairing)

    # ---- branching ----
    def branch(self, cuts: tuple[Intervention, ...]) -> None:
        """Cut a branch off the run shown, run it as far and draw it beside its parent."""
        parent = self.current
        if parent is None:
            self.message.emit("There is no run to cut into yet")
            return
        stepper, layers = parent.stepper, parent.stepper.recording.layers_done

        def done(future: Future[Any]) -> None:
            if future.cancelled():
                return
            if (error := future.exception()) is not None:
                self.message.emit(str(error))
                return
            if parent not in self.tree.runs:
                return  # its model has gone meanwhile
            branch = self.tree.add(future.result(), parent.request, parent)
            branch.cursor = self._cursor()
            self._drop_surplus(branch)
            self._note(branch.name, parent, branch, made=True)
            self._show_branch(branch, parent)
            self.runner.advance(max(layers - branch.stepper.recording.layers_done, 0))

        self._wait(self.runner.call(lambda loaded, _: stepper.branch(cuts)), done)

    def _show_branch(self, branch: Run, parent: Run) -> None:
        self.show(branch)
        self.put_beside(parent)

    def source_of(self, run: Run, recurrence: int, layer: int) -> Source | None:
        """Return a place of a run as data, from which its state can be made again.

        None where it has not been run or its start was given as an array.
        """
        recording = run.stepper.recording
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

    # ---- names, deleting, undo ----
    def rename(self, run: Run, name: str) -> None:
        """Give a run a name; it is kept for good then."""
        before, was = run.name, run.named

        def give(text: str, named: bool) -> None:
            run.name, run.named = text, named
            if self.second is not None and self.second.run is run:
                self.second = Companion(run.stepper, text, run)
            self.changed.emit()

        give(name, True)
        self.history.note(
            Change(f"name {name}", lambda: give(before, was), lambda: give(name, True))
        )
        self.changed.emit()

    def delete(self, run: Run) -> None:
        """Delete a run and its branches; another is shown when it was among them."""
        gone = self.tree.branch_of(run)
        left = [r for r in self.tree if r not in gone]
        if not left:
            what = "the only run" if len(gone) == 1 else "the run that all others branched from"
            self.message.emit(f"{run.name} is {what}; change the prompt to begin another first")
            return
        current, second = self.current, self.second

        def take_out() -> list[tuple[int, Run]]:
            if self.second is not None and self.second.run in gone:
                self.put_beside(None)
            if self.current in gone:
                self.show(run.parent or left[-1])
                if self.second is not None and self.second.run in gone:
                    self.put_beside(None)
            taken = self.tree.remove(run)
            self.changed.emit()
            return taken

        taken = take_out()

        def bring_back() -> None:
            self.tree.restore(taken)
            if current is not None:
                self.show(current)
            if second is not None and second.run is not None:
                self.put_beside(second.run)
            self.changed.emit()

        self.history.note(Change(f"delete {run.name}", bring_back, lambda: take_out() and None))
        n = len(gone) - 1
        branches = f" and its {n} branch{'es' * (n != 1)}" if n else ""
        self.message.emit(f"Deleted {run.name}{branches}; Ctrl+Z brings back what was deleted")
        self.changed.emit()

    def undo(self) -> None:
        """Take the last change back and say what it was."""
        change = self.history.undo()
        self.message.emit(
            "There is nothing to undo" if change is None else f"Undone: {change.text}"
        )
        self.changed.emit()

    def redo(self) -> None:
        """Make the last undone change again."""
        change = self.history.redo()
        self.message.emit(
            "There is nothing to redo" if change is None else f"Redone: {change.text}"
        )
        self.changed.emit()

    def _note(
        self,
        text: str,
        before: Run,
        after: Run,
        made: bool = False,
        second_run: Companion | None = None,
    ) -> None:
        """Remember that ``after`` was shown in place of ``before``; ``made``: as its branch.

        ``second_run`` stood beside ``before``; it comes back with it.
        """
        stood = None if second_run is None else second_run.run
        taken: list[tuple[int, Run]] = []

        def undo() -> None:
            if before not in self.tree.runs:
                return
            self.show(before)
            if made:
                if self.second is not None and self.second.run in self.tree.branch_of(after):
                    self.put_beside(None)
                taken[:] = self.tree.remove(after)
            elif stood is not None and stood in self.tree.runs:
                self.put_beside(stood)

        def redo() -> None:
            if made:
                self.tree.restore(taken)
            if made and after.parent is not None:
                self._show_branch(after, after.parent)
            else:
                self.show(after)

        self.history.note(Change(text, undo, redo))

    def _drop_surplus(self, newest: Run) -> None:
        kept = [r for r in (newest, self.current) if r is not None]
        if self.second is not None and self.second.run is not None:
            kept.append(self.second.run)
        dropped = self.tree.forget_surplus(kept)
        if dropped:
            names = ", ".join(run.name for run in dropped)
            self.message.emit(f"{names} let go to save memory; runs with a name are kept")


def begun_as(stepper: Any) -> tuple[Any, ...]:
    """What a run was begun with, whatever was cut into it: prompt, seed and start."""
    info = stepper.recording.info
    return info.prompt, info.token_ids, info.seed, info.start, info.start_scale


def _begin_on(loaded: Any, request: RunRequest) -> Any:
    """Begin the prompt of a request on another model (the worker's thread)."""
    from loopscope.core.run.stepper import Stepper

    stepper = Stepper(loaded)
    stepper.begin(
        loaded.tokenizer.encode(request.prompt),
        seed=request.seed,
        start=request.start,  # type: ignore[arg-type]
        start_scale=request.start_scale,
    )
    return stepper
