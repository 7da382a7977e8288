"""A model at a seat: all of it but its weights is here, and what needs those is asked there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from loopscope.core.arrays import F32
from loopscope.core.checkpoint.devices import DeviceChoice
from loopscope.core.checkpoint.folder import Checkpoint
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import Cancelled, ForeignError, LoopscopeError
from loopscope.core.families import FAMILIES
from loopscope.core.generation.continuing import NewToken, Plan
from loopscope.core.generation.sampling import Sampling
from loopscope.core.labels import size
from loopscope.core.model.architecture import Architecture
from loopscope.core.prompts.shared import Shared
from loopscope.core.prompts.tokenizer import Prompt, PromptTokenizer
from loopscope.core.remote import tasks
from loopscope.core.remote.connection import (
    Connection,
    ConnectionLost,
    leave,
)
from loopscope.core.remote.facts import Began, Look, ModelFacts
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.run_info import RunInfo

Report = Callable[[float, str], None]
# Seconds between two looks at a task; bytes of rows that are sent at a time.
LOOK, PART = 0.05, 1 << 22


def load_there(
    connection: Connection, request: LoadRequest, report: Report, cancelled: Callable[[], bool]
) -> ModelFacts:
    """Load a model at the seat of a connection.

    Raises `Cancelled` when ``cancelled`` says so, and `LoopscopeError`, which names the host, where
    it cannot be loaded.
    """
    plain = LoadRequest(request.path, request.device, request.dtype, request.loop, request.family)

    def look(seen: Look) -> None:
        report(seen.share, f"{seen.doing} on {connection.worker.host}")
        if cancelled():
            raise Cancelled(f"loading {request.path}: cancelled")

    try:
        facts: ModelFacts = _done(connection, (tasks.load, plain), look)
    except (Cancelled, ConnectionLost, ForeignError):
        raise
    except LoopscopeError as error:
        raise LoopscopeError(f"on {connection.worker.host}: {error}") from None
    return facts


def _done(connection: Connection, work: tuple[Any, ...], look: Callable[[Look], None]) -> Any:
    """Do a task at the seat; ``look`` is called now and then, and ends it by raising."""
    number = connection.call("start", *work, quick=True)
    try:
        while True:
            seen: Look = connection.call("look", number, quick=True)
            look(seen)
            if seen.done:
                return connection.call("take", number)
            connection.pause(LOOK)
    except Cancelled:
        connection.tell(connection.epoch, "cancel", number)
        raise


class Seated:
    """A model at a seat. ``request`` is what it was loaded by, as it was asked for here."""

    def __init__(self, request: LoadRequest, connection: Connection, facts: ModelFacts) -> None:
        self.request, self.connection = request, connection
        self.shared = Shared()
        self._take(facts)
        self.tokenizer = _tokenizer(facts)
        self._released = False

    def _take(self, facts: ModelFacts) -> None:
        self.facts, self.epoch = facts, self.connection.epoch
        family = next(own for own in FAMILIES if own.name == facts.family)
        self.checkpoint = Checkpoint(
            Path(facts.path), facts.name, family, facts.recognised_by, facts.architecture,
            facts.config, facts.tensors, {}, None, facts.notes,
        )  # fmt: skip
        self.device: DeviceChoice = facts.device
        self.dtype, self.weights_hash, self.warning = facts.dtype, facts.weights_hash, facts.warning
        self.weight_identity, self.nbytes = facts.weight_identity, facts.nbytes

    @property
    def architecture(self) -> Architecture:
        """The checkpoint's."""
        return self.facts.architecture

    @property
    def lost(self) -> str:
        """Why it cannot be asked any more, or ""."""
        return self.connection.lost

    @property
    def place(self) -> str:
        """The machine that it is on."""
        return self.facts.place.host

    @property
    def place_details(self) -> str:
        """More on that: memory, address, versions."""
        place, link = self.facts.place, self.connection
        return (
            f"on {place.host}: {place.device}, {size(place.memory)} of memory\n"
            f"worker {link.worker_address} of {link.address}\n"
            f"torch {place.torch}, {place.threads} threads\n"
            f"{self.facts.path}, as that machine sees it"
        )

    @property
    def process(self) -> tuple[str, int]:
        """The version of torch there, and its threads."""
        return self.facts.place.torch, self.facts.place.threads

    @property
    def travelled(self) -> int:
        """Bytes of rows that came from there."""
        return self.connection.travelled

    @property
    def link_words(self) -> str:
        """How good the link is: round trip, and what it carries."""
        link = self.connection
        words = f"Round trip of a short call {1e3 * link.round_trip:.1f} ms"
        if link.rate < float("inf"):
            words += f", about {size(int(link.rate))}/s"
        return words + (", patterns compressed" if link.slow else "")

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        """Give it up, there too; waits for nothing."""
        if not self._released:
            self._released = True
            self.connection.tell(self.epoch, "drop_model", self.facts.model)
            leave(self.connection)

    # ---- after a loss ----
    def check(self) -> None:
        """Raise `ConnectionLost` while the worker does not have this model."""
        if self.connection.lost or self.epoch != self.connection.epoch:
            raise ConnectionLost(
                f"{self.connection.lost or 'the worker was lost'}; what was received is here, "
                "and reconnecting goes on"
            )

    def reconnect(self, report: Report, cancelled: Callable[[], bool]) -> None:
        """Be on a worker again: connect where that is needed, and load the same weights.

        Runs are begun again when they are next used. Raises `LoopscopeError` where it cannot be,
        or where the weights are others now.
        """
        link, request = self.connection, self.request
        report(0.0, f"connecting to {link.address}")
        if link.lost:
            link.connect(((request.path, request.family),), request.device)
        if self.epoch == link.epoch:
            return
        facts = load_there(link, request, report, cancelled)
        if facts.weights_hash != self.weights_hash:
            link.tell(link.epoch, "drop_model", facts.model)
            raise LoopscopeError(f"{request.path} has other weights now: open it anew")
        self._take(facts)

    def begun_there(self, info: RunInfo, capture: Capture, initial: F32 | None) -> Began:
        """Begin a run on the worker as it was begun before; ``initial`` is ``[T, d]``."""
        start = info.start if info.start in ("zeros", "random") else "default"
        began: Began = self.connection.call(
            "begin", self.facts.model, Prompt(info.prompt, info.token_ids, info.token_labels),
            info.seed, start, info.start_scale, info.interventions, capture, initial,
        )  # fmt: skip
        return began

    def upload(self, recording: Recording) -> Began:
        """Send a recording and stand at its end."""
        number, link = 0, self.connection
        for name, rows in recording.kept.items():
            part = max(1, PART // max(rows.row_bytes, 1))
            for first in range(0, max(len(rows), 1), part):
                last = min(first + part, len(rows))
                number = link.call("upload", number, name, rows.rows(first, last))
        began: Began = link.call(
            "resume", number, self.facts.model, recording.info, recording.capture,
            dict(recording.effects),
        )  # fmt: skip
        return began

    # ---- what needs the weights ----
    def task(
        self, function: Callable[..., Any], *arguments: Any, report: Callable[[float], None]
    ) -> Any:
        """Do ``function(seat, task, *arguments)`` there; ``report`` ends it by raising."""
        return _done(self.connection, (function, *arguments), lambda seen: report(seen.share))

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of a module there, and wait for it."""
        self.check()
        return self.connection.call("call", function, *arguments)

    def continued(
        self, prompt: Prompt, plan: Plan, sampling: Sampling, keep_going: Callable[[], None]
    ) -> Iterator[NewToken]:
        """Continue a text there; ``keep_going`` raises what ends it."""
        self.check()
        link = self.connection
        number = link.call(
            "start", tasks.continued, self.facts.model, prompt, plan, sampling, quick=True
        )
        try:
            while True:
                seen: Look = link.call("look", number, quick=True)
                yield from seen.items
                keep_going()
                if seen.done:
                    link.call("take", number)
                    return
                link.pause(LOOK)
        except (Cancelled, GeneratorExit):
            link.tell(link.epoch, "cancel", number)
            raise


def _tokenizer(facts: ModelFacts) -> PromptTokenizer:
    """The model's tokenizer, made here of its file's text."""
    arch = facts.architecture
    limits = (arch.vocab_size, arch.max_positions, arch.prefix, arch.prefix_rows)
    if facts.tokenizer is None:
        made = PromptTokenizer(None, *limits)
        made.problem = facts.problem
        return made
    with tempfile.TemporaryDirectory(prefix="loopscope-") as folder:
        file = Path(folder) / "tokenizer.json"
        file.write_text(facts.tokenizer, "utf-8")
        return PromptTokenizer(file, *limits)
