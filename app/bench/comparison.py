"""A half-precision run compared with float32: by itself for small models, else when asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from loopscope.app.bench.background import Background
from loopscope.app.bench.session import Session
from loopscope.core.measures.precision import SMALL, error_line
from loopscope.core.run.jobs import Job
from loopscope.core.run.recorded import stepped
from loopscope.core.run.recording import Recording

if TYPE_CHECKING:
    from loopscope.core.run.float32_twin import Float32Twin
    from loopscope.core.run.stepper import Stepper


class _Kept:
    """The twin of the model in use, for the jobs' thread, which is not to hold what is Qt's."""

    def __init__(self) -> None:
        self.twin: Float32Twin | None = None

    def error(
        self, run: Stepper, job: Job[Any], *, readouts: bool, keep: bool
    ) -> tuple[Any, Recording]:
        """`Float32Twin.error` of a run, and the run in float32; the twin is freed unless kept."""
        from loopscope.core.run.float32_twin import Float32Twin

        twin = self.twin
        if twin is None or twin.of is not run.loaded:
            self.release()
            self.twin = twin = Float32Twin(run.loaded, lambda share: job.report(0.5 * share))
        errors = twin.error(
            run.recording, lambda share: job.report(0.5 + 0.5 * share), readouts=readouts
        )
        exact = twin.run
        if not keep:
            self.release()
        return errors, exact

    def release(self) -> None:
        """Free the twin."""
        twin, self.twin = self.twin, None
        if twin is not None:
            twin.release()


class Comparison:
    """Keeps `Recording.float32_error` up to date; the work is done as jobs.

    Parameters
    ----------
    idle
        Whether the model rests.
    """

    def __init__(self, session: Session, background: Background, idle: Callable[[], bool]) -> None:
        self._session, self._background, self._idle = session, background, idle
        self._kept = _Kept()
        # The run and its recurrences that were compared last.
        self._compared: tuple[int, int] | None = None

    def frame(self) -> None:
        """Compare a small model's run whenever it comes to rest with recurrences not compared."""
        recording = self._session.recording
        if recording is None or recording.info.dtype == "float32" or not self._idle():
            return
        small = 4 * recording.info.architecture.n_parameters <= SMALL
        version = id(recording), recording.n_recurrences
        due = small and recording.n_recurrences > 0 and version != self._compared
        if due and self._background.jobs.current is None:  # else when that one is done
            self._compared = version
            self.measure()

    def measure(self, *, recheck: bool = False) -> None:
        """Compare the run shown with float32; progress and Cancel are the job's.

        ``recheck`` keeps the run in float32, with readouts, for the views to judge it as well.
        """
        recording, loaded = self._session.recording, self._session.status.loaded
        run = stepped(self._session.status.stepper)
        if recording is None or loaded is None or run is None:
            return
        small = 4 * loaded.architecture.n_parameters <= SMALL

        kept = self._kept

        def work(job: Job[Any]) -> Any:
            from loopscope.core.run.stepper import Stepper

            if not isinstance(run, Stepper):
                return run.in_float32(job.report, readouts=recheck)
            # Twice the memory of a large model is not to be kept for long.
            errors, exact = kept.error(run, job, readouts=recheck, keep=small)
            return errors, exact if recheck else recording.float32_run

        self._background.start_job(
            "comparing with float32",
            work,
            lambda found: self._show(recording, found[0], found[1], small),
        )

    def _show(self, recording: Recording, errors: Any, twin: Recording | None, small: bool) -> None:
        recording.float32_error, recording.float32_run = errors, twin
        if not small:
            self._session.message.emit(error_line(errors, recording.info.dtype))
        self._session.status_changed.emit(self._session.status)

    def release_later(self) -> None:
        """Another model comes: free the twin, in the thread that may be using it."""
        kept = self._kept
        if kept.twin is not None:
            self._background.jobs.submit("freeing the float32 twin", lambda job: kept.release())

    @property
    def release(self) -> Callable[[], None]:
        """What frees the twin, to be called in the jobs' thread or when that has ended."""
        return self._kept.release
