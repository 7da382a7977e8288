"""``loopscope report``: a run, or two, as one page for any browser."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from loopscope.app.cli.recorded import HOW_RUN
from loopscope.app.cli.terminal import output_file
from loopscope.app.report.content import Shown
from loopscope.app.report.page import write_page
from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.recordings.reader import is_recording
from loopscope.core.run.recording import Recording


def run_report(options: Namespace, record: Callable[[Namespace], Recording]) -> None:
    """Run the prompt, and the second model's where there is one, and write the page.

    ``record`` makes the run that a namespace asks for. Raises `LoopscopeError` for what cannot be
    run or written.
    """
    path = output_file(options.output, ".html")
    first = record(options)
    runs = [Shown(first.info.checkpoint, first)]
    if options.beside is not None:
        second = record(_beside(options, first))
        runs.append(Shown(second.info.checkpoint, second))
    if len({run.name for run in runs}) < len(runs):
        runs = [replace(run, name=f"{run.name} ({i})") for i, run in enumerate(runs, 1)]
    write_page(runs, path, f"loopscope {shlex.join(sys.argv[1:])}")
    print(path)


def _beside(options: Namespace, first: Recording) -> Namespace:
    """What to run of the second model, or which recording to take.

    A model runs the prompt of the first run, where that is a recording; one that is not looped is
    run as it is, once.
    """
    if is_recording(Path(options.beside)):
        other = {**HOW_RUN, "path": options.beside, "run": None, "recurrences": None}
        return Namespace(**{**vars(options), **other})
    asked: dict[str, Any] = {"path": options.beside, "run": None, "interventions": None}
    asked |= {"loop": None, "damping": None}
    if is_recording(Path(options.path)):
        asked["token_ids"] = ",".join(map(str, first.info.token_ids))
        asked |= {"seed": first.info.seed, "recurrences": first.n_recurrences}
    if open_checkpoint(options.beside, options.family).architecture.runs_once:
        asked["recurrences"] = 1
    return Namespace(**{**vars(options), **asked})
