"""What a branch costs: what follows the cut, against running everything again with the same cut."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models import tiny_architecture, tiny_checkpoint

from loopscope.core.checkpoint.loading import load
from loopscope.core.interventions.base import END
from loopscope.core.interventions.states import Noise
from loopscope.core.model.layer_shape import LayerShape
from loopscope.core.run.stepper import Stepper

PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"
RECURRENCES, TURNS = 64, 9


@pytest.mark.benchmark
@pytest.mark.parametrize("size", ["bundled", "fifty times larger"])
def test_a_branch_over_running_from_the_start(say, tmp_path: Path, size: str) -> None:
    path, prompt = "bundled:looped", PROMPT
    if size != "bundled":
        layer = LayerShape(448, 8, 8, 56, 4 * 448, activation="gelu", gated=False)
        path = str(tiny_checkpoint(tmp_path / "m", replace(tiny_architecture(), layer=layer)))
    loaded = load(path, "cpu")
    tokens = loaded.tokenizer.encode(prompt)
    parent = Stepper(loaded)
    parent.begin(tokens)
    for _ in range(RECURRENCES):
        parent.step()

    def finish(stepper: Stepper) -> np.ndarray:
        while stepper.recording.n_recurrences < RECURRENCES:
            stepper.step()
        return stepper.recording.states

    figures = {}
    for at in (16, 48, 64):
        cuts = (Noise(recurrence=at, last=at, layer=END, size=0.5),)
        ratios, shared = [], []
        for _ in range(TURNS):
            started = time.perf_counter()
            branch = parent.branch(cuts)
            cut = time.perf_counter()
            states = finish(branch)
            ended = time.perf_counter()
            again = Stepper(loaded)
            again.begin(tokens, interventions=cuts)
            whole = finish(again)
            ratios.append((ended - started) / (time.perf_counter() - ended))
            shared.append(1e3 * (cut - started))
        np.testing.assert_array_equal(states, whole)
        figures[f"cut at {at} of {RECURRENCES}"] = {
            "over a rerun": round(statistics.median(ratios), 3),
            "share that follows": round((RECURRENCES - at + 1) / RECURRENCES, 3),
            "taking over what came before, ms": round(statistics.median(shared), 2),
        }
    say(f"branch, {size}", **figures)
