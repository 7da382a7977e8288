"""The bench: runner, session, runs and views wired together. It knows no layout.

Nothing here waits. A `Pulse` pulls the runner's status 60 times a second, and seldom at rest; each
visible view has at most one analysis in flight on one analysis thread and asks again with the
newest run when that is done. So the record is lossless, the picture may skip, and a slow view
slows only itself::

    runner thread                 GUI thread                      analysis thread
    recording.append  --pull-->   frame(): what changed? --submit--> compute(recording, ...)
                                  show_data (one a frame) <--future--

Everything reads the `Session`; the `Transport` steps, `Runs` and `SecondRuns` say which runs are
shown, `Analysis` draws them, `Measuring` and `Comparison` make what takes long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject

from loopscope.app.bench.analysis import Analysis
from loopscope.app.bench.background import Background
from loopscope.app.bench.collecting import Collector
from loopscope.app.bench.comparison import Comparison
from loopscope.app.bench.continuing import Continuing
from loopscope.app.bench.displays import Display
from loopscope.app.bench.measuring import Measuring
from loopscope.app.bench.pulse import Pulse
from loopscope.app.bench.run_tree import Run
from loopscope.app.bench.runs import Runs
from loopscope.app.bench.second_runs import SecondRuns
from loopscope.app.bench.session import Session
from loopscope.app.bench.transport import Transport
from loopscope.app.bench.view_changes import ViewChanges
from loopscope.app.views import VIEW_SPECS
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.prompts.prompt_set import PromptSet
from loopscope.core.run.jobs import Jobs
from loopscope.core.run.recorded import Recorded
from loopscope.core.run.recording import Recording, appended
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.runner import Runner
from loopscope.core.run.status import RunnerState, Status
from loopscope.core.run.stepping import Until
from loopscope.core.selection import Selection
from loopscope.widgets.palette import Theme

if TYPE_CHECKING:
    from loopscope.core.recordings.reader import RecordingFile
    from loopscope.core.run.elsewhere import AnyModel, AnyRun

# Of a run that is begun again at most so many recurrences are made at once.
MOST_AGAIN = 200


class Bench(QObject):
    """Wires one `Runner` to views made from `VIEW_SPECS`; `close` it when done."""

    def __init__(self, runner: Runner | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.runner = runner or Runner(load=_load)
        self.session = Session(self)
        self.jobs = Jobs(lambda: self.runner.stepping)
        self.background = Background(
            self.jobs, self.session.message.emit, lambda: self.pulse.wake()
        )
        self.transport = Transport(self.runner, self.session, self._settled)
        self.second_runs = SecondRuns(self.runner, self.session, self.background.wait)
        self.runs = Runs(
            self.runner, self.session, self.second_runs, self.background.wait, self._show_now
        )
        self.analysis = Analysis(
            self.session, self.runner, lambda changes: self.restart(**changes), self
        )
        self.view_changes = ViewChanges(self.analysis, self.session, self.runs.history)
        self.measuring = Measuring(self.session, self.analysis, self.background, self)
        self.comparison = Comparison(self.session, self.background, lambda: self.runner.idle)
        self.continuing = Continuing(self.session, self.background, self.begin)
        self.collector = Collector()
        # Set on closing: what the threads do of themselves ends then.
        self.closing = threading.Event()
        # What the last frame saw.
        # What of each run was appended when the last frame looked.
        self._seen: tuple[int, int] | None = None
        self._second_seen: tuple[int, int] | None = None
        self._job_seen: tuple[int, float] | None = None
        self.session.runs_changed.connect(self.session.progressed)
        self.pulse = Pulse(self.frame, lambda: self.settled_down, self)
        self.runner.asked = self.pulse.wake
        self.session.selection_changed.connect(self.pulse.wake)
        self.session.progressed.connect(self.pulse.wake)
        self.session.range_changed.connect(self.pulse.wake)
        self.analysis.options_set.connect(self.pulse.wake)

    # ---- views ----
    @property
    def displays(self) -> dict[str, Display]:
        """Every view that was made, by its key."""
        return self.analysis.displays

    def set_theme(self, theme: Theme) -> None:
        """Tell every view its colours."""
        for display in self.displays.values():
            for drawing in display.drawings:
                drawing.view.set_theme(theme)

    def _settled(self) -> Until:
        """The question that ends playing at settling: whether any view's data calls it settled."""
        questions = [
            (stop_reason, self.analysis.options_of(spec))
            for spec in VIEW_SPECS
            if (stop_reason := spec.stop_reason) is not None
        ]

        def settled(recording: Recording) -> str | None:
            reasons = (stop_reason(recording, options) for stop_reason, options in questions)
            return next((reason for reason in reasons if reason), None)

        return settled

    # ---- models and runs ----
    def open(self, request: LoadRequest) -> None:
        """Load a checkpoint in the worker."""
        self._leave_model()
        self.comparison.release_later()
        self.runner.open(request)

    def reloop(self, request: LoadRequest) -> None:
        """Loop another span of the deep model that is open: that of the request."""
        self._leave_model()

        def done(future: Future[None]) -> None:
            if not future.cancelled() and future.exception() is not None:
                self.session.message.emit(str(future.exception()))

        self.background.wait(self.runner.reloop(request), done)

    def show_recorded(self, file: RecordingFile, then: Callable[[], None]) -> None:
        """Let the model go and show the runs of a recording without one; ``then`` is called."""

        def released() -> None:
            self._show_adopted([Recorded(run) for run in file.runs], file)
            then()

        self.leave_for_recordings(released)

    def leave_for_recordings(self, then: Callable[[], None]) -> None:
        """Let the model and its runs go; ``then`` is called once nothing is shown."""
        self._leave_model()
        self.comparison.release_later()
        self.second_runs.show(None)

        def released(future: Future[None]) -> None:
            if future.cancelled():
                return
            self._pull()
            self.runs.forget()
            then()

        self.background.wait(self.runner.release(), released)

    def show_grown(self, file: RecordingFile) -> None:
        """The recording whose runs are shown holds more: take its new runs into the tree."""
        held = [run.stepper.recording for run in self.runs.tree]
        if self.session.without_model and any(held[0] is run for run in file.runs):
            self.runs.adopt_more(file)
            self._pull()

    def go_on(self, file: RecordingFile, then: Callable[[str], None]) -> None:
        """Go on with the runs of a recording on the model in use, which made them.

        ``then`` is told why it could not be, or "".
        """

        def work(loaded: AnyModel, stepper: AnyRun | None) -> list[AnyRun]:
            from loopscope.core.recordings.going_on import go_on

            return [go_on(loaded, run) for run in file.runs]

        def resumed(future: Future[list[AnyRun]]) -> None:
            if future.cancelled():
                return
            if (error := future.exception()) is not None:
                then(str(error))
                return
            self._pull()
            self._show_adopted(future.result(), file)
            then("")

        self.background.wait(self.runner.call(work), resumed)

    def _show_adopted(self, steppers: Sequence[AnyRun | Recorded], file: RecordingFile) -> None:
        """Take the runs of a recording into the tree and show the first, at its end."""
        runs = self.runs.adopt_recorded(steppers, file.parents)
        for run in runs:
            kept = run.stepper.recording
            run.cursor = Selection(recurrence=kept.n_recurrences, token=kept.n_tokens - 1)
        self.session.cursor.following = True
        self.runs.show(runs[0])

    def _leave_model(self) -> None:
        self.transport.playing = False
        self.jobs.cancel_all()

    def set_prompt_set(self, prompts: PromptSet | None) -> None:
        """Use these prompts in every view over a prompt set, whatever model is open."""
        self.session.prompt_set = prompts
        self.analysis.recompute()
        if self.session.recording is not None:
            self.session.recording.shared.prompts = prompts
        self.session.progressed.emit()  # what waited for prompts can be measured now

    def begin(self, request: RunRequest) -> None:
        """Begin a run; the one shown now can be gone back to."""
        self.session.request = request
        self.transport.playing, self.session.cursor.following = False, True
        self.runner.begin(request)

    def restart(self, **changes: Any) -> None:
        """Begin the run again with fields of its request changed, to as many recurrences.

        Without interventions: those of this run are not made into another one unasked.
        """
        request = self.session.request
        if why := self.session.no_model:
            self.session.message.emit(why)
        elif request is not None:
            done = min(self.session.n_recurrences, MOST_AGAIN)
            request = replace(request, recurrences=done, interventions=())
            self.begin(replace(request, **changes))

    def _show_now(self, run: Run) -> None:
        """Show another run of the tree in this frame, with its request and its cursor."""
        self.session.request = run.request
        self.transport.playing = False
        self._pull()
        self.session.return_to(run.cursor)

    # ---- the frame ----
    def frame(self) -> None:
        """Pull what changed, show at most one finished analysis, ask for the next ones."""
        self._pull()
        self.analysis.frame()
        self.background.frame()

    def _pull(self) -> None:
        status = self.runner.status  # one value, so that model, run and request belong together
        if status != self.session.status:
            self._pull_status(status)
        self.comparison.frame()
        self._pull_job()
        self.measuring.frame()
        self._pull_second()
        self._pull_progress()

    def _pull_status(self, status: Status) -> None:
        session, before, left_at = self.session, self.session.status, self.session.selection
        session.update(status)
        if status.state is not RunnerState.STEPPING and self.runner.idle:
            self.transport.playing = False
        if status.loaded is not before.loaded:
            self.runs.forget()
        other_run = status.recording is not before.recording
        if other_run:
            self._pull_run(status, left_at)
        session.status_changed.emit(status)
        if other_run:
            session.run_changed.emit()

    def _pull_run(self, status: Status, left_at: Selection) -> None:
        """Another run is shown than in the last frame, in which the cursor was ``left_at``."""
        self._seen = None
        if status.stepper is not None:
            self.collector.spare_libraries()
            status.stepper.recording.shared.prompts = self.session.prompt_set
            self.runs.register(status.stepper, status.request, left_at)

    def _pull_job(self) -> None:
        """Tell how far the job under way is, which controls show as they show loading."""
        job = self.jobs.current
        seen = None if job is None else (id(job), round(job.progress, 2))
        if seen != self._job_seen:
            self._job_seen = seen
            self.session.status_changed.emit(self.session.status)

    def _pull_second(self) -> None:
        """Notice how far the second run has come."""
        self.second_runs.check()
        second = self.session.second
        seen = None if second is None else appended(second.stepper.recording)
        if seen != self._second_seen:
            self._second_seen = seen
            self.analysis.mark()

    def _pull_progress(self) -> None:
        """Notice how far the run has come."""
        recording = self.session.recording
        seen = None if recording is None else appended(recording)
        if seen != self._seen:
            self._seen = seen
            self.session.keep_up()

    @property
    def settled_down(self) -> bool:
        """Whether nothing is under way: no loading, no stepping, every visible view current."""
        recording = self.session.recording
        return (
            self.runner.idle
            and self.background.idle
            and self.runner.recording is recording
            and (recording is None or self._seen == appended(recording))
            and self.analysis.settled
        )

    def in_background(self, work: Callable[[], Any], done: Callable[[Future[Any]], None]) -> None:
        """Run ``work`` on the analysis thread and ``done(future)`` here when it is finished.

        Once the bench is closed neither is called: a timer of a dialog may still ask.
        """
        if not self.closing.is_set():
            self.background.wait(self.analysis.worker.submit(work), done)

    def close(self) -> None:
        """Stop everything; safe in mid-run.

        It waits for the layer under way and for nothing else: a job ends at its next report, an
        analysis when it is computed. Nobody is told of anything any more.
        """
        if self.closing.is_set():
            return
        self.closing.set()
        self.pulse.stop()
        self.runner.asked = lambda: None
        self.jobs.close(self.comparison.release)
        self.analysis.worker.close()
        self.runner.close()
        self.collector.close(lambda: self.jobs.current is None and self.analysis.worker.ended)
        # With the Qt part go its connections, which hold whoever listened.
        self.deleteLater()


def _load(
    request: LoadRequest,
    report: Callable[[float, str], None],
    cancelled: Callable[[], bool],
    make_room: Callable[[], None],
) -> AnyModel:
    # Late: the window appears before anything is loaded.
    from loopscope.app.bench.loading import load_anywhere

    return load_anywhere(request, report, cancelled, make_room)
