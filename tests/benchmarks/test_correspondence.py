"""Correspondence of the bundled looped and deep models over 256 prompts, together and one by one.

In processor time of all threads, each round both in turn: how prompts are run is all that differs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch

from loopscope.core.analyses.correspondence import compare
from loopscope.core.checkpoint.loading import load
from loopscope.core.over_prompts import pair_states
from loopscope.core.run.stepper import Stepper
from loopscope.core.views.correspondence import Options

PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"
PROMPTS, RECURRENCES, ROUNDS = 256, 6, 7


def one_by_one(models: object, lengths: Sequence[int], *_: object) -> Iterator[list[int]]:
    return ([i] for i in range(len(lengths)))


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
def test_correspondence_over_256_prompts(
    say: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    looped, deep = load("bundled:looped", "cpu"), load("bundled:deep", "cpu")
    steppers = []
    for loaded, n in ((looped, RECURRENCES), (deep, 1)):
        stepper = Stepper(loaded)
        stepper.begin(loaded.tokenizer.encode(PROMPT))
        for _ in range(n):
            stepper.step()
        steppers.append(stepper)
    running: list[float] = []

    def timed() -> tuple[float, float]:
        """Seconds of the whole, and of running the prompts and comparing their heads."""
        running.clear()
        started = time.process_time()
        compare(
            steppers[0].recording, looped, steppers[1], Options(prompts=PROMPTS),
            lambda share: running.append(time.process_time() - started) if share <= 0.7 else None,
        )  # fmt: skip
        return time.process_time() - started, running[-1]

    together = pair_states.batches
    seconds: dict[str, list[tuple[float, float]]] = {"together": [], "one by one": []}
    for i in range(ROUNDS + 1):
        for name, how in (("together", together), ("one by one", one_by_one)):
            monkeypatch.setattr(pair_states, "batches", how)
            own = timed()
            if i:
                seconds[name].append(own)
    spent = {name: np.array(own) for name, own in seconds.items()}
    whole, runs = np.median(spent["one by one"] / spent["together"], axis=0)
    say(
        "correspondence, 256 prompts one by one over together",
        whole=round(float(whole), 2),
        running_and_heads=round(float(runs), 2),
        together_seconds=round(statistics.median(spent["together"][:, 0]), 2),
        permutations=Options().permutations,
    )
