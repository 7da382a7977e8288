"""A saved session shown again: its runs are made anew as a job, then everything stands as it did.

Nothing waits: the runs are made in the jobs' thread, with progress and Cancel, and taken up in a
frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loopscope.app.bench.bench import Bench
from loopscope.app.views import BY_KEY
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import Cancelled, log_unforeseen, one_line
from loopscope.core.run.recorded import Recorded
from loopscope.core.run.recording import Recording
from loopscope.core.run.requests import RunRequest, request_of
from loopscope.core.sessions.file import is_missing
from loopscope.core.sessions.rebuild import Rebuild
from loopscope.core.sessions.saved import FASTEST, SavedModel, SavedRun, SavedSession
from loopscope.core.sessions.view_settings import read_settings

if TYPE_CHECKING:
    from loopscope.core.recordings.reader import RecordingFile
    from loopscope.core.run.elsewhere import AnyModel, AnyRun


@dataclass(frozen=True, slots=True)
class Restored:
    """How it ended. whole : everything is as it was.  problems : what is not, a line each."""

    whole: bool
    problems: tuple[str, ...]


def restore_runs(
    bench: Bench,
    loaded: AnyModel,
    saved: SavedSession,
    file: RecordingFile | None,
    done: Callable[[Restored], None],
) -> None:
    """Make the runs of a session again on its model and show them; ``done`` is told in a frame.

    Those of the recording ``file`` go on from it. Cancelled, the runs made so far are shown, or
    the prompt without a recurrence.
    """

    def take(run: SavedRun) -> AnyRun | None:
        recording = recorded_as(run, file)
        if recording is None:
            return None
        from loopscope.core.recordings.going_on import go_on

        return go_on(loaded, recording)

    runner = bench.runner  # the thread is not to hold what is Qt's
    rebuild = Rebuild(
        saved.runs,
        loaded.architecture.n_block,
        lambda run: runner.begun(_request(run), loaded),
        take,
    )

    def finished(future: Future[None]) -> None:
        if bench.runner.loaded is not loaded:
            return  # another model was opened meanwhile
        error = None if future.cancelled() else future.exception()
        problems = list(rebuild.problems)
        if future.cancelled() or isinstance(error, Cancelled):
            problems.append("opening the session was cancelled")
        elif error is not None:
            problems.append(one_line(error))
            log_unforeseen("making the runs of a session again", error)
        _show(bench, saved, rebuild.made)
        done(Restored(not problems, tuple(problems)))

    job = bench.jobs.submit("making the runs of the session again", rebuild.run)
    bench.background.wait(job.future, finished)


def recorded_as(run: SavedRun, file: RecordingFile | None) -> Recording | None:
    """The run of a recording that a saved run is; None where the file holds another there."""
    if file is None or run.recorded is None or run.recorded >= len(file.runs):
        return None
    recording = file.runs[run.recorded]
    info = recording.info
    same = info.interventions == run.interventions and info.seed == run.seed
    alike = run.prompt in (info.prompt, request_of(recording).prompt)
    return recording if same and alike and recording.layers_done >= run.layers else None


def show_recorded_runs(
    bench: Bench, saved: SavedSession, file: RecordingFile, done: Callable[[Restored], None]
) -> None:
    """Show the runs of a session from their recording alone; ``done`` is told in a frame.

    What the recording does not hold is left out.
    """
    made: dict[int, Recorded] = {}
    problems: list[str] = []
    for run in saved.runs:
        recording = recorded_as(run, file)
        if recording is None or run.parent not in (None, *made):
            problems.append(f"{run.name} is not in {file.path.name} and cannot be made again")
        else:
            made[run.id] = Recorded(recording)

    def shown() -> None:
        _show(bench, saved, made)
        done(Restored(not problems, tuple(problems)))

    bench.leave_for_recordings(shown)


def _request(run: SavedRun) -> RunRequest:
    """How a root of the tree is begun."""
    return RunRequest(
        run.prompt, run.seed, run.start, run.start_scale, interventions=run.interventions,
        patterns=run.patterns,
    )  # fmt: skip


def _show(
    bench: Bench, saved: SavedSession, made: Mapping[int, AnyRun] | Mapping[int, Recorded]
) -> None:
    """Show the runs that were made, the cursor, the second run and the pace of play."""
    session, transport = bench.session, bench.transport
    transport.rate = math.inf if saved.speed >= FASTEST else saved.speed
    transport.stop_at_settling = saved.stop_at_settling
    session.step_pairing = saved.step_pairing
    session.two_runs = saved.two_runs
    session.set_range(saved.shown_range)
    runs = bench.runs.adopt(
        [(run, _request(run), made[run.id]) for run in saved.runs if run.id in made]
    )
    shown = runs.get(-1 if saved.shown is None else saved.shown) or next(iter(runs.values()), None)
    if shown is None:
        if saved.runs and saved.model.path:
            bench.begin(_request(saved.runs[0]))
        return
    session.cursor.in_second = saved.cursor.in_second
    bench.runs.show(shown)
    session.return_to(saved.cursor.place)
    session.set_following(saved.cursor.following)
    if saved.second in runs:
        bench.second_runs.show(runs[saved.second])


def restore_views(saved: SavedSession) -> tuple[dict[str, Any], list[str]]:
    """Return each view's settings by its key, and those of the file that suit no view."""
    options, left_out = {}, []
    for key, values in saved.views.items():
        if key not in BY_KEY:
            left_out.append(key[:40])
            continue
        options[key], other = read_settings(BY_KEY[key].options(), values)
        left_out += [f"{key}: {name[:40]}" for name in other]
    return options, left_out


def restore_second_model(bench: Bench, model: SavedModel) -> list[str]:
    """Load the model of the second run, which then runs the prompt shown; returns what is not."""
    if is_missing(model.path):
        return [f"the second run is left out, since {model.path} is not there"]
    request = LoadRequest(model.path, model.device, model.dtype, model.loop, model.family)
    bench.second_runs.open_model(request)
    return []
