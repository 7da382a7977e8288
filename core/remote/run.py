"""A run whose stepper sits on a worker: its recording is here, and grows as rows come."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast
from weakref import finalize

import numpy as np

from loopscope.core.arrays import F32
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import Intervention
from loopscope.core.remote.connection import ConnectionLost
from loopscope.core.remote.facts import ON_DEMAND, Began, Chunk
from loopscope.core.remote.far_rows import FarRows
from loopscope.core.remote.packing import Array, unpack
from loopscope.core.remote.seat import recording_of
from loopscope.core.remote.seated import Seated
from loopscope.core.remote.tasks import InFloat32, There, in_float32, measure
from loopscope.core.results import ResultKey
from loopscope.core.run.budget import Budget
from loopscope.core.run.kept_rows import BY_LAYER, Capture, kept_rows
from loopscope.core.run.recording import Recording
from loopscope.core.run.rows import Rows
from loopscope.core.run.states import LayerState, TopAnswers
from loopscope.core.selection import Selection

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyRun, ModelElsewhere

# Seconds of stepping, and of travelling, that come in one answer: Stop waits for one at the most.
CHUNK, ON_WAY = 0.1, 0.1
LEAST_BYTES, MOST_BYTES = 1 << 18, 1 << 25


@dataclass(frozen=True, slots=True, eq=False)
class _Came:
    """Rows of layers ``first .. last - 1`` that came; see `Chunk`."""

    first: int
    last: int
    rows: dict[str, Array]
    effects: dict[tuple[int, int], float]


@dataclass(slots=True)
class _Ask:
    """An answer that is on its way, and when it was asked for."""

    future: Future[Chunk]
    asked: float
    epoch: int


class RemoteRun:
    """One run of a `RemoteModel`, as `begun` on the worker; the runner uses it as a stepper.

    Rows come in the order of layers, each once; attention patterns when they are read.
    """

    def __init__(
        self,
        model: Seated,
        began: Began,
        capture: Capture,
        budget: Budget | None,
        recording: Recording | None = None,
    ) -> None:
        self._model, self.capture, self.budget = model, capture, budget
        self._connection = model.connection
        self._coming: deque[_Came] = deque()
        self._ask: _Ask | None = None
        self._interrupt = threading.Event()
        self._sit(began.run)
        self.recording = recording or self._begun(began)
        self.recording.shared, self.recording.label = model.shared, model.tokenizer.label
        self.recording.weight_identity = model.weight_identity
        self.recording.effects.update(began.effects)
        own = self.recording.kept.get(ON_DEMAND)
        if isinstance(own, FarRows):
            own.fetch = self._fetch

    @property
    def loaded(self) -> ModelElsewhere:
        """The model."""
        return cast("ModelElsewhere", self._model)

    def _sit(self, number: int) -> None:
        self._number, self._epoch = number, self._connection.epoch
        finalize(self, self._connection.tell, self._epoch, "drop_run", number)

    def _begun(self, began: Began) -> Recording:
        shapes = kept_rows(began.info.architecture, began.initial.shape, self.capture)
        rows: dict[str, Rows] = {}
        for name, (shape, dtype) in shapes.items():
            if name == ON_DEMAND:
                rows[name] = FarRows(shape, dtype, self._fetch, self.budget)
            else:
                rows[name] = Rows(shape, dtype, self.budget)
        rows["states"].append(began.initial)
        return Recording.of_rows(began.info, rows, self.capture, budget=self.budget)

    # ---- stepping ----
    def step_layer(self, ahead: float = 0) -> LayerState:
        """Append the next layer; where more are wanted, they are under way meanwhile.

        Raises `Cancelled` once interrupted, `ConnectionLost`.
        """
        self._interrupt.clear()
        self.revive()
        recording = self.recording
        recording.reserve()
        done = recording.layers_done
        while self._coming and self._coming[0].last <= done:
            self._coming.popleft()
        if not self._coming:
            if self._ask is None:
                self._ask_for(done + 1 + ahead)
            self._receive()
        end = self._coming[-1].last
        if self._ask is None and end < done + 1 + ahead:
            self._ask_for(done + 1 + ahead)
        return self._append(self._coming[0], done)

    def _ask_for(self, to: float) -> None:
        """Ask for the rows behind those that have come, up to layer ``to``."""
        have = self._coming[-1].last if self._coming else self.recording.layers_done
        link = self._connection
        most = int(min(max(link.rate * ON_WAY, LEAST_BYTES), MOST_BYTES))
        future = link.start(
            "advance", self._number, have, int(min(to, have + (1 << 20))), CHUNK, most, link.slow
        )
        self._ask = _Ask(future, time.monotonic(), self._epoch)

    def _receive(self) -> None:
        """Take the answer that is on its way."""
        ask = self._ask
        assert ask is not None
        late = ask.future.done()
        try:
            chunk: Chunk = self._connection.wait(ask.future, self._interrupt.is_set)
        except LoopscopeError:
            if ask.future.done() or self._connection.lost:
                self._ask = None
            raise
        self._ask = None
        # Of an answer that lay here already it is not known how long it was under way.
        seconds = 0.0 if late else time.monotonic() - ask.asked - chunk.seconds
        self._connection.came(chunk.nbytes, seconds)
        rows = {name: unpack(packed) for name, packed in chunk.rows.items()}
        self._coming.append(_Came(chunk.first, chunk.last, rows, chunk.effects))

    def _append(self, came: _Came, done: int) -> LayerState:
        """Append layer ``done``, which came, to the recording, and the recurrence that it ends."""
        recording, n = self.recording, self.recording.n_layers
        if not came.first <= done < came.last:
            raise LoopscopeError(f"layers {came.first} to {came.last} came, {done} was expected")
        rows = came.rows
        r, layer = divmod(done, n)

        def row(name: str) -> Array | None:
            first = came.first if name in BY_LAYER else came.first // n
            return rows[name][(done if name in BY_LAYER else r) - first] if name in rows else None

        state, pattern = row("layer_states"), None
        assert state is not None
        if ON_DEMAND in recording.kept:
            pattern = self._pattern(recording.kept[ON_DEMAND], done)
        recording.effects.update(came.effects)
        step = LayerState(r + 1, layer, state, pattern, row("writes"))
        recording.append_layer(step)
        if layer == n - 1:
            end = row("states")
            assert end is not None
            recording.append_end(
                end, _answers(row, "coda"), _answers(row, "logit"), row("hazards"), row("spread")
            )
        return step

    def _pattern(self, rows: Rows, layer: int) -> Array:
        """What stands for a pattern; in a run that came from a file, which keeps them, itself."""
        if isinstance(rows, FarRows):
            return np.broadcast_to(np.float32(np.nan), rows.shape)
        got = self._fetch(layer, layer + 1)
        return np.full(rows.shape, np.nan, np.float32) if got is None else got[0]

    def interrupt(self) -> None:
        """Have a `step_layer` that waits raise `Cancelled`; what comes is kept for later."""
        self._interrupt.set()

    # ---- other calls ----
    def _call(self, name: str, *arguments: Any) -> Any:
        self.revive()
        return self._connection.call(name, self._number, *arguments)

    def _fetch(self, first: int, last: int) -> Array | None:
        """Patterns of layers ``first .. last - 1``; None where they are lost."""
        if self._connection.lost or self._epoch != self._connection.epoch:
            return None
        asked, link = time.monotonic(), self._connection
        try:
            packed = link.call("rows", self._number, ON_DEMAND, first, last, link.slow)
        except ConnectionLost:
            return None
        link.came(packed.nbytes, time.monotonic() - asked)
        return unpack(packed)

    def branch(self, interventions: tuple[Intervention, ...]) -> RemoteRun:
        """Return a run that is this one up to where ``interventions`` first act."""
        recording = self.recording
        for intervention in interventions:
            intervention.check(recording.info.architecture, recording.n_tokens)
        done, n = recording.layers_done, recording.n_layers
        at = min([*(own.starts_at(n) for own in interventions), done])
        began: Began = self._call("branch", interventions, done)
        begun = None
        if at >= 0:
            every = (*recording.info.interventions, *interventions)
            begun = recording.prefix(at, replace(recording.info, interventions=every))
        return RemoteRun(self._model, began, self.capture, self.budget, begun)

    def readout_direction(self, token_id: int) -> F32:
        """The unembedding row of a token, ``[d]``."""
        row: F32 = self._call("direction", token_id)
        return row

    def measure(
        self, analysis: Callable[..., Any], selection: Selection, options: Any,
        key: ResultKey[Any], report: Callable[[float], None], second: AnyRun | None,
    ) -> object:  # fmt: skip
        """Make a measurement on the worker, of this run as far as it is here.

        Raises `LoopscopeError` where the second run is in another place, and what the analysis
        raises.
        """
        if second is not None and not isinstance(second, RemoteRun):
            raise LoopscopeError("the two runs are in two places; open both models on one worker")
        self.revive()
        if second is not None:
            second.revive()
        return self._model.task(
            measure, analysis, self.there(), selection, options, key,
            None if second is None else second.there(), report=report,
        )  # fmt: skip

    def in_float32(
        self, report: Callable[[float], None], *, readouts: bool
    ) -> tuple[F32, Recording | None]:
        """Compare the run with the same in float32, which is loaded there for the purpose.

        Returns the relative error, float32 ``[R, T]``, and that run with ``readouts``, else None.
        """
        self.revive()
        model = self._model
        found: InFloat32 = model.task(
            in_float32, model.facts.model, self.there(), readouts, report=report
        )
        if found.rows is None:
            return found.errors, self.recording.float32_run
        twin = recording_of(found.info, found.rows, found.capture)
        twin.label, twin.shared = model.tokenizer.label, model.shared
        return found.errors, twin

    def there(self) -> There:
        """What names this run on the worker."""
        return There(self._number, self.recording.layers_done, self._model.shared.prompts)

    # ---- after a loss ----
    def revive(self) -> None:
        """See that the worker has this run: after a loss it is begun again and run as far.

        What came before stays. Raises `ConnectionLost` while there is no worker.
        """
        self._model.check()
        if self._epoch == self._connection.epoch:
            return
        self._coming.clear()
        self._ask = None
        recording, info = self.recording, self.recording.info
        initial = recording.state(0) if info.start == "given" else None
        began: Began = self._model.begun_there(info, self.capture, initial)
        layers, done = recording.layers_done, 0
        while done < layers:
            done = self._connection.call(
                "run_to", began.run, layers, CHUNK, given_up=self._interrupt.is_set
            )
        if not self._agrees(began.run):
            began = self._model.upload(recording)
        self._sit(began.run)

    def _agrees(self, number: int) -> bool:
        """Whether the worker's run stands where this one does, to the last bit."""
        done = self.recording.layers_done
        if not done:
            return True
        own = self.recording.kept["layer_states"][done - 1]
        there = unpack(
            self._connection.call("rows", number, "layer_states", done - 1, done, False)
        )[0]
        return bool(
            np.array_equal(own.view(np.uint32), np.ascontiguousarray(there).view(np.uint32))
        )


def _answers(row: Callable[[str], Array | None], lens: str) -> TopAnswers | None:
    ids, probabilities = row(f"{lens}_ids"), row(f"{lens}_probabilities")
    return None if ids is None or probabilities is None else TopAnswers(ids, probabilities)
