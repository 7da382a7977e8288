"""Work off the screen's thread: a thread that does it, and a frame that takes up what is done."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from loopscope.core.errors import Cancelled, log_unforeseen
from loopscope.core.run.jobs import Job, Jobs
from loopscope.core.system import yield_to_the_screen


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


class OneThread:
    """A thread behind the screen that does one piece of work after the other.

    Parameters
    ----------
    name
        Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name, initializer=yield_to_the_screen)
        self._flying: list[Future[Any]] = []

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Do ``work(*arguments)`` after what was submitted before."""
        future = self._pool.submit(work, *arguments)
        self._flying = [other for other in self._flying if not other.done()] + [future]
        return future

    @property
    def ended(self) -> bool:
        """Whether everything that was submitted is done."""
        return all(future.done() for future in self._flying)

    def close(self) -> None:
        """Give everything up and wait for nothing: what is being done ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self.ended:
            self._pool.shutdown()  # an idle thread ends at once
