"""What to step next: a plain object without a thread; its clock is given to it.

The runner consults it between two layers. `advance`, `play` and `stop` take effect at the next
layer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from loopscope.core.run.pairing import Pairing
from loopscope.core.run.recording import Recording
from loopscope.core.run.requests import too_many

# Asked after each recurrence; ends stepping by returning the reason.
Until = Callable[[Recording], str | None]


class Step(Enum):
    """Whose next layer is run."""

    RUN = "the run"
    SECOND_RUN = "the second run"


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is run for so many seconds: the pace of play is slower than the model."""

    seconds: float


class Stepping:
    """How far the run is stepped, at what pace, and what the second run does meanwhile.

    Parameters
    ----------
    clock
        Seconds that only rise.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._layers_left: float = 0
        self._period = 0.0
        self._until: Until | None = None
        self._question: Until | None = None
        self._began_recurrence = -math.inf
        self._pairing: Pairing | None = None
        self._second_follows = True

    # ---- requests ----
    def begin(self, layers: int = 0) -> None:
        """Step ``layers`` layers of a run that has just begun, and no more."""
        self._layers_left, self._until, self._period = layers, None, 0.0
        self._question = None

    def advance(self, layers: int) -> None:
        """Step ``layers`` layers more, after those that are still to run; playing ends."""
        left = 0 if math.isinf(self._layers_left) else self._layers_left
        self.begin(int(left) + layers)
        self._second_follows = True

    def play(self, rate: float = math.inf, until: Until | None = None) -> None:
        """Step until stopped, at most ``rate`` recurrences a second, or until ``until`` says why.

        Raises `ValueError` for a rate that is not above 0.
        """
        if not rate > 0:
            raise ValueError(f"a pace of {rate} recurrences a second never makes one")
        if not math.isinf(self._layers_left):
            self._began_recurrence = -math.inf  # the first is made at once
        self._layers_left, self._until, self._period = math.inf, until, 1.0 / rate
        self._second_follows, self._question = True, None

    def stop(self) -> None:
        """Stop stepping, the second run too."""
        self.end()
        self._second_follows = False

    def pair(self, pairing: Pairing | None) -> None:
        """Step the second run along as ``pairing`` says."""
        self._pairing, self._second_follows = pairing, True

    def leave_second_run(self) -> None:
        """Stop stepping the second run until the next request."""
        self._second_follows = False

    # ---- the next step ----
    def next(self, run: Recording | None, second_run: Recording | None) -> Step | Rest | None:
        """Whose layer to run now, how long to wait for it, or None when nothing is wanted."""
        if run is None:
            return None
        if second_run is not None and self._is_behind(run, second_run):
            return Step.SECOND_RUN
        if self._layers_left <= 0:
            return None
        rest = self._began_recurrence + self._period - self._clock()
        paced = self._period > 0 and run.layers_done % run.n_layers == 0
        return Rest(rest) if paced and rest > 0 else Step.RUN

    def _is_behind(self, run: Recording, second_run: Recording) -> bool:
        if self._pairing is None or not self._second_follows:
            return False
        target = self._pairing.layers(run.layers_done)
        return target is not None and second_run.layers_done < target

    @property
    def ahead(self) -> float:
        """Layers that are wanted after the next one."""
        return max(self._layers_left - 1, 0)

    # ---- steps that were made ----
    def starts(self, run: Recording) -> None:
        """Note that a layer of the run is about to be run."""
        if run.layers_done % run.n_layers == 0:
            self._began_recurrence = self._clock()

    def stepped(self, run: Recording) -> Until | None:
        """Count a layer of the run; where it ends a recurrence, return the question to ask of it.

        A question may take long, so it is asked without a lock; the answer goes to `end_by`.
        """
        if self._layers_left > 0:
            self._layers_left -= 1
        if run.layers_done % run.n_layers:
            return None
        until = self._until

        def question(recording: Recording) -> str | None:
            return too_many(recording) or (None if until is None else until(recording))

        self._question = question
        return question

    def end_by(self, question: Until) -> bool:
        """End stepping since ``question`` had a reason; False after another request meanwhile."""
        if self._question is not question:
            return False
        self.end()
        return True

    def end(self) -> None:
        """Stop stepping the run."""
        self._layers_left, self._question = 0, None
