"""The bench: runner, runs, cursor and views wired together. It knows no layout.

Nothing here waits. A timer pulls the runner's status 60 times a second; each visible view has at
most one analysis in flight on one analysis thread and asks again with the newest run when that is
done. So the record is lossless, the picture may skip, and a slow view slows only itself::

    runner thread                 GUI thread                      analysis thread
    recording.append  --pull-->   frame(): what changed? --submit--> compute(recording, ...)
                                  show_data (one a frame) <--future--

`app.bench.runs` holds the runs and what may be done to them, `app.bench.analysis` the views.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from loopscope.app.bench.analysis import Analysis, Display
from loopscope.app.bench.collecting import Collector
from loopscope.app.bench.comparison import Comparison
from loopscope.app.bench.measuring import Measuring
from loopscope.app.bench.run_tree import Run
from loopscope.app.bench.runs import Runs
from loopscope.app.views import VIEW_SPECS, ViewSpec
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.prompts.prompt_set import PromptSet
from loopscope.core.run.jobs import Job, Jobs
from loopscope.core.run.recording import Recording
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.runner import Runner
from loopscope.core.run.status import RunnerState, Status
from loopscope.core.selection import Selection
from loopscope.core.views.base import ViewData
from loopscope.core.views.second_run import SecondRun, second_selection, selection_back
from loopscope.widgets.palette import Theme

# A frame draws one thing (one view's data, or one view's marks), so that no frame is long.
FRAME_MS = 16


@dataclass(slots=True)
class PlayState:
    """What the transport shows."""

    playing: bool = False
    following: bool = True
    rate: float = 4.0
    stop_at_settling: bool = False


class Bench(QObject):
    """Wires one `Runner` to views made from `VIEW_SPECS`; `close` it when done."""

    status_changed = Signal(object)
    run_changed = Signal()
    progressed = Signal()
    selection_changed = Signal(object, dict)
    data_shown = Signal(str)
    second_shown = Signal(str)
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
        self._status = Status()
        self._recording: Recording | None = None
        self._layers_seen = -1
        self._second_seen = -1
        # Where the cursor goes when the run has come that far again, see `_on_run_shown`.
        self._wanted: Selection | None = None
        self._waiting: list[tuple[Future[Any], Callable[[Future[Any]], None]]] = []
        self.jobs = Jobs(lambda: self.runner.stepping)
        self._job_shown: tuple[int, float] | None = None
        self.prompt_set: PromptSet | None = None
        self.second_run: SecondRun | None = None
        self.analysis = Analysis(self)
        self.measuring = Measuring(self)
        self.runs = Runs(self.runner, self.wait, lambda: self.selection, self)
        self.runs.message.connect(self.message)
        self.runs.shown.connect(self._on_run_shown)
        self.runs.changed.connect(self._on_runs_changed)
        self.comparison = Comparison(self)
        self.collector = Collector(self)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.frame)
        self._timer.start(FRAME_MS)

    # ---- views ----
    @property
    def displays(self) -> dict[str, Display]:
        """Every view that was made, by the key of its panel."""
        return self.analysis.displays

    def add_view(self, spec: ViewSpec, options: Any = None) -> Display:
        """Make a panel's view and connect it."""
        return self.analysis.add(spec, options or spec.options())

    def add_all_views(self) -> None:
        """Make every view of `VIEW_SPECS`."""
        for spec in VIEW_SPECS:
            self.add_view(spec)

    def set_options(self, key: str, options: Any) -> None:
        """Take new options for a view; it is computed again."""
        display = self.displays[key]
        if options is not display.options:
            self.analysis.set_options(display, options)

    def set_theme(self, theme: Theme) -> None:
        """Tell every view its colours."""
        for display in self.displays.values():
            for drawing in display.drawings:
                drawing.view.set_theme(theme)

    # ---- the run ----
    @property
    def recording(self) -> Recording | None:
        """The recording shown."""
        return self._recording

    @property
    def status(self) -> Status:
        """The status last seen."""
        return self._status

    def open(self, request: LoadRequest) -> None:
        """Load a checkpoint in the worker."""
        self.play.playing = False
        self.jobs.cancel_all()
        self.comparison.let_go()
        self.runner.open(request)

    def reloop(self, request: LoadRequest) -> None:
        """Loop another span of the deep model that is open: that of the request."""
        self.play.playing = False
        self.jobs.cancel_all()

        def done(future: Future[None]) -> None:
            if not future.cancelled() and future.exception() is not None:
                self.message.emit(str(future.exception()))

        self.wait(self.runner.reloop(request), done)

    def start_job(
        self, name: str, work: Callable[[Job[Any]], Any], done: Callable[[Any], None]
    ) -> Job[Any]:
        """Do ``work(job)`` in the jobs' thread, then ``done(result)`` here."""
        return self.measuring.start_job(name, work, done)

    def measure(self, key: str) -> None:
        """Make the measurement that a view asks for; what it finds stays with the run or model."""
        self.measuring.measure(key)

    def cancel_measuring(self, key: str) -> None:
        """Give up the measurement of one view."""
        self.measuring.cancel(key)

    def set_prompt_set(self, prompts: PromptSet) -> None:
        """Use these prompts in every view over a prompt set, whatever model is open."""
        self.prompt_set = prompts
        self.analysis.findings += 1
        if self._recording is not None:
            self._recording.shared.prompts = prompts
        self.progressed.emit()  # what waited for prompts can be measured now

    def wait(self, future: Future[Any], done: Callable[[Future[Any]], None]) -> None:
        """Call ``done(future)`` in a frame after it is finished."""
        self._waiting.append((future, done))

    def begin(self, request: RunRequest) -> None:
        """Begin a run; the one shown now can be gone back to."""
        self.request = request
        self.play.playing, self.play.following = False, True
        self.runner.begin(request)

    def restart(self, **changes: Any) -> None:
        """Begin the run again with some of its request changed, to as many recurrences.

        Uncut: what was cut into this run is not made into another one unasked.
        """
        if self.request is None:
            return
        done = 0 if self._recording is None else self._recording.n_recurrences
        kept = {"recurrences": min(done, 200), "interventions": ()}
        self.begin(replace(self.request, **(kept | changes)))

    def _on_run_shown(self, run: Run) -> None:
        """Another run of the tree is shown: its request and cursor come with it."""
        self.request = run.request
        self.play.playing = False
        self._pull()
        self._set_selection(run.cursor)
        # A branch has first to be run up to where the cursor was.
        self._wanted = run.cursor

    def _on_runs_changed(self) -> None:
        self._update_second()
        self.progressed.emit()

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

        options = self.displays["settling"].options if "settling" in self.displays else None
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
        self.progressed.emit()

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
        self._wanted = None
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

    # ---- the run beside ----
    def _update_second(self) -> None:
        """Take the cursor over to the run beside."""
        second, pairing = self.runs.second, self.runs.pairing
        if second is None or pairing is None:
            self.second_run = None
            return
        there = second.stepper.recording
        own = self.runs.second_cursor
        selection = second_selection(self.selection, pairing, there, own)
        self.second_run = SecondRun(there, second.name, pairing, selection)

    @property
    def second_hover(self) -> dict[str, int]:
        """The place that is pointed at, in the run beside."""
        if self.second_run is None:
            return {}
        hover = dict(self.hover)
        if "recurrence" in hover:
            r, layer = hover["recurrence"], hover.get("layer", self.selection.layer)
            there = self.second_run.pairing.place(r, layer)
            hover["recurrence"] = there[0]
            if "layer" in hover:
                hover["layer"] = there[1]
        return hover

    def select_in_second(self, changes: dict[str, Any]) -> None:
        """A click in a view of the run beside moves the one cursor, or its own at its own pace."""
        second_run = self.second_run
        if second_run is None:
            return
        if second_run.pairing.pace == "own":
            kept = {k: v for k, v in changes.items() if k in ("recurrence", "layer")}
            self.runs.second_cursor = replace(second_run.selection, **kept)
        self.select(
            selection_back(changes, self.selection, second_run.selection, second_run.pairing)
        )
        self._update_second()
        self._mark()

    def set_second_hover(self, hover: dict[str, int]) -> None:
        """Point at a place of the run beside."""
        second_run = self.second_run
        if second_run is not None:
            back = selection_back(hover, self.selection, second_run.selection, second_run.pairing)
            self.set_hover({k: int(v) for k, v in back.items()})

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
        self._update_second()
        self.analysis.mark()
        self.selection_changed.emit(self.selection, self.hover)

    def _follow(self) -> None:
        if self._recording is not None:
            latest = self._recording.n_recurrences
            self._set_selection(replace(self.selection, recurrence=latest))

    # ---- the frame ----
    def frame(self) -> None:
        """Pull what changed, show at most one finished analysis, ask for the next ones."""
        self._pull()
        self.analysis.frame()
        for future, done in [w for w in self._waiting if w[0].done()]:
            self._waiting.remove((future, done))
            done(future)

    @property
    def _n_recurrences(self) -> int:
        return 0 if self._recording is None else self._recording.n_recurrences

    def _pull(self) -> None:
        status = (
            self.runner.status
        )  # of one moment, so that the run and its stepper belong together
        recording = status.recording
        if status != self._status:
            self._status = status
            if status.state is not RunnerState.STEPPING and self.runner.idle:
                self.play.playing = False
            self.status_changed.emit(status)
        if recording is not self._recording:
            self._recording, self._layers_seen = recording, -1
            if recording is None:
                self.analysis.clear()
            else:
                self.collector.spare_libraries()
                recording.shared.prompts = self.prompt_set
            left_at = self.selection
            self._set_selection(left_at)  # into the new run's bounds, before anyone looks
            if recording is not None and self.request is not None:
                self.runs.take_in(status.stepper, self.request, left_at)
            self.run_changed.emit()
        self.comparison.follow()
        job = self.jobs.current
        shown = None if job is None else (id(job), round(job.progress, 2))
        if shown != self._job_shown:
            self._job_shown = shown
            self.status_changed.emit(status)
        self.measuring.tell()
        self._pull_second()
        done = -1 if recording is None else recording.layers_done
        if done != self._layers_seen:
            self._layers_seen = done
            before = self.selection
            if self.play.following:
                self._follow()
            elif self._wanted is not None and self._wanted.recurrence <= self._n_recurrences:
                self._set_selection(self._wanted)
                self._wanted = None
            self._set_selection(self.selection)
            if self.selection == before:  # else the new selection has told it
                self.progressed.emit()

    def _pull_second(self) -> None:
        """Notice how far the run beside has come."""
        self.runs.check_companion()
        second = self.runs.second
        seen = -1 if second is None else second.stepper.recording.layers_done
        if seen != self._second_seen:
            self._second_seen = seen
            self._update_second()
            self.analysis.mark()

    def fetch_directions(self, second_run: bool, token_ids: tuple[int, ...]) -> None:
        """Have the worker read unembedding rows that a view asked for; then it computes again."""
        second = self.runs.second
        if not second_run:
            stepper = self.runner.stepper
        else:
            stepper = None if second is None else second.stepper
        if stepper is None or not token_ids:
            return
        recording = stepper.recording

        def fetch(loaded: Any, shown: Any) -> None:
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
            and self.runner.recording is self._recording
            and (self._recording is None or self._layers_seen == self._recording.layers_done)
            and self.analysis.settled
        )

    def in_background(self, work: Callable[[], Any], done: Callable[[Future[Any]], None]) -> None:
        """Run ``work`` on the analysis thread and ``done(future)`` here when it is finished."""
        self.wait(self.analysis.in_background(work), done)

    def data_of(self, spec: ViewSpec, selection: Selection | None = None) -> ViewData | None:
        """Compute a panel's data for the run shown (any thread)."""
        if self._recording is None:
            return None
        display = self.displays.get(spec.key)
        options = display.options if display else spec.options()
        return spec.compute(self._recording, selection or self.selection, options)

    def close(self) -> None:
        """Stop the timer, the analyses and the runner; safe in mid-run."""
        self._timer.stop()
        self.analysis.close()
        self.jobs.close()
        self.comparison.forget()
        self.runner.close()
        self.collector.close()
