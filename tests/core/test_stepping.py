"""What is stepped next, without a thread and without waiting: the clock is the test's."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

import pytest
from models import tiny_architecture

from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.run.pairing import Pairing
from loopscope.core.run.request_queue import Call, RequestQueue
from loopscope.core.run.requests import MOST_RECURRENCES, RunRequest
from loopscope.core.run.stepping import Rest, Step, Stepping

ARCH = tiny_architecture()  # two layers


@dataclass
class Run:
    """As much of a recording as is looked at."""

    layers_done: int = 0
    n_layers: int = 2

    @property
    def n_recurrences(self) -> int:
        return self.layers_done // self.n_layers


class Bench:
    """Steps as the runner does, with a clock that a layer moves on by ``takes`` seconds."""

    def __init__(self, takes: float = 0.0) -> None:
        self.now, self.takes = 100.0, takes
        self.stepping = Stepping(lambda: self.now)
        self.run: Run | None = Run()
        self.second: Run | None = None
        self.reasons: list[str] = []

    def go(self, most: int = 1000) -> list[object]:
        """Do what is next until nothing is, at most so often; what was done."""
        done: list[object] = []
        while len(done) < most and (step := self.stepping.next(self.run, self.second)) is not None:
            done.append(step)
            if isinstance(step, Rest):
                self.now += step.seconds
            elif step is Step.SECOND_RUN:
                self.second.layers_done += 1
            else:
                self.stepping.starts(self.run)
                self.now += self.takes
                self.run.layers_done += 1
                question = self.stepping.stepped(self.run)
                reason = None if question is None else question(self.run)
                if reason and self.stepping.end_by(question):
                    self.reasons.append(reason)
        return done


def test_nothing_is_stepped_until_it_is_asked() -> None:
    bench = Bench()
    assert bench.go() == []
    bench.stepping.begin(6)
    assert bench.go() == [Step.RUN] * 6
    bench.stepping.advance(1)
    bench.stepping.advance(2)
    assert bench.go() == [Step.RUN] * 3
    bench.run = None
    bench.stepping.advance(1)
    assert bench.go() == []


def test_playing_goes_on_until_stopped_and_then_from_there() -> None:
    bench = Bench()
    bench.stepping.play()
    assert bench.go(most=50) == [Step.RUN] * 50
    bench.stepping.stop()
    assert bench.go() == []
    bench.stepping.play()
    assert len(bench.go(most=7)) == 7
    assert bench.run.layers_done == 57


def test_a_step_asked_for_while_playing_ends_playing() -> None:
    bench = Bench()
    bench.stepping.play(rate=4)
    bench.go(most=9)
    done = bench.run.layers_done
    bench.stepping.advance(2)
    assert bench.go() == [Step.RUN] * 2
    assert bench.run.layers_done == done + 2


@pytest.mark.parametrize("takes", [0.0, 0.01, 0.1])
def test_the_pace_is_kept_whatever_a_layer_takes(takes: float) -> None:
    bench = Bench(takes)
    bench.stepping.play(rate=4)
    began = bench.now
    done = bench.go(most=3 * 10)  # two layers and a rest for each recurrence
    assert done[:3] == [Step.RUN, Step.RUN, Rest(pytest.approx(0.25 - 2 * takes))]
    assert [isinstance(step, Rest) for step in done] == [False, False, True] * 10
    assert bench.run.n_recurrences == 10
    assert bench.now - began == pytest.approx(10 / 4)


def test_a_model_slower_than_the_pace_never_rests() -> None:
    bench = Bench(takes=0.2)
    bench.stepping.play(rate=4)
    assert bench.go(most=20) == [Step.RUN] * 20


def test_another_pace_holds_from_now_on_and_the_first_recurrence_is_made_at_once() -> None:
    bench = Bench()
    bench.stepping.play(rate=0.5)
    assert bench.go(most=3)[2] == Rest(2.0)
    bench.stepping.play(rate=0.5)
    bench.go(most=2)
    bench.now += 0.5
    bench.stepping.play(rate=1)
    assert bench.go(most=1) == [Rest(pytest.approx(0.5))]
    bench.stepping.stop()
    bench.stepping.play(rate=0.5)
    assert bench.go(most=1) == [Step.RUN]
    with pytest.raises(ValueError, match="0 recurrences a second"):
        bench.stepping.play(rate=0)


def test_playing_from_mid_recurrence_finishes_it_without_a_rest() -> None:
    bench = Bench()
    bench.stepping.advance(1)
    bench.go()
    bench.stepping.play(rate=1)
    assert bench.go(most=2)[0] is Step.RUN


def test_a_reason_ends_playing_after_its_recurrence() -> None:
    bench = Bench()
    bench.stepping.play(until=lambda run: "enough" if run.n_recurrences == 5 else None)
    assert bench.go() == [Step.RUN] * 10
    assert bench.reasons == ["enough"]
    bench.stepping.advance(4)  # what ends playing does not end steps
    assert bench.go() == [Step.RUN] * 4


@pytest.mark.parametrize("ask", ["advance", "play", "begin"])
def test_a_reason_that_comes_too_late_ends_nothing(ask: str) -> None:
    """A question takes its time; more may be asked for meanwhile."""
    bench = Bench()
    bench.stepping.play(until=lambda run: "settled")
    bench.run.layers_done = 2
    question = bench.stepping.stepped(bench.run)
    {"advance": lambda: bench.stepping.advance(2), "play": bench.stepping.play,
     "begin": lambda: bench.stepping.begin(2)}[ask]()  # fmt: skip
    assert question(bench.run) == "settled"
    assert not bench.stepping.end_by(question)
    assert bench.go(most=2) == [Step.RUN] * 2


def test_a_run_that_is_far_too_long_pauses_and_says_so() -> None:
    bench = Bench()
    bench.run = Run(2 * MOST_RECURRENCES - 4)
    bench.stepping.play()
    assert bench.go() == [Step.RUN] * 4
    assert bench.reasons == [f"paused: {MOST_RECURRENCES:,} recurrences were made"]


def test_the_second_run_catches_up_before_the_first_goes_on() -> None:
    bench = Bench()
    bench.run, bench.second = Run(4), Run(1)
    assert bench.go() == []  # not paired yet
    bench.stepping.pair(Pairing(ARCH, ARCH))
    assert bench.go() == [Step.SECOND_RUN] * 3
    bench.stepping.advance(2)
    assert bench.go() == [Step.RUN, Step.SECOND_RUN] * 2
    bench.stepping.pair(Pairing(ARCH, ARCH, "own"))
    bench.stepping.advance(2)
    assert bench.go() == [Step.RUN] * 2


def test_stop_and_an_error_also_stop_what_catches_up_until_more_is_asked() -> None:
    for leave in (Stepping.stop, Stepping.leave_second_run):
        bench = Bench()
        bench.run, bench.second = Run(6), Run(0)
        bench.stepping.pair(Pairing(ARCH, ARCH))
        bench.go(most=2)
        leave(bench.stepping)
        assert bench.go() == []
        bench.stepping.advance(1)
        assert bench.go() == [Step.SECOND_RUN] * 4 + [Step.RUN, Step.SECOND_RUN]


# ---- what is asked of the runner ----
def call() -> Call:
    return Call(lambda loaded, stepper: None, Future())


def test_a_model_comes_first_then_the_last_run_asked_for_then_calls_in_their_order() -> None:
    queue, calls = RequestQueue(), [call(), call()]
    for request in (calls[0], RunRequest("a"), LoadRequest("x"), calls[1], RunRequest("b"),
                    LoadRequest("y")):  # fmt: skip
        queue.add(request)
    taken = []
    while queue.waiting(True):
        taken.append(queue.take(True))
    assert taken == [LoadRequest("y"), RunRequest("b"), *calls]
    assert queue.take(True) is None


def test_runs_and_calls_wait_for_a_model() -> None:
    queue, one = RequestQueue(), call()
    queue.add(RunRequest("a"))
    queue.add(one)
    assert not queue.waiting(False)
    assert queue.take(False) is None
    assert queue.waiting(True)
    assert queue.take(True) == RunRequest("a")
    assert queue.take(True) is one


def test_what_is_dropped_is_cancelled() -> None:
    queue, one = RequestQueue(), call()
    queue.add(LoadRequest("x"))
    queue.add(one)
    queue.cancel()
    assert not queue.waiting(True)
    assert one.future.cancelled()
    one.answer(None, None)  # and is not called any more
    assert one.future.cancelled()
