"""Live measures of float32 runs against the same run made again in float64, and on another device.

The float64 run is the plain NumPy forward of `models`, which shares no code with the model.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import plain_forward, probabilities

from loopscope.core.checkpoint.loading import load
from loopscope.core.measures.base import measure
from loopscope.core.measures.registry import MEASURES
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.rows import Rows
from loopscope.core.run.states import TOP_K, LayerState, TopAnswers
from loopscope.core.run.stepper import Stepper

PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"
# Largest difference over the largest value of the measure in the run, as docs/depth.md states it.
TOLERANCE = 5e-6
# The direction of a step is the less certain the smaller the step is: 2^-23 over its relative size.
OF_ANGLES = 5e-3
ANGLES = {"step_angle", "layer_step_angle"}
RECURRENCES = 8


def stepped(device: str = "cpu") -> Recording:
    loaded = load("bundled:looped", device)
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode(PROMPT))
    for _ in range(RECURRENCES):
        stepper.step()
    return stepper.recording


def exact() -> Recording:
    """The same run in float64, kept in float64."""
    loaded = load("bundled:looped", "cpu")
    prompt = loaded.tokenizer.encode(PROMPT)
    like = Stepper(loaded, Capture(writes=False)).begin(prompt)
    run = plain_forward(loaded.model, prompt.token_ids, RECURRENCES)
    recording = Recording(like.info, like.states[0], Capture(writes=False))
    rows, t = recording._rows, recording.n_tokens
    # Recordings hold float32; here the rounding is what is measured.
    rows["states"] = Rows(like.states[0].shape, np.float64)
    rows["states"].append(like.states[0])
    rows["layer_states"] = Rows(like.states[0].shape, np.float64)
    rows["patterns"] = Rows(run["patterns"].shape[2:], np.float64)
    rows["spread"] = Rows((t, 2), np.float64)
    for lens in ("coda", "logit"):
        rows[f"{lens}_ids"] = Rows((t, TOP_K), np.int64)
        rows[f"{lens}_probabilities"] = Rows((t, TOP_K), np.float64)
    before = None
    for r in range(RECURRENCES):
        for layer in range(recording.n_layers):
            pattern = run["patterns"][r, layer]
            recording.append_layer(LayerState(r + 1, layer, run["layers"][r, layer], pattern))
        p = probabilities(run["logits"][r])
        order = np.argsort(-p, axis=-1)[:, :TOP_K]
        top = TopAnswers(order, np.take_along_axis(p, order, -1))
        entropy = -(p * np.log(p)).sum(-1)
        change = np.full(t, np.nan) if before is None else (p * np.log(p / before)).sum(-1)
        recording.append_end(run["states"][r], top, top, spread=np.stack([entropy, change], -1))
        before = p
    assert recording.layer_states.dtype == recording.patterns.dtype == np.float64
    return recording


def differences(a: Recording, b: Recording) -> dict[str, float]:
    """Largest difference of each measure over its largest value in ``b``; NaN without a number."""
    found = {}
    for key, what in MEASURES.items():
        x, y = measure(a, what), measure(b, what)
        assert x.missing == y.missing
        assert np.array_equal(np.isfinite(x.values), np.isfinite(y.values))
        known = np.isfinite(y.values)
        if not known.any():
            found[key] = float("nan")
            continue
        largest = float(np.abs(y.values[known]).max())
        found[key] = float(np.abs(x.values - y.values)[known].max()) / (largest or 1.0)
    return found


@pytest.fixture(scope="module")
def reference() -> Recording:
    return exact()


def test_float32_agrees_with_float64(reference: Recording) -> None:
    found = differences(stepped(), reference)
    for key, apart in found.items():
        if np.isnan(apart):
            assert key == "exit_hazard"  # this model has no gate
            continue
        assert apart < (OF_ANGLES if key in ANGLES else TOLERANCE), (key, apart)
    assert sum(not np.isnan(v) for v in found.values()) == len(MEASURES) - 1


def test_the_tolerance_can_be_missed(reference: Recording) -> None:
    """A weight of the wrong precision is seen: the tolerance is no formality."""
    loaded = load("bundled:looped", "cpu", "bfloat16")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode(PROMPT))
    for _ in range(RECURRENCES):
        stepper.step()
    found = differences(stepper.recording, reference)
    assert np.nanmedian(list(found.values())) > 10 * TOLERANCE


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_float64_and_with_the_cpu(reference: Recording) -> None:
    on_device, on_cpu = stepped("cuda"), stepped("cpu")
    for other in (reference, on_cpu):
        for key, apart in differences(on_device, other).items():
            limit = OF_ANGLES if key in ANGLES else TOLERANCE
            assert np.isnan(apart) or apart < 10 * limit, (key, apart)
