"""What a long run, a file that is written meanwhile, and opening a large file cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import synthetic_recording

from loopscope.core.checkpoint.loading import load
from loopscope.core.recordings.reader import open_recording
from loopscope.core.recordings.writing import RecordingWriter, save
from loopscope.core.run.budget import Budget
from loopscope.core.run.recording import Capture, Recording
from loopscope.core.run.states import LayerState
from loopscope.core.run.stepper import Stepper

PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"


def steps(stepper: Stepper, n: int) -> list[float]:
    """Processor time of each of ``n`` recurrences, seconds."""
    taken = []
    for _ in range(n):
        started = time.thread_time()
        stepper.step()
        taken.append(time.thread_time() - started)
    return taken


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
def test_recurrence_10000_beside_recurrence_100(say: Callable[..., None]) -> None:
    torch.set_num_threads(1)
    loaded = load("bundled:looped", "cpu")
    early, late = (Stepper(loaded, budget=Budget(256 << 20)) for _ in range(2))
    for stepper in (early, late):
        stepper.begin(loaded.tokenizer.encode(PROMPT))
    steps(late, 9900)
    ratios = []
    for _ in range(15):  # in turn, so that a busy machine slows both
        a, b = statistics.median(steps(late, 10)), statistics.median(steps(early, 10))
        ratios.append(a / b)
    held = late.recording.held
    say(
        "recurrence 10,000 of the bundled model over recurrence 100, budget 256 MiB",
        ratio=round(statistics.median(ratios), 3),
        recorded_mib=late.recording.nbytes >> 20,
        held_mib=held >> 20,
    )


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
def test_recording_to_a_file(say: Callable[..., None], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    loaded = load("bundled:looped", "cpu")
    ratios = []
    for i in range(9):
        taken = []
        for to_file in (False, True):
            stepper = Stepper(loaded, Capture(patterns=False))
            started = time.process_time()  # of every thread, the writer's as well
            recording = stepper.begin(loaded.tokenizer.encode(PROMPT))
            if to_file:
                writer = RecordingWriter(tmp_path / f"{i}.h5")
                writer.add(recording)
            for _ in range(300):
                stepper.step()
            if to_file:
                writer.flush()
            taken.append(time.process_time() - started)
            if to_file:
                writer.close()
        ratios.append(taken[1] / taken[0])
    ratio = round(statistics.median(ratios), 3)
    say("recording 300 recurrences to a file as well, without patterns", ratio=ratio)


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
def test_opening_a_large_recording(say: Callable[..., None], tmp_path: Path) -> None:
    like = synthetic_recording(recurrences=0, n_block=4, tokens=256, d=256, heads=8)
    info = replace(like.info, token_ids=(1,) * 256)
    recording = Recording(info, like.state(0), Capture(True, False, False))
    pattern = np.full((8, 256, 256), 1 / 256, np.float32)
    for r in range(1, 257):
        for layer in range(4):
            recording.append_layer(LayerState(r, layer, like.state(0), pattern))
        recording.append_end(like.state(0), None, None)
    path = tmp_path / "large.h5"
    save(path, [recording])
    taken = []
    for _ in range(7):
        started = time.perf_counter()
        run = open_recording(path).runs[0]
        run.states_of(250, 256)
        run.head_patterns(3, 7)[255]
        taken.append(time.perf_counter() - started)
    size = round(path.stat().st_size / 2**30, 2)
    say("opening a recording and reading its last rows", gib=size, s=statistics.median(taken))
