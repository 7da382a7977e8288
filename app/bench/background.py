"""What is waited for without waiting: futures that a frame takes up, and jobs with a message."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from loopscope.core.errors import Cancelled, log_unforeseen
from loopscope.core.run.jobs import Job, Jobs


class Background:
    """Calls on the screen's thread what was to be called when a future is done.

    Parameters
    ----------
    jobs
        The thread of what takes long.
    say
        Told in one line how a job ended that failed or was cancelled.
    wake
        Called when there is something new to wait for.
    """

    def __init__(
        self, jobs: Jobs, say: Callable[[str], object], wake: Callable[[], object]
    ) -> None:
        self.jobs, self._say, self._wake = jobs, say, wake
        self._waiting: list[tuple[Future[Any], Callable[[Future[Any]], None]]] = []

    @property
    def idle(self) -> bool:
        """Whether there is no job and nothing is waited for."""
        return self.jobs.current is None and not self._waiting

    def wait(self, future: Future[Any], done: Callable[[Future[Any]], None]) -> None:
        """Call ``done(future)`` in a frame after it is finished."""
        self._waiting.append((future, done))
        self._wake()

    def start_job(
        self,
        name: str,
        work: Callable[[Job[Any]], Any],
        done: Callable[[Any], None],
        failed: Callable[[str], object] = lambda why: None,
    ) -> Job[Any]:
        """Do ``work(job)`` in the jobs' thread, then ``done(result)`` in a frame.

        ``failed`` is told why there is no result, which is said as well.
        """

        def finished(future: Future[Any]) -> None:
            error = None if future.cancelled() else future.exception()
            if future.cancelled() or isinstance(error, Cancelled):
                self._say(f"{name}: cancelled")
                failed("cancelled")
            elif error is not None:
                self._say(f"{name}: {error}")
                failed(str(error) or type(error).__name__)
                log_unforeseen(name, error)
            else:
                done(future.result())

        job = self.jobs.submit(name, work)
        self.wait(job.future, finished)
        return job

    def frame(self) -> None:
        """Take up what is finished."""
        for entry in [entry for entry in self._waiting if entry[0].done()]:
            self._waiting.remove(entry)
            future, done = entry
            done(future)
