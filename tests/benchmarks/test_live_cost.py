"""What the live measures cost at each recurrence, over one step of a model of 3.5 billion weights.

The model itself is not made: one layer of its width is timed and counted four times.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from big import HUGINN
from checkpoints import family_named
from recordings import synthetic_recording

from loopscope.core.families.family import Config
from loopscope.core.measures.base import measure
from loopscope.core.measures.registry import MEASURES
from loopscope.core.model.layers import DecoderLayer, rope_table
from loopscope.core.run.recording import Recording
from loopscope.core.run.states import LayerState

TOKENS, LAYERS = 32, 4


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_live_measures_over_a_step(say, tmp_path: Path, dtype: torch.dtype) -> None:
    torch.set_num_threads(1)
    shape = family_named("huginn").architecture(Config(HUGINN, tmp_path)).layer
    with torch.device("meta"):
        layer = DecoderLayer(shape)
    layer = layer.to_empty(device="cpu").to(dtype).requires_grad_(False)
    for p in layer.parameters():
        p.normal_(std=0.02)
    x = torch.randn(1, TOKENS, shape.d_model).to(dtype)
    rope = rope_table(shape.rope, shape.d_head, TOKENS, x.device, dtype)
    steps = []
    with torch.inference_mode():
        for _ in range(4):
            started = time.perf_counter()
            layer(x, rope, True, True)
            steps.append(LAYERS * (time.perf_counter() - started))
    step = statistics.median(steps[1:])
    recording = synthetic_recording(
        recurrences=3, n_block=LAYERS, tokens=TOKENS, d=shape.d_model, heads=shape.n_heads
    )
    each: dict[str, list[float]] = {key: [] for key in MEASURES}
    for what in MEASURES.values():
        measure(recording, what)
    for _ in range(5):
        go_on(recording)
        for key, what in MEASURES.items():
            started = time.perf_counter()
            measure(recording, what)
            each[key].append(time.perf_counter() - started)
    cost = {key: statistics.median(times) for key, times in each.items()}
    dearest = sorted(cost, key=lambda key: -cost[key])[:5]
    share = sum(cost.values()) / step
    say(
        f"all {len(MEASURES)} live measures a recurrence over a step, 3.5 B shape, {TOKENS} tokens",
        dtype=str(dtype),
        step_s=round(step, 3),
        measures_ms=round(1e3 * sum(cost.values()), 1),
        share=round(share, 4),
        dearest_ms={key: round(1e3 * cost[key], 1) for key in dearest},
    )
    assert share <= 0.1


def go_on(recording: Recording) -> None:
    """One more recurrence, like the last one but for a little noise."""
    noise = np.random.default_rng(recording.n_recurrences)
    states, patterns = recording.layer_states[-1], recording.patterns[-1]
    r = recording.n_recurrences + 1
    for i in range(LAYERS):
        state = states[i] + 1e-3 * noise.normal(size=states[i].shape).astype(np.float32)
        writes = np.ones((recording.n_tokens, 2), np.float32)
        recording.append_layer(LayerState(r, i, state, patterns[i], writes))
    answers = recording.answers("coda")
    last = type(answers)(answers.ids[-1], answers.probabilities[-1])
    recording.append_end(state, last, last)
