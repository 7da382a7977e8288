"""Measurements that take long: one at a time in a thread of their own, with progress and Cancel.

Stepping goes on meanwhile: the model is only read, and torch lets other threads run. It also goes
first: the thread has a lower priority, and a job waits at its reports while a step is made.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from loopscope.core.errors import Cancelled
from loopscope.core.run.worker import yield_to_the_screen

# Below the runner's priority, which is below the screen's.
NICENESS = 15
# Seconds that a job waits at a report while steps are made, and how often it looks.
MOST_WAIT, LOOK = 0.1, 0.002

T = TypeVar("T")
Work = Callable[["Job[T]"], T]


class Job(Generic[T]):
    """One piece of work; it reports and asks through this, and ends by `Cancelled` when told to.

    name : in words, for the progress bar.  progress : 0 to 1.  future : its result.
    beside : the run that stood beside when it was asked for, for what compares two; else None.
    steps_first : whether something more urgent is under way; the job waits for it at its reports,
        a little each time, so that endless stepping slows it but does not stop it.
    """

    def __init__(
        self, name: str, work: Work[T], steps_first: Callable[[], bool] = lambda: False
    ) -> None:
        self._steps_first = steps_first
        self.name, self.progress = name, 0.0
        self.future: Future[T] = Future()
        self.second_run: Any = None
        self._work = work
        self._cancelled = False
        self._part = (0.0, 1.0)

    def in_part(self, first: float, last: float) -> None:
        """Count reports from here on between these shares of the whole."""
        self._part = (first, last)

    def report(self, share: float) -> None:
        """Say how much is done; raises `Cancelled` when nobody wants the rest."""
        first, last = self._part
        self.progress = first + share * (last - first)
        ended = time.monotonic() + MOST_WAIT
        while not self._cancelled and self._steps_first() and time.monotonic() < ended:
            time.sleep(LOOK)
        if self._cancelled:
            raise Cancelled(f"{self.name}: cancelled")

    def cancel(self) -> None:
        """Give it up at its next report."""
        self._cancelled = True
        self.future.cancel()

    def _run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self._work(self)
        except BaseException as error:  # belongs to whoever asked
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Jobs:
    """The thread; it starts with the first job. `close` it when done.

    ``steps_first`` says whether a step is being made, which jobs give way to.
    """

    def __init__(self, steps_first: Callable[[], bool] = lambda: False) -> None:
        self._steps_first = steps_first
        self._condition = threading.Condition()
        self._waiting: deque[Job[Any]] = deque()
        self._current: Job[Any] | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="loopscope-jobs")

    @property
    def current(self) -> Job[Any] | None:
        """The job under way, or the next one."""
        with self._condition:
            return self._current or (self._waiting[0] if self._waiting else None)

    def submit(self, name: str, work: Work[T]) -> Job[T]:
        """Queue ``work(job)``."""
        job = Job(name, work, self._steps_first)
        with self._condition:
            if self._closing:
                job.cancel()
                return job
            if self._thread.ident is None:
                self._thread.start()
            self._waiting.append(job)
            self._condition.notify_all()
        return job

    def cancel_all(self) -> None:
        """Give up what is under way and what waits."""
        with self._condition:
            for job in [*self._waiting, *([self._current] if self._current else [])]:
                job.cancel()
            self._waiting.clear()

    def close(self) -> None:
        """Give everything up and join the thread."""
        self.cancel_all()
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def _serve(self) -> None:
        yield_to_the_screen(NICENESS)
        while True:
            with self._condition:
                while not (self._waiting or self._closing):
                    self._condition.wait()
                if self._closing:
                    return
                self._current = self._waiting.popleft()
            self._current._run()
            with self._condition:
                self._current = None
