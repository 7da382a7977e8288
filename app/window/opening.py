"""Opening a checkpoint: what is loaded, and the run that is begun on it when it is there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from loopscope.app.bench.bench import Bench
from loopscope.app.window.settings import Settings, absolute
from loopscope.core.checkpoint.request import LoadRequest, Loop
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import Intervention
from loopscope.core.interventions.registry import from_json
from loopscope.core.run.requests import RunRequest
from loopscope.core.selection import Selection
from loopscope.core.sessions.saved import SavedSession

if TYPE_CHECKING:
    from loopscope.core.recordings.reader import RecordingFile
    from loopscope.core.run.elsewhere import AnyModel

HOPS_PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"
TEXT_PROMPT = "The square root of 16 is"


@dataclass(frozen=True, slots=True)
class FirstRun:
    """The run to begin on a model when it is loaded; None leaves it to what was remembered.

    interventions : those of the last time by default, if the prompt is that of the last time too.
    like : a run whose seed and start it takes.  cursor : where the cursor is put; by default at
        the answer.  following : whether it goes along with the latest recurrence.
    """

    prompt: str | None = None
    recurrences: int | None = None
    interventions: tuple[Intervention, ...] | None = None
    like: RunRequest | None = None
    cursor: Selection | None = None
    following: bool = True


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """A session that was read.

    saved : its contents, every path where it is now.  file : that it is saved to, None for none.
    recovered : whether a window that was not closed had kept it; it is in no file then.
    recording : of its runs, opened.  notes : what was found on the way, for people.
    """

    saved: SavedSession
    file: Path | None
    recovered: bool = False
    recording: RecordingFile | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenRequest(LoadRequest):
    """A checkpoint to load, with the run to begin on it; it comes back as ``Loaded.request``.

    session : the session to show on it, in place of a first run.
    """

    first_run: FirstRun = FirstRun()
    session: OpenedSession | None = None


class Opening(QObject):
    """Opens checkpoints in one bench and begins the first run on each.

    Signals
    -------
    requested(str, str)
        The device and the dtype that were asked for.
    """

    requested = Signal(str, str)

    def __init__(self, bench: Bench, settings: Settings, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._bench, self._settings = bench, settings
        # Asks about runs that would be lost before what takes the model away; see `Unsaved`.
        self.before: Callable[[str, Callable[[], None]], None] = lambda what, then: then()

    def open(
        self,
        path: str,
        first_run: FirstRun | None = None,
        *,
        device: str | None = None,
        dtype: str | None = None,
        loop: Loop | None = None,
        family: str | None = None,
    ) -> None:
        """Load ``path``, on the device, in the dtype and as the family of the last time if None.

        Runs that would be lost are asked about first.
        """

        def load() -> None:
            self._load(path, first_run or FirstRun(), device, dtype, loop, family)

        self.before("opening another model", load)

    def _load(
        self,
        path: str,
        first_run: FirstRun,
        device: str | None,
        dtype: str | None,
        loop: Loop | None,
        family: str | None,
    ) -> None:
        settings, path = self._settings, absolute(path)
        settings.device, settings.dtype = device or settings.device, dtype or settings.dtype
        self.requested.emit(settings.device, settings.dtype)
        family = self._remembered_family(path) if family is None else family
        path = checkpoint_in(path)
        self._bench.open(
            OpenRequest(path, settings.device, settings.dtype, loop, family, first_run=first_run)
        )

    def open_on(
        self,
        address: str,
        path: str,
        first_run: FirstRun | None = None,
        *,
        device: str = "auto",
        dtype: str = "float32",
        loop: Loop | None = None,
        family: str = "",
    ) -> None:
        """Load ``path``, as a worker of the scheduler at ``address`` sees it, on that worker."""
        asked = OpenRequest(path, device, dtype, loop, family, address, first_run or FirstRun())

        def load() -> None:
            self.requested.emit(device, dtype)
            self._bench.open(asked)

        self.before("opening another model", load)

    def reopen(self, path: str, first_run: FirstRun) -> None:
        """Load another checkpoint in the way of the one in use: device, dtype, span and family."""
        loaded = self._bench.session.status.loaded
        own = LoadRequest(path) if loaded is None else loaded.request
        self._bench.open(
            OpenRequest(path, own.device, own.dtype, own.loop, own.family, first_run=first_run)
        )

    def open_session(self, opened: OpenedSession) -> None:
        """Load the checkpoint of a session, on the device and in the dtype that it asks for."""
        model = opened.saved.model
        self.requested.emit(model.device, model.dtype)
        self._bench.open(
            OpenRequest(
                model.path, model.device, model.dtype, model.loop, model.family, session=opened
            )
        )

    def session_of(self, loaded: AnyModel) -> OpenedSession | None:
        """The session that a model was loaded for; the checkpoint is remembered then."""
        request = loaded.request
        if not isinstance(request, OpenRequest) or request.session is None:
            return None
        self._settings.device, self._settings.dtype = request.device, request.dtype
        family = request.family if loaded.checkpoint.asked_for else ""
        self._settings.remember_checkpoint(request.path, family)
        return request.session

    def _remembered_family(self, path: str) -> str:
        family = self._settings.families.get(path, "")
        if not family:
            return ""
        # Late: the window appears before the families are imported.
        from loopscope.core.families import FAMILIES

        return family if family in {known.name for known in FAMILIES} else ""

    def take_offer(self) -> None:
        """Load the folder that was refused, as the family that it was said to be readable as."""
        offer = self._bench.session.status.offer
        if offer is not None:
            self.before("opening another model", lambda: self._bench.open(offer))

    def change_device(self, device: str, dtype: str) -> None:
        """Load the model in use again and run the same, without interventions."""
        self.before("loading the model anew", lambda: self._change_device(device, dtype))

    def _change_device(self, device: str, dtype: str) -> None:
        session = self._bench.session
        loaded, request, recording = session.status.loaded, session.request, session.recording
        if request is not None:
            settings = self._settings
            settings.seed, settings.start = request.seed, request.start
            settings.start_scale, settings.patterns = request.start_scale, request.patterns
        prompt = None if request is None else request.prompt
        recurrences = None if recording is None else recording.n_recurrences
        loop = None if loaded is None else loaded.request.loop
        family = "" if loaded is None else loaded.request.family
        run = FirstRun(prompt, recurrences)
        if loaded is not None and loaded.request.on:
            asked = loaded.request
            self.open_on(
                asked.on, asked.path, run, device=device, dtype=dtype, loop=loop, family=family
            )
            return
        self._load(self._settings.checkpoint, run, device, dtype, loop, family)

    def reloop(self, first: int, last: int, damping: float, recurrences: int) -> None:
        """Loop another span of the deep model in use and run the prompt again."""
        loaded, run = self._bench.session.status.loaded, self._bench.session.request
        if loaded is None:
            return
        prompt = None if run is None else run.prompt
        request, loop = loaded.request, (first, last, damping)
        asked = OpenRequest(
            request.path, request.device, request.dtype, loop, request.family,
            request.on, FirstRun(prompt, recurrences),
        )  # fmt: skip
        self.before("looping another span", lambda: self._bench.reloop(asked))

    def begin(self, loaded: AnyModel) -> RunRequest:
        """Begin the first run on a model that was just loaded; returns what is run.

        The checkpoint is remembered. A start state chosen for one checkpoint says nothing about
        another: that begins as it was trained to.
        """
        load_request, settings = loaded.request, self._settings
        first_run = load_request.first_run if isinstance(load_request, OpenRequest) else FirstRun()
        same = settings.checkpoint == load_request.path and not load_request.on
        family = load_request.family if loaded.checkpoint.asked_for else ""
        if not load_request.on:  # a path of another machine is none that the next start can open
            settings.remember_checkpoint(load_request.path, family)
        arch = loaded.architecture
        recurrences = first_run.recurrences
        if recurrences is None:
            recurrences = min(settings.recurrences, 2 * arch.trained_recurrences)
        request = RunRequest(
            first_run.prompt or settings.prompts.get(load_request.path) or first_prompt(loaded),
            seed=settings.seed,
            patterns=settings.patterns,
            recurrences=recurrences,
            interventions=self._interventions(first_run, same),
        )
        if same:
            request = replace(request, start_scale=settings.start_scale)
        if same and settings.start in loaded.architecture.starts:
            request = replace(request, start=settings.start)
        if (like := first_run.like) is not None:
            request = replace(
                request, seed=like.seed, start=like.start, start_scale=like.start_scale
            )
        self._bench.begin(request)
        return request

    @staticmethod
    def cursor_of(loaded: AnyModel) -> tuple[Selection, bool] | None:
        """Where the cursor is put in the first run, and whether it follows; None for the answer."""
        request = loaded.request
        first = request.first_run if isinstance(request, OpenRequest) else FirstRun()
        return None if first.cursor is None else (first.cursor, first.following)

    def _interventions(self, first_run: FirstRun, same: bool) -> tuple[Intervention, ...]:
        """Those asked for, or those of the last time; what cannot be read is left out."""
        saved, self._settings.interventions = self._settings.interventions, []
        if first_run.interventions is None and first_run.prompt is None and same:
            with contextlib.suppress(LoopscopeError):
                return from_json(saved)
        return first_run.interventions or ()


def checkpoint_in(path: str) -> str:
    """The last checkpoint of a folder that holds a series and is none itself; else the path."""
    if path.startswith("bundled:") or not Path(path).is_dir():
        return path
    # Late: the window appears before it is known what is opened.
    from loopscope.core.checkpoint.series import CONFIG, series_in

    if (Path(path) / CONFIG).exists():
        return path
    members = series_in(path)
    return members[-1].path if members else path


def first_prompt(loaded: AnyModel) -> str:
    """A prompt for a model that none is remembered for."""
    arch = loaded.architecture
    if loaded.tokenizer.problem:
        return "#" + ",".join(str(i % arch.vocab_size) for i in range(1, 9))
    prompt = HOPS_PROMPT if arch.task == "hops" else TEXT_PROMPT
    if arch.masked and (mask := loaded.tokenizer.mask_token):
        prompt += f" {mask}."
    return prompt


def first_token(loaded: AnyModel, labels: tuple[str, ...]) -> int:
    """The token whose answer a reader waits for: the last masked one, else the last."""
    mask = loaded.tokenizer.mask_token
    masked = [i for i, label in enumerate(labels) if mask and label == mask]
    return masked[-1] if masked else len(labels) - 1
