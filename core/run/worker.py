"""A thread that does one piece of work at a time, and its place behind the screen."""

from __future__ import annotations

import threading
from collections.abc import Callable

from loopscope.core.run.stepping import Rest

Work = Callable[[], None]


class Worker:
    """One thread; it starts when asked to and is joined by `close`.

    Parameters
    ----------
    name
        Of the thread.
    prepare
        Called in the thread before anything else; when it raises, the thread ends.
    next_work
        What to do now, how long to rest, or None for nothing. Called under ``lock``, in the thread.
    failed
        Called in the thread with what ``prepare`` or a piece of work raised.

    ``lock`` guards what ``next_work`` reads: hold it to change that, then call `wake`, which calls
    ``woken``.
    """

    def __init__(
        self,
        name: str,
        prepare: Work,
        next_work: Callable[[], Work | Rest | None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.lock = threading.Condition()
        self.woken: Callable[[], None] = lambda: None
        self._prepare, self._next_work, self._failed = prepare, next_work, failed
        self._busy = self._closing = self._resting = False
        self._thread = threading.Thread(target=self._serve, name=name)

    @property
    def busy(self) -> bool:
        """Whether a piece of work is under way."""
        return self._busy

    @property
    def resting(self) -> bool:
        """Whether it waits for the time of its next piece of work."""
        return self._resting

    @property
    def closing(self) -> bool:
        """Whether it refuses further work."""
        return self._closing

    def start(self) -> None:
        """Start the thread, unless it has been started or closed."""
        with self.lock:
            if self._thread.ident is None and not self._closing:
                self._thread.start()

    def wake(self) -> None:
        """Ask for the next piece of work again."""
        with self.lock:
            self.lock.notify_all()
        self.woken()

    def close(self) -> None:
        """End after the piece of work under way, and join the thread."""
        with self.lock:
            self._closing = True
            self.lock.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def _serve(self) -> None:
        try:
            self._prepare()
        except BaseException as error:  # such as a torch that does not load
            with self.lock:
                self._closing = True
            self._failed(error)
            return
        while (work := self._wait_for_work()) is not None:
            try:
                work()
            except BaseException as error:  # whatever it is: a dead thread answers nobody
                self._failed(error)
            work = None  # while it waits it holds no run that was let go

    def _wait_for_work(self) -> Work | None:
        """The next piece of work, None when the worker is closed."""
        with self.lock:
            self._busy = False
            while not self._closing:
                work = self._next_work()
                if callable(work):
                    self._busy = True
                    return work
                self._resting = work is not None
                self.lock.wait(None if work is None else work.seconds)
                self._resting = False
            return None
