"""Correspondence of the bundled looped and deep models over 256 prompts."""

from __future__ import annotations

import time

import pytest

from loopscope.core.analyses.correspondence import compare
from loopscope.core.checkpoint.loading import load
from loopscope.core.run.stepper import Capture, Stepper
from loopscope.core.views.correspondence import Options

PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"
PROMPTS, RECURRENCES = 256, 6


@pytest.mark.benchmark
@pytest.mark.timeout(600)
def test_correspondence_over_256_prompts(say) -> None:
    looped, deep = load("bundled:looped", "cpu"), load("bundled:deep", "cpu")
    steppers = []
    for loaded, n in ((looped, RECURRENCES), (deep, 1)):
        stepper = Stepper(loaded)
        stepper.begin(loaded.tokenizer.encode(PROMPT))
        for _ in range(n):
            stepper.step()
        steppers.append(stepper)

    # What it cannot do without: running the prompts and keeping nothing but states.
    bare = Capture(patterns=False, writes=False, readout=False)
    started = time.perf_counter()
    for loaded, n in ((looped, RECURRENCES), (deep, 1)):
        prompt = loaded.tokenizer.encode(PROMPT)
        for _ in range(PROMPTS):
            stepper = Stepper(loaded, bare)
            stepper.begin(prompt)
            for _ in range(n):
                stepper.step()
    running = time.perf_counter() - started

    started = time.perf_counter()
    found = compare(steppers[0].recording, looped, steppers[1], Options(prompts=PROMPTS))
    whole = time.perf_counter() - started
    assert found.n_prompts == PROMPTS
    assert found.heads is not None
    say(
        "correspondence, 256 prompts",
        seconds=round(whole, 2),
        over_running_the_prompts=round(whole / running, 2),
        places=[len(found.places), len(found.places_other)],
        tokens=found.n_tokens,
        permutations=Options().permutations,
    )
