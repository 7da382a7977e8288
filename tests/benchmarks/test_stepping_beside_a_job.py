"""How long a step has to wait while a measurement that takes long runs in its own thread."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models import tiny_architecture, tiny_checkpoint

from loopscope.core.analyses.stability import run as measure_stability
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.model.layer_shape import LayerShape
from loopscope.core.run.jobs import Job, Jobs
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.runner import Runner
from loopscope.core.selection import Selection
from loopscope.core.views.stability import Options

PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"


def wait(until, seconds: float = 60) -> None:
    ended = time.monotonic() + seconds
    while not until():
        if time.monotonic() > ended:
            raise TimeoutError
        time.sleep(0.0005)


def steps(runner: Runner, seconds: float, going=lambda: True) -> np.ndarray:
    """Seconds that each recurrence takes from being asked for, one asked for after the other."""
    times = []
    ended = time.monotonic() + seconds
    while time.monotonic() < ended and going():
        recording = runner.recording
        done = recording.n_recurrences
        started = time.perf_counter()
        runner.advance(recording.n_layers)
        wait(lambda done=done, recording=recording: recording.n_recurrences > done)
        times.append(time.perf_counter() - started)
        time.sleep(0.01)  # as between two presses of a key
    return np.array(times)


@pytest.mark.benchmark
@pytest.mark.timeout(900)
@pytest.mark.parametrize("size", ["bundled", "fifty times larger"])
def test_delay_of_a_step_beside_stability(say, tmp_path: Path, size: str) -> None:
    path = "bundled:looped"
    if size != "bundled":
        layer = LayerShape(448, 8, 8, 56, 4 * 448, activation="gelu", gated=False)
        path = str(tiny_checkpoint(tmp_path / "m", replace(tiny_architecture(), layer=layer)))
    runner = Runner()
    jobs = Jobs(lambda: runner.stepping)
    try:
        runner.open(LoadRequest(path, "cpu"))
        wait(lambda: runner.loaded is not None)
        runner.begin(RunRequest(PROMPT, recurrences=12))
        wait(lambda: runner.recording is not None and runner.recording.n_recurrences == 12)
        alone = steps(runner, 8)
        options = Options(starts=24, n_values=12)
        stepper = runner.stepper
        during, rounds = [], 0
        ended = time.monotonic() + 30
        while time.monotonic() < ended:
            job: Job[object] = jobs.submit(
                "stability", lambda job: measure_stability(stepper, Selection(), options, job)
            )
            going = lambda job=job: not job.future.done()  # noqa: E731
            during.append(steps(runner, ended - time.monotonic(), going))
            rounds += 1
        jobs.cancel_all()
    finally:
        jobs.close()
        runner.close()
    second_run = np.concatenate(during)
    more = second_run.max() - np.median(alone)
    say(
        f"a step asked for while stability is measured, {size} model",
        alone_ms={"median": round(1e3 * float(np.median(alone)), 1), "longest": round(1e3 * float(alone.max()), 1)},
        beside_ms={
            "median": round(1e3 * float(np.median(second_run)), 1),
            "p99": round(1e3 * float(np.percentile(second_run, 99)), 1),
            "longest": round(1e3 * float(second_run.max()), 1),
        },
        steps=len(second_run),
        measurements=rounds,
        longest_over_median_alone_ms=round(1e3 * float(more), 1),
    )  # fmt: skip
    assert more <= 0.2
