"""The bench reads the runner once a frame, so that model, run and request are of one moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from recordings import synthetic_recording

from loopscope.app.bench.bench import Bench
from loopscope.app.bench.displays import RunVersion
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.states import LayerState
from loopscope.core.run.status import RunnerState, Status


class Scripted:
    """A runner that shows what a test says and obeys nothing."""

    def __init__(self) -> None:
        self.status = Status(state=RunnerState.READY)
        self.stepping, self.idle, self.second_run = False, True, None

    @property
    def recording(self) -> Any:
        return self.status.recording

    def resume(self, stepper: Any) -> bool:
        if stepper.loaded is not self.status.loaded:
            return False
        self.status = replace(self.status, stepper=stepper, request=None)
        return True

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: None


def run_of(model: object, **changes: Any) -> Any:
    recording = synthetic_recording(**({"recurrences": 4} | changes))
    recording.shared = SimpleNamespace(prompts=None)
    return SimpleNamespace(loaded=model, recording=recording)


@pytest.fixture
def bench(qapp) -> Iterator[Bench]:
    bench = Bench(Scripted())
    bench.pulse.stop()  # frames are made by hand
    yield bench
    bench.close()


def test_a_run_is_filed_under_the_request_it_was_begun_with(bench: Bench) -> None:
    model, first, second = object(), RunRequest("first"), RunRequest("second")
    bench.begin(first)
    bench.begin(second)  # asked before the first is seen
    bench.runner.status = Status(loaded=model, stepper=run_of(model), request=first)
    bench.frame()
    bench.runner.status = Status(loaded=model, stepper=run_of(model), request=second)
    bench.frame()
    assert [run.request for run in bench.runs.tree] == [first, second]


@pytest.mark.parametrize("with_a_run", [False, True])
def test_another_model_takes_the_runs_of_the_last_one_along(bench: Bench, with_a_run: bool) -> None:
    old, new, request = object(), object(), RunRequest("p")
    bench.runner.status = Status(loaded=old, stepper=run_of(old, tokens=9), request=request)
    bench.frame()
    bench.session.select({"token": 8, "recurrence": 4})
    seen: list[tuple[Any, ...]] = []

    def look() -> None:
        session = bench.session
        bounds = None if session.recording is None else session.recording.n_tokens
        seen.append((session.status.loaded, session.recording, session.selection.token, bounds))

    for signal in ("status_changed", "run_changed", "runs_changed", "progressed"):
        getattr(bench.session, signal).connect(look)
    begun = run_of(new, tokens=3) if with_a_run else None
    bench.runner.status = Status(loaded=new, stepper=begun, request=request if begun else None)
    bench.frame()
    assert seen
    for model, recording, token, tokens in seen:
        assert model is new
        assert recording is (begun.recording if begun else None)
        assert tokens is None or token < tokens
    runs = list(bench.runs.tree)
    assert [run.stepper for run in runs] == ([begun] if begun else [])
    assert bench.session.run is (runs[0] if begun else None)


def test_a_run_whose_model_has_gone_meanwhile_is_not_shown(bench: Bench) -> None:
    old, new = object(), object()
    bench.runner.status = Status(loaded=old, stepper=run_of(old), request=RunRequest("a"))
    bench.frame()
    bench.runner.status = Status(loaded=old, stepper=run_of(old), request=RunRequest("b"))
    bench.frame()
    first, second = bench.runs.tree
    bench.runner.status = Status(loaded=new)  # seen in the next frame only
    bench.runs.show(first)
    assert bench.session.run is second
    bench.frame()
    assert bench.session.run is None
    assert len(bench.runs.tree) == 0


def test_a_measurement_is_made_of_the_run_that_is_shown(bench: Bench) -> None:
    """Not of one that the runner has begun since."""
    model = object()
    shown = run_of(model)
    bench.runner.status = Status(loaded=model, stepper=shown, request=RunRequest("a"))
    bench.frame()
    bench.runner.status = Status(loaded=model, stepper=run_of(model), request=RunRequest("b"))
    request = SimpleNamespace(scope="run", second_run="", missing=lambda recording: "")
    assert bench.measuring._runs_for(request) == [(shown, bench.session.selection)]


def test_a_closed_bench_takes_no_work(bench: Bench) -> None:
    """A dialog's timer may still go off while its window closes."""
    done: list[object] = []
    bench.close()
    bench.in_background(lambda: done.append("work"), done.append)
    bench.frame()
    assert done == []


def test_the_cursor_and_the_views_follow_where_a_recurrence_ends_after_its_last_layer(
    bench: Bench,
) -> None:
    """The readout comes between: a frame may see all layers run and the recurrence still open."""
    model = object()
    stepper = run_of(model, capture=Capture(patterns=False, writes=False, readout=False))
    run = stepper.recording
    bench.runner.status = Status(loaded=model, stepper=stepper, request=RunRequest("one"))
    bench.frame()
    assert bench.session.selection.recurrence == 4
    for layer in range(run.n_layers):
        run.append_layer(LayerState(5, layer, run.layer(4, layer).state))
    bench.frame()
    assert bench.session.selection.recurrence == 4
    open_still = RunVersion.of(run)
    run.append_end(run.states[4])
    bench.frame()
    assert bench.session.selection.recurrence == 5
    assert RunVersion.of(run) != open_still
