"""Measurements that take long: asked for by a view, made beside everything else, kept."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from loopscope.core.errors import Cancelled
from loopscope.core.run.jobs import Job

if TYPE_CHECKING:
    from loopscope.app.bench.bench import Bench


class Measuring:
    """The jobs of one bench, and what becomes of their results."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def start_job(
        self, name: str, work: Callable[[Job[Any]], Any], done: Callable[[Any], None]
    ) -> Job[Any]:
        """Do ``work(job)`` in the jobs' thread, then ``done(result)`` on the screen's.

        A job that fails or is cancelled becomes a message.
        """
        say = self.bench.message.emit

        def finished(future: Future[Any]) -> None:
            error = None if future.cancelled() else future.exception()
            if future.cancelled() or isinstance(error, Cancelled):
                say(f"{name}: cancelled")
            elif error is not None:
                say(f"{name}: {error}")
            else:
                done(future.result())

        job = self.bench.jobs.submit(name, work)
        self.bench.wait(job.future, finished)
        return job

    def why_not(self, key: str) -> str:
        """Why a view's measurement cannot be made now, or ""."""
        bench = self.bench
        request, stepper = bench.displays[key].spec.request, bench.runner.stepper
        if request is None:
            return ""
        if stepper is None:
            return "There is no run to measure yet."
        why = request.missing(stepper.recording)
        return why or (request.second_run if bench.runs.second is None else "")

    def measure(self, key: str) -> None:
        """Make the measurement that a view asks for; what it finds stays with the run or model."""
        bench = self.bench
        display, stepper = bench.displays[key], bench.runner.stepper
        request = display.spec.request
        if request is None or (display.job is not None and not display.job.future.done()):
            return
        second, why = bench.runs.second, self.why_not(key)
        if stepper is None or why:
            bench.message.emit(why)
            return
        runs = [(stepper, bench.selection)]
        second_run = bench.second_run
        # What is of one run is measured of the run beside as well: both are shown.
        of_each = request.scope == "run" and not request.second_run
        if of_each and second is not None and second_run is not None:
            there = second.stepper
            runs += [] if request.missing(there.recording) else [(there, second_run.selection)]
        options = display.options

        def work(job: Job[Any]) -> list[object]:
            job.second_run = None if second is None else second.stepper
            found = []
            for i, (run, selection) in enumerate(runs):
                job.in_part(i / len(runs), (i + 1) / len(runs))
                found.append(display.spec.measure(run, selection, options, job))
            return found

        def done(results: list[object]) -> None:
            for (run, _), result in zip(runs, results, strict=True):
                run.recording.keep(request.result, result)
            bench.analysis.findings += 1

        display.job = self.start_job(f"{display.spec.title}: {request.label.lower()}", work, done)
        bench.measuring_changed.emit(key, 0.0)

    def cancel(self, key: str) -> None:
        """Give up the measurement of one view."""
        job = self.bench.displays[key].job
        if job is not None:
            job.cancel()

    def tell(self) -> None:
        """Tell frames how far their measurement is, and that it has ended."""
        for key, display in self.bench.displays.items():
            if display.job is not None:
                over = display.job.future.done()
                self.bench.measuring_changed.emit(key, None if over else display.job.progress)
                display.job = None if over else display.job
