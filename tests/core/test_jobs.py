"""Jobs: they give way to stepping, are cancelled while they wait, and end with their thread."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from loopscope.core.errors import Cancelled
from loopscope.core.run.jobs import MOST_WAIT, NICENESS, Job, Jobs
from loopscope.core.run.runner import Phase, Runner, RunRequest


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


def test_a_job_waits_at_its_reports_while_a_step_is_made(make) -> None:
    stepping = threading.Event()
    stepping.set()
    passed: list[float] = []
    jobs = make(stepping.is_set)
    started = time.monotonic()

    def work(job: Job[float]) -> float:
        job.report(0.5)
        passed.append(time.monotonic() - started)
        job.report(1.0)
        return time.monotonic() - started

    job = jobs.submit("work", work)
    wait(lambda: bool(passed))
    # Endless stepping slows it but does not stop it.
    assert passed[0] >= 0.9 * MOST_WAIT
    assert job.progress >= 0.5
    stepping.clear()
    assert job.future.result(timeout=10) >= passed[0]


def test_it_goes_on_at_once_when_the_step_is_made() -> None:
    asked: list[float] = []

    def steps_first() -> bool:
        asked.append(time.monotonic())
        return len(asked) < 3

    started = time.monotonic()
    Job("work", lambda job: None, steps_first).report(0.1)
    assert len(asked) == 3
    assert time.monotonic() - started < MOST_WAIT


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
        runner.open("bundled:looped", "cpu")
        wait(lambda: runner.loaded is not None, 60)
        runner.begin(RunRequest("ab ? 1 : a"))
        wait(lambda: runner.recording is not None and runner.idle)
        assert not runner.stepping
        runner.play(2.0)  # a recurrence each half second
        wait(lambda: runner.recording.n_recurrences >= 1)
        wait(lambda: not runner.stepping)
        assert runner.status.phase is Phase.STEPPING
        runner.play()  # as fast as it goes
        wait(lambda: runner.stepping)
        runner.stop()
        wait(lambda: runner.idle)
        assert not runner.stepping
    finally:
        runner.close()


def test_reports_of_a_part_are_counted_within_it() -> None:
    job: Job[None] = Job("test", lambda job: None)
    job.in_part(0.5, 1.0)
    job.report(0.5)
    assert job.progress == 0.75
