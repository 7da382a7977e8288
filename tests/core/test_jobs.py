"""Jobs: they give way to stepping, are cancelled while they wait, and end with their thread."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import Cancelled
from loopscope.core.run.jobs import NICENESS, Job, Jobs
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.runner import Runner
from loopscope.core.run.status import RunnerState


def wait(until, seconds: float = 20) -> None:
    ended = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < ended
        time.sleep(0.001)


@pytest.fixture
def make() -> Iterator[Callable[..., Jobs]]:
    """Jobs that are closed whatever becomes of the test: a thread would keep the process."""
    made: list[Jobs] = []

    def make(*steps_first: Callable[[], bool]) -> Jobs:
        made.append(Jobs(*steps_first))
        return made[-1]

    yield make
    for jobs in made:
        jobs.close()


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def job_beside(steps_first: Callable[[], bool]) -> tuple[Job[None], Clock]:
    clock = Clock()
    return Job("work", steps_first=steps_first, clock=clock, wait=clock.wait), clock


def test_a_job_waits_a_tenth_of_a_second_at_each_report_while_steps_are_made() -> None:
    """Endless stepping slows it but does not stop it."""
    job, clock = job_beside(lambda: True)
    for n in (1, 2, 3):
        job.report(n / 3)
        assert clock.now - 1000.0 == pytest.approx(0.1 * n)
    assert max(clock.waits) <= 0.002 + 1e-9  # a step that ends is seen at once
    assert job.progress == 1.0


def test_it_goes_on_at_once_when_the_step_is_made() -> None:
    asked: list[int] = []

    def steps_first() -> bool:
        asked.append(1)
        return len(asked) < 3

    job, clock = job_beside(steps_first)
    job.report(0.1)
    assert len(asked) == 3
    assert clock.waits == [pytest.approx(0.002)] * 2


def test_without_steps_a_report_takes_no_time() -> None:
    job, clock = job_beside(lambda: False)
    job.report(0.1)
    assert clock.waits == []


def test_cancelling_ends_the_wait_for_a_step() -> None:
    job, clock = job_beside(lambda: True)
    wait_on = clock.wait

    def cancelled_meanwhile(seconds: float) -> None:
        wait_on(seconds)
        job.cancel()

    job._wait = cancelled_meanwhile
    with pytest.raises(Cancelled, match="work: cancelled"):
        job.report(0.1)
    assert len(clock.waits) == 1


def test_what_waits_its_turn_is_cancelled_before_it_begins(make) -> None:
    jobs, go, began = make(), threading.Event(), threading.Event()
    ran: list[str] = []

    def first(job: Job[None]) -> None:
        began.set()
        go.wait(20)
        ran.append("first")
        job.report(1.0)

    jobs.submit("first", first)
    second = jobs.submit("second", lambda job: ran.append("second"))
    third = jobs.submit("third", lambda job: ran.append("third"))
    assert began.wait(20)
    assert jobs.current is not None
    assert jobs.current.name == "first"
    second.cancel()
    assert second.future.cancelled()
    go.set()
    third.future.result(timeout=20)
    assert ran == ["first", "third"]
    wait(lambda: jobs.current is None)
    jobs.close()
    late = jobs.submit("late", lambda job: ran.append("late"))
    assert late.future.cancelled()
    assert "late" not in ran


def test_a_panic_in_a_job_belongs_to_whoever_asked_and_the_thread_lives(make) -> None:
    class Panic(BaseException):
        pass

    def panic(job: Job[None]) -> None:
        raise Panic("gone")

    jobs = make()
    with pytest.raises(Panic):
        jobs.submit("panic", panic).future.result(timeout=20)
    assert jobs.submit("next", lambda job: 7).future.result(timeout=20) == 7


def test_a_job_that_waits_can_be_cancelled(make) -> None:
    jobs = make(lambda: True)
    reached = threading.Event()

    def work(job: Job[None]) -> None:
        reached.set()
        while True:
            job.report(0.0)

    job = jobs.submit("work", work)
    assert reached.wait(10)
    job.cancel()
    wait(lambda: jobs.current is None)
    assert job.future.cancelled() or isinstance(job.future.exception(), Cancelled)


@pytest.mark.priority
@pytest.mark.skipif(sys.platform != "linux", reason="a niceness for each thread is Linux's")
def test_its_thread_is_of_the_lowest_priority(make) -> None:
    jobs = make()
    job = jobs.submit(
        "work", lambda job: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    )
    assert job.future.result(timeout=10) >= NICENESS


def test_the_runner_says_when_it_steps_and_not_while_it_waits_for_its_pace() -> None:
    runner = Runner()
    try:
        runner.open(LoadRequest("bundled:looped", "cpu"))
        wait(lambda: runner.loaded is not None, 60)
        runner.begin(RunRequest("ab ? 1 : a"))
        wait(lambda: runner.recording is not None and runner.idle)
        assert not runner.stepping
        runner.play(2.0)  # a recurrence each half second
        wait(lambda: runner.recording.n_recurrences >= 1)
        wait(lambda: not runner.stepping)
        assert runner.status.state is RunnerState.STEPPING
        runner.play()  # as fast as it goes
        wait(lambda: runner.stepping)
        runner.stop()
        wait(lambda: runner.idle)
        assert not runner.stepping
    finally:
        runner.close()


def test_reports_of_a_part_are_counted_within_it() -> None:
    job: Job[None] = Job("test")
    job.in_part(0.5, 1.0)
    job.report(0.5)
    assert job.progress == 0.75


def test_closing_waits_for_no_job_and_says_when_the_last_has_ended(make) -> None:
    jobs, began, go = make(), threading.Event(), threading.Event()
    ended: list[str] = []

    def work(job: Job[None]) -> None:
        began.set()
        assert go.wait(60)
        job.report(0.5)
        ended.append("went on")

    job = jobs.submit("work", work)
    later = jobs.submit("later", lambda job: ended.append("later"))
    assert began.wait(20)
    jobs.close(lambda: ended.append("ended"))  # returns while the job cannot
    assert later.future.cancelled()
    assert not job.future.done()
    assert ended == []
    go.set()
    wait(lambda: ended == ["ended"])
    assert isinstance(job.future.exception(), Cancelled)


def test_closing_without_a_job_ends_at_once(make) -> None:
    jobs, ended = make(), []
    jobs.submit("work", lambda job: 1).future.result(timeout=20)
    jobs.close(lambda: ended.append(1))
    assert ended == [1]
