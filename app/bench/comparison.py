"""A half-precision run beside its float32 twin: by itself for small models, else when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopscope.core.measures.precision import SMALL, error_line
from loopscope.core.run.jobs import Job
from loopscope.core.run.recording import Recording

if TYPE_CHECKING:
    from loopscope.app.bench.bench import Bench
    from loopscope.core.run.float32_twin import Float32Twin


class Comparison:
    """Keeps `Recording.float32_error` up to date; the work is done in the bench's jobs."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._twin: Float32Twin | None = None
        self._asked: tuple[int, int] | None = None

    def follow(self) -> None:
        """Compare a small model's run whenever it comes to rest with recurrences not compared."""
        bench, recording = self.bench, self.bench.recording
        if recording is None or recording.info.dtype == "float32" or not bench.runner.idle:
            return
        wanted = id(recording), recording.n_recurrences
        small = 4 * recording.info.architecture.n_parameters <= SMALL
        due = small and recording.n_recurrences > 0 and wanted != self._asked
        if due and bench.jobs.current is None:  # else when that one is done
            self._asked = wanted
            self.measure()

    def measure(self) -> None:
        """Compare the run shown with float32; progress and Cancel are the job's."""
        bench = self.bench
        recording, loaded = bench.recording, bench.runner.loaded
        if recording is None or loaded is None:
            return
        small = 4 * loaded.architecture.n_parameters <= SMALL

        def work(job: Job[Any]) -> Any:
            from loopscope.core.run.float32_twin import Float32Twin

            if self._twin is None or self._twin.of is not loaded:
                self.forget()
                self._twin = Float32Twin(loaded, lambda share: job.report(0.5 * share))
            errors = self._twin.error(recording, lambda share: job.report(0.5 + 0.5 * share))
            if not small:  # twice the memory is not to be kept for long
                self.forget()
            return errors

        bench.start_job("comparing with float32", work, lambda e: self._show(recording, e, small))

    def _show(self, recording: Recording, errors: Any, small: bool) -> None:
        recording.float32_error = errors
        if not small:
            self.bench.message.emit(error_line(errors, recording.info.dtype))
        self.bench.status_changed.emit(self.bench.status)

    def let_go(self) -> None:
        """Another model comes: free the twin, in the thread that may be using it."""
        if self._twin is not None:
            self.bench.jobs.submit("freeing the float32 twin", lambda job: self.forget())

    def forget(self) -> None:
        """Free the twin (the jobs' thread, or when that has ended)."""
        twin, self._twin = self._twin, None
        if twin is not None:
            twin.release()
