"""What a bench shows, as a session that can be saved."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from loopscope.app.bench.bench import Bench
from loopscope.app.bench.run_tree import Run
from loopscope.app.views import BY_KEY
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.run.recording import Recording
from loopscope.core.sessions.saved import (
    FASTEST,
    SavedCursor,
    SavedModel,
    SavedRecording,
    SavedRun,
    SavedSession,
)
from loopscope.widgets.kit.view import View

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyModel


def saved_session(
    bench: Bench,
    file: Path | None = None,
    index_of: Callable[[Recording], int | None] = lambda recording: None,
) -> SavedSession | None:
    """Return what is shown, its paths absolute; None with neither a model nor a recording.

    ``file`` is the recording of the runs, ``index_of`` says which of its runs one is. The window
    adds how it is arranged and the settings of the views.
    """
    session, loaded = bench.session, bench.session.status.loaded
    saved_model = _model(loaded) if loaded is not None else _recorded_model(session.recording)
    if saved_model is None or (loaded is None and file is None):
        return None
    second, cursor, model = session.second, session.cursor, bench.second_runs.model
    prompts = session.prompt_set
    return SavedSession(
        model=saved_model,
        recording=None if file is None else SavedRecording(path=str(file.absolute())),
        second_model=None if model is None else _model(model.loaded),
        prompt_file="" if prompts is None else prompts.path,
        runs=tuple(
            _run(run, session.run, session.selection, index_of(run.stepper.recording))
            for run in bench.runs.tree
        ),
        shown=None if session.run is None else session.run.id,
        second=None if second is None or second.run is None else second.run.id,
        step_pairing=session.step_pairing,
        cursor=SavedCursor(
            place=session.selection, in_second=cursor.in_second, following=cursor.following
        ),
        speed=bench.transport.rate if math.isfinite(bench.transport.rate) else FASTEST,
        stop_at_settling=bench.transport.stop_at_settling,
        shown_range=session.shown_range,
        two_runs=session.two_runs,
        places=_places(bench),
        measured=_measured(bench),
    )


def _places(bench: Bench) -> dict[str, dict[str, float]]:
    """Where each drawing of a view and its parts were zoomed and scrolled to."""
    from loopscope.widgets.plots.places import places_in

    found = {name: view.place() | places_in(view) for name, view in drawn_views(bench)}
    return {name: place for name, place in found.items() if place}


def drawn_views(bench: Bench) -> Iterator[tuple[str, View[Any]]]:
    """Every drawing by its name in a session: the key of its view, of a second run KEY-second."""
    for key, display in bench.displays.items():
        yield key, display.view
        if display.second is not None:
            yield f"{key}-second", display.second.view


def _model(loaded: AnyModel) -> SavedModel:
    # As it was asked for, whatever else the request carries. An address is not kept: whoever opens
    # a session connects to nothing that he has not named himself.
    names = (field.name for field in dataclasses.fields(LoadRequest) if field.name != "on")
    asked = {name: getattr(loaded.request, name) for name in names}
    return SavedModel(**asked, weights=loaded.weights_hash)


def _recorded_model(recording: Recording | None) -> SavedModel | None:
    """Of a run that is shown from its recording alone."""
    if recording is None:
        return None
    info = recording.info
    return SavedModel(path="", dtype=cast(Any, info.dtype), weights=info.weights_hash)


def _run(run: Run, shown: Run | None, selection: Any, recorded: int | None) -> SavedRun:
    recording = run.stepper.recording
    return SavedRun(
        id=run.id,
        parent=None if run.parent is None else run.parent.id,
        name=run.name,
        named=run.named,
        prompt=run.request.prompt,
        seed=run.request.seed,
        start=cast(Any, run.request.start),
        start_scale=run.request.start_scale,
        patterns=run.request.patterns,
        layers=recording.layers_done,
        interventions=recording.info.interventions,
        cursor=selection if run is shown else run.cursor,
        recorded=recorded,
    )


def _measured(bench: Bench) -> tuple[str, ...]:
    """Keys of the views that show a measurement of the run shown."""
    return tuple(key for key in bench.displays if is_measured(bench, key))


def is_measured(bench: Bench, key: str) -> bool:
    """Whether there is the measurement that a view of the run shown asks for."""
    recording, request = bench.session.recording, BY_KEY[key].request
    if recording is None or request is None:
        return False
    return recording.result(request.result) is not None
