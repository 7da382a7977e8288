"""``loopscope open x.loopscope.json``: what a session answers itself, and what it lacks."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from loopscope.core.errors import LoopscopeError
from loopscope.core.sessions.file import is_missing, located, read_session
from loopscope.core.sessions.saved import SavedSession

# Options of `loopscope open` that say what is run.
ANSWERED = ("prompt", "token_ids", "recurrences", "interventions", "prompts", "loop", "beside")


def check_session(options: Namespace) -> None:
    """Raise `LoopscopeError` for a session that cannot be read, and for options that it answers."""
    for name in ANSWERED:
        if getattr(options, name) is not None:
            flag = name.replace("_", "-")
            raise LoopscopeError(f"a session says itself what is run: leave out --{flag}")
    if options.family or options.seed:
        raise LoopscopeError("a session says itself what is run: leave out --as and --seed")
    _read(options.path)


def session_recurrences(path: str) -> int:
    """Recurrences of the run that a session shows; its checkpoint or recording has to be there.

    Raises `LoopscopeError` where they are not.
    """
    from loopscope.core.checkpoint.folder import looped_checkpoint, open_checkpoint

    saved = _read(path)
    model, recording = saved.model, saved.recording
    if not model.path and recording is not None:
        from loopscope.core.recordings.reader import open_recording

        if is_missing(recording.path):
            raise LoopscopeError(f"{path}: its recording {recording.path} is not there")
        n_layers = open_recording(Path(recording.path)).runs[0].n_layers
        return next((run.layers for run in saved.runs if run.id == saved.shown), 0) // n_layers
    if is_missing(model.path):
        raise LoopscopeError(f"{path}: its checkpoint {model.path} is not there")
    checkpoint = open_checkpoint(model.path, model.family)
    if model.loop is not None:
        checkpoint = looped_checkpoint(checkpoint, model.loop)
    layers = next((run.layers for run in saved.runs if run.id == saved.shown), 0)
    return layers // checkpoint.architecture.n_block


def _read(path: str) -> SavedSession:
    return located(read_session(Path(path)), Path(path))
