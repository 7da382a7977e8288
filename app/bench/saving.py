"""What a bench shows, as a session that can be saved."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, cast

from loopscope.app.bench.bench import Bench
from loopscope.app.bench.run_tree import Run
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.sessions.saved import (
    FASTEST,
    SavedCursor,
    SavedModel,
    SavedRun,
    SavedSession,
)

if TYPE_CHECKING:
    from loopscope.core.checkpoint.loading import Loaded


def saved_session(bench: Bench) -> SavedSession | None:
    """Return what is shown, its paths absolute; None without a model.

    The window adds how it is arranged and the settings of the views.
    """
    session, loaded = bench.session, bench.session.status.loaded
    if loaded is None:
        return None
    second, cursor, model = session.second, session.cursor, bench.second_runs.model
    prompts = session.prompt_set
    return SavedSession(
        model=_model(loaded),
        second_model=None if model is None else _model(model.loaded),
        prompt_file="" if prompts is None else prompts.path,
        runs=tuple(_run(run, session.run, session.selection) for run in bench.runs.tree),
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
        places={k: place for k, own in bench.displays.items() if (place := own.view.place())},
        measured=_measured(bench),
    )


def _model(loaded: Loaded) -> SavedModel:
    # As it was asked for, whatever else the request carries.
    asked = {f.name: getattr(loaded.request, f.name) for f in dataclasses.fields(LoadRequest)}
    return SavedModel(**asked, weights=loaded.weights_hash)


def _run(run: Run, shown: Run | None, selection: Any) -> SavedRun:
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
        layers=recording.layers_done,
        interventions=recording.info.interventions,
        cursor=selection if run is shown else run.cursor,
    )


def _measured(bench: Bench) -> tuple[str, ...]:
    """Keys of the views that show a measurement of the run shown."""
    recording = bench.session.recording
    if recording is None:
        return ()
    requests = {key: display.spec.request for key, display in bench.displays.items()}
    return tuple(
        key
        for key, request in requests.items()
        if request is not None and recording.result(request.result) is not None
    )
