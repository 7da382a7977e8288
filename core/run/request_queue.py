"""Requests that the runner has not begun yet: models, runs and calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.run.requests import RunRequest

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyModel, AnyRun


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A function of the model and the run, to be called between two layers; and its result."""

    function: Callable[[AnyModel, AnyRun | None], Any]
    future: Future[Any]

    def answer(self, loaded: AnyModel, stepper: AnyRun | None) -> None:
        """Call it; its future gets the result or the error."""
        if self.future.set_running_or_notify_cancel():
            try:
                self.future.set_result(self.function(loaded, stepper))
            except BaseException as error:
                self.future.set_exception(error)


Request = LoadRequest | RunRequest | Call


class RequestQueue:
    """Requests that the runner has not begun yet.

    Of several models, or several runs, only the last is wanted. A model comes before a run and a
    run before calls; runs and calls wait until there is a model.
    """

    def __init__(self) -> None:
        self._model: LoadRequest | None = None
        self._run: RunRequest | None = None
        self._calls: deque[Call] = deque()

    def add(self, request: Request) -> None:
        """Ask for one thing more."""
        if isinstance(request, LoadRequest):
            self._model = request
        elif isinstance(request, RunRequest):
            self._run = request
        else:
            self._calls.append(request)

    def waiting(self, has_model: bool) -> bool:
        """Whether there is anything to take."""
        ready = has_model and (self._run is not None or bool(self._calls))
        return self._model is not None or ready

    def take(self, has_model: bool) -> Request | None:
        """Take the next request alone: others taken with it would be lost if it failed."""
        model, self._model = self._model, None
        if model is not None or not has_model:
            return model
        run, self._run = self._run, None
        if run is not None:
            return run
        return self._calls.popleft() if self._calls else None

    def cancel(self) -> None:
        """Drop everything; calls are cancelled."""
        self._model = self._run = None
        while self._calls:
            self._calls.popleft().future.cancel()
