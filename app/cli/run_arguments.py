"""The arguments of commands that run a model, or read a run."""

from __future__ import annotations

import argparse
from typing import Any

from typing_extensions import override

from loopscope.app.cli import numbers
from loopscope.app.cli.arguments import (
    add_beside,
    add_family,
    add_path,
    add_prompt,
    add_prompt_set,
    add_running,
)


class Paths(argparse.Action):
    """Several paths are kept as ``paths``; ``path`` is the last of them, or None."""

    @override
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
        option_string: str | None = None,
    ) -> None:  # fmt: skip
        namespace.paths, namespace.path = list(values), values[-1] if values else None


def of_open(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``open``."""
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", action=Paths,
        help="checkpoint, bundled:NAME, recording or session; several are a series of one model",
    )  # fmt: skip
    add_prompt(parser, required=False)
    add_running(parser, recurrences=None)
    add_prompt_set(parser)
    add_beside(parser)
    parser.add_argument(
        "--two-runs", choices=("both", "first", "second", "difference"), default="both",
        help="how views show the runs of --beside",
    )  # fmt: skip
    parser.add_argument(
        "--on", metavar="ADDRESS", help="run it on a worker of the scheduler at tcp://host:8786"
    )
    parser.add_argument("--theme", choices=("light", "dark"), help="colours of the window")
    parser.add_argument(
        "--size", type=numbers.window_size, metavar="WxH", help="size of the window: 1280x800"
    )
    parser.add_argument("--screenshot", metavar="FILE.png", help="save a picture of the window")
    parser.add_argument("--exit", action="store_true", help="leave when the run is done")
    parser.add_argument(
        "--view", metavar="KEY", help="maximise one view in the screenshot (see the docs)"
    )
    parser.add_argument(
        "--measure", nargs="*", metavar="KEY",
        help="make the measurement of --view, or those of the views named, for the screenshot",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of --view"
    )


def of_inspect(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``inspect``."""
    parser.add_argument("path")
    add_family(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def of_run(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``run``."""
    parser.add_argument("path")
    add_prompt(parser, required=True).add_argument(
        "--prompts", metavar="FILE", help="a run for each prompt of a file"
    )
    add_running(parser, recurrences=-1)
    parser.add_argument(
        "--keep", default="states,patterns,writes,readouts", metavar="NAMES",
        help="of states (always), patterns, writes and readouts; all without",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, metavar="RUN.h5")


def of_trace(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``trace``."""
    add_path(parser)
    add_prompt(parser, required=False)
    add_running(parser, recurrences=None)
    parser.add_argument("--initial-state", metavar="FILE.npy", help="[T, d] start state")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.npz")


def of_figures(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``figures``."""
    add_path(parser)
    add_prompt(parser, required=False)
    add_running(parser, recurrences=None)
    add_prompt_set(parser)
    add_beside(parser)
    parser.add_argument(
        "--range", type=numbers.recurrences, metavar="A:B", help="draw recurrences A to B alone"
    )
    parser.add_argument("--log-r", action="store_true", help="on a log axis of recurrences")
    parser.add_argument("-o", "--output", required=True, metavar="DIR")
    parser.add_argument(
        "--format",
        default="pdf,svg,png,csv",
        help="of pdf, svg, png, csv and txt (the caption); of the computation graph also graphml "
        "and dot",
    )
    parser.add_argument(
        "--name",
        default="{view}",
        metavar="PATTERN",
        help="of the files, such as {view}-{prompt}-{head}-{size}; also {recurrence}, {model} "
        "and {seed}",
    )  # fmt: skip
    parser.add_argument(
        "--replace", action="store_true",
        help="write over files that are there; else the new ones get a number",
    )  # fmt: skip
    parser.add_argument(
        "--page", choices=("one-column", "two-columns", "slide"), default="one-column"
    )
    parser.add_argument(
        "--measure", nargs="*", metavar="KEY",
        help="make the measurements that take long as well: of these views, or of all",
    )  # fmt: skip
    parser.add_argument(
        "--checkpoint", metavar="PATH", help="that a recording was made with, for --measure"
    )
    parser.add_argument("--dpi", type=numbers.whole(10, 2400), default=300, help="of PNG files")


def of_report(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``report``."""
    add_path(parser)
    add_prompt(parser, required=False)
    add_running(parser, recurrences=None)
    add_beside(parser)
    parser.add_argument("-o", "--output", required=True, metavar="PAGE.html")


def of_generate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``generate``."""
    parser.add_argument("path")
    add_prompt(parser, required=True)
    add_running(parser, recurrences=None, seed=False)
    parser.add_argument(
        "--seed", type=numbers.seed, default=0, help="of the draws, and of a random start state"
    )
    parser.add_argument("--tokens", type=numbers.small, required=True, metavar="N", help="to add")
    parser.add_argument(
        "--exit", metavar="RULE", dest="exit_rule",
        help="when a token leaves the loop: step, kl or gate, with :THRESHOLD; "
        "--recurrences is then the most it takes",
    )  # fmt: skip
    parser.add_argument(
        "--temperature", type=numbers.fraction(0, 100), help="draw; without it the likeliest"
    )
    parser.add_argument(
        "--chat", action="store_true", help="write the prompt as the model's chat template does"
    )
    parser.add_argument(
        "--ignore-stop", action="store_true", help="go on beyond a token that ends a text"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, token by token")
    parser.add_argument("-o", "--output", metavar="OUT.json", help="write JSON here")


def of_measure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``measure``."""
    add_path(parser, nargs="?")
    add_prompt(parser, required=False).add_argument(
        "--prompts", metavar="FILE", help="means over the prompts of a file, with intervals"
    )
    add_running(parser, recurrences=None)
    parser.add_argument("--measures", default="all", metavar="KEYS", help="a,b,c; all without")
    parser.add_argument("--list", action="store_true", help="print every measure's formula")
    parser.add_argument("-o", "--output", metavar="OUT.json", help="write here, not to the screen")


def of_analyse(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``analyse``."""
    parser.add_argument("view", metavar="VIEW", help="whose measurement, such as correspondence")
    add_path(parser)
    add_prompt(parser, required=False)
    add_running(parser, recurrences=-1)
    add_prompt_set(parser)
    add_beside(parser)
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the view"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("-o", "--output", metavar="OUT.json", help="write JSON, or OUT.csv, here")


def of_quality(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``quality``."""
    parser.add_argument("path")
    parser.add_argument("--prompts", required=True, metavar="FILE", help="text or JSONL")
    add_running(parser, recurrences=-1)
    parser.add_argument(
        "--answers", choices=("auto", "in-place", "next"), default="auto",
        help="where answers stand: in the prompt's own places, or after it; as the model does",
    )  # fmt: skip
    parser.add_argument(
        "--join", choices=("space", "nothing"), default="space",
        help="between prompt and answer, of answers that stand after it",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("-o", "--output", metavar="OUT.json", help="write JSON here")
