"""The runner: loads models and steps them in a thread of its own, and never waits for the screen.

The window asks (`open`, `begin`, `advance`, `play`, `stop`, `call`) and pulls `status`; no signal
crosses the thread. What to step next is decided by `stepping`, what to do before that by
`request_queue`; `model_in_use` loads and replaces models. One lock guards them. A request to stop
is seen between two layers, so it is answered within one layer's time.

A second run may stand beside the first, of the same model or of another one: it is stepped along,
layer by layer, as its `Pairing` says.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import Cancelled, described
from loopscope.core.run.budget import Budget, NoRoom
from loopscope.core.run.elsewhere import elsewhere
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.model_in_use import Load, ModelInUse
from loopscope.core.run.recorded import Recorded, stepped
from loopscope.core.run.recording import Recording
from loopscope.core.run.request_queue import Call, RequestQueue
from loopscope.core.run.requests import RunRequest, check_recurrences
from loopscope.core.run.status import RunnerState, Status, StatusBoard
from loopscope.core.run.stepping import Rest, Step, Stepping, Until
from loopscope.core.run.worker import Work, Worker
from loopscope.core.system import yield_to_the_screen

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyModel, AnyRun
    from loopscope.core.run.pairing import Pairing

T = TypeVar("T")


class Runner:
    """Owns the model and the worker thread; `close` it when done.

    Parameters
    ----------
    capture
        What runs keep besides the states.
    budget
        Of the memory that runs take.
    threads
        Threads torch may use; None leaves one core for the screen.
    load
        Loads models; by default into this process.

    ``asked`` is called whenever something is asked for, in the thread that asks.
    """

    def __init__(
        self,
        capture: Capture | None = None,
        budget: Budget | None = None,
        threads: int | None = None,
        load: Load | None = None,
    ) -> None:
        self._capture, self._budget = capture or Capture(), budget
        self._threads = threads
        self.asked: Callable[[], None] = lambda: None
        self._queue, self._stepping = RequestQueue(), Stepping()
        self._worker = Worker("loopscope-runner", self._import_torch, self._next_work, self._failed)
        self._worker.woken = lambda: self.asked()
        self._lock = self._worker.lock
        self._board = StatusBoard(self._lock)
        self._model = ModelInUse(self._board, self._stepping, load)

    # ---- for any thread to read; none of it waits ----
    @property
    def status(self) -> Status:
        """The latest status, of one moment."""
        return self._board.now

    @property
    def loaded(self) -> AnyModel | None:
        """The model in use, None before the first is loaded."""
        return self._board.now.loaded

    @property
    def stepper(self) -> AnyRun | Recorded | None:
        """The run in use."""
        return self._board.now.stepper

    @property
    def recording(self) -> Recording | None:
        """The recording of the run in use."""
        return self._board.now.recording

    @property
    def second_run(self) -> AnyRun | Recorded | None:
        """The second run, None without one."""
        return self._board.now.second_run

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and no request waits."""
        with self._lock:
            status = self._board.now
            at_rest = status.state in (RunnerState.EMPTY, RunnerState.READY, RunnerState.CLOSED)
            waits = self._queue.waiting(status.loaded is not None) or self._next_step() is not None
            return at_rest and not self._worker.busy and not waits

    @property
    def stepping(self) -> bool:
        """Whether a recurrence is being made now, not only waited for at the pace of play."""
        return self._board.now.state is RunnerState.STEPPING and not self._worker.resting

    # ---- for any thread to request; none of it waits ----
    def open(self, request: LoadRequest) -> None:
        """Load a checkpoint; the running model stays until the new one is there.

        The first call starts the worker: importing torch would slow the window's first paint.
        """
        with self._lock:
            self._worker.start()
            self._queue.add(request)
            if self._board.now.state is RunnerState.LOADING:
                self._model.cancel()
            self._board.set(error=None, notice=None)
            self._worker.wake()

    def open_second_model(self, request: LoadRequest) -> Future[AnyModel]:
        """Load a second checkpoint; the first stays. Cancel it as any loading."""
        return self.call(lambda loaded, stepper: self._model.load(request))

    def set_second_run(
        self, stepper: AnyRun | Recorded | None, pairing: Pairing | None = None
    ) -> None:
        """Set the second run, stepped along as ``pairing`` says; None takes it away."""
        with self._lock:
            self._stepping.pair(pairing)
            self._board.show(second_run=stepper)
            self._worker.wake()

    def cancel_loading(self) -> None:
        """Give up the loading under way; the model that was running stays."""
        with self._lock:
            self._model.cancel()

    def begin(self, request: RunRequest) -> None:
        """Begin a run; of several requests in a row only the last is begun.

        Raises `LoopscopeError` for more recurrences than can be run.
        """
        if request.recurrences:
            check_recurrences(request.recurrences)
        with self._lock:
            self._queue.add(request)
            self._stepping.end()
            self._worker.wake()

    def release(self) -> Future[None]:
        """Let the model go with its runs: what is shown then is shown without one."""
        with self._lock:
            self._model.cancel()
            self._stepping.end()
            if self._board.now.loaded is not None:
                return self.call(lambda *_: self._model.replace(None, error=None, notice=None))
            self._board.set(state=RunnerState.EMPTY, error=None, notice=None)
            self._board.show(stepper=None, request=None, second_run=None)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def resume(self, stepper: AnyRun | Recorded) -> bool:
        """Go back to an earlier run; False when its model is no longer the one in use."""
        with self._lock:
            if stepper.loaded is not self._board.now.loaded:
                return False
            self._stepping.end()
            self._board.show(stepper=stepper, request=None, error=None, notice=None)
            self._worker.wake()
            return True

    def advance(self, layers: int) -> None:
        """Run ``layers`` more layers, after those that are still to run; playing ends."""
        self._step_on(lambda: self._stepping.advance(layers))

    def play(self, rate: float = math.inf, until: Until | None = None) -> None:
        """Step on until stopped, at most ``rate`` recurrences a second.

        ``until`` is called after each recurrence and ends playing by returning the reason.
        """
        self._step_on(lambda: self._stepping.play(rate, until))

    def _step_on(self, ask: Work) -> None:
        with self._lock:
            ask()
            self._board.set(notice=None)
            self._worker.wake()

    def stop(self) -> None:
        """Stop stepping (or loading) after the layer under way."""
        with self._lock:
            self._stepping.stop()
            if self._board.now.state is RunnerState.LOADING:
                self._model.cancel()
            for run in (stepped(self._board.now.stepper), stepped(self._board.now.second_run)):
                if run is not None:
                    run.interrupt()
            self._worker.wake()

    def call(self, function: Callable[[AnyModel, AnyRun | None], T]) -> Future[T]:
        """Run ``function(loaded, stepper)`` on the worker, between two layers."""
        future: Future[T] = Future()
        with self._lock:
            if self._worker.closing:
                future.cancel()
            else:
                self._queue.add(Call(function, future))
            self._worker.wake()
        return future

    def reloop(self, request: LoadRequest) -> Future[None]:
        """Loop the span ``request.loop`` of the deep model in use, which has the path of it.

        Raises what `loading.relooped` raises.
        """
        return self.call(lambda loaded, stepper: self._model.reloop(request, loaded))

    def reconnect(self) -> Future[None]:
        """Connect again to where the model was, after it was lost.

        Progress and Cancel are the loading's. Runs go on from where they stand. Raises
        `LoopscopeError` where that cannot be.
        """
        return self.call(lambda loaded, stepper: self._model.reconnect(loaded))

    def close(self) -> None:
        """Stop everything and join the thread."""
        with self._lock:
            self._model.cancel()
            self._stepping.end()
        self._worker.close()
        with self._lock:
            self._queue.cancel()
            self._board.set(state=RunnerState.CLOSED)
        # What is in another process does not go with this one.
        second = stepped(self._board.now.second_run)
        for model in (self._board.now.loaded, None if second is None else second.loaded):
            if (there := elsewhere(model)) is not None:
                there.release()

    # ---- the worker ----
    def _import_torch(self) -> None:
        import torch

        import loopscope.core.run.stepper  # noqa: F401  (pays for its imports here, not at first step)

        yield_to_the_screen()
        torch.set_num_threads(self._threads or max(1, (os.cpu_count() or 2) - 1))

    def _failed(self, error: BaseException) -> None:
        """Show an error that nothing caught; a worker that could not begin is closed."""
        with self._lock:
            if self._worker.closing:
                self._queue.cancel()
                self._board.set(state=RunnerState.CLOSED)
            self._stepping.end()
            line = described(error, "serving the model")
            self._board.set(error=line, error_about="checkpoint", offer=None)

    def _next_step(self) -> Step | Rest | None:
        if self._board.now.loaded is None:
            return None
        return self._stepping.next(self._board.now.recording, self._board.now.second_recording)

    def _next_work(self) -> Work | Rest | None:
        """The next piece of work, under the lock: requests first, then the next layer."""
        status = self._board.now
        request = self._queue.take(status.loaded is not None)
        if isinstance(request, LoadRequest):
            return partial(self._model.open, request)
        if status.loaded is not None and isinstance(request, RunRequest):
            return partial(self._begin, request, status.loaded)
        if status.loaded is not None and isinstance(request, Call):
            return partial(request.answer, status.loaded, stepped(status.stepper))
        step = self._next_step()
        if isinstance(step, Rest):
            return step
        if step is Step.RUN and (run := stepped(status.stepper)) is not None:
            return partial(self._step, run)
        if step is Step.SECOND_RUN and (second := stepped(status.second_run)) is not None:
            return partial(self._step_second, second)
        self._board.set(state=RunnerState.EMPTY if status.loaded is None else RunnerState.READY)
        return None

    def _begin(self, request: RunRequest, loaded: AnyModel) -> None:
        try:
            stepper = self.begun(request, loaded)
        except BaseException as error:  # of any kind: it is shown
            self._board.set(error=described(error, "beginning the run"), error_about="prompt")
            return
        with self._lock:
            self._stepping.begin(request.recurrences * stepper.recording.n_layers)
            self._board.show(stepper=stepper, request=request, error=None, notice=None)

    def begun(self, request: RunRequest, loaded: AnyModel) -> AnyRun:
        """Begin a run on a model without showing it, in whatever thread calls."""
        from loopscope.core.run.beginning import begin_run

        return begin_run(loaded, request, self._capture, self._budget)

    def _step(self, stepper: AnyRun) -> None:
        """Run one layer of the run."""
        with self._lock:
            self._board.set(state=RunnerState.STEPPING)
            self._stepping.starts(stepper.recording)
            ahead = self._stepping.ahead
        try:
            stepper.step_layer(ahead)
        except Cancelled:
            self._end_stepping()  # stopped while it waited for another process
        except NoRoom as full:
            self._end_stepping(notice=f"paused: {full}")
        except BaseException as error:  # of any kind: it is shown
            self._end_stepping(error=described(error, "running a layer"), error_about="run")
        else:
            self._count_step(stepper)

    def _count_step(self, stepper: AnyRun) -> None:
        with self._lock:
            if self._board.now.stepper is not stepper:
                return  # another run has been set meanwhile, with layers of its own to run
            question = self._stepping.stepped(stepper.recording)
        reason = None if question is None else question(stepper.recording)
        if question is not None and reason:
            with self._lock:
                if self._stepping.end_by(question):
                    self._board.set(notice=reason)

    def _step_second(self, second_run: AnyRun) -> None:
        self._board.set(state=RunnerState.STEPPING)
        try:
            second_run.step_layer(self._stepping.ahead)
        except Cancelled:
            self._end_stepping()
        except BaseException as error:  # of any kind: it is shown
            with self._lock:
                self._stepping.leave_second_run()
                reason = described(error, "running a layer")
                self._board.set(notice=f"the second run stopped: {reason}")

    def _end_stepping(self, **changes: Any) -> None:
        with self._lock:
            self._stepping.end()
            self._board.set(**changes)
