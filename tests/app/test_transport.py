"""The transport asks the runner itself, and says what controls show."""

from __future__ import annotations

import traceback
from types import SimpleNamespace
from typing import Any

import pytest
from recordings import synthetic_recording

from loopscope.app.bench.session import Session
from loopscope.app.bench.transport import Transport
from loopscope.app.window.actions import COMMANDS
from loopscope.core.run.status import Status


class Asked:
    """A runner that only notes what it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls.append((name, *arguments))


def until(recording: object) -> str | None:
    return "settled"


@pytest.fixture
def desk(qapp):
    runner, session = Asked(), Session()
    return SimpleNamespace(
        runner=runner, session=session, transport=Transport(runner, session, lambda: until)
    )


def show(desk, **changes: Any) -> Any:
    recording = synthetic_recording(**{"recurrences": 3, "n_block": 4} | changes)
    desk.session.status = Status(stepper=SimpleNamespace(recording=recording))
    return recording


def test_without_a_run_it_says_so_and_asks_nothing(desk) -> None:
    said: list[str] = []
    desk.session.message.connect(said.append)
    desk.transport.step_recurrence()
    desk.transport.step_layer()
    desk.transport.set_playing(True)
    assert desk.runner.calls == []
    assert said == ["There is no run to step yet"] * 2 + ["There is no run to play yet"]
    assert not desk.transport.playing


def test_a_recurrence_is_stepped_to_its_end(desk) -> None:
    recording = show(desk)
    desk.transport.step_recurrence()
    desk.transport.step_layer()
    recording._layers_done += 1
    desk.transport.step_recurrence()
    assert desk.runner.calls == [("advance", 4), ("advance", 1), ("advance", 3)]


def test_stepping_follows_and_ends_playing(desk) -> None:
    show(desk)
    desk.transport.set_following(False)
    desk.transport.set_playing(True)
    assert (desk.transport.playing, desk.transport.following) == (True, True)
    desk.transport.set_following(False)
    desk.transport.step_layer()
    assert (desk.transport.playing, desk.transport.following) == (False, True)


def test_playing_takes_the_rate_and_the_question_of_the_moment(desk) -> None:
    show(desk)
    desk.transport.set_rate(2.0)
    desk.transport.set_stop_at_settling(True)
    assert desk.runner.calls == []  # nothing is played yet
    desk.transport.toggle_playing()
    desk.transport.set_rate(8.0)
    desk.transport.set_stop_at_settling(False)
    desk.transport.toggle_playing()
    assert desk.runner.calls == [
        ("play", 2.0, until), ("play", 8.0, until), ("play", 8.0, None), ("stop",),
    ]  # fmt: skip
    assert not desk.transport.playing


def test_space_reaches_the_runner_in_three_hops(desk) -> None:
    show(desk)
    (space,) = (command for command in COMMANDS if command.keys == "Space")
    hops: list[str] = []
    desk.runner.advance = lambda layers: hops.extend(
        frame.name for frame in traceback.extract_stack()
    )
    space.run(SimpleNamespace(bench=desk))
    here = hops.index("test_space_reaches_the_runner_in_three_hops")
    assert hops[here + 1 :] == ["<lambda>", "step_recurrence", "<lambda>"]  # the last is `advance`
