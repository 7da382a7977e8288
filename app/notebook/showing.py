"""Open the window on runs of a script: a process of its own, which makes them again."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopscope.app.display import has_display
from loopscope.core.errors import LoopscopeError
from loopscope.core.selection import Selection
from loopscope.core.sessions.file import SUFFIX, write_session
from loopscope.core.sessions.saved import SavedCursor, SavedModel, SavedRun, SavedSession

if TYPE_CHECKING:
    from loopscope.core.checkpoint.loading import Loaded
    from loopscope.core.run.stepper import Stepper

# Windows that were opened: each is waited for when this process ends or opens the next one.
_OPENED: list[subprocess.Popen[bytes]] = []


def show(named: Sequence[tuple[str, Stepper]]) -> None:
    """Open a window on a run, and on a second one beside it; returns at once.

    The window is not this process's: what is done there does not come back. Raises
    `LoopscopeError` without a display, and for a run that cannot be begun again.
    """
    session = session_of(named)
    if not has_display():
        raise LoopscopeError("there is no display to open a window on")
    # It stays: the window saves what the user makes of it there.
    file = Path(tempfile.mkdtemp(prefix="loopscope-")) / f"run{SUFFIX}"
    write_session(file, session)
    _OPENED[:] = [window for window in _OPENED if window.poll() is None]
    _OPENED.append(
        subprocess.Popen([sys.executable, "-P", "-m", "loopscope.app", "open", str(file)])
    )


def session_of(named: Sequence[tuple[str, Stepper]]) -> SavedSession:
    """Return the session that shows the first run, with the second one beside it.

    A second run of another model is that model's run of the first one's prompt.
    """
    shown = named[0][1]
    runs = [_run(i, name, stepper) for i, (name, stepper) in enumerate(named, start=1)]
    other: dict[str, Any] = {}
    if len(runs) > 1:
        second = named[1][1]
        if _model(second.loaded) == _model(shown.loaded):
            other["second"] = 2
        else:
            runs, other["second_model"] = runs[:1], _model(second.loaded)
    prompts = shown.loaded.shared.prompts
    return SavedSession(
        model=_model(shown.loaded),
        prompt_file="" if prompts is None else _absolute(prompts.path),
        runs=tuple(runs),
        shown=1,
        cursor=SavedCursor(place=runs[0].cursor),
        **other,
    )


def _model(loaded: Loaded) -> SavedModel:
    asked: Any = loaded.request
    return SavedModel(
        path=_absolute(asked.path),
        device=asked.device,
        dtype=asked.dtype,
        loop=asked.loop,
        family=asked.family,
        weights=loaded.weights_hash,
    )


def _absolute(path: str) -> str:
    """A path for another folder; ``bundled:NAME`` and "" stay."""
    if not path or path.startswith("bundled:"):
        return path
    return os.path.abspath(os.path.expanduser(path))


def _run(run_id: int, name: str, stepper: Stepper) -> SavedRun:
    recording = stepper.recording
    info: Any = recording.info
    if info.start == "given":
        raise LoopscopeError(
            "this run's initial state was given as an array, from which a window cannot begin it"
        )
    return SavedRun(
        id=run_id,
        name=name,
        named=True,
        prompt=info.prompt,
        seed=info.seed,
        start=info.start,
        start_scale=info.start_scale,
        layers=recording.layers_done,
        interventions=info.interventions,
        cursor=Selection(recurrence=recording.n_recurrences, token=recording.n_tokens - 1),
    )
