"""`loopscope trace`: a whole run as arrays, for scripts and for checking us from outside."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import Intervention
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.recording import Capture, Recording
from loopscope.core.run.requests import check_recurrences
from loopscope.core.run.stepper import Stepper


def trace(
    loaded: Loaded,
    prompt: Prompt,
    n_recurrences: int,
    *,
    seed: int = 0,
    initial_state: npt.NDArray[np.floating] | None = None,
    interventions: tuple[Intervention, ...] = (),
    report: Callable[[float], None] = lambda share: None,
    seen: Callable[[Recording], None] = lambda recording: None,
) -> dict[str, npt.NDArray[np.generic]]:
    """Run ``prompt`` and return its arrays; ``seen`` is given the finished run.

    ``input_ids`` int64 [1, T]; ``initial_state`` [1, T, d]; ``layer_states`` [R, L, T, d], after
    each layer in the order the layers run; ``attention`` [R, L, H, T, T]; ``logits`` [R, T, V],
    read out after each recurrence. All float32 but the ids.
    """
    check_recurrences(n_recurrences)
    stepper = Stepper(loaded, Capture(writes=False, readout=False), budget_bytes=64 << 30)
    recording = stepper.begin(
        prompt, seed=seed, initial_state=initial_state, interventions=interventions
    )
    logits = []
    for r in range(n_recurrences):
        stepper.step()
        logits.append(stepper.readout())
        report((r + 1) / n_recurrences)
    seen(recording)
    patterns = recording.patterns
    assert patterns is not None
    return {
        "input_ids": np.array([prompt.token_ids], dtype=np.int64),
        "initial_state": recording.states[:1],
        "layer_states": recording.layer_states,
        "attention": patterns,
        "logits": np.stack(logits),
    }


def save_arrays(path: Path, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
    """Write an `.npz` that is complete or not there at all."""
    try:
        handle, part = tempfile.mkstemp(suffix=".npz", prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        try:
            np.savez(part, **arrays)  # type: ignore[arg-type]
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(part, 0o666 & ~umask)  # mkstemp made it private
            os.replace(part, path)
        except BaseException:
            os.unlink(part)
            raise
    except OSError as error:
        raise LoopscopeError(f"cannot write {path}: {error.strerror or error}") from None


def load_state(path: Path) -> npt.NDArray[np.floating]:
    """Read an initial state from an `.npy` file; never unpickles."""
    try:
        state = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        problem = " ".join(str(error).split())[:200]
        raise LoopscopeError(f"{path}: cannot be read as .npy: {problem}") from None
    if not isinstance(state, np.ndarray) or not np.issubdtype(state.dtype, np.floating):
        raise LoopscopeError(f"{path}: expected an array of floating-point numbers")
    return state
