"""The worker thread, driven as the window drives it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from checkpoints import write_checkpoint
from models import tiny_checkpoint

from loopscope.core.checkpoint.loading import load
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.architectures import twin_architecture
from loopscope.core.interventions.states import Noise
from loopscope.core.run.budget import Budget
from loopscope.core.run.card import capture_bytes
from loopscope.core.run.pairing import Pairing
from loopscope.core.run.requests import MOST_RECURRENCES, RunRequest, check_recurrences
from loopscope.core.run.runner import Runner
from loopscope.core.run.status import RunnerState
from loopscope.core.run.stepper import Stepper

PROMPT = "ab bc ca ? 2 : a b c"


def wait(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    runner = Runner(threads=1)
    runner.open(LoadRequest(str(tiny_checkpoint(tmp_path / "m")), "cpu"))
    yield runner
    runner.close()


def begin(runner: Runner, **request: object) -> None:
    before = runner.recording
    runner.begin(RunRequest(PROMPT, **request))
    wait(lambda: runner.recording is not before and runner.idle)


def test_it_runs_as_many_recurrences_as_asked_and_then_exactly_the_layers_asked(
    runner: Runner,
) -> None:
    begin(runner, recurrences=3)
    assert runner.recording.n_recurrences == 3
    runner.advance(1)
    runner.advance(2)
    wait(lambda: runner.idle)
    assert runner.recording.layers_done == 9
    assert runner.status.state is RunnerState.READY


def test_stop_is_seen_between_two_layers_and_play_resumes_where_it_was(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(runner)
    step_layer = Stepper.step_layer

    def stopping(stepper: Stepper, ahead: float = 0) -> object:
        if stepper.recording.layers_done == 41:  # in mid recurrence, while the layer is run
            runner.stop()
        return step_layer(stepper)

    with monkeypatch.context() as patched:
        patched.setattr(Stepper, "step_layer", stopping)
        runner.play()
        wait(lambda: runner.recording.layers_done > 41 and runner.idle)
    done = runner.recording.layers_done
    assert done == 42
    first = runner.recording.states[:5].copy()
    runner.play()
    wait(lambda: runner.recording.layers_done > done + 10)
    runner.stop()
    np.testing.assert_array_equal(runner.recording.states[:5], first)


def test_a_reason_to_stop_ends_playing_and_is_told(runner: Runner) -> None:
    begin(runner)
    runner.play(until=lambda r: "enough" if r.n_recurrences == 5 else None)
    wait(lambda: runner.idle and runner.recording.n_recurrences)
    assert (runner.recording.n_recurrences, runner.status.notice) == (5, "enough")


def test_of_two_quick_prompts_the_last_one_runs(runner: Runner) -> None:
    begin(runner)
    runner.begin(RunRequest("ab ba ? 1 : a", recurrences=50))
    runner.begin(RunRequest("ab ba ? 1 : b", recurrences=2))
    wait(lambda: runner.recording.info.prompt.endswith("b") and runner.idle)
    assert runner.recording.n_recurrences == 2


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "empty"),
        ("ab É", "no token for 'é'|no token for 'É'"),
        ("#1,2,99", "99 is out of range; ids run from 0 to 38"),
        ("#1,two", "whole numbers|no token"),
        ("a" * 300, "300 tokens; this model has positions for 256"),
    ],
)
def test_a_bad_prompt_is_told_and_the_run_stays(runner: Runner, prompt: str, message: str) -> None:
    import re

    begin(runner, recurrences=2)
    kept = runner.recording
    runner.begin(RunRequest(prompt))
    wait(lambda: runner.status.error)
    assert re.search(message, runner.status.error), runner.status.error
    assert runner.status.error_about == "prompt"
    assert runner.recording is kept
    runner.advance(2)
    wait(lambda: kept.n_recurrences == 3)


def test_a_checkpoint_that_cannot_be_opened_leaves_the_running_one(
    runner: Runner, tmp_path: Path
) -> None:
    begin(runner, recurrences=2)
    loaded = runner.loaded
    runner.open(LoadRequest(str(tmp_path / "nothing")))
    wait(lambda: runner.status.error)
    assert "does not exist" in runner.status.error
    assert runner.loaded is loaded
    assert runner.recording.n_recurrences == 2


def test_calls_run_between_layers_and_their_errors_belong_to_the_caller(runner: Runner) -> None:
    begin(runner)
    runner.play()
    threads = runner.call(lambda loaded, stepper: threading.current_thread().name)
    assert threads.result(10) == "loopscope-runner"
    failing = runner.call(lambda loaded, stepper: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failing.result(10)
    wait(lambda: runner.recording.n_recurrences > 5)
    runner.stop()


def test_a_call_is_answered_though_a_run_and_a_checkpoint_are_asked_for_with_it(
    runner: Runner, tmp_path: Path
) -> None:
    begin(runner)
    other = str(tiny_checkpoint(tmp_path / "other"))

    def ask(loaded: object, stepper: object) -> tuple[Future[str], ...]:
        # On the worker itself, so that it finds all of it waiting at once.
        runner.begin(RunRequest(PROMPT, seed=3))
        first = runner.call(lambda *_: "after the run")
        runner.open(LoadRequest(other, "cpu"))
        return first, runner.call(lambda *_: "after the checkpoint")

    first, second = runner.call(ask).result(timeout=20)
    assert first.result(timeout=20) == "after the run"
    assert second.result(timeout=20) == "after the checkpoint"
    wait(lambda: runner.idle)


def test_closing_in_mid_run_joins_the_thread(runner: Runner) -> None:
    begin(runner)
    runner.play()
    wait(lambda: runner.recording.n_recurrences > 3)
    runner.close()
    assert not any(t.name == "loopscope-runner" for t in threading.enumerate())
    assert runner.call(lambda loaded, stepper: 1).cancelled()


def test_going_back_to_an_earlier_run_goes_on_from_there(runner: Runner) -> None:
    begin(runner, recurrences=4)
    first = runner.stepper
    begin(runner, recurrences=1, seed=1)
    runner.resume(first)
    runner.advance(2)
    wait(lambda: first.recording.n_recurrences == 5)
    assert runner.recording is first.recording


@pytest.mark.parametrize("n", [0, -1, 10_000_000_000])
def test_recurrences_that_make_no_sense_are_refused(n: int) -> None:
    with pytest.raises(LoopscopeError, match=f"{n} recurrences .* 1 to {MOST_RECURRENCES:,}"):
        check_recurrences(n)


def test_the_card_says_what_a_recording_allocates(tmp_path: Path) -> None:
    for name in ("ouro", "hrm_text", "huginn"):
        loaded = load(str(write_checkpoint(tmp_path / name, name)), "cpu")
        for r in (1, 4, 5, 9):
            stepper = Stepper(loaded)
            recording = stepper.begin(loaded.tokenizer.from_ids((1, 2, 3, 4, 5, 6, 7)))
            for _ in range(r):
                stepper.step()
            recording.readouts.make()
            assert capture_bytes(loaded.checkpoint, 7, r) == recording.nbytes, (name, r)


# ---- a run beside ----
def test_a_run_beside_is_stepped_along_and_catches_up(runner: Runner) -> None:
    begin(runner, recurrences=4)
    loaded, first = runner.loaded, runner.stepper
    cut = Noise(recurrence=2, last=2, layer=1, size=0.5)
    branch = runner.call(lambda loaded, stepper: stepper.branch((cut,))).result(20)
    assert branch.recording.layers_done == 3
    runner.set_second_run(branch, Pairing(loaded.architecture, loaded.architecture))
    wait(lambda: runner.idle)
    assert branch.recording.n_recurrences == 4  # it caught up without being asked
    runner.advance(3)
    wait(lambda: runner.idle)
    assert branch.recording.layers_done == first.recording.layers_done == 11
    np.testing.assert_array_equal(branch.recording.states[:2], first.recording.states[:2])
    assert not np.allclose(branch.recording.states[2:], first.recording.states[2:6])
    runner.set_second_run(None)
    runner.advance(1)
    wait(lambda: runner.idle)
    assert (branch.recording.layers_done, first.recording.layers_done) == (11, 12)


def test_a_second_model_stands_beside_and_a_deep_one_runs_once(
    runner: Runner, tmp_path: Path
) -> None:
    begin(runner, recurrences=1)
    deep = twin_architecture("deep", 3, d_model=16)
    other = runner.open_second_model(
        LoadRequest(str(tiny_checkpoint(tmp_path / "deep", deep)), "cpu")
    ).result(20)
    stepper = Stepper(other)
    stepper.begin(other.tokenizer.encode(PROMPT))
    runner.set_second_run(stepper, Pairing(runner.loaded.architecture, deep))
    wait(lambda: runner.idle)
    assert stepper.recording.layers_done == 2
    runner.play()
    wait(lambda: runner.recording.n_recurrences > 6)
    runner.stop()
    wait(lambda: runner.idle)
    assert stepper.recording.layers_done == deep.n_block == 6
    assert stepper.recording.n_recurrences == 1
    # Opening another first model leaves the second where it is; opening its own takes it away.
    before = runner.loaded
    runner.open(LoadRequest(str(tiny_checkpoint(tmp_path / "again")), "cpu"))
    wait(lambda: runner.loaded is not before and runner.idle)
    assert runner.second_run is stepper


@pytest.mark.slow
def test_stop_also_stops_what_catches_up(runner: Runner) -> None:
    begin(runner, recurrences=400)
    loaded = runner.loaded
    late = Stepper(loaded)
    late.begin(loaded.tokenizer.encode(PROMPT))
    runner.set_second_run(late, Pairing(loaded.architecture, loaded.architecture))
    wait(lambda: late.recording.layers_done > 5)
    runner.stop()
    wait(lambda: runner.idle)
    assert late.recording.layers_done < 800
    runner.advance(2)
    wait(lambda: runner.idle, 60)
    assert late.recording.layers_done == 802


def test_an_error_beside_is_told_and_the_first_run_goes_on(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopscope.core.run.rows.LARGE_ROW", 1)
    begin(runner, recurrences=2)
    loaded = runner.loaded
    small = Stepper(loaded, budget=Budget(20_000, tmp_path / "gone"))
    small.begin(loaded.tokenizer.encode(PROMPT))
    runner.set_second_run(small, Pairing(loaded.architecture, loaded.architecture))
    runner.advance(40)
    wait(lambda: runner.recording.layers_done == 44 and runner.idle)
    assert "the second run stopped" in runner.status.notice
    assert "memory budget" in runner.status.notice


def test_a_model_that_goes_takes_its_run_beside_with_it(runner: Runner, tmp_path: Path) -> None:
    begin(runner, recurrences=1)
    loaded = runner.loaded
    second = Stepper(loaded)
    second.begin(loaded.tokenizer.encode(PROMPT), seed=3, start="random")
    runner.set_second_run(second, Pairing(loaded.architecture, loaded.architecture))
    runner.open(LoadRequest(str(tiny_checkpoint(tmp_path / "other", seed=1)), "cpu"))
    wait(lambda: runner.loaded is not loaded and runner.idle)
    assert runner.second_run is None


def test_an_error_nobody_foresaw_is_told_and_the_worker_lives(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait(lambda: runner.loaded is not None and runner.idle)
    with monkeypatch.context() as patched:
        patched.setattr(
            "loopscope.core.checkpoint.loading.load_model", lambda *_: {}["no such tensor"]
        )
        runner.open(LoadRequest(str(tmp_path / "m"), "cpu"))
        wait(lambda: runner.status.error)
    assert runner.status.error == "KeyError: 'no such tensor'"
    assert runner.status.error_about == "checkpoint"
    with monkeypatch.context() as patched:
        patched.setattr(Stepper, "begin", lambda *_, **__: {}["no such start"])
        runner.begin(RunRequest(PROMPT))
        wait(lambda: runner.status.error_about == "prompt")
    begin(runner, recurrences=1)
    assert runner.status.error is None


class Panic(BaseException):
    """What a library in Rust raises when it gives up: no `Exception`."""


def panic(*_: object, **__: object) -> None:
    raise Panic("index out of bounds")


def test_a_panic_is_told_with_what_was_being_done_and_the_worker_lives(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(runner, recurrences=1)
    told = "Panic: index out of bounds"
    for owner, name, ask, about, doing in (
        ("loopscope.core.checkpoint.loading", "load_model",
         lambda: runner.open(LoadRequest("there", "cpu")), "checkpoint", "loading there"),
        ("loopscope.core.prompts.tokenizer.PromptTokenizer", "encode",
         lambda: runner.begin(RunRequest(PROMPT)), "prompt", "beginning the run"),
        ("loopscope.core.run.stepper.Stepper", "step_layer",
         lambda: runner.advance(1), "run", "running a layer"),
    ):  # fmt: skip
        with monkeypatch.context() as patched:
            patched.setattr(f"{owner}.{name}", panic)
            ask()
            wait(lambda about=about: runner.status.error_about == about)
        assert runner.status.error == f"{doing}: {told}"
    with pytest.raises(Panic):
        runner.call(panic).result(20)
    begin(runner, recurrences=2)
    assert runner.status.error is None
    assert runner.recording.n_recurrences == 2


def test_a_status_is_of_one_moment(runner: Runner, tmp_path: Path) -> None:
    """Run, model and recording belong together, whenever they are read."""
    begin(runner, recurrences=1)
    models = [str(tmp_path / "m"), str(tiny_checkpoint(tmp_path / "n", seed=1))]
    seen = set()
    for i in range(6):
        before = runner.status.serial
        runner.open(LoadRequest(models[i % 2], "cpu"))
        runner.begin(RunRequest(PROMPT, recurrences=20))

        def reached(before: int = before) -> bool:
            status = runner.status
            seen.add((status.loaded is None, status.stepper is None))
            assert status.stepper is None or status.stepper.loaded is status.loaded
            assert status.stepper is None or status.recording is status.stepper.recording
            return status.serial >= before + 2 and runner.idle

        wait(reached)
    assert (False, False) in seen
    serial = runner.status.serial
    assert serial >= 12


def test_a_worker_that_cannot_begin_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Runner) -> None:
        raise ImportError("torch is broken")

    monkeypatch.setattr(Runner, "_import_torch", fail)
    runner = Runner(threads=1)
    runner.open(LoadRequest(str(tmp_path), "cpu"))
    wait(lambda: runner.status.error)
    assert runner.status.error == "ImportError: torch is broken"
    assert runner.status.state is RunnerState.CLOSED
    runner.close()
