"""The arguments of commands that train models and measure many runs."""

from __future__ import annotations

import argparse

from loopscope.app.cli import numbers
from loopscope.app.cli.arguments import (
    add_running,
)
from loopscope.core.experiments.training_plan import MODEL_NAMES, RECIPES


def of_train(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``train``: what a recipe leaves at 0 or None is the recipe's own."""
    parser.add_argument("task", choices=("hops", "text"))
    parser.add_argument("-o", "--output", required=True, metavar="DIR")
    parser.add_argument(
        "--recipe", choices=tuple(RECIPES), help="what is asked for and drawn (docs/training.md)"
    )
    parser.add_argument(
        "--model", choices=MODEL_NAMES, default="looped", help="looped, or what it is compared with"
    )
    parser.add_argument("--from", dest="start", metavar="PATH", help="go on from this model")
    parser.add_argument("--corpus", metavar="FILE", help="text to train on, a document a line")
    parser.add_argument(
        "--vocabulary", type=numbers.whole(257, 1 << 16), help="tokens of its byte-pair encoding"
    )
    parser.add_argument("--seed", type=numbers.seed, default=0)
    parser.add_argument("--steps", type=numbers.steps, help="length in optimiser steps")
    parser.add_argument(
        "--finishing",
        type=numbers.steps,
        help="last steps, over which the learning rate falls to 0",
    )
    parser.add_argument("--batch", type=numbers.small, help="examples in a batch")
    parser.add_argument("--learning-rate", type=numbers.fraction(0, 10))
    parser.add_argument("--slack", type=numbers.small, help="most recurrences more than hops")
    parser.add_argument("--pace", type=numbers.small, help="steps until that widens by one")
    parser.add_argument(
        "--kept", type=numbers.fraction(0, 1), help="share of the batches of R = k while R widens"
    )
    parser.add_argument("--hops", type=numbers.small, help="hop counts to learn: 1 to this")
    parser.add_argument("--letters", type=numbers.small, help="letters of a full graph")
    parser.add_argument(
        "--examples",
        type=numbers.examples,
        help="a finite set of so many graphs in place of new ones",
    )
    parser.add_argument(
        "--passes", type=numbers.whole(1, 1000), help="of a model of separate layers"
    )
    parser.add_argument("--d-model", type=numbers.whole(1, 1 << 16))
    parser.add_argument(
        "--block", type=numbers.whole(1, 1000), default=2, help="layers of the recurrent block"
    )
    parser.add_argument("--injection", choices=("concat", "add", "none"), default="concat")
    parser.add_argument(
        "--no-state-norm", action="store_true", help="leave out the norm that closes a recurrence"
    )
    parser.add_argument(
        "--keep-every", type=numbers.steps, metavar="N",
        help="keep the model at step 0 and every N steps, in DIR/steps: a series to open and sweep",
    )  # fmt: skip
    parser.add_argument("--half", action="store_true", help="store the weights as float16")
    parser.add_argument("--threads", type=numbers.threads, default=1)


def of_evaluate(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``evaluate``."""
    parser.add_argument("path")
    parser.add_argument("--task", choices=("hops",), required=True)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--examples", type=numbers.examples, default=2000, help="for each hop count"
    )
    parser.add_argument("--hops", type=numbers.small, default=6, help="hop counts 1 to this")
    parser.add_argument(
        "--per-pass",
        type=numbers.small,
        metavar="L",
        help="layers of the block that count as a recurrence (2 for bundled:deep)",
    )
    parser.add_argument("--seed", type=numbers.seed, default=1_000_003)
    add_running(parser, recurrences=16, seed=False)


def _of_training(parser: argparse.ArgumentParser) -> None:
    """Add where the models of a study lie and who trains and measures them."""
    parser.add_argument("-o", "--output", required=True, metavar="DIR")
    parser.add_argument(
        "--jobs", type=numbers.whole(1, 256), default=2, help="workers at the most, without --on"
    )
    parser.add_argument(
        "--on", metavar="tcp://HOST:8786", help="a Dask scheduler whose workers train and measure"
    )


def of_reproduce(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``reproduce``."""
    _of_training(parser)
    parser.add_argument("--seeds", type=numbers.small, help="of each variant, 1 to 3; 3 without")
    parser.add_argument("--prompts", type=numbers.small, help="measured on each model; 24 without")
    parser.add_argument(
        "--quick", action="store_true",
        help="a small version, in minutes: two variants, one seed, 6 prompts",
    )  # fmt: skip


def of_twins(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``twins``."""
    _of_training(parser)
    parser.add_argument("--seeds", type=numbers.small, default=3, help="of each model, 1 to 3")
    parser.add_argument(
        "--examples", type=numbers.examples, default=2000, help="for each hop count"
    )


def of_probe(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``probe``."""
    parser.add_argument("path")
    parser.add_argument("--task", choices=("hops",), required=True)
    parser.add_argument("-o", "--output", required=True, metavar="DIR")
    parser.add_argument(
        "--prompts", type=numbers.small, default=256, help="fresh ones, 1 to --hops hops"
    )
    parser.add_argument("--hops", type=numbers.small, default=6, help="hop counts 1 to this")
    parser.add_argument("--draws", type=numbers.small, default=16, help="of what is random")
    parser.add_argument(
        "--mid", type=numbers.small, default=0, help="cut the trajectory early: after 3"
    )
    parser.add_argument("--late", type=numbers.small, default=0, help="and late: after 3/5 of all")
    parser.add_argument(
        "--jobs", type=numbers.whole(1, 256), default=0, metavar="N",
        help="so many workers of this machine; in this process without it",
    )  # fmt: skip
    parser.add_argument(
        "--on", metavar="tcp://HOST:8786", help="a Dask scheduler whose workers cut"
    )
    add_running(parser, recurrences=None, seed=False)


def of_sweep(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``sweep``."""
    parser.add_argument("study", metavar="STUDY.toml", help="a study, or bundled:hops")
    parser.add_argument("-o", "--output", required=True, metavar="DIR")
    parser.add_argument(
        "--on", metavar="tcp://HOST:8786", help="a Dask scheduler; this machine without it"
    )
    parser.add_argument(
        "--workers", type=numbers.whole(1, 256), metavar="N", help="at the most, on this machine"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what it would take, from one run of each model"
    )


def of_paper(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``paper``."""
    parser.add_argument("path", help="checkpoint folder, or bundled:NAME")
    parser.add_argument(
        "--prompts", metavar="FILE", required=True, help="one prompt a line, or JSONL"
    )
    parser.add_argument("-o", "--output", required=True, metavar="DIR")
    parser.add_argument(
        "--on", metavar="tcp://HOST:8786", help="a Dask scheduler; this process without it"
    )
    parser.add_argument(
        "--deep", type=numbers.small, default=128, metavar="N", help="recurrences taken for the end"
    )
    add_running(parser, recurrences=8)
