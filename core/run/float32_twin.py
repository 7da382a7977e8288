"""Run a half-precision run again in float32, to measure what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from loopscope.core.arrays import F32
from loopscope.core.checkpoint.loading import Loaded, load_checkpoint
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import after_start
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper, least_for

Report = Callable[[float], None]


class Float32Twin:
    """The same checkpoint in float32, stepped along with a run; what it has stepped is kept.

    Raises `LoopscopeError` when ``loaded`` is float32 itself or the twin does not fit.
    """

    def __init__(self, loaded: Loaded, report: Report = lambda share: None) -> None:
        if loaded.dtype == "float32":
            raise LoopscopeError("this run is in float32: there is nothing to compare it with")
        self.of = loaded
        self._twin = load_checkpoint(
            loaded.checkpoint, loaded.device, "float32", lambda share, doing: report(share)
        )
        self._recording: Recording | None = None
        self._stepper = Stepper(self._twin)

    @property
    def run(self) -> Recording:
        """The run in float32, as far as `error` was asked for."""
        return self._stepper.recording

    @property
    def stepper(self) -> Stepper:
        """The stepper of `run`, for what asks the float32 model itself; only to be read."""
        return self._stepper

    def error(
        self, recording: Recording, report: Report = lambda share: None, *, readouts: bool = False
    ) -> F32:
        """Relative error of every state of ``recording``, float32 ``[R, T]``, from recurrence 1.

        The twin runs the same tokens from the run's own ``s_0``, with the same interventions:
        ``||s_r - exact|| / ||exact||``; NaN where the float32 state is zero. A later call for the
        same run steps only the recurrences since. ``readouts`` keeps them in `run`, too. Raises
        `LoopscopeError` before the first recurrence.
        """
        n, info = recording.n_recurrences, recording.info
        if not n:
            raise LoopscopeError("no recurrence has been run")
        lacks = readouts and not (self._recording and self.run.capture.readout)
        if recording is not self._recording or lacks:
            prompt = Prompt(info.prompt, info.token_ids, info.token_labels)
            self._stepper = Stepper(
                self._twin, replace(least_for(info.interventions), readout=readouts)
            )
            self._stepper.begin(
                prompt,
                initial_state=recording.state(0),
                interventions=after_start(info.interventions),
            )
            self._recording = recording
        for r in range(self._stepper.recording.n_recurrences, n):
            self._stepper.step()
            report((r + 1) / n)
        exact = self._stepper.recording
        rows = (_relative(recording.state(r), exact.state(r)) for r in range(1, n + 1))
        return np.stack(list(rows))

    def release(self) -> None:
        """Give the twin's memory back."""
        self._twin.release()


def _relative(states: F32, exact: F32) -> F32:
    """``||s - exact|| / ||exact||`` of each token, summed in float64; NaN where that is 0 / 0."""
    x = exact.astype(np.float64)
    norm, apart = np.linalg.norm(x, axis=-1), np.linalg.norm(states - x, axis=-1)
    return np.where(norm > 0, apart / np.where(norm > 0, norm, 1), np.nan).astype(np.float32)
