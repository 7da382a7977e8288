"""The bench: runner, cursor and views wired together. It knows no layout.

Nothing here waits. A timer pulls the runner's status 60 times a second; each visible view has at
most one analysis in flight on one analysis thread and asks again with the newest run when that is
done. So the record is lossless, the picture may skip, and a slow view slows only itself::

    runner thread                 GUI thread                      analysis thread
    recording.append  --pull-->   frame(): what changed? --submit--> compute(recording, ...)
                                  show_data (one a frame) <--future--
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from loopscope.app.comparison import Comparison
from loopscope.app.panels import PANELS, Panel
from loopscope.core.errors import Cancelled
from loopscope.core.jobs import Job, Jobs
from loopscope.core.recording import Recording
from loopscope.core.runner import Phase, Runner, RunRequest, Status, yield_to_the_screen
from loopscope.core.selection import Selection
from loopscope.core.views.base import ViewData
from loopscope.widgets.palette import Theme
from loopscope.widgets.view import View

# A frame draws one thing (one view's data, or one view's marks), so that no frame is long.
FRAME_MS = 16
# While the model steps, a view's analysis rests this many times as long as it took, and at least
# this long: pure-Python parts of it hold the interpreter that the screen needs.
REST, LEAST_REST = 3.0, 0.12
# Earlier runs that Undo can go back to, and the memory they may hold together.
KEPT_RUNS = 12
KEPT_BYTES = 1 << 30


@dataclass(slots=True, eq=False)
class Slot:
    """One view with the state of its analysis. ``wanted`` and ``shown`` are identity keys."""

    panel: Panel
    view: View
    options: Any
    data: ViewData | None = None
    shown: tuple[Any, ...] | None = None
    in_flight: Future[ViewData] | None = None
    in_flight_key: tuple[Any, ...] = ()
    submitted: float = 0.0
    rest_until: float = 0.0
    error: str | None = None
    job: Job[Any] | None = None


@dataclass(slots=True)
class PlayState:
    """What the transport shows."""

    playing: bool = False
    following: bool = True
    rate: float = 4.0
    stop_at_settling: bool = False


@dataclass(slots=True, eq=False)
class KeptRun:
    """A run that Undo or Redo can go back to."""

    stepper: Any
    request: RunRequest
    checkpoint: str
    cursor: Selection = field(default_factory=Selection)


class Bench(QObject):
    """Wires one `Runner` to views made from `PANELS`; `close` it when done."""

    status_changed = Signal(object)
    run_changed = Signal()
    progressed = Signal()
    selection_changed = Signal(object, dict)
    data_shown = Signal(str)
    data_failed = Signal(str, str)
    measuring_changed = Signal(str, object)
    message = Signal(str)

    def __init__(self, runner: Runner | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.runner = runner or Runner()
        self.selection = Selection()
        self.hover: dict[str, int] = {}
        self.play = PlayState()
        self.request: RunRequest | None = None
        self.slots: dict[str, Slot] = {}
        self.past: list[KeptRun] = []
        self.future: list[KeptRun] = []
        self._status = Status()
        self._recording: Recording | None = None
        self._layers_seen = -1
        self._analysis = ThreadPoolExecutor(
            1, thread_name_prefix="loopscope-analysis", initializer=yield_to_the_screen
        )
        self._waiting: list[tuple[Future[Any], Callable[[Future[Any]], None]]] = []
        self.jobs = Jobs(lambda: self.runner.stepping)
        self._job_shown: tuple[int, float] | None = None
        self._findings = 0
        self.comparison = Comparison(self)
        self._turn = 0
        self._stale: list[Slot] = []
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.frame)
        self._timer.start(FRAME_MS)

    # ---- views ----
    def add_view(self, panel: Panel, options: Any = None) -> Slot:
        """Make a panel's view and connect it."""
        view = panel.view()
        slot = Slot(panel, view, options or panel.options())
        view.set_options(slot.options)
        view.select_requested.connect(self.select)
        view.hover_changed.connect(self.set_hover)
        view.message.connect(self.message)
        view.options_changed.connect(lambda options: self.set_options(panel.key, options))
        view.clear()
        self.slots[panel.key] = slot
        return slot

    def add_all_views(self) -> None:
        """Make every view of `PANELS`."""
        for panel in PANELS:
            self.add_view(panel)

    def set_options(self, key: str, options: Any) -> None:
        """Take new options for a view; it is computed again."""
        slot = self.slots[key]
        if options is slot.options:
            return
        slot.options = options
        slot.view.set_options(options)

    def set_theme(self, theme: Theme) -> None:
        """Tell every view its colours."""
        for slot in self.slots.values():
            slot.view.set_theme(theme)

    # ---- the run ----
    @property
    def recording(self) -> Recording | None:
        """The recording shown."""
        return self._recording

    @property
    def status(self) -> Status:
        """The status last seen."""
        return self._status

    def open(
        self,
        path: str,
        device: str = "auto",
        dtype: str = "float32",
        loop: tuple[int, int, float] | None = None,
    ) -> None:
        """Load a checkpoint in the worker."""
        self.play.playing = False
        self.jobs.cancel_all()
        self.comparison.let_go()
        self.runner.open(path, device, dtype, loop)

    def reloop(self, first: int, last: int, damping: float) -> None:
        """Loop another span of the deep model that is open."""
        self.play.playing = False
        self.jobs.cancel_all()

        def done(future: Future[None]) -> None:
            if not future.cancelled() and future.exception() is not None:
                self.message.emit(str(future.exception()))

        self._waiting.append((self.runner.reloop(first, last, damping), done))

    def start_job(
        self, name: str, work: Callable[[Job[Any]], Any], done: Callable[[Any], None]
    ) -> Job[Any]:
        """Do ``work(job)`` in the jobs' thread, then ``done(result)`` here.

        A job that fails or is cancelled becomes a message.
        """

        def finished(future: Future[Any]) -> None:
            error = None if future.cancelled() else future.exception()
            if future.cancelled() or isinstance(error, Cancelled):
                self.message.emit(f"{name}: cancelled")
            elif error is not None:
                self.message.emit(f"{name}: {error}")
            else:
                done(future.result())

        job = self.jobs.submit(name, work)
        self._waiting.append((job.future, finished))
        return job

    def measure(self, key: str) -> None:
        """Make the measurement that a view asks for; what it finds stays with the run."""
        slot, stepper = self.slots[key], self.runner.stepper
        request = slot.panel.request
        if request is None or (slot.job is not None and not slot.job.future.done()):
            return
        why = "There is no run to measure yet." if stepper is None else ""
        if stepper is not None:
            why = request.missing(stepper.recording)
        if stepper is None or why:
            self.message.emit(why)
            return
        selection, options = self.selection, slot.options

        def done(finding: object) -> None:
            stepper.recording.findings[key] = finding
            self._findings += 1

        name = f"{slot.panel.title}: {request.label.lower()}"
        slot.job = self.start_job(
            name, lambda job: slot.panel.measure(stepper, selection, options, job), done
        )
        self.measuring_changed.emit(key, 0.0)

    def cancel_measuring(self, key: str) -> None:
        """Give up the measurement of one view."""
        job = self.slots[key].job
        if job is not None:
            job.cancel()

    def _tell_measuring(self) -> None:
        """Tell frames how far their measurement is, and that it has ended."""
        for key, slot in self.slots.items():
            if slot.job is not None:
                over = slot.job.future.done()
                self.measuring_changed.emit(key, None if over else slot.job.progress)
                slot.job = None if over else slot.job

    def begin(self, request: RunRequest) -> None:
        """Begin a run; the one shown now can be gone back to."""
        self._keep_current()
        self.future.clear()
        self.request = request
        self.play.playing, self.play.following = False, True
        self.runner.begin(request)

    def restart(self, **changes: Any) -> None:
        """Begin the run again with some of its request changed, to as many recurrences."""
        if self.request is None:
            return
        done = 0 if self._recording is None else self._recording.n_recurrences
        self.begin(replace(self.request, **({"recurrences": min(done, 200)} | changes)))

    def _keep_current(self) -> None:
        stepper = self.runner.stepper
        if stepper is None or self.request is None or stepper.recording.layers_done == 0:
            return
        name = stepper.loaded.checkpoint.name
        self.past.append(KeptRun(stepper, self.request, name, self.selection))
        self._forget_surplus()

    def _forget_surplus(self) -> None:
        total = 0
        for i, run in enumerate(reversed(self.past)):
            total += run.stepper.recording.nbytes
            if i >= KEPT_RUNS or total > KEPT_BYTES:
                del self.past[: len(self.past) - i]
                return

    def undo(self) -> None:
        """Go back to the run before this one."""
        self._go(self.past, self.future)

    def redo(self) -> None:
        """Go forward again."""
        self._go(self.future, self.past)

    def _go(self, source: list[KeptRun], other: list[KeptRun]) -> None:
        stepper = self.runner.stepper
        if not source or stepper is None or self.request is None:
            return
        name = stepper.loaded.checkpoint.name
        other.append(KeptRun(stepper, self.request, name, self.selection))
        run = source.pop()
        self.request = run.request
        self.play.playing = False
        self.runner.resume(run.stepper)
        self._pull()
        self._set_selection(run.cursor)

    def forget_runs(self) -> None:
        """Drop kept runs; they belong to a model that is no longer loaded."""
        self.past.clear()
        self.future.clear()

    # ---- transport ----
    def step_recurrence(self) -> None:
        """Run to the end of the current recurrence and follow it."""
        if self._recording is not None:
            done = self._recording.layers_done % self._recording.n_layers
            self.advance(self._recording.n_layers - done)

    def step_layer(self) -> None:
        """Run one layer and follow it."""
        self.advance(1)

    def advance(self, layers: int) -> None:
        """Run ``layers`` more layers and follow them."""
        if self._recording is None:
            self.message.emit("There is no run to step yet")
            return
        self.play.playing, self.play.following = False, True
        self.runner.advance(layers)

    def set_playing(self, playing: bool) -> None:
        """Play on from where it was paused, or pause."""
        if playing and self._recording is None:
            self.message.emit("There is no run to play yet")
            return
        self.play.playing = playing
        if playing:
            self.play.following = True
            self.runner.play(self.play.rate, self._until())
        else:
            self.runner.stop()
        self.progressed.emit()

    def _until(self) -> Callable[[Recording], str | None] | None:
        if not self.play.stop_at_settling:
            return None
        from loopscope.core.measures.settling import is_settled

        options = self.slots["settling"].options if "settling" in self.slots else None
        tolerance = getattr(options, "tolerance", 1e-2)
        window = int(getattr(options, "window", 3))

        def settled(recording: Recording) -> str | None:
            if not is_settled(recording.relative_step, tolerance, window):
                return None
            return (
                f"settled at recurrence {recording.n_recurrences}: every token's relative step "
                f"was below {tolerance:g} for {window} recurrences"
            )

        return settled

    def set_rate(self, rate: float) -> None:
        """Recurrences a second that play makes; infinity for as fast as it goes."""
        self.play.rate = rate
        if self.play.playing:
            self.runner.play(rate, self._until())

    def set_stop_at_settling(self, on: bool) -> None:
        """End playing when every token has settled."""
        self.play.stop_at_settling = on
        if self.play.playing:
            self.runner.play(self.play.rate, self._until())

    def stop(self) -> None:
        """Stop stepping or loading."""
        self.play.playing = False
        self.runner.stop()
        self.progressed.emit()

    def set_following(self, following: bool) -> None:
        """Follow the latest recurrence, or stay where the cursor is."""
        self.play.following = following
        if following:
            self._follow()
        self.progressed.emit()

    # ---- the cursor ----
    def select(self, changes: dict[str, Any]) -> None:
        """Move the cursor: some fields of `Selection`, as views emit them."""
        if "recurrence" in changes and self._recording is not None:
            latest = self._recording.n_recurrences
            self.play.following = changes["recurrence"] >= latest and self.play.following
        self._set_selection(replace(self.selection, **changes))
        self.progressed.emit()

    def set_hover(self, hover: dict[str, int]) -> None:
        """Point at a place in every view."""
        if hover != self.hover:
            self.hover = hover
            self._mark()

    def scrub(self, recurrence: int) -> None:
        """Move the cursor to a recurrence that has been run; nothing is recomputed."""
        latest = 0 if self._recording is None else self._recording.n_recurrences
        self.select({"recurrence": max(0, min(recurrence, latest))})

    def scrub_layer(self, by: int) -> None:
        """Move the cursor by one layer, over the ends of recurrences."""
        recording = self._recording
        if recording is None:
            return
        place = (self.selection.recurrence - 1) * recording.n_layers + self.selection.layer + by
        if place < 0:
            self.select({"recurrence": 0, "layer": 0})
            return
        place = min(place, recording.n_recurrences * recording.n_layers - 1)
        if place >= 0:
            recurrence, layer = divmod(place, recording.n_layers)
            self.select({"recurrence": recurrence + 1, "layer": layer})

    def _set_selection(self, selection: Selection) -> None:
        recording = self._recording
        if recording is not None:
            arch, n = recording.info.architecture, recording.n_tokens
            selection = Selection(
                max(0, min(selection.recurrence, recording.n_recurrences)),
                max(0, min(selection.layer, recording.n_layers - 1)),
                max(0, min(selection.head, arch.layer.n_heads - 1)),
                max(0, min(selection.token, n - 1)),
                tuple(t for t in selection.tokens if 0 <= t < n),
            )
        if selection != self.selection:
            self.selection = selection
            self._mark()

    def _mark(self) -> None:
        """Move the marks: of all views at once, or one view a frame while the model steps."""
        visible = [slot for slot in self.slots.values() if slot.view.isVisible()]
        if self.runner.idle:
            self._stale.clear()
            for slot in visible:
                slot.view.show_selection(self.selection, self.hover)
        else:
            self._stale += [slot for slot in visible if slot not in self._stale]
        self.selection_changed.emit(self.selection, self.hover)

    def _follow(self) -> None:
        if self._recording is not None:
            latest = self._recording.n_recurrences
            self._set_selection(replace(self.selection, recurrence=latest))

    # ---- the frame ----
    def frame(self) -> None:
        """Pull what changed, deliver at most one finished analysis, ask for the next ones."""
        self._pull()
        if not self._deliver() and self._stale:
            slot = self._stale.pop(0)
            slot.view.show_selection(self.selection, self.hover)
        self._submit()
        for future, done in [w for w in self._waiting if w[0].done()]:
            self._waiting.remove((future, done))
            done(future)

    def _pull(self) -> None:
        status = self.runner.status  # before the recording, so that a finished run is whole
        recording = self.runner.recording
        if status != self._status:
            self._status = status
            if status.phase is not Phase.STEPPING and self.runner.idle:
                self.play.playing = False
            self.status_changed.emit(status)
        if recording is not self._recording:
            self._recording, self._layers_seen = recording, -1
            if recording is None:
                for slot in self.slots.values():
                    slot.data, slot.shown = None, None
                    slot.view.clear()
            self._set_selection(self.selection)  # into the new run's bounds, before anyone looks
            self.run_changed.emit()
        self.comparison.follow()
        job = self.jobs.current
        shown = None if job is None else (id(job), round(job.progress, 2))
        if shown != self._job_shown:
            self._job_shown = shown
            self.status_changed.emit(status)
        self._tell_measuring()
        done = -1 if recording is None else recording.layers_done
        if done != self._layers_seen:
            self._layers_seen = done
            before = self.selection
            if self.play.following:
                self._follow()
            self._set_selection(self.selection)
            if self.selection == before:  # else the new selection has told it
                self.progressed.emit()

    def _key(self, slot: Slot) -> tuple[Any, ...]:
        fields = tuple(getattr(self.selection, name) for name in sorted(slot.view.DEPENDS_ON))
        run = self._recording
        # What was measured or read beside the run itself.
        beside: tuple[int, ...] = ()
        if run is not None:
            errors = run.float32_error
            beside = len(run.readout_directions), 0 if errors is None else len(errors)
        return id(run), self._layers_seen, id(slot.options), self._findings, *beside, *fields

    def _deliver(self) -> bool:
        """Show one finished analysis, in turn; says whether there was one."""
        slots = list(self.slots.values())
        for i in range(len(slots)):
            slot = slots[(self._turn + i) % len(slots)]
            if slot.in_flight is None or not slot.in_flight.done():
                continue
            future, slot.in_flight = slot.in_flight, None
            self._turn += i + 1
            slot.shown = slot.in_flight_key
            now = time.monotonic()
            slot.rest_until = now + max(LEAST_REST, REST * (now - slot.submitted))
            if (error := future.exception()) is not None:
                slot.error = f"{type(error).__name__}: {error}"
                self.data_failed.emit(slot.panel.key, slot.error)
                return True
            if slot.shown[0] != id(self._recording):
                slot.shown = None  # of a run that is no longer shown
                return True
            slot.data, slot.error = future.result(), None
            self._fetch_directions(getattr(slot.data, "missing_directions", ()))
            slot.view.show_data(slot.data)
            slot.view.show_selection(self.selection, self.hover)
            if slot in self._stale:
                self._stale.remove(slot)
            self.data_shown.emit(slot.panel.key)
            return True
        return False

    def _submit(self) -> None:
        recording = self._recording
        if recording is None:
            return
        now, stepping = time.monotonic(), not self.runner.idle
        for slot in self.slots.values():
            if slot.in_flight is not None or not slot.view.isVisible():
                continue
            if stepping and now < slot.rest_until:
                continue
            key = self._key(slot)
            if key != slot.shown:
                slot.in_flight_key, slot.submitted = key, now
                slot.in_flight = self._analysis.submit(
                    slot.panel.compute, recording, self.selection, slot.options
                )

    def _fetch_directions(self, token_ids: tuple[int, ...]) -> None:
        """Have the worker read unembedding rows that a view asked for; then it computes again."""
        recording = self._recording
        if recording is None or not token_ids:
            return

        def fetch(loaded: Any, stepper: Any) -> None:
            rows = {i: stepper.readout_direction(i) for i in token_ids}
            recording.readout_directions.update(rows)

        self.runner.call(fetch)

    @property
    def settled_down(self) -> bool:
        """Whether nothing is under way: no loading, no stepping, every visible view current."""
        return (
            self.runner.idle
            and self.jobs.current is None
            and not self._waiting
            and not self._stale
            and self.runner.recording is self._recording
            and (self._recording is None or self._layers_seen == self._recording.layers_done)
            and all(
                slot.in_flight is None and (slot.shown == self._key(slot) or slot.data is None)
                for slot in self.slots.values()
                if slot.view.isVisible()
            )
            and (
                self._recording is None
                or all(s.shown is not None for s in self.slots.values() if s.view.isVisible())
            )
        )

    def in_background(self, work: Callable[[], Any], done: Callable[[Future[Any]], None]) -> None:
        """Run ``work`` on the analysis thread and ``done(future)`` here when it is finished."""
        self._waiting.append((self._analysis.submit(work), done))

    def data_of(self, panel: Panel, selection: Selection | None = None) -> ViewData | None:
        """Compute a panel's data for the run shown (any thread)."""
        if self._recording is None:
            return None
        slot = self.slots.get(panel.key)
        options = slot.options if slot else panel.options()
        return panel.compute(self._recording, selection or self.selection, options)

    def close(self) -> None:
        """Stop the timer, the analyses and the runner; safe in mid-run."""
        self._timer.stop()
        for slot in self.slots.values():
            if slot.in_flight is not None:
                slot.in_flight.cancel()
        self._analysis.shutdown(wait=True, cancel_futures=True)
        self.jobs.close()
        self.comparison.forget()
        self.runner.close()
