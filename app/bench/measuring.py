"""Measurements that take long: views ask for them, jobs make them, run or model keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from PySide6.QtCore import QObject, Signal

from loopscope.app.bench.analysis import Analysis
from loopscope.app.bench.background import Background
from loopscope.app.bench.displays import Display
from loopscope.app.bench.session import Session
from loopscope.core.results import Results
from loopscope.core.run.history import Made, Point
from loopscope.core.run.jobs import Job
from loopscope.core.run.recorded import stepped
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import Request

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyRun


class Measuring(QObject):
    """The measurements that the views of one session ask for.

    Signals
    -------
    progressed(str, object)
        The share done, 0 to 1, of the measurement of a view, by its key; below 0 while it waits for
        another one, None when it has ended.
    failed(str, str)
        A view, by its key, and why its measurement has no result; "" when it is begun again.
    """

    progressed = Signal(str, object)
    failed = Signal(str, str)

    def __init__(
        self,
        session: Session,
        analysis: Analysis,
        background: Background,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._analysis, self._background = session, analysis, background
        self._made: WeakKeyDictionary[Results, list[Made]] = WeakKeyDictionary()

    def why_not(self, key: str) -> str:
        """Why a view's measurement cannot be made now, or ""."""
        request = self._analysis.displays[key].spec.request
        recording = self._session.recording
        if request is None:
            return ""
        if recording is None:
            return "There is no run to measure yet."
        return (
            self._session.no_model
            or request.missing(recording)
            or (request.second_run if self._session.second is None else "")
        )

    def measure(self, key: str) -> None:
        """Make the measurement that a view asks for, unless it is being made."""
        display = self._analysis.displays[key]
        request = display.spec.request
        if request is None or (display.job is not None and not display.job.future.done()):
            return
        if why := self.why_not(key):
            self._session.message.emit(why)
            self.failed.emit(key, why)
            return
        self.failed.emit(key, "")
        self._start(display, request)

    def _start(self, display: Display, request: Request) -> None:
        spec, options, second = display.spec, display.options, self._session.second
        runs = self._runs_for(request)
        there = None if second is None else stepped(second.stepper)

        def work(job: Job[Any]) -> list[object]:
            job.second_run = there
            results = []
            for i, (run, selection) in enumerate(runs):
                job.in_part(i / len(runs), (i + 1) / len(runs))
                results.append(spec.measure(run, selection, options, job))
            return results

        made = [
            Made(
                spec.key, options, selection, Point.of(run),
                None if there is None else Point.of(there), _prompts_of(run.recording),
            )
            for run, selection in runs
        ]  # fmt: skip

        def done(results: list[object]) -> None:
            for (run, _), result, how in zip(runs, results, made, strict=True):
                run.recording.keep(request.result, result)
                self._made.setdefault(_results_of(request, run.recording), []).append(how)
            self._analysis.recompute()

        name = f"{spec.title}: {request.label.lower()}"
        display.job = self._background.start_job(
            name, work, done, lambda why: self.failed.emit(spec.key, why)
        )
        self.progressed.emit(spec.key, 0.0)

    def _runs_for(self, request: Request) -> list[tuple[AnyRun, Selection]]:
        """Steppers to measure, with their cursors: of what is of one run, both that are shown."""
        session = self._session
        stepper, second = stepped(session.status.stepper), session.second
        there = session.second_run
        beside = None if second is None else stepped(second.stepper)
        runs = [] if stepper is None else [(stepper, session.selection)]
        of_each = request.scope == "run" and not request.second_run
        if of_each and beside is not None and there is not None:
            runs += [] if request.missing(there.recording) else [(beside, there.selection)]
        return runs

    def made_of(self, recording: Recording) -> list[Made]:
        """How each measurement that a run and its model hold was made, the oldest first."""
        return [
            made
            for results in (recording.shared.results, recording.results)
            for made in self._made.get(results, ())
            if (spec := self._analysis.displays[made.key].spec).request is not None
            and results.get(spec.request.result) is not None
        ]

    def cancel(self, key: str) -> None:
        """Give up the measurement of one view."""
        job = self._analysis.displays[key].job
        if job is not None:
            job.cancel()

    def frame(self) -> None:
        """Tell how far measurements are, and which have ended."""
        # Who is told may show a view for the first time, which makes its display.
        for key, display in tuple(self._analysis.displays.items()):
            if display.job is not None:
                over = display.job.future.done()
                waits = display.job is not self._background.jobs.current
                share = -1.0 if waits else display.job.progress
                self.progressed.emit(key, None if over else share)
                display.job = None if over else display.job


def _results_of(request: Request, recording: Recording) -> Results:
    """Where the result of a request is kept."""
    return recording.shared.results if request.scope == "model" else recording.results


def _prompts_of(recording: Recording) -> str:
    prompts = recording.shared.prompts
    return "" if prompts is None else prompts.path
