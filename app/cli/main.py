"""The `loopscope` command: arguments, errors and exit codes. Imports stay light here."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from typing_extensions import override

from loopscope.app.cli import numbers
from loopscope.app.cli.leaving import leave
from loopscope.core.errors import LoopscopeError, is_out_of_memory
from loopscope.core.experiments.training_plan import MODEL_NAMES, RECIPES
from loopscope.core.plugins import blamed, left_out
from loopscope.core.version import package_version

COMMANDS = (
    "open", "inspect", "run", "trace", "figures", "train", "evaluate", "measure", "quality",
    "reproduce", "twins", "probe", "sweep", "serve", "convert", "doctor", "plugins", "report",
    "generate", "paper", "install-desktop",
)  # fmt: skip
DEFAULT_MODEL = "bundled:looped"


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as every other error of the command."""

    @override
    def error(self, message: str) -> None:  # type: ignore[override]
        raise LoopscopeError(f"{message} (see: {self.prog} --help)")


class _Version(argparse.Action):
    """Prints the version, which takes 60 ms to find out, when it is asked for."""

    @override
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"loopscope {package_version()}")
        parser.exit()


class _Paths(argparse.Action):
    """Several paths are kept as ``paths``; ``path`` is the last of them, or None."""

    @override
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
        option_string: str | None = None,
    ) -> None:  # fmt: skip
        namespace.paths, namespace.path = list(values), values[-1] if values else None


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command."""
    parser = _Parser(
        prog="loopscope",
        description="A desktop lab bench for looped transformers. Without a command it opens the "
        "window on the bundled model.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    window = commands.add_parser("open", help="open the window (the default)")
    window.add_argument(
        "paths", nargs="*", metavar="PATH", action=_Paths,
        help="checkpoint, bundled:NAME, recording or session; several are a series of one model",
    )  # fmt: skip
    _prompt(window, required=False)
    _running(window, recurrences=None)
    _prompt_set(window)
    _beside(window)
    window.add_argument(
        "--two-runs", choices=("both", "first", "second", "difference"), default="both",
        help="how views show the runs of --beside",
    )  # fmt: skip
    window.add_argument(
        "--on", metavar="ADDRESS", help="run it on a worker of the scheduler at tcp://host:8786"
    )
    window.add_argument("--theme", choices=("light", "dark"), help="colours of the window")
    window.add_argument(
        "--size", type=numbers.window_size, metavar="WxH", help="size of the window: 1280x800"
    )
    window.add_argument("--screenshot", metavar="FILE.png", help="save a picture of the window")
    window.add_argument("--exit", action="store_true", help="leave when the run is done")
    window.add_argument(
        "--view", metavar="KEY", help="maximise one view in the screenshot (see the docs)"
    )

    window.add_argument(
        "--measure", nargs="*", metavar="KEY",
        help="make the measurement of --view, or those of the views named, for the screenshot",
    )  # fmt: skip
    window.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of --view"
    )

    inspect = commands.add_parser(
        "inspect", help="say what a folder is, from its headers alone, or a recording"
    )
    inspect.add_argument("path")
    _family(inspect)
    inspect.add_argument("--json", action="store_true", help="print JSON")

    run = commands.add_parser("run", help="run prompts into a recording; resumes when killed")
    run.add_argument("path")
    _prompt(run, required=True).add_argument(
        "--prompts", metavar="FILE", help="a run for each prompt of a file"
    )
    _running(run, recurrences=-1)
    run.add_argument(
        "--keep", default="states,patterns,writes,readouts", metavar="NAMES",
        help="of states (always), patterns, writes and readouts; all without",
    )  # fmt: skip
    run.add_argument("-o", "--output", required=True, metavar="RUN.h5")

    trace = commands.add_parser("trace", help="run a prompt and save every state as arrays")
    _path(trace)
    _prompt(trace, required=False)
    _running(trace, recurrences=None)
    trace.add_argument("--initial-state", metavar="FILE.npy", help="[T, d] start state")
    trace.add_argument("-o", "--output", required=True, metavar="OUT.npz")

    figures = commands.add_parser("figures", help="run a prompt and write every view's figure")
    _path(figures)
    _prompt(figures, required=False)
    _running(figures, recurrences=None)
    _prompt_set(figures)
    _beside(figures)
    figures.add_argument(
        "--range", type=numbers.recurrences, metavar="A:B", help="draw recurrences A to B alone"
    )
    figures.add_argument("--log-r", action="store_true", help="on a log axis of recurrences")
    figures.add_argument("-o", "--output", required=True, metavar="DIR")
    figures.add_argument(
        "--format",
        default="pdf,svg,png,csv",
        help="of pdf, svg, png, csv and txt (the caption); of the computation graph also graphml "
        "and dot",
    )
    figures.add_argument(
        "--name",
        default="{view}",
        metavar="PATTERN",
        help="of the files, such as {view}-{prompt}-{head}-{size}; also {recurrence}, {model} "
        "and {seed}",
    )  # fmt: skip
    figures.add_argument(
        "--replace", action="store_true",
        help="write over files that are there; else the new ones get a number",
    )  # fmt: skip
    figures.add_argument(
        "--page", choices=("one-column", "two-columns", "slide"), default="one-column"
    )
    figures.add_argument(
        "--measure", nargs="*", metavar="KEY",
        help="make the measurements that take long as well: of these views, or of all",
    )  # fmt: skip
    figures.add_argument(
        "--checkpoint", metavar="PATH", help="that a recording was made with, for --measure"
    )
    figures.add_argument("--dpi", type=numbers.whole(10, 2400), default=300, help="of PNG files")

    report = commands.add_parser("report", help="write a run as one page for any browser")
    _path(report)
    _prompt(report, required=False)
    _running(report, recurrences=None)
    _beside(report)
    report.add_argument("-o", "--output", required=True, metavar="PAGE.html")

    generate = commands.add_parser("generate", help="continue a text, token by token")
    generate.add_argument("path")
    _prompt(generate, required=True)
    _running(generate, recurrences=None, seed=False)
    generate.add_argument(
        "--seed", type=numbers.seed, default=0, help="of the draws, and of a random start state"
    )
    generate.add_argument("--tokens", type=numbers.small, required=True, metavar="N", help="to add")
    generate.add_argument(
        "--exit", metavar="RULE", dest="exit_rule",
        help="when a token leaves the loop: step, kl or gate, with :THRESHOLD; "
        "--recurrences is then the most it takes",
    )  # fmt: skip
    generate.add_argument(
        "--temperature", type=numbers.fraction(0, 100), help="draw; without it the likeliest"
    )
    generate.add_argument(
        "--chat", action="store_true", help="write the prompt as the model's chat template does"
    )
    generate.add_argument(
        "--ignore-stop", action="store_true", help="go on beyond a token that ends a text"
    )
    generate.add_argument("--json", action="store_true", help="print JSON, token by token")
    generate.add_argument("-o", "--output", metavar="OUT.json", help="write JSON here")

    _train(commands.add_parser("train", help="train a small model; resumes when killed"))

    evaluate = commands.add_parser("evaluate", help="accuracy at each recurrence, with intervals")
    evaluate.add_argument("path")
    evaluate.add_argument("--task", choices=("hops",), required=True)
    evaluate.add_argument("--json", action="store_true", help="print JSON")
    evaluate.add_argument(
        "--examples", type=numbers.examples, default=2000, help="for each hop count"
    )
    evaluate.add_argument("--hops", type=numbers.small, default=6, help="hop counts 1 to this")
    evaluate.add_argument(
        "--per-pass",
        type=numbers.small,
        metavar="L",
        help="layers of the block that count as a recurrence (2 for bundled:deep)",
    )
    evaluate.add_argument("--seed", type=numbers.seed, default=1_000_003)
    _running(evaluate, recurrences=16, seed=False)

    live = commands.add_parser("measure", help="run a prompt and print the views' numbers")
    _path(live, nargs="?")
    _prompt(live, required=False).add_argument(
        "--prompts", metavar="FILE", help="means over the prompts of a file, with intervals"
    )
    _running(live, recurrences=None)
    live.add_argument("--measures", default="all", metavar="KEYS", help="a,b,c; all without")
    live.add_argument("--list", action="store_true", help="print every measure's formula")
    live.add_argument("-o", "--output", metavar="OUT.json", help="write here, not to the screen")

    quality = commands.add_parser(
        "quality", help="accuracy and perplexity of a prompt file at each recurrence"
    )
    quality.add_argument("path")
    quality.add_argument("--prompts", required=True, metavar="FILE", help="text or JSONL")
    _running(quality, recurrences=-1)
    quality.add_argument(
        "--answers", choices=("auto", "in-place", "next"), default="auto",
        help="where answers stand: in the prompt's own places, or after it; as the model does",
    )  # fmt: skip
    quality.add_argument(
        "--join", choices=("space", "nothing"), default="space",
        help="between prompt and answer, of answers that stand after it",
    )  # fmt: skip
    quality.add_argument("--json", action="store_true", help="print JSON")
    quality.add_argument("-o", "--output", metavar="OUT.json", help="write JSON here")

    again = commands.add_parser(
        "reproduce", help="train the small ablations, measure them and write the page"
    )
    again.add_argument("-o", "--output", required=True, metavar="DIR")
    again.add_argument(
        "--jobs", type=numbers.whole(1, 256), default=2, help="workers, without --on"
    )
    again.add_argument(
        "--on", metavar="tcp://HOST:8786", help="a Dask scheduler whose workers train"
    )
    again.add_argument("--seeds", type=numbers.small, default=3, help="of each variant, 1 to 3")
    again.add_argument("--prompts", type=numbers.small, default=24, help="measured on each model")

    twins = commands.add_parser(
        "twins", help="train small looped, deep and shallow models, compare them, write the page"
    )
    twins.add_argument("-o", "--output", required=True, metavar="DIR")
    twins.add_argument(
        "--jobs", type=numbers.whole(1, 256), default=2, help="workers, without --on"
    )
    twins.add_argument(
        "--on", metavar="tcp://HOST:8786", help="a Dask scheduler whose workers train"
    )
    twins.add_argument("--seeds", type=numbers.small, default=3, help="of each model, 1 to 3")
    twins.add_argument("--examples", type=numbers.examples, default=2000, help="for each hop count")

    cut = commands.add_parser(
        "probe", help="cut parameters, graph and trajectory; see what is lost"
    )
    cut.add_argument("path")
    cut.add_argument("--task", choices=("hops",), required=True)
    cut.add_argument("-o", "--output", required=True, metavar="DIR")
    cut.add_argument(
        "--prompts", type=numbers.small, default=256, help="fresh ones, 1 to --hops hops"
    )
    cut.add_argument("--hops", type=numbers.small, default=6, help="hop counts 1 to this")
    cut.add_argument("--draws", type=numbers.small, default=16, help="of what is random")
    cut.add_argument(
        "--mid", type=numbers.small, default=0, help="cut the trajectory early: after 3"
    )
    cut.add_argument("--late", type=numbers.small, default=0, help="and late: after 3/5 of all")
    _running(cut, recurrences=None, seed=False)

    study = commands.add_parser(
        "sweep", help="measure a grid of runs on a cluster; resumes when stopped"
    )
    study.add_argument("study", metavar="STUDY.toml", help="a study, or bundled:hops")
    study.add_argument("-o", "--output", required=True, metavar="DIR")
    study.add_argument(
        "--on", metavar="tcp://HOST:8786", help="a Dask scheduler; this machine without it"
    )
    study.add_argument(
        "--workers", type=numbers.whole(1, 256), metavar="N", help="at the most, on this machine"
    )
    study.add_argument(
        "--dry-run", action="store_true", help="say what it would take, from one run of each model"
    )

    paper = commands.add_parser(
        "paper", help="the figures of the looped models' paper, of your checkpoint; resumes"
    )
    paper.add_argument("path", help="checkpoint folder, or bundled:NAME")
    paper.add_argument(
        "--prompts", metavar="FILE", required=True, help="one prompt a line, or JSONL"
    )
    paper.add_argument("-o", "--output", required=True, metavar="DIR")
    paper.add_argument(
        "--on", metavar="tcp://HOST:8786", help="a Dask scheduler; this process without it"
    )
    paper.add_argument(
        "--deep", type=numbers.small, default=128, metavar="N", help="recurrences taken for the end"
    )
    _running(paper, recurrences=8)

    served = commands.add_parser(
        "serve", help="start workers on this machine, for windows and sweeps from elsewhere"
    )
    served.add_argument("--port", type=numbers.whole(1, 65535), help="on loopback; 8786 without")
    served.add_argument("--workers", type=numbers.whole(1, 256), metavar="N")
    served.add_argument(
        "--device", choices=("auto", "cuda", "cpu"), default="auto",
        help="a worker for each CUDA device, or for each core (with --workers 1 one for all)",
    )  # fmt: skip

    made = commands.add_parser(
        "convert", help="make a checkpoint folder of GGUF, pickles, FP8, LoRA, a model of your own"
    )
    made.add_argument("source", help="a folder, or a file: .gguf, .bin, .pt, .pth, .safetensors")
    made.add_argument("-o", "--output", required=True, metavar="FOLDER")
    made.add_argument("--config", metavar="FILE.json", help="of a family, for a file of weights")
    made.add_argument("--map", metavar="FILE.toml", help="roles of your own model's tensors")
    made.add_argument("--tokenizer", metavar="FILE.json", help="the tokenizer.json to put beside")
    made.add_argument("--base", metavar="FOLDER", help="the model that a LoRA adapter changes")

    doctor = commands.add_parser(
        "doctor", help="check install, devices and desktop, and say what to do"
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")

    plugins = commands.add_parser("plugins", help="list what other packages add, and its state")
    plugins.add_argument("--json", action="store_true", help="print JSON")

    menu = commands.add_parser(
        "install-desktop", help="add menu entry, icon and file types to the desktop (Linux)"
    )
    menu.add_argument("--uninstall", action="store_true", help="remove them again")
    menu.add_argument("--force", action="store_true", help="also where another file has the name")
    return parser


def _train(parser: argparse.ArgumentParser) -> None:
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


def _path(parser: argparse.ArgumentParser, *, nargs: str | None = None) -> None:
    """Add what is run or, in a recording, was run: a prompt and recurrences are of a checkpoint."""
    parser.add_argument("path", nargs=nargs, help="checkpoint folder, bundled:NAME, or a recording")
    parser.add_argument(
        "--run", type=numbers.whole(0, 1_000_000), metavar="N",
        help="which run of a recording, as inspect numbers them; the first without",
    )  # fmt: skip


def _prompt(parser: argparse.ArgumentParser, *, required: bool) -> argparse._MutuallyExclusiveGroup:
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument("--prompt", metavar="TEXT")
    group.add_argument("--token-ids", metavar="1,2,3")
    return group


def _prompt_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--prompts", metavar="FILE", help="prompt file of the views over a prompt set"
    )


def _beside(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--beside", metavar="PATH|RUN",
        help="a second run on the same prompt: a checkpoint, a recording (FILE.h5#N for its run "
        "N), or a number, another run of the recording PATH",
    )  # fmt: skip


def _running(
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
    _family(parser)
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


def _family(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--as", dest="family", default="", metavar="FAMILY",
        help="read the folder as this family, such as llama, whatever it says of its own code",
    )  # fmt: skip


def print_error(text: str) -> None:
    """Print an error in one line."""
    with contextlib.suppress(OSError):
        print(f"loopscope: error: {LoopscopeError(text)}", file=sys.stderr)


def run() -> None:
    """Run the command line and end the process."""
    leave(main())


def main(argv: Sequence[str] | None = None, tell: Callable[[str], None] = print_error) -> int:
    """Run the command; returns 0 when done, 2 on bad use or bad input, 130 on Ctrl-C.

    ``tell`` is given the error that ends it.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # `loopscope --prompt x` and `loopscope folder` are `loopscope open ...`.
    if not arguments or (
        arguments[0] not in COMMANDS and arguments[0] not in ("-h", "--help", "--version")
    ):
        arguments.insert(0, "open")
    _escape_what_cannot_be_shown()
    try:
        code = _run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk is told, not found out at the end of the process
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone (`loopscope ... | head`): nothing more to say.
        _discard_output()
        return 0
    except Exception as error:
        if (problem := _problem(error)) is None:
            raise
        tell(problem)
        return 2


def _problem(error: Exception) -> str | None:
    """What is told of an error; None for one of our own making, which is not the user's."""
    if isinstance(error, LoopscopeError):
        return str(error)
    if isinstance(error, OSError):
        _discard_output()
        place = "" if error.filename is None else f"{error.filename}: "
        return f"{place}{error.strerror or error}"
    if is_out_of_memory(error):
        return "there is not enough memory for this"
    return blamed(error) or None


def _escape_what_cannot_be_shown() -> None:
    """Write a character that the terminal's or the file's encoding lacks as its number."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code."""
    try:
        options = build_parser().parse_args(arguments)
    except SystemExit as done:  # --help and --version
        return int(done.code or 0)
    if options.command == "open":
        from loopscope.app.cli.desktop import run_desktop

        return run_desktop(options)
    from loopscope.app.cli import commands

    try:
        getattr(commands, f"run_{options.command.replace('-', '_')}")(options)
    finally:
        if options.command not in ("plugins", "doctor"):  # they list them
            _tell_what_is_left_out()
    return 0


def _tell_what_is_left_out() -> None:
    """Name the plug-ins that could not be used where the command asked for their kind."""
    for plugin in left_out():
        print(f"loopscope: {plugin.text()}", file=sys.stderr)


def _discard_output() -> None:
    """Let what cannot be written to standard output go nowhere, or Python tells it once more."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
