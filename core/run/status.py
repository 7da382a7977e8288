"""What the runner shows of itself, in one look."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.run.recorded import Recorded
from loopscope.core.run.recording import Recording
from loopscope.core.run.requests import RunRequest

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyModel, AnyRun


class RunnerState(Enum):
    """What the runner is doing."""

    STARTING = "loading torch"
    EMPTY = "no checkpoint is open"
    LOADING = "loading"
    READY = "ready"
    STEPPING = "stepping"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Status:
    """One moment of the runner: whoever needs several of these reads `Runner.status` once.

    progress : share of the loading that is done, 0 to 1.  doing : the work under way, in words.
    error : why the last request failed, one line; None when it did not.
    error_about : "checkpoint", "prompt" or "run".
    offer : the last request to load, with a family that the folder could be read as, where it was
        refused because it may be of another.
    notice : why stepping ended by itself (settled, memory budget), or a warning of the loading.
    loaded : the model in use, None before the first is loaded.
    stepper : the run in use, of ``loaded``; without a model, one that is only shown.
    request : that ``stepper`` was begun with; None without a run, or for a resumed one.
    second_run : the run that is stepped along, of any model.
    serial : rises with every change of these four.
    """

    state: RunnerState = RunnerState.STARTING
    progress: float = 0.0
    doing: str = ""
    error: str | None = None
    error_about: str = ""
    offer: LoadRequest | None = None
    notice: str | None = None
    loaded: AnyModel | None = None
    stepper: AnyRun | Recorded | None = None
    request: RunRequest | None = None
    second_run: AnyRun | Recorded | None = None
    serial: int = 0

    @property
    def recording(self) -> Recording | None:
        """The recording of the run in use."""
        return None if self.stepper is None else self.stepper.recording

    @property
    def second_recording(self) -> Recording | None:
        """The recording of the second run."""
        return None if self.second_run is None else self.second_run.recording


class StatusBoard:
    """Shows a status, which is replaced whole: whoever reads `now` waits for nobody.

    Parameters
    ----------
    lock
        Held while one is made of the one before.
    """

    def __init__(self, lock: threading.Condition) -> None:
        self.lock, self.now = lock, Status()

    def set(self, **changes: Any) -> None:
        """Change fields of the status."""
        with self.lock:
            self.now = replace(self.now, **changes)

    def show(self, **changes: Any) -> None:
        """Change the model, the run or the second run: readers see the serial rise."""
        with self.lock:
            self.set(serial=self.now.serial + 1, **changes)
