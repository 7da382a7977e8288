"""The parser of the `loopscope` command: one line for each command, with its help and arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from typing_extensions import override

from loopscope.app.cli import run_arguments, study_arguments, system_arguments
from loopscope.core.errors import LoopscopeError
from loopscope.core.version import package_version

# Each command with its help and what adds its arguments; `commands.RUN` has what it does.
COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "open": ("open the window (the default)", run_arguments.of_open),
    "inspect": (
        "say what a folder is, from its headers alone, or a recording",
        run_arguments.of_inspect,
    ),
    "run": ("run prompts into a recording; resumes when killed", run_arguments.of_run),
    "trace": ("run a prompt and save every state as arrays", run_arguments.of_trace),
    "figures": ("run a prompt and write every view's figure", run_arguments.of_figures),
    "report": ("write a run as one page for any browser", run_arguments.of_report),
    "generate": ("continue a text, token by token", run_arguments.of_generate),
    "train": ("train a small model; resumes when killed", study_arguments.of_train),
    "evaluate": ("accuracy at each recurrence, with intervals", study_arguments.of_evaluate),
    "measure": ("run a prompt and print the views' numbers", run_arguments.of_measure),
    "analyse": (
        "make one view's measurement and print its numbers: stitching, probes, ...",
        run_arguments.of_analyse,
    ),
    "quality": (
        "accuracy and perplexity of a prompt file at each recurrence",
        run_arguments.of_quality,
    ),
    "reproduce": (
        "train the small ablations, measure them and write the page",
        study_arguments.of_reproduce,
    ),
    "twins": (
        "train small looped, deep and shallow models, compare them, write the page",
        study_arguments.of_twins,
    ),
    "probe": ("cut parameters, graph and trajectory; see what is lost", study_arguments.of_probe),
    "sweep": (
        "measure a grid of runs on a cluster; resumes when stopped",
        study_arguments.of_sweep,
    ),
    "paper": (
        "the figures of the looped models' paper, of your checkpoint; resumes",
        study_arguments.of_paper,
    ),
    "serve": (
        "start workers on this machine, for windows and sweeps from elsewhere",
        system_arguments.of_serve,
    ),
    "convert": (
        "make a checkpoint folder of GGUF, pickles, FP8, LoRA, a model of your own",
        system_arguments.of_convert,
    ),
    "doctor": (
        "check install, devices and desktop, and say what to do",
        system_arguments.of_doctor,
    ),
    "plugins": ("list what other packages add, and its state", system_arguments.of_plugins),
    "install-desktop": (
        "add menu entry, icon and file types to the desktop (Linux)",
        system_arguments.of_install_desktop,
    ),
}


# Arguments that name a file or a folder, by where they are kept.
NAMES = (
    "path", "output", "prompts", "interventions", "initial_state", "screenshot", "start", "corpus",
    "study", "source", "config", "map", "tokenizer", "base", "beside",
)  # fmt: skip


def refuse_empty_names(options: argparse.Namespace) -> None:
    """Refuse "", which an unset variable of a shell becomes: a path of it is the current folder.

    Raises `LoopscopeError`.
    """
    for name in NAMES:
        given = getattr(options, name, None)
        if "" in (given if isinstance(given, list | tuple) else (given,)):
            raise LoopscopeError(f"{name.replace('_', ' ')}: an empty name is no file or folder")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as every other error of the command."""

    @override
    def error(self, message: str) -> None:  # type: ignore[override]
        raise LoopscopeError(f"{message} (see: {self.prog} --help)")


class Version(argparse.Action):
    """Prints the version, which takes 60 ms to find out, when it is asked for."""

    @override
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"loopscope {package_version()}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = Parser(
        prog="loopscope",
        description="A desktop lab bench for looped transformers. Without a command it opens the "
        "window on the bundled model.",
    )
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for name, (words, add_arguments) in COMMANDS.items():
        add_arguments(commands.add_parser(name, help=words))
    return parser
