"""A recording where a command takes a checkpoint and a prompt."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from loopscope.core.errors import LoopscopeError
from loopscope.core.recordings.reader import RecordingFile, is_recording, open_recording
from loopscope.core.run.recording import Recording

# What says how a run is made, with the value that leaves it unsaid.
HOW_RUN = {
    "prompt": None, "token_ids": None, "prompts": None, "seed": 0, "device": "auto",
    "dtype": "float32", "loop": None, "damping": None, "family": "", "interventions": None,
    "initial_state": None,
}  # fmt: skip
NAMES = {"family": "--as"}


def opened(path: Path) -> RecordingFile:
    """Open a recording; what was found at opening goes to standard error."""
    file = open_recording(path)
    for note in file.notes:
        print(f"loopscope: {path}: {note}", file=sys.stderr)
    return file


def recorded(options: Namespace, allowed: Iterable[str] = ()) -> Recording | None:
    """Return the run that ``PATH`` and ``--run`` name in a recording; None for a checkpoint.

    With ``--recurrences`` it is that run as far as these. ``allowed`` are options of a run that
    the command reads otherwise. Raises `LoopscopeError` for what a recording cannot be asked, and
    for a checkpoint without a prompt.
    """
    path = Path(options.path)
    if not is_recording(path):
        _check_checkpoint(options)
        return None
    check_options(options, allowed)
    runs, which = opened(path).runs, options.run or 0
    if which >= len(runs):
        raise LoopscopeError(f"--run {which}: {path} holds {len(runs)}, numbered from 0")
    recording, n = runs[which], options.recurrences
    if n is None:
        return recording
    if not 1 <= n <= recording.n_recurrences:
        raise LoopscopeError(f"--recurrences {n}: {path} has {recording.n_recurrences} of this run")
    cut = recording.prefix(n * recording.n_layers, recording.info)
    cut.weight_identity = recording.weight_identity
    cut.effects.update({at: change for at, change in recording.effects.items() if at[1] <= n})
    return cut


def check_options(options: Namespace, allowed: Iterable[str] = ()) -> None:
    """Raise `LoopscopeError` for an option that says how to run what is run already."""
    for name, unsaid in HOW_RUN.items():
        if name not in allowed and getattr(options, name, unsaid) != unsaid:
            option = NAMES.get(name, f"--{name.replace('_', '-')}")
            raise LoopscopeError(
                f"{option} is for a checkpoint: {options.path} is a recording, run already"
            )


def _check_checkpoint(options: Namespace) -> None:
    if options.run is not None:
        raise LoopscopeError(f"--run is for a recording; {options.path} is none")
    given = (getattr(options, name, None) for name in ("prompt", "token_ids"))
    if all(text is None for text in given):
        asked = (
            "--prompt, --token-ids or --prompts"
            if options.command == "measure"
            else ("--prompt or --token-ids")
        )
        raise LoopscopeError(f"{options.command} needs {asked} with a checkpoint, or a recording")
    if options.recurrences is None:
        raise LoopscopeError(f"{options.command} needs --recurrences with a checkpoint")
