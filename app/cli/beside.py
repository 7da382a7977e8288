"""``--beside``: the second run of a command, which is run or taken from a recording."""

from __future__ import annotations

import re
from argparse import Namespace
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopscope.app.cli.recorded import HOW_RUN, opened
from loopscope.core.errors import LoopscopeError
from loopscope.core.recordings.reader import is_recording
from loopscope.core.run.recording import Recording

if TYPE_CHECKING:
    from loopscope.app.window.window import Window


def which(options: Namespace) -> tuple[str, int | None]:
    """Return the path that ``--beside`` names and, in a recording, the run; None for a checkpoint.

    Raises `LoopscopeError` for a run of what is no recording, and for one that is not there.
    """
    text, first = options.beside, options.path or ""
    path, run = text, 0
    if text.isdigit():
        path, run = first, int(text)
        if not is_recording(Path(path)):
            raise LoopscopeError(f"--beside {text} is a run of a recording; {path} is none")
    elif numbered := re.fullmatch(r"(.+)#(\d+)", text):
        path, run = numbered[1], int(numbered[2])
        if not is_recording(Path(path)):
            raise LoopscopeError(f"--beside {text}: {path} is no recording")
    if not is_recording(Path(path)):
        return path, None
    runs = opened(Path(path)).runs
    if run >= len(runs):
        raise LoopscopeError(f"--beside {text}: {path} holds {len(runs)}, numbered from 0")
    return path, run


def second_options(options: Namespace, first: Recording) -> Namespace:
    """Return the options that make, or take, the second run.

    A model runs the prompt of the first run, where that is a recording; one that is not looped is
    run as it is, once.
    """
    from loopscope.core.checkpoint.folder import open_checkpoint

    path, run = which(options)
    if run is not None:
        other = {**HOW_RUN, "path": path, "run": run, "recurrences": None, "checkpoint": None}
        return Namespace(**{**vars(options), **other})
    asked: dict[str, Any] = {"path": path, "run": None, "interventions": None, "checkpoint": None}
    asked |= {"loop": None, "damping": None}
    if is_recording(Path(options.path)):
        asked["token_ids"] = ",".join(map(str, first.info.token_ids))
        asked |= {"seed": first.info.seed, "recurrences": first.n_recurrences}
    if open_checkpoint(path, options.family).architecture.runs_once:
        asked["recurrences"] = 1
    return Namespace(**{**vars(options), **asked})


def second_name(options: Namespace, second: Recording) -> str:
    """What the second run is called: its checkpoint, and its number in a recording."""
    path, run = which(options)
    return path if run is None else f"{second.info.checkpoint}, run {run} of {Path(path).name}"


def check_beside(options: Namespace) -> None:
    """Tell what ``--beside`` cannot be before a window opens."""
    from loopscope.core.checkpoint.folder import open_checkpoint

    path, run = which(options)
    if run is None:
        open_checkpoint(path, options.family)


def put_beside(window: Window, options: Namespace) -> None:
    """Put the run of ``--beside`` to the first run of a window as soon as that is there."""
    from loopscope.core.checkpoint.request import LoadRequest

    bench, (path, run) = window.bench, which(options)
    bench.session.two_runs = options.two_runs
    waiting = [True]

    def put() -> None:
        if bench.session.recording is None or not waiting:
            return
        waiting.clear()
        if run is None:
            request = LoadRequest(path, options.device, options.dtype, None, options.family)
            bench.second_runs.open_model(request)
            return
        bench.in_background(lambda: opened(Path(path)).runs[run], read)

    def read(future: Future[Recording]) -> None:
        if (error := future.exception()) is not None:
            bench.session.message.emit(str(error))
        else:
            name = second_name(options, future.result())
            bench.second_runs.show_recorded(future.result(), name)

    bench.session.run_changed.connect(put)
