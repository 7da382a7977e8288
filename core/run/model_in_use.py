"""The model that a runner has: loaded, looped anew, reconnected and let go, by its worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import Cancelled, ForeignError, described
from loopscope.core.run.status import RunnerState, StatusBoard
from loopscope.core.run.stepping import Stepping

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyModel


class Load(Protocol):
    """Loads a model, here or elsewhere; see `load_model`."""

    def __call__(
        self,
        request: LoadRequest,
        report: Callable[[float, str], None],
        cancelled: Callable[[], bool],
        make_room: Callable[[], None],
        /,
    ) -> AnyModel:
        """Return the model, or raise what `load_model` raises."""


class ModelInUse:
    """Changes the model that ``board`` shows; all but `cancel` is called on the worker.

    Parameters
    ----------
    board
        Shows the model, and how far loading is.
    stepping
        Ended where its run goes.
    load
        Loads models; by default into this process.
    """

    def __init__(self, board: StatusBoard, stepping: Stepping, load: Load | None = None) -> None:
        self._board, self._stepping = board, stepping
        self._load_model = load or load_here
        self._cancelled = False

    def cancel(self) -> None:
        """Give up the loading under way, from any thread; what is there stays."""
        self._cancelled = True

    def open(self, request: LoadRequest) -> None:
        """Load a model in place of the one in use; what goes wrong is shown."""
        try:
            loaded = self.load(request, self._make_room)
        except Cancelled as error:
            self._board.set(notice=str(error))
        except BaseException as error:  # of any kind: it is shown
            family = error.family if isinstance(error, ForeignError) else ""
            self._board.set(
                error=described(error, f"loading {request.path}"),
                error_about="checkpoint",
                offer=replace(request, family=family) if family else None,
            )
        else:
            self.replace(loaded, notice=loaded.warning, error=None)

    def load(self, request: LoadRequest, make_room: Callable[[], None] = lambda: None) -> AnyModel:
        """Return another model; the one in use stays. Raises what `load_model` raises."""
        self._begin(f"loading {request.path}")
        return self._load_model(request, self._report, lambda: self._cancelled, make_room)

    def reloop(self, request: LoadRequest, loaded: AnyModel) -> None:
        """Loop the span ``request.loop`` of a deep model; raises what `loading.relooped` raises."""
        from loopscope.core.checkpoint.loading import Loaded, relooped

        span = request.loop or (0, loaded.architecture.unique_depth, 1.0)
        looped: AnyModel
        if isinstance(loaded, Loaded):
            looped = replace(relooped(loaded, span), request=request)
        else:
            looped = loaded.relooped(replace(request, loop=span))
        with self._board.lock:
            self._stepping.end()
            self._board.show(loaded=looped, stepper=None, request=None, notice=None, error=None)
        if not isinstance(loaded, Loaded):
            loaded.release()

    def reconnect(self, loaded: AnyModel) -> None:
        """Connect again to where a model was, after it was lost.

        Raises `LoopscopeError` where that cannot be, `Cancelled` when it is given up.
        """
        from loopscope.core.checkpoint.loading import Loaded

        if isinstance(loaded, Loaded):
            return
        self._begin("connecting")
        loaded.reconnect(self._report, lambda: self._cancelled)
        self._board.set(error=None)

    def replace(self, loaded: AnyModel | None, **changes: object) -> None:
        """Have another model, or none: the one before goes with its runs."""
        with self._board.lock:
            status = self._board.now
            old, second_run = status.loaded, status.second_run
            if second_run is not None and old is not None and second_run.loaded is old:
                second_run = None  # a second run of a model that goes goes with it
                self._stepping.pair(None)
            self._board.show(
                loaded=loaded, stepper=None, request=None, second_run=second_run, **changes
            )
        if old is not None:
            # Earlier runs may still hold it; none of them can be resumed any more.
            old.release()

    def _begin(self, doing: str) -> None:
        with self._board.lock:
            self._cancelled = False
            self._stepping.end()
            self._board.set(state=RunnerState.LOADING, progress=0.0, doing=doing, error=None)

    def _report(self, share: float, doing: str) -> None:
        self._board.set(progress=share, doing=doing)

    def _make_room(self) -> None:
        """Release this model: the next one does not fit into memory with it."""
        self.replace(None)


def load_here(
    request: LoadRequest,
    report: Callable[[float, str], None],
    cancelled: Callable[[], bool],
    make_room: Callable[[], None],
) -> AnyModel:
    """Load a model into this process; see `load_model`."""
    from loopscope.core.checkpoint.loading import load_model

    return load_model(request, report, cancelled, make_room)
