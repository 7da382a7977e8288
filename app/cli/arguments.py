"""Arguments that several commands share: what is run, on what, and what beside it."""

from __future__ import annotations

import argparse

from loopscope.app.cli import numbers


def add_path(parser: argparse.ArgumentParser, *, nargs: str | None = None) -> None:
    """Add what is run or, in a recording, was run: a prompt and recurrences are of a checkpoint."""
    parser.add_argument("path", nargs=nargs, help="checkpoint folder, bundled:NAME, or a recording")
    parser.add_argument(
        "--run", type=numbers.whole(0, 1_000_000), metavar="N",
        help="which run of a recording, as inspect numbers them; the first without",
    )  # fmt: skip


def add_prompt(
    parser: argparse.ArgumentParser, *, required: bool
) -> argparse._MutuallyExclusiveGroup:
    """Add the prompt, as text or as ids; returns the group that allows one of them."""
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument("--prompt", metavar="TEXT")
    group.add_argument("--token-ids", metavar="1,2,3")
    return group


def add_prompt_set(parser: argparse.ArgumentParser) -> None:
    """Add the file of the views over a prompt set."""
    parser.add_argument(
        "--prompts", metavar="FILE", help="prompt file of the views over a prompt set"
    )


def add_beside(parser: argparse.ArgumentParser) -> None:
    """Add the second run."""
    parser.add_argument(
        "--beside", metavar="PATH|RUN",
        help="a second run on the same prompt: a checkpoint, a recording (FILE.h5#N for its run "
        "N), or a number, another run of the recording PATH",
    )  # fmt: skip


def add_running(
    parser: argparse.ArgumentParser, *, recurrences: int | None, seed: bool = True
) -> None:
    """Add the options of every command that runs a model; -1 makes ``--recurrences`` required."""
    parser.add_argument(
        "--recurrences",
        type=int,
        required=recurrences == -1,
        default=None if recurrences == -1 else recurrences,
        metavar="N",
    )
    if seed:
        parser.add_argument("--seed", type=numbers.seed, default=0, help="of a random start state")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    add_family(parser)
    parser.add_argument(
        "--loop", type=numbers.span, metavar="A:B", help="loop layers A to B - 1 of a deep model"
    )
    if seed:
        parser.add_argument(
            "--interventions", metavar="FILE.json", help="cuts to make into the run, as saved"
        )
    parser.add_argument(
        "--damping",
        type=numbers.fraction(0, 10),
        help="of --loop: above 0, 1 is plain repetition and the default",
    )


def add_family(parser: argparse.ArgumentParser) -> None:
    """Add the family that a folder is read as."""
    parser.add_argument(
        "--as", dest="family", default="", metavar="FAMILY",
        help="read the folder as this family, such as llama, whatever it says of its own code",
    )  # fmt: skip
