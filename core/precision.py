"""Run a half-precision run again in float32, to measure what it costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from loopscope.core.errors import LoopscopeError
from loopscope.core.loading import Loaded, load_checkpoint
from loopscope.core.recording import F32, Capture, Recording
from loopscope.core.stepper import Stepper
from loopscope.core.tokenizer import Prompt


def state_error(
    loaded: Loaded,
    recording: Recording,
    report: Callable[[float], None] = lambda share: None,
) -> F32:
    """Relative error of every state of a run, float32 ``[R, T]``; row 0 is recurrence 1.

    Loads the checkpoint a second time, in float32, and runs the same tokens from the run's own
    ``s_0``: ``||s_r - exact|| / ||exact||``. NaN where the float32 state is zero. Raises
    `LoopscopeError` when the twin does not fit.
    """
    if loaded.dtype == "float32":
        raise LoopscopeError("this run is in float32: there is nothing to compare it with")
    n = recording.n_recurrences
    if not n:
        raise LoopscopeError("no recurrence has been run")
    twin = load_checkpoint(
        loaded.checkpoint, loaded.device, "float32", lambda share, what: report(0.5 * share)
    )
    stepper = Stepper(twin, Capture(patterns=False, writes=False, readout=False))
    ids = recording.info.token_ids
    prompt = Prompt(recording.info.prompt, ids, recording.info.token_labels)
    stepper.begin(prompt, initial_state=recording.states[0])
    errors = np.empty((n, len(ids)), np.float32)
    for r in range(1, n + 1):
        exact = stepper.step().state
        norm = np.linalg.norm(exact, axis=-1)
        apart = np.linalg.norm(recording.states[r] - exact, axis=-1)
        errors[r - 1] = np.where(norm > 0, apart / np.where(norm > 0, norm, 1), np.nan)
        report(0.5 + 0.5 * r / n)
    twin.release()
    return errors
