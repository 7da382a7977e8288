"""Stop of a model elsewhere waits for one answer, and an answer for one layer; counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from loopscope.core.checkpoint.loading import load
from loopscope.core.remote import seat as seats
from loopscope.core.remote.run import CHUNK, MOST_BYTES
from loopscope.core.remote.seat import Seat
from loopscope.core.run.recording import Capture
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.stepper import Stepper

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

PROMPT = "ab bc ca ? 2 : a b c"
FAR = 1_000_000


class Clock:
    """Stands still but for what a layer takes."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    own = Clock()
    monkeypatch.setattr(seats, "time", own)
    return own


@pytest.mark.parametrize(("seconds", "layers"), [(5.0, 1), (0.06, 2), (0.011, 10)])
def test_an_answer_ends_with_the_layer_in_which_its_time_is_over(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, seconds: float, layers: int
) -> None:
    step = Stepper.step_layer

    def slow(self: Stepper) -> Any:
        clock.now += seconds
        return step(self)

    monkeypatch.setattr(Stepper, "step_layer", slow)
    seat, loaded = Seat(), load("bundled:looped", "cpu")
    model = seat.add_model(loaded).model
    prompt = loaded.tokenizer.encode(PROMPT)
    run = seat.begin(model, prompt, 0, "default", 1.0, (), Capture()).run
    chunk = seat.advance(run, 0, FAR, CHUNK, MOST_BYTES, False)
    assert (chunk.first, chunk.last) == (0, layers)
    assert seat.stepper(run).recording.layers_done == layers
    assert clock.now - CHUNK <= seconds  # beyond its time it ran one layer at the most


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from remote import cluster

    with cluster() as own:
        yield own.scheduler_address


@pytest.mark.slow
def test_who_stops_asks_for_nothing_more_and_the_worker_rests(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from remote import opened

    model = opened(address)
    try:
        run = model.begin(RunRequest(PROMPT), Capture(), None)
        asked: list[str] = []
        start = model.connection.start

        def counted(name: str, *arguments: Any, quick: bool = False) -> Any:
            asked.append(name)
            return start(name, *arguments, quick=quick)

        monkeypatch.setattr(model.connection, "start", counted)
        run.step_layer(FAR)  # plays: as far as it may run
        run.interrupt()
        assert asked.count("advance") <= 2  # what came, and what is under way
        # Behind them in the worker's line: it has run no layer since the last answer.
        done = model.connection.call("run_to", run._number, 0, 0.0)
        assert model.connection.call("run_to", run._number, 0, 0.0) == done < FAR
        assert asked.count("advance") <= 2
        assert run.recording.layers_done == 1
    finally:
        model.release()
