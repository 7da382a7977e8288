"""Go on with a recording where its checkpoint is there."""

from __future__ import annotations

import torch

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError
from loopscope.core.recordings.results import MODEL_KEYS
from loopscope.core.recordings.schema import About
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper


def resume(loaded: Loaded, recording: Recording) -> Stepper:
    """Return a stepper that stands where the recording ends and appends to it.

    On the same device, dtype, torch and number of threads what follows is bit for bit what the
    run would have gone on to; `differences` says what is another here. Raises `LoopscopeError`
    for other weights.
    """
    info = recording.info
    if loaded.weights_hash != info.weights_hash or loaded.architecture != info.architecture:
        raise LoopscopeError(
            f"the recording was made with other weights ({info.checkpoint}, sha256 "
            f"{info.weights_hash[:12]}) than those of {loaded.checkpoint.name} "
            f"({loaded.weights_hash[:12]}): it is shown as it is"
        )
    kept = recording.shared.results
    stepper = Stepper.at_the_end_of(loaded, recording)
    for key in MODEL_KEYS:  # what was measured of the model is of this one
        result = kept.get(key)
        if result is not None and loaded.shared.results.get(key) is None:
            loaded.shared.results.put(key, result)
    return stepper


def differences(loaded: Loaded, recording: Recording, about: About) -> str:
    """Say what is another than when it was recorded, so that steps differ by rounding; or ""."""
    info = recording.info
    here = {
        "device": str(loaded.device.device),
        "dtype": loaded.dtype,
        "torch": str(torch.__version__),
        "threads": str(torch.get_num_threads()),
    }
    then = {
        "device": info.device,
        "dtype": info.dtype,
        "torch": about.torch,
        "threads": str(about.threads),
    }
    other = [f"{key} {here[key]}, not {then[key]}" for key in here if here[key] != then[key]]
    return f"goes on with {'; '.join(other)}: equal within rounding only" if other else ""
