"""Models, prompts, branches, undo and play in random order: every run stays what it says it is."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from loopscope.app.bench.bench import Bench
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.interventions.base import END
from loopscope.core.interventions.states import Noise
from loopscope.core.run.requests import RunRequest

pytestmark = pytest.mark.slow

PROMPTS = ("ab ba ? 1 : a", "ab bc ca ? 2 : a b c", "xy yx ? 1 : x")
MODELS = ("bundled:looped", "bundled:deep")


def actions(bench: Bench, rng: random.Random, n: int) -> list[Callable[[], object]]:
    """What a user may do next; ``n`` makes each seed another."""
    noise = Noise(recurrence=1, last=1, layer=END, size=0.1, seed=n)
    runs = list(bench.runs.tree)
    request = RunRequest(rng.choice(PROMPTS), seed=n, recurrences=rng.randrange(4))
    ways = [
        lambda: bench.open(LoadRequest(rng.choice(MODELS), "cpu")),
        lambda: bench.begin(request),
        lambda: bench.restart(seed=n),
        lambda: bench.runs.branch((noise,)),
        bench.runs.undo,
        bench.runs.redo,
        bench.transport.step_recurrence,
        bench.transport.toggle_playing,
    ]
    if runs:
        run = rng.choice(runs)
        ways += [
            lambda: bench.runs.show(run),
            lambda: bench.second_runs.show(run),
            lambda: bench.runs.delete(run),
        ]
    return ways


def check(bench: Bench) -> None:
    session = bench.session
    for run in bench.runs.tree:
        assert run.stepper.loaded is session.status.loaded
        assert run.request.prompt == run.stepper.recording.info.prompt
    if session.run is not None:
        assert session.run in bench.runs.tree.runs
        assert session.run.stepper.recording is session.recording
    second = session.second_run
    if second is not None:
        assert second.selection.recurrence <= second.recording.n_recurrences
    if session.recording is not None:
        assert session.selection.recurrence <= session.recording.n_recurrences
        assert session.selection.token < session.recording.n_tokens


@pytest.mark.parametrize("seed", range(3))
def test_every_run_stays_what_it_says_it_is(qtbot, seed: int) -> None:
    bench, rng = Bench(), random.Random(seed)
    bench.pulse.stop()  # frames are made by hand, some actions without one between
    try:
        bench.open(LoadRequest(MODELS[0], "cpu"))
        bench.begin(RunRequest(PROMPTS[0], recurrences=3))
        qtbot.waitUntil(lambda: bench.frame() or bench.session.recording is not None)
        for n in range(60):
            rng.choice(actions(bench, rng, n))()
            for _ in range(rng.randrange(3)):
                bench.frame()
                check(bench)
            if rng.random() < 0.3:
                bench.transport.stop()
                qtbot.waitUntil(lambda: bench.frame() or bench.runner.idle)
                bench.frame()
                check(bench)
    finally:
        bench.close()
