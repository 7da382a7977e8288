"""The worker thread: it loads models and steps them, and never waits for the screen.

The window asks (`open`, `begin`, `advance`, `play`, `stop`, `call`) and pulls (`status`,
`recording`); no signal crosses the thread. One condition guards everything. A request to stop is
seen between two layers, so it is answered within one layer's time.

A second run may stand beside the first, of the same model or of another one: it is stepped along,
layer by layer, as its `Pairing` says.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import Cancelled, LoopscopeError
from loopscope.core.run.recording import Capture, MemoryBudgetReached, Recording
from loopscope.core.run.requests import MOST_RECURRENCES, RunRequest, check_recurrences

if TYPE_CHECKING:
    from loopscope.core.checkpoint.loading import Loaded
    from loopscope.core.run.pairing import Pairing
    from loopscope.core.run.stepper import Stepper

T = TypeVar("T")


class Phase(Enum):
    """What the worker is doing."""

    STARTING = "loading torch"
    EMPTY = "no checkpoint is open"
    LOADING = "loading"
    READY = "ready"
    STEPPING = "stepping"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Status:
    """One consistent look at the worker.

    progress : share of the loading that is done, 0 to 1.
    error : why the last request failed, one line; None when it did not.
    notice : why stepping ended by itself (settled, memory budget), or a warning of the loading.
    serial : rises with every change of `loaded` or of the run, so that a reader sees them.
    """

    phase: Phase = Phase.STARTING
    progress: float = 0.0
    doing: str = ""
    error: str | None = None
    error_about: str = ""
    notice: str | None = None
    serial: int = 0


class Runner:
    """Owns the model and the worker thread; `close` it when done.

    Parameters
    ----------
    capture
        What runs keep besides the states.
    budget_bytes
        Memory one recording may take.
    threads
        Threads torch may use; None leaves one core for the screen.
    """

    def __init__(
        self,
        capture: Capture | None = None,
        budget_bytes: int = 4 << 30,
        threads: int | None = None,
    ) -> None:
        self._capture, self._budget_bytes, self._threads = (
            capture or Capture(),
            budget_bytes,
            threads,
        )
        self._condition = threading.Condition()
        self._status = Status()
        self._loaded: Loaded | None = None
        self._stepper: Stepper | None = None
        self._open_request: LoadRequest | None = None
        self._run_request: RunRequest | None = None
        self._calls: deque[tuple[Callable[[Loaded, Stepper | None], Any], Future[Any]]] = deque()
        self._layers_left: float = 0
        self._second_run: Stepper | None = None
        self._pairing: Pairing | None = None
        self._second_follows = True
        self._period = 0.0
        self._until: Callable[[Recording], str | None] | None = None
        self._cancel_loading = False
        self._closing = self._busy = self._waiting_out = False
        self._thread = threading.Thread(target=self._work, name="loopscope-runner")

    # ---- what anyone may ask; none of it waits ----
    @property
    def status(self) -> Status:
        """The latest status."""
        return self._status

    @property
    def loaded(self) -> Loaded | None:
        """The model in use, None before the first is loaded."""
        return self._loaded

    @property
    def stepper(self) -> Stepper | None:
        """The run in use."""
        return self._stepper

    @property
    def recording(self) -> Recording | None:
        """The recording of the run in use."""
        return None if self._stepper is None else self._stepper.recording

    @property
    def second_run(self) -> Stepper | None:
        """The run beside it, None without one."""
        return self._second_run

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or asked for."""
        with self._condition:
            waiting = self._status.phase in (Phase.EMPTY, Phase.READY, Phase.CLOSED)
            return waiting and not self._busy and not self._has_work()

    @property
    def stepping(self) -> bool:
        """Whether a recurrence is being made now, not only waited for at the pace of play."""
        return self._status.phase is Phase.STEPPING and not self._waiting_out

    def open(self, request: LoadRequest) -> None:
        """Load a checkpoint; the running model stays until the new one is there.

        The first call starts the worker: importing torch would slow the window's first paint.
        """
        with self._condition:
            if self._thread.ident is None and not self._closing:
                self._thread.start()
            self._open_request = request
            self._cancel_loading = self._status.phase is Phase.LOADING
            self._set(error=None, notice=None)
            self._condition.notify_all()

    def open_second_model(self, request: LoadRequest) -> Future[Loaded]:
        """Load a second checkpoint; the first stays. Cancel it as any loading."""

        def work(loaded: Loaded, stepper: Stepper | None) -> Loaded:
            return self._load(request, None)

        return self.call(work)

    def set_second_run(self, stepper: Stepper | None, pairing: Pairing | None = None) -> None:
        """Put a run beside the first, stepped along as ``pairing`` says; None takes it away."""
        with self._condition:
            self._second_run, self._pairing, self._second_follows = stepper, pairing, True
            self._set(serial=self._status.serial + 1)
            self._condition.notify_all()

    def cancel_loading(self) -> None:
        """Give up the loading under way; the model that was running stays."""
        with self._condition:
            self._cancel_loading = True

    def begin(self, request: RunRequest) -> None:
        """Begin a run; of several asked for in a row only the last is begun."""
        if request.recurrences:
            check_recurrences(request.recurrences)
        with self._condition:
            self._run_request = request
            self._layers_left = 0
            self._condition.notify_all()

    def resume(self, stepper: Stepper) -> None:
        """Go back to an earlier run of the same model."""
        with self._condition:
            if stepper.loaded is not self._loaded:
                return  # of a model that has been replaced meanwhile
            self._layers_left = 0
            self._stepper = stepper
            self._set(serial=self._status.serial + 1, error=None, notice=None)

    def advance(self, layers: int) -> None:
        """Run ``layers`` more layers, after those that are still to run."""
        with self._condition:
            if not math.isinf(self._layers_left):
                self._layers_left += layers
            self._until, self._period, self._second_follows = None, 0.0, True
            self._set(notice=None)
            self._condition.notify_all()

    def play(
        self, rate: float = math.inf, until: Callable[[Recording], str | None] | None = None
    ) -> None:
        """Step on until stopped, at most ``rate`` recurrences a second.

        ``until`` is asked after each recurrence and ends it by returning the reason.
        """
        with self._condition:
            self._layers_left, self._until, self._period = math.inf, until, 1.0 / rate
            self._second_follows = True
            self._set(notice=None)
            self._condition.notify_all()

    def stop(self) -> None:
        """Stop stepping (or loading) after the layer under way."""
        with self._condition:
            self._layers_left, self._second_follows = 0, False
            if self._status.phase is Phase.LOADING:
                self._cancel_loading = True
            self._condition.notify_all()

    def call(self, function: Callable[[Loaded, Stepper | None], T]) -> Future[T]:
        """Run ``function(loaded, stepper)`` on the worker, between two layers."""
        future: Future[T] = Future()
        with self._condition:
            if self._closing:
                future.cancel()
            else:
                self._calls.append((function, future))
            self._condition.notify_all()
        return future

    def reloop(self, first: int, last: int, damping: float) -> Future[None]:
        """Loop another span of the deep model in use; raises what `loading.relooped` raises."""

        def work(loaded: Loaded, stepper: Stepper | None) -> None:
            from loopscope.core.checkpoint.loading import relooped

            looped = relooped(loaded, first, last, damping)
            with self._condition:
                self._loaded, self._stepper, self._layers_left = looped, None, 0
                self._set(serial=self._status.serial + 1, notice=None, error=None)

        return self.call(work)

    def close(self) -> None:
        """Stop everything and join the thread."""
        with self._condition:
            self._closing = self._cancel_loading = True
            self._layers_left = 0
            self._condition.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
        self._set(phase=Phase.CLOSED)

    # ---- the worker ----
    def _set(self, **changes: Any) -> None:
        with self._condition:
            self._status = replace(self._status, **changes)

    def _work(self) -> None:
        try:
            self._import_torch()
        except Exception as error:  # such as a torch that does not load
            with self._condition:
                self._closing = True
                for _, future in self._calls:
                    future.cancel()
                self._set(phase=Phase.CLOSED, error=one_line(error), error_about="checkpoint")
            return
        while True:
            with self._condition:
                self._busy = False
                while not self._has_work():
                    self._set(phase=Phase.EMPTY if self._loaded is None else Phase.READY)
                    self._condition.wait()
                if self._closing:
                    break
                opening, self._open_request = self._open_request, None
                # One thing at a time: what is taken here and not done would be lost.
                beginning = call = None
                if opening is None and self._loaded is not None:
                    beginning, self._run_request = self._run_request, None
                    if beginning is None and self._calls:
                        call = self._calls.popleft()
                self._busy = True
            if opening is not None:
                self._open(opening)
            elif beginning is not None:
                self._begin(beginning)
            elif call is not None:
                self._answer(*call)
            else:
                self._step()
        for _, future in self._calls:
            future.cancel()
        self._set(phase=Phase.CLOSED)

    def _has_work(self) -> bool:
        ready = self._loaded is not None
        return (
            self._closing
            or self._open_request is not None
            or (ready and self._run_request is not None)
            or (ready and bool(self._calls))
            or (self._stepper is not None and self._layers_left > 0)
            or self._second_is_behind()
        )

    def _second_is_behind(self) -> bool:
        second_run, pairing = self._second_run, self._pairing
        if (
            second_run is None
            or pairing is None
            or self._stepper is None
            or not self._second_follows
        ):
            return False
        target = pairing.layers(self._stepper.recording.layers_done)
        return target is not None and second_run.recording.layers_done < target

    def _import_torch(self) -> None:
        import torch

        import loopscope.core.run.stepper  # noqa: F401  (pays for its imports here, not at first step)

        yield_to_the_screen()
        torch.set_num_threads(self._threads or max(1, (os.cpu_count() or 2) - 1))

    def _open(self, request: LoadRequest) -> None:
        try:
            loaded = self._load(request, self._make_room)
        except Cancelled as error:
            self._set(notice=str(error))
            return
        except Exception as error:  # whatever it is: a dead worker answers nobody
            self._set(error=one_line(error), error_about="checkpoint")
            return
        with self._condition:
            old, self._loaded, self._stepper = self._loaded, loaded, None
            self._release_second(old)
            self._set(serial=self._status.serial + 1, notice=loaded.warning, error=None)
        if old is not None:
            # Runs to go back to may still hold it; they cannot be gone back to any more.
            old.release()

    def _load(self, request: LoadRequest, make_room: Callable[[], None] | None) -> Loaded:
        from loopscope.core.checkpoint.loading import load_model

        with self._condition:
            self._cancel_loading = False
            self._layers_left = 0
            self._set(
                phase=Phase.LOADING, progress=0.0, doing=f"loading {request.path}", error=None
            )

        def report(share: float, what: str) -> None:
            self._set(progress=share, doing=what)

        return load_model(
            request, report, lambda: self._cancel_loading, make_room or (lambda: None)
        )

    def _make_room(self) -> None:
        """The next model does not fit beside this one: let this one go."""
        with self._condition:
            old, self._loaded, self._stepper = self._loaded, None, None
            self._release_second(old)
            self._set(serial=self._status.serial + 1)
        if old is not None:
            old.release()

    def _release_second(self, old: Loaded | None) -> None:
        """A run beside of a model that goes goes with it."""
        if self._second_run is not None and self._second_run.loaded is old:
            self._second_run = self._pairing = None

    def _begin(self, request: RunRequest) -> None:
        from loopscope.core.run.stepper import Stepper

        assert self._loaded is not None
        try:
            stepper = Stepper(self._loaded, self._capture, self._budget_bytes)
            stepper.begin(
                self._loaded.tokenizer.encode(request.prompt),
                seed=request.seed,
                start=request.start,  # type: ignore[arg-type]
                start_scale=request.start_scale,
                interventions=request.interventions,
            )
        except Exception as error:  # whatever it is: a dead worker answers nobody
            self._set(error=one_line(error), error_about="prompt")
            return
        with self._condition:
            self._stepper = stepper
            self._layers_left = request.recurrences * stepper.recording.n_layers
            self._until, self._period = None, 0.0
            self._set(serial=self._status.serial + 1, error=None, notice=None)

    def _answer(
        self, function: Callable[[Loaded, Stepper | None], Any], future: Future[Any]
    ) -> None:
        assert self._loaded is not None
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(function(self._loaded, self._stepper))
        except Exception as error:  # belongs to whoever asked
            future.set_exception(error)

    def _step(self) -> None:
        """Run one layer, then wait out the pace if a recurrence was completed too early."""
        assert self._stepper is not None
        if self._second_is_behind():
            self._step_second()
            return
        stepper, started = self._stepper, time.monotonic()
        self._set(phase=Phase.STEPPING)
        recording = stepper.recording
        if recording.layers_done % recording.n_layers == 0:
            self._recurrence_started = started
        try:
            stepper.step_layer()
        except MemoryBudgetReached as full:
            self._end_stepping(notice=f"paused: {full}")
            return
        except Exception as error:  # whatever it is: a dead worker answers nobody
            self._end_stepping(error=one_line(error), error_about="run")
            return
        with self._condition:
            if self._stepper is stepper and self._layers_left > 0:
                self._layers_left -= 1
        if recording.layers_done % recording.n_layers:
            return
        if recording.n_recurrences >= MOST_RECURRENCES:
            self._end_stepping(notice=f"paused: {MOST_RECURRENCES:,} recurrences were made")
        elif self._until is not None and (reason := self._until(recording)):
            self._end_stepping(notice=reason)
        elif math.isinf(self._layers_left):
            self._wait_out(self._recurrence_started + self._period)

    def _step_second(self) -> None:
        second_run = self._second_run
        if second_run is None:
            return
        self._set(phase=Phase.STEPPING)
        try:
            second_run.step_layer()
        except Exception as error:  # whatever it is: a dead worker answers nobody
            with self._condition:
                self._second_follows = False
                self._set(notice=f"the run beside stopped: {one_line(error)}")

    def _end_stepping(self, **changes: Any) -> None:
        with self._condition:
            self._layers_left = 0
            self._set(**changes)

    def _wait_out(self, until: float) -> None:
        self._waiting_out = True
        try:
            self._sleep(until)
        finally:
            self._waiting_out = False

    def _sleep(self, until: float) -> None:
        with self._condition:
            while (left := until - time.monotonic()) > 0:
                if self._closing or self._layers_left == 0 or self._run_request is not None:
                    return
                if self._open_request is not None or self._calls:
                    return
                self._condition.wait(left)


def yield_to_the_screen(niceness: int = 5) -> None:
    """Lower the calling thread's priority, so that a busy machine draws first.

    Linux keeps a niceness for each thread; elsewhere this does nothing.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


def one_line(error: BaseException) -> str:
    """The error's message on one line; with its kind where it was not written to be read."""
    words = " ".join(str(error).split())[:400]
    if isinstance(error, LoopscopeError | MemoryError | RuntimeError | OSError):
        return words or type(error).__name__
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
