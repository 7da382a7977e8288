"""Go on with a recording where its checkpoint is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError
from loopscope.core.recordings.schema import About
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyModel, AnyRun


def go_on(loaded: AnyModel, recording: Recording) -> AnyRun:
    """`resume` here, or where the model is, which is sent the rows."""
    if isinstance(loaded, Loaded):
        return resume(loaded, recording)
    _check_weights(loaded, recording)
    kept = recording.shared
    run = loaded.resume(recording)
    # What was measured of the model before is of this one.
    loaded.shared.results.take(kept.results)
    return run


def resume(loaded: Loaded, recording: Recording) -> Stepper:
    """Return a stepper that stands where the recording ends and appends to it.

    On the same device, dtype, torch and number of threads what follows is bit for bit what the
    run would have gone on to; `differences` says what is another here. Raises `LoopscopeError`
    for other weights.
    """
    _check_weights(loaded, recording)
    kept = recording.shared
    stepper = Stepper.at_the_end_of(loaded, recording)
    # What was measured of the model before is of this one.
    loaded.shared.results.take(kept.results)
    return stepper


def _check_weights(loaded: AnyModel, recording: Recording) -> None:
    info = recording.info
    if loaded.weights_hash != info.weights_hash or loaded.architecture != info.architecture:
        raise LoopscopeError(
            f"the recording was made with other weights ({info.checkpoint}, sha256 "
            f"{info.weights_hash[:12]}) than those of {loaded.checkpoint.name} "
            f"({loaded.weights_hash[:12]}): it is shown as it is"
        )


def differences(loaded: AnyModel, recording: Recording, about: About) -> str:
    """Say what is another than when it was recorded, so that steps differ by rounding; or ""."""
    info = recording.info
    torch_here, threads = str(torch.__version__), torch.get_num_threads()
    if not isinstance(loaded, Loaded):
        torch_here, threads = loaded.process
    here = {
        "device": str(loaded.device.device),
        "dtype": loaded.dtype,
        "torch": torch_here,
        "threads": str(threads),
    }
    then = {
        "device": info.device,
        "dtype": info.dtype,
        "torch": about.torch,
        "threads": str(about.threads),
    }
    other = [f"{key} {here[key]}, not {then[key]}" for key in here if here[key] != then[key]]
    return f"goes on with {'; '.join(other)}: equal within rounding only" if other else ""
