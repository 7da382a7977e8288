"""How long Stop of a model on a worker takes while it plays, over loopback, beside a round trip."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest

from loopscope.app.bench.loading import load_anywhere
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.runner import Runner

ROUNDS, PLAYED = 9, 20
# Asked: milliseconds beyond a round trip.
ASKED = 300


def _until(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.0005)


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
def test_stop_elsewhere(say: Callable[..., None]) -> None:
    pytest.importorskip("distributed")
    from remote import cluster, wait_for

    with cluster() as own:
        runner = Runner(load=load_anywhere)
        try:
            runner.open(LoadRequest("bundled:looped", on=own.scheduler_address))
            wait_for(lambda: runner.loaded is not None)
            model, taken = runner.loaded, []
            for _ in range(ROUNDS):
                runner.begin(RunRequest("ab bc ca ? 2 : a b c"))
                _until(lambda: runner.idle)
                runner.play()
                run = runner.stepper
                assert run is not None
                _until(lambda run=run: run.recording.n_recurrences >= PLAYED)
                asked = time.perf_counter()
                runner.stop()
                _until(lambda: runner.idle)
                taken.append(1e3 * (time.perf_counter() - asked))
            trip = 1e3 * model.connection.round_trip  # type: ignore[union-attr]
        finally:
            runner.close()
    median = statistics.median(taken)
    say(
        "stop elsewhere", median_ms=round(median, 1), most_ms=round(max(taken), 1),
        round_trip_ms=round(trip, 1),
    )  # fmt: skip
    assert median < ASKED + trip
