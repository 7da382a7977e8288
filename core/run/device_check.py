"""Run the same prompt on two devices and compare every number of the two runs."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.run.trace import trace

# Largest difference, relative to the largest value of the same array, that a dtype explains over
# `RECURRENCES` recurrences of the bundled model. On a CPU bfloat16 differs from float32 by 0.02,
# float16 by 0.003; 1e-4 is what Loopscope holds float32 to elsewhere.
TOLERANCES = {"float32": 1e-4, "bfloat16": 0.1, "float16": 0.02}
RECURRENCES = 8
ARRAYS = ("layer_states", "attention", "logits")


@dataclass(frozen=True, slots=True)
class DeviceComparison:
    """How far a run on a device is from the same run elsewhere.

    differences : largest ``|a - b| / max |b|`` of each array, no unit; NaN where one is not finite.
    milliseconds : a recurrence on the device, patterns and states read back, mean over the run.
    answers : the likeliest token at each place of the prompt after the last recurrence.
    """

    dtype: str
    differences: dict[str, float]
    milliseconds: float
    answers: tuple[str, ...]

    @property
    def largest(self) -> float:
        """The largest difference; NaN when any number is not finite."""
        return float(np.max(list(self.differences.values())))

    @property
    def agrees(self) -> bool:
        """Whether the largest difference is one that the dtype explains."""
        return self.largest <= TOLERANCES[self.dtype]


def compare_runs(model: Loaded, reference: Loaded, prompt: str) -> DeviceComparison:
    """Run ``prompt`` on both models and compare states, attention and logits of every recurrence.

    Both are the same checkpoint; ``reference`` is on the CPU in float32. The first run of a device
    warms it up and is not timed.
    """
    expected = trace(reference, reference.tokenizer.encode(prompt), RECURRENCES)
    encoded = model.tokenizer.encode(prompt)
    trace(model, encoded, 1)
    start = time.perf_counter()
    arrays = trace(model, encoded, RECURRENCES)
    seconds = time.perf_counter() - start
    differences = {name: _difference(arrays[name], expected[name]) for name in ARRAYS}
    likeliest = arrays["logits"][-1].argmax(-1).tolist()
    answers = tuple(model.tokenizer.label(token_id) for token_id in likeliest)
    return DeviceComparison(model.dtype, differences, 1000 * seconds / RECURRENCES, answers)


def _difference(computed: np.ndarray, expected: np.ndarray) -> float:
    if not np.isfinite(computed).all():
        return float("nan")
    apart = np.abs(computed.astype(np.float64) - expected.astype(np.float64))
    return float(apart.max() / np.abs(expected).max())
