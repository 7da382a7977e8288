"""The way to a seat: it calls, waits without hanging, counts bytes, and notices a loss.

Every wait is in slices, between which somebody may have given up and the other side may have gone.
At rest a ping every few seconds tells whether it is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotYet
from typing import TYPE_CHECKING, Any

from loopscope.core.errors import Cancelled, LoopscopeError, one_line
from loopscope.core.remote.cluster import WorkerFacts, remote_client, survey
from loopscope.core.remote.seat import Seat

if TYPE_CHECKING:
    from distributed import Client

# Seconds between two looks while waiting, between pings, and without an answer until it is lost.
SLICE, PING, SILENCE = 0.05, 2.0, 20.0
# Seconds that making the seat on a worker may take.
SEATING = 30.0
# Bytes a second below which what can be shortened is.
SLOW = 2e7
# How Dask says that the worker of a seat has gone.
LOST_ACTOR = ("Unable to contact Actor's worker", "Worker holding Actor was lost")


class ConnectionLost(LoopscopeError):
    """The other side has gone, or does not answer; what was received is here."""


class Connection:
    """One seat on a worker of the scheduler at ``address``; `connect` makes it.

    epoch : rises with every seat: numbers of an earlier one mean nothing.
    lost : why there is none, or "".
    travelled : bytes of rows and results that came.
    worker : what the worker is.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.epoch, self.travelled, self.users = 0, 0, 0
        self.lost = "not connected yet"
        self.worker = WorkerFacts("", "", 0, ())
        self._client: Client | None = None
        self._seat: Any = None
        self._future: Any = None
        self._guard = threading.RLock()  # what is collected while it is held may tell the seat
        self._heard = 0.0
        self._ended = threading.Event()  # set while there is no seat
        self.worker_address = ""
        self._round_trips: deque[float] = deque(maxlen=20)
        self._rates: deque[float] = deque(maxlen=10)

    # ---- coming and going ----
    def connect(self, paths: tuple[tuple[str, str], ...], device: str = "auto") -> None:
        """Make a seat on a worker that can read these (path, family).

        Raises `LoopscopeError` in one line for an address that nothing answers at, other versions,
        no worker, and a path that the workers lack.
        """
        self._end("connecting")
        client = remote_client(self.address)
        try:
            worker, about = _best(*survey(client, paths), device)
            future = client.submit(Seat, actor=True, pure=False, workers=[worker])
            seat = future.result(timeout=SEATING)
            with client.as_current():  # to whose client it is bound by its first call
                seat.ping().result(timeout=SEATING)
        except LoopscopeError:
            _close(client)
            raise
        except Exception as error:
            _close(client)
            raise LoopscopeError(f"{self.address}: {one_line(error)}") from None
        with self._guard:
            self._client, self._seat, self._future = client, seat, future
            self.worker, self.worker_address = about, worker
            self.epoch, self.lost, self._heard = self.epoch + 1, "", time.monotonic()
            self._ended.clear()
        asyncio.run_coroutine_threadsafe(self._watch(self.epoch), client.loop.asyncio_loop)

    def close(self) -> None:
        """Give the seat up; waits for nothing."""
        self._end("closed")

    def _end(self, why: str) -> None:
        with self._guard:
            client, self._client, self._seat, self._future = self._client, None, None, None
            self.lost = self.lost or why
            self._ended.set()
        if client is not None:
            threading.Thread(target=_close, args=(client,), daemon=True).start()

    def lose(self, why: str) -> None:
        """Note that the other side has gone."""
        self._end(f"{self.address}: {why}")

    # ---- calls ----
    def call(
        self,
        name: str,
        *arguments: Any,
        quick: bool = False,
        given_up: Callable[[], bool] = lambda: False,
    ) -> Any:
        """Call a method of the seat and wait for what it returns; raises what it raises.

        ``quick`` ones do not wait for those that the seat is busy with. Raises `ConnectionLost`,
        and `Cancelled` once ``given_up``.
        """
        return self.wait(self.start(name, *arguments, quick=quick), given_up)

    def start(self, name: str, *arguments: Any, quick: bool = False) -> Future[Any]:
        """Call a method of the seat; its answer will be in the future. Raises `ConnectionLost`."""
        with self._guard:
            client, seat = self._client, self._seat
        if client is None:
            raise ConnectionLost(self.lost)
        return asyncio.run_coroutine_threadsafe(
            _asked(seat, name, arguments, quick), client.loop.asyncio_loop
        )

    def wait(self, future: Future[Any], given_up: Callable[[], bool] = lambda: False) -> Any:
        """Wait for an answer; see `call`.

        Raises `ConnectionLost` when the worker has gone, `Cancelled` when ``given_up`` says so, and
        what the work there raised.
        """
        epoch = self.epoch
        while True:
            try:
                return future.result(SLICE)
            except NotYet:
                if future.done():  # that was the answer
                    raise
                if self.lost or self.epoch != epoch:
                    raise ConnectionLost(self.lost or "connected anew meanwhile") from None
                if given_up():
                    raise Cancelled("stopped while waiting") from None
                self._look()
            except (OSError, RuntimeError, CancelledError) as error:
                if self._gone(error):
                    known = str(error).startswith(LOST_ACTOR)
                    self.lose("the worker has gone" + ("" if known else f" ({one_line(error)})"))
                    raise ConnectionLost(self.lost) from None
                raise

    def _gone(self, error: BaseException) -> bool:
        """Whether an error is of the way, not of what was called."""
        if isinstance(error, CancelledError) or str(error).startswith(LOST_ACTOR):
            return True
        return type(error).__module__.startswith("distributed") or bool(self._problem())

    def _look(self) -> None:
        if problem := self._problem():
            self.lose(problem)
            raise ConnectionLost(self.lost)

    def _problem(self) -> str:
        """What is wrong with the connection now, or ""."""
        client, future = self._client, self._future
        if client is None or future is None:
            return self.lost
        if client.status != "running":
            return "the connection to the scheduler broke"
        if future.status not in ("finished", "pending"):
            return "the worker has gone"
        silent = time.monotonic() - self._heard
        return f"no answer for {silent:.0f} s" if silent > SILENCE else ""

    def pause(self, seconds: float) -> None:
        """Let so many seconds pass, or less when the connection is lost."""
        self._ended.wait(seconds)

    def tell(self, epoch: int, name: str, *arguments: Any) -> None:
        """Call a method of the seat of ``epoch`` and wait for nothing."""
        if epoch == self.epoch and not self.lost:
            with contextlib.suppress(ConnectionLost, RuntimeError):
                self.start(name, *arguments)

    async def _watch(self, epoch: int) -> None:
        """Ping while this seat is the one; runs in the client's loop."""
        while epoch == self.epoch and not self.lost:
            asked = time.monotonic()
            with contextlib.suppress(asyncio.TimeoutError, OSError, RuntimeError):
                await asyncio.wait_for(_asked(self._seat, "ping", (), True), SILENCE)
                self._heard = time.monotonic()
                self._round_trips.append(self._heard - asked)
            if epoch == self.epoch and not self.lost and (problem := self._problem()):
                self.lose(problem)
            await asyncio.sleep(PING)

    # ---- the link ----
    @property
    def round_trip(self) -> float:
        """Seconds of a short call, as last seen."""
        return statistics.median(self._round_trips) if self._round_trips else 0.0

    def came(self, nbytes: int, seconds: float) -> None:
        """Count bytes that came, and that they took ``seconds`` to travel."""
        self.travelled += nbytes
        on_way = seconds - self.round_trip
        if nbytes > 1 << 16 and on_way > 0:
            self._rates.append(nbytes / on_way)

    @property
    def rate(self) -> float:
        """Bytes a second that the link carries, as last seen; infinite while that is unknown."""
        return statistics.median(self._rates) if self._rates else float("inf")

    @property
    def slow(self) -> bool:
        """Whether what can be shortened should be."""
        return self.rate < SLOW


async def _asked(seat: Any, name: str, arguments: tuple[Any, ...], quick: bool) -> Any:
    how = {"separate_thread": False} if quick else {}
    return await getattr(seat, name)(*arguments, **how)


def _best(
    found: dict[str, WorkerFacts], problems: list[str], device: str
) -> tuple[str, WorkerFacts]:
    """The worker with the most memory of those that have the device, CUDA before the others."""
    if not found:
        raise LoopscopeError(problems[0])
    fit = {a: w for a, w in found.items() if device != "cuda" or w.cuda}
    if not fit:
        raise LoopscopeError("no worker of the cluster has a CUDA device")
    cpu = device == "cpu"
    return max(fit.items(), key=lambda own: (own[1].cuda and not cpu, own[1].memory))


def _close(client: Client) -> None:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with contextlib.suppress(Exception):
        client.close(timeout=2)


_open: dict[str, Connection] = {}
_opening = threading.RLock()


def shared_connection(address: str) -> Connection:
    """Return the connection to an address, which all models there use; `leave` it in the end."""
    with _opening:
        connection = _open.setdefault(address, Connection(address))
        connection.users += 1
        return connection


def leave(connection: Connection) -> None:
    """One user less: the last one closes it."""
    with _opening:
        connection.users -= 1
        if connection.users > 0:
            return
        if _open.get(connection.address) is connection:
            del _open[connection.address]
    connection.close()
