"""A model on a worker, as the window uses it."""

from __future__ import annotations

from collections.abc import Callable

from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.remote.connection import leave, shared_connection
from loopscope.core.remote.facts import Began
from loopscope.core.remote.run import RemoteRun
from loopscope.core.remote.seated import Report, Seated, load_there
from loopscope.core.run.budget import Budget
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.requests import RunRequest


def open_remote(request: LoadRequest, report: Report, cancelled: Callable[[], bool]) -> RemoteModel:
    """Load a checkpoint on a worker of the scheduler that ``request.on`` names.

    Raises `LoopscopeError` in one line for an address that nothing answers at, versions that
    differ, a path that the workers lack, and what loading raises there; `Cancelled`.
    """
    report(0.0, f"connecting to {request.on}")
    connection = shared_connection(request.on)
    try:
        if connection.lost:
            connection.connect(((request.path, request.family),), request.device)
        return RemoteModel(request, connection, load_there(connection, request, report, cancelled))
    except BaseException:
        leave(connection)
        raise


class RemoteModel(Seated):
    """What stands where a `Loaded` would; it makes runs."""

    def begin(self, request: RunRequest, capture: Capture, budget: Budget | None) -> RemoteRun:
        """Begin a run."""
        self.check()
        prompt = self.tokenizer.encode(request.prompt)
        began: Began = self.connection.call(
            "begin", self.facts.model, prompt, request.seed, request.start, request.start_scale,
            request.interventions, capture,
        )  # fmt: skip
        return RemoteRun(self, began, capture, budget)

    def resume(self, recording: Recording) -> RemoteRun:
        """Go on with a recording, whose rows are sent there once.

        Raises `LoopscopeError` for other weights.
        """
        self.check()
        return RemoteRun(
            self, self.upload(recording), recording.capture, recording.budget, recording
        )

    def relooped(self, request: LoadRequest) -> RemoteModel:
        """Loop another span of the same deep model: it is loaded again there."""
        facts = load_there(self.connection, request, lambda *_: None, lambda: False)
        shared_connection(self.connection.address)  # of which the new one is a user too
        return RemoteModel(request, self.connection, facts)
