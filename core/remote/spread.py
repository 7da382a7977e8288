"""Tasks to the workers of a cluster; a worker that dies stops nothing."""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from loopscope.core.errors import LoopscopeError, one_line

if TYPE_CHECKING:
    from distributed import Client, Future

# Tasks that wait at the cluster for each of its threads.
AHEAD = 3


class Task(Protocol):
    """Work of several parts; each can be done without the others."""

    def alone(self) -> Iterator[Task]:
        """A task for each of its parts."""


TaskT = TypeVar("TaskT", bound=Task)
OutcomeT = TypeVar("OutcomeT")


@dataclass(frozen=True, slots=True)
class Undone:
    """A task that gave nothing, and why."""

    why: str


def spread(
    client: Client, do: Callable[[TaskT], OutcomeT], tasks: Iterable[TaskT]
) -> Iterator[tuple[TaskT, OutcomeT | Undone]]:
    """Every task with what it gave, as they are done; few of them are at the cluster at a time.

    A worker that dies takes with it what only waits there, so the parts of a task that was lost
    with one are tried at the end, each with nothing beside it: who is lost then did it itself.
    Raises `LoopscopeError` where the cluster is lost.
    """
    from distributed import as_completed

    waiting, suspects = iter(tasks), deque[TaskT]()
    at_work: dict[Future, TaskT] = {}
    finished = as_completed(loop=client.loop)

    def submit(task: TaskT) -> None:
        future = client.submit(do, task, pure=False, retries=0)
        at_work[future] = task
        finished.add(future)

    interrupted = _Interrupts()
    try:
        for task in islice(waiting, AHEAD * max(1, sum(client.nthreads().values()))):
            submit(task)
        while at_work or suspects:
            alone = not at_work
            if alone:
                submit(suspects.popleft())
            future = next(finished)
            if interrupted.seen:
                raise KeyboardInterrupt
            task = at_work.pop(future)
            outcome = _result(future, alone)
            if not alone and (following := next(waiting, None)) is not None:
                submit(following)
            if outcome is None:
                suspects.extend(task.alone())  # type: ignore[arg-type]
            else:
                yield task, outcome
    finally:
        interrupted.end()
        if at_work and client.status == "running":
            client.cancel(list(at_work), force=True)


class _Interrupts:
    """Remembers Ctrl-C: one that comes within a destructor is only printed, and dropped."""

    def __init__(self) -> None:
        self.seen = False
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
            if callable(self._before):
                signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.seen = True
        self._before(number, frame)

    def end(self) -> None:
        """Put back who was told before."""
        if callable(self._before):
            signal.signal(signal.SIGINT, self._before)


def _result(future: Future, alone: bool) -> Any:
    """What a task gave; None where it was lost with a worker at which it was not ``alone``."""
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker:
        if not alone:
            return None
        return Undone("the worker died each time that it was tried, perhaps of too little memory")
    except Exception as error:
        if future.status in ("cancelled", "lost"):
            raise LoopscopeError(
                "the connection to the cluster is lost; what was received is kept: give the same "
                "command again to go on"
            ) from None
        return Undone(one_line(error))
    finally:
        # Not left to the collector: Ctrl-C that comes within its call would be lost.
        future.release()
