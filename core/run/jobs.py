"""Measurements that take long: one at a time in a thread of their own, with progress and Cancel.

Stepping goes on meanwhile: the model is only read, and torch lets other threads run. It also goes
first: the thread has a lower priority, and a job waits at its reports while a step is made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from loopscope.core.errors import Cancelled
from loopscope.core.system import yield_to_the_screen

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyRun

# Below the runner's priority, which is below the screen's.
NICENESS = 15
# Seconds that a job waits at a report while steps are made, and how often it looks.
MOST_WAIT, LOOK = 0.1, 0.002

T = TypeVar("T")
Work = Callable[["Job[T]"], T]


class Job(Generic[T]):
    """One piece of work, as it is seen from inside (`report`) and from outside (`cancel`).

    name : in words, for the progress bar.  progress : 0 to 1.  future : its result.
    second_run : the second run as the job was made, for a job that compares two; else None.

    Parameters
    ----------
    name
        In words.
    steps_first
        Whether something more urgent is under way; the job waits for it at its reports, a little
        each time, so that endless stepping slows it but does not stop it.
    clock
        Seconds that only rise.
    wait
        Waits so many seconds, or less when the job is cancelled.
    """

    def __init__(
        self,
        name: str,
        *,
        steps_first: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self.name, self.progress = name, 0.0
        self.future: Future[T] = Future()
        self.second_run: AnyRun | None = None
        self._cancelled = threading.Event()
        self._steps_first, self._clock, self._wait = (
            steps_first,
            clock,
            wait or self._cancelled.wait,
        )
        self._part = (0.0, 1.0)

    def in_part(self, first: float, last: float) -> None:
        """Count reports from here on between these shares of the whole."""
        self._part = (first, last)

    def report(self, share: float) -> None:
        """Say how much is done; raises `Cancelled` when nobody wants the rest."""
        first, last = self._part
        self.progress = first + share * (last - first)
        self.keep_going()

    def keep_going(self) -> None:
        """Give way to what is more urgent. Raises `Cancelled` once the job is cancelled."""
        self._give_way()
        if self._cancelled.is_set():
            raise Cancelled(f"{self.name}: cancelled")

    def _give_way(self) -> None:
        until = self._clock() + MOST_WAIT
        while not self._cancelled.is_set() and self._steps_first():
            left = until - self._clock()
            if left <= 0:
                return
            self._wait(min(LOOK, left))

    def cancel(self) -> None:
        """Give it up: at its next report, or before it begins."""
        self._cancelled.set()
        self.future.cancel()


class Jobs:
    """The thread; it starts with the first job. `close` it when done.

    ``steps_first`` says whether a step is being made, which jobs give way to.
    """

    def __init__(self, steps_first: Callable[[], bool] = lambda: False) -> None:
        self._steps_first = steps_first
        self._lock = threading.Lock()
        self._jobs: list[Job[Any]] = []
        self._closing = False
        self._thread = ThreadPoolExecutor(
            1,
            thread_name_prefix="loopscope-jobs",
            initializer=partial(yield_to_the_screen, NICENESS),
        )

    @property
    def current(self) -> Job[Any] | None:
        """The job under way, or the next one."""
        unfinished = self._unfinished()
        return unfinished[0] if unfinished else None

    def _unfinished(self) -> list[Job[Any]]:
        with self._lock:
            self._jobs = [job for job in self._jobs if not job.future.done()]
            return list(self._jobs)

    def submit(self, name: str, work: Work[T]) -> Job[T]:
        """Queue ``work(job)``; after `close` the job is cancelled."""
        job: Job[T] = Job(name, steps_first=self._steps_first)
        with self._lock:
            if self._closing:
                job.cancel()
            else:
                job.future = self._thread.submit(work, job)
                self._jobs.append(job)
        return job

    def cancel_all(self) -> None:
        """Cancel the job under way and those that wait."""
        for job in self._unfinished():
            job.cancel()

    def close(self, ended: Callable[[], None] = lambda: None) -> None:
        """Give everything up and wait for nothing: the job under way ends at its next report.

        ``ended()`` is called when it has ended: in its thread, or at once when there is none.
        """
        with self._lock:
            self._closing = True
        self.cancel_all()
        running = self.current
        self._thread.shutdown(wait=running is None, cancel_futures=True)
        if running is None:
            ended()
        else:
            running.future.add_done_callback(lambda future: ended())
