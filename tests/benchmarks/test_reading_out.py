"""Reading out after each of R = 1..32, against running again for each R as peers must.

In processor time of one thread, each round both in turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
import torch

from loopscope.core.checkpoint.loading import load
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.stepper import Stepper

PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"
RECURRENCES, ROUNDS = 32, 7


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
def test_reading_out_after_every_recurrence(say: Callable[..., None]) -> None:
    torch.set_num_threads(1)
    loaded = load("bundled:looped", "cpu")
    prompt = loaded.tokenizer.encode(PROMPT)
    tokens = torch.tensor([prompt.token_ids])

    def stepped() -> None:
        stepper = Stepper(loaded, Capture(patterns=False, writes=False))
        stepper.begin(prompt)
        for _ in range(RECURRENCES):
            stepper.step()
        stepper.recording.readouts.make()

    def again() -> None:
        with torch.inference_mode():
            for r in range(1, RECURRENCES + 1):
                loaded.model(tokens, r).softmax(-1).topk(5)

    ratios = []
    for i in range(ROUNDS + 1):
        started = time.thread_time()
        stepped()
        middle = time.thread_time()
        again()
        if i:
            ratios.append((time.thread_time() - middle) / (middle - started))
    say(
        f"running again for each R to {RECURRENCES} over reading out after each recurrence",
        ratio=round(statistics.median(ratios), 2),
        recurrences_ratio=(RECURRENCES + 1) / 2,
    )
