"""Which run is the second one: a run of the tree, or the prompt shown on another model.

It asks the runner and never waits: what the worker answers is taken up in a frame, by ``wait``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from loopscope.app.bench.run_tree import Run
from loopscope.app.bench.session import TWO_RUNS, Second, Session
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.run.pairing import STEP_PAIRINGS, StepPairing
from loopscope.core.run.recorded import Recorded
from loopscope.core.run.recording import Recording
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.runner import Runner
from loopscope.core.selection import TwoRuns

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyModel, AnyRun

Wait = Callable[[Future[Any], Callable[[Future[Any]], None]], None]


@dataclass(slots=True, eq=False)
class SecondModel:
    """Another model that runs whatever prompt is shown.

    loaded : the model.  name : what it is called.
    begun_as : of the run shown that it was last begun for.  why_not : why it has no run, or "".
    """

    loaded: AnyModel
    name: str
    begun_as: tuple[object, ...] = ()
    why_not: str = ""


class SecondRuns:
    """Puts a second run to the one shown and takes it away.

    model : the other model that follows the prompt of the run shown, whether it can read it or not.
    """

    def __init__(self, runner: Runner, session: Session, wait: Wait) -> None:
        self._runner, self._session, self._wait = runner, session, wait
        self.model: SecondModel | None = None

    # ---- what the user asks ----
    def show(self, run: Run | None) -> None:
        """Make ``run`` the second run; None shows the first one alone."""
        if run is None:
            self.model = None
            self._remove()
        elif run is not self._session.run:
            self.model = None
            self._session.second = Second(run.stepper, run.name, run)
            self.pair()
        self._session.runs_changed.emit()

    def show_recorded(self, recording: Recording, name: str) -> None:
        """Make a run of a recording the second run, as far as it was made."""
        self.model = None
        self._session.second = Second(Recorded(recording), name)
        self.pair()
        self._session.runs_changed.emit()

    def show_model(self, loaded: AnyModel, name: str) -> None:
        """Run the prompt on another model as the second run, this prompt and every later one."""
        self.model = SecondModel(loaded, name)
        self.follow_prompt()
        self._session.runs_changed.emit()

    def open_model(self, request: LoadRequest) -> None:
        """Load another model, then show it as the second run."""
        if why := self._session.no_model:
            self._session.message.emit(why)
            return
        first = self._session.status.loaded
        if first is not None:  # where that is, too: two models are compared in one place
            request = replace(request, on=first.request.on)

        def loaded(future: Future[AnyModel]) -> None:
            if future.cancelled():
                self._session.message.emit(f"{request.path} was not opened: cancelled")
            elif (error := future.exception()) is not None:
                self._session.message.emit(str(error))
            else:
                self.show_model(future.result(), future.result().checkpoint.name)

        self._wait(self._runner.open_second_model(request), loaded)

    def set_step_pairing(self, step_pairing: StepPairing) -> None:
        """How the second run follows the one shown."""
        self._session.step_pairing = step_pairing
        if self._session.second is None:
            self._session.message.emit(
                f"There is no second run yet; one will go {STEP_PAIRINGS[step_pairing]}"
            )
        self.pair()
        self._session.runs_changed.emit()

    def set_two_runs(self, two_runs: TwoRuns) -> None:
        """How views show the two runs."""
        self._session.two_runs = two_runs
        if self._session.second is None:
            self._session.message.emit(
                f"There is no second run yet; with one, views will show {TWO_RUNS[two_runs]}"
            )
        else:
            self._session.message.emit(f"Views show {TWO_RUNS[two_runs]}")
        self._session.runs_changed.emit()

    def show_other(self) -> None:
        """Show the second run alone, then the run shown alone, then both."""
        after: dict[TwoRuns, TwoRuns] = {"both": "second", "second": "first"}
        self.set_two_runs(after.get(self._session.two_runs, "both"))

    def toggle_difference(self) -> None:
        """Show what is different between the two runs, or both."""
        shown = self._session.two_runs == "difference"
        self.set_two_runs("both" if shown else "difference")

    # ---- what becomes of the runs ----
    def pair(self) -> None:
        """Have the runner step the second run along with the one shown."""
        second, pairing = self._session.second, self._session.pairing
        if second is not None and pairing is not None:
            self._runner.set_second_run(second.stepper, pairing)

    def run_shown(self, run: Run) -> None:
        """Note that another run is shown: it is not its own second run; the other model follows."""
        second = self._session.second
        if second is not None and second.run is run:
            self._remove()
        self.follow_prompt()
        self.pair()

    def begin_again(self) -> None:
        """Begin the prompt again on the other model, as it was begun again on the first."""
        if self.model is not None:
            self.model.begun_as = ()

    def remove_among(self, runs: Collection[Run]) -> None:
        """Take the second run away if it is one of these, which go."""
        second = self._session.second
        if second is not None and second.run in runs:
            self.show(None)

    def remove_of_prompt(self, before: Run | None, after: Run) -> None:
        """Take away a second run of the prompt of ``before``, which is not that of ``after``.

        One of yet another prompt was put there to be compared and stays.
        """
        second = self._session.second
        if second is None or second.run is None or before is None:
            return
        if second.run.begun_as == before.begun_as != after.begun_as:
            self._remove()
            self._session.message.emit(
                f"{after.name} is shown alone: {second.name}, the second run, was begun "
                f"otherwise (prompt, seed or start)"
            )

    def forget(self) -> None:
        """Drop a second run of the tree, which ended with its model; keep one of another model."""
        second = self._session.second
        if second is not None and second.run is not None:
            self._session.second = None

    def check(self) -> None:
        """Notice that the runner released the second run together with its model."""
        if self._session.second is not None and self._runner.second_run is None:
            self._session.second = None
            self._session.runs_changed.emit()

    def rename(self, run: Run) -> None:
        """Call the second run as its run is called now."""
        second = self._session.second
        if second is not None and second.run is run:
            self._session.second = Second(run.stepper, run.name, run)

    def follow_prompt(self) -> None:
        """Run the prompt that is shown on the other model.

        Until it is there, and where it cannot be, nothing of another prompt is the second run.
        """
        model, run = self.model, self._session.run
        if model is None or run is None or model.begun_as == run.begun_as:
            return
        model.begun_as, model.why_not = run.begun_as, ""
        if self._session.second is not None:
            self._remove()
        request, begun_as = run.request, model.begun_as

        def begun(future: Future[AnyRun]) -> None:
            if self.model is model and model.begun_as == begun_as and not future.cancelled():
                self._model_began(model, future)

        self._wait(self._runner.call(lambda *_: _begin_on(model.loaded, request)), begun)

    def _model_began(self, model: SecondModel, future: Future[AnyRun]) -> None:
        error = future.exception()
        if error is not None:
            model.why_not = str(error)
            self._session.message.emit(f"{model.name} cannot run this prompt: {error}")
        else:
            self._session.second = Second(future.result(), model.name)
            self.pair()
        self._session.runs_changed.emit()

    def _remove(self) -> None:
        self._session.second = None
        self._runner.set_second_run(None)


def _begin_on(loaded: AnyModel, request: RunRequest) -> AnyRun:
    """Begin the prompt of a request on another model (the worker's thread)."""
    from loopscope.core.run.beginning import begin_run

    return begin_run(loaded, replace(request, recurrences=0, interventions=()))
