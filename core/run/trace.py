"""`loopscope trace`: a whole run as arrays, for scripts and for checking us from outside."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError
from loopscope.core.files import check_regular, reason, written
from loopscope.core.interventions.base import Intervention
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
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
    read out after each recurrence. All float32 but the ids. Positions that the model puts before a
    prompt are in the states and patterns; ids and logits are the prompt's own.
    """
    check_recurrences(n_recurrences)
    stepper = Stepper(loaded, Capture(writes=False, readout=False))
    recording = stepper.begin(
        prompt, seed=seed, initial_state=initial_state, interventions=interventions
    )
    logits = []
    for r in range(n_recurrences):
        stepper.step()
        logits.append(stepper.readout())
        report((r + 1) / n_recurrences)
    seen(recording)
    prefix = loaded.architecture.prefix
    return arrays_of(recording) | {"logits": np.stack(logits)[:, prefix:]}


def arrays_of(recording: Recording) -> dict[str, npt.NDArray[np.generic]]:
    """Return the arrays of `trace`, in its shapes, that need no model: all but the logits.

    Raises `LoopscopeError` for a run that keeps no attention patterns.
    """
    info = recording.info
    return {
        "input_ids": np.array([info.token_ids[info.architecture.prefix :]], dtype=np.int64),
        "initial_state": recording.states[:1],
        "layer_states": recording.layer_states,
        "attention": recording.patterns_of(1, recording.n_recurrences),
    }


def save_arrays(path: Path, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
    """Write arrays of any shape as an `.npz` that is complete or not there at all.

    Raises `LoopscopeError` where it cannot be written.
    """
    with written(path) as part:
        np.savez(part, **arrays)  # type: ignore[arg-type]


def load_state(path: Path) -> npt.NDArray[np.floating]:
    """Read an initial state, an array of whatever shape the `.npy` file has; never unpickles.

    Raises `LoopscopeError` for a file that holds no floating-point numbers or is cut short.
    """
    size = check_regular(path)
    try:
        with path.open("rb") as file:
            shape, _, dtype = _npy_header(file)
            # numpy makes room for what the header says before it reads.
            if math.prod(shape) * dtype.itemsize > size:
                raise ValueError(f"shape {shape} of {dtype} is more than the file has; cut short?")
            file.seek(0)
            state = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise LoopscopeError(f"{path}: cannot be read as .npy: {reason(error)}") from None
    if not isinstance(state, np.ndarray) or not np.issubdtype(state.dtype, np.floating):
        raise LoopscopeError(f"{path}: expected an array of floating-point numbers")
    return state


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and dtype; raises ValueError for what is no `.npy` file."""
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version} of the format is not read")
    return read(file)
