"""``loopscope report``: a run, or two, as one page for any browser."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from dataclasses import replace

from loopscope.app.cli.beside import second_options
from loopscope.app.cli.one_run import run_of
from loopscope.app.cli.terminal import output_file
from loopscope.app.report.content import Shown
from loopscope.app.report.page import write_page


def run_report(options: Namespace) -> None:
    """Run the prompt, and the second model's where there is one, and write the page.

    Raises `LoopscopeError` for what cannot be run or written.
    """
    path = output_file(options.output, ".html")
    _, first = run_of(options)
    runs = [Shown(first.info.checkpoint, first)]
    if options.beside is not None:
        _, second = run_of(second_options(options, first))
        runs.append(Shown(second.info.checkpoint, second))
    if len({run.name for run in runs}) < len(runs):
        runs = [replace(run, name=f"{run.name} ({i})") for i, run in enumerate(runs, 1)]
    write_page(runs, path, f"loopscope {shlex.join(sys.argv[1:])}")
    print(path)
