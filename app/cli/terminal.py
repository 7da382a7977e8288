"""What every command does at the terminal: a progress bar, warnings, files that are written."""

from __future__ import annotations

import json
import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopscope.core.checkpoint.request import LoadRequest, Loop
from loopscope.core.errors import LoopscopeError
from loopscope.core.files import shortened, write_text, written
from loopscope.core.version import package_version

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from loopscope.core.checkpoint.loading import Loaded
    from loopscope.core.interventions.base import Intervention


def load_request(args: Namespace) -> LoadRequest:
    """Return what ``MODEL --device --dtype --loop --damping --as`` ask to be loaded."""
    return LoadRequest(args.path, args.device, args.dtype, loop_of(args), args.family)


def loop_of(options: Namespace) -> Loop | None:
    """Return (first, last, damping) of ``--loop``, or None.

    Raises `LoopscopeError` where ``--damping`` is given without it.
    """
    if options.loop is None:
        if options.damping is not None:
            raise LoopscopeError("--damping is of a looped span: give --loop A:B with it")
        return None
    return (*options.loop, 1.0 if options.damping is None else options.damping)


def width() -> int | None:
    """Columns of the terminal that standard output goes to; None where it goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def warn(loaded: Loaded) -> None:
    """Print the warning of a loading, if it has one."""
    warn_lines([*loaded.checkpoint.notes, *([loaded.warning] if loaded.warning else [])])


def interventions_of(options: Namespace) -> tuple[Intervention, ...]:
    """Read the file of ``--interventions``; none without it."""
    if options.interventions is None:
        return ()
    from loopscope.core.interventions.registry import load_interventions

    return load_interventions(Path(options.interventions))


def warn_lines(lines: Iterable[str]) -> None:
    """Print warnings of a run on standard error, one line each (`run.run_warnings`)."""
    for line in lines:
        print(f"loopscope: warning: {line}", file=sys.stderr)


def output_file(text: str, suffix: str) -> Path:
    """Return the path to write, after checking what can be known beforehand.

    Raises `LoopscopeError` for another ending than ``suffix`` and a place that cannot be written
    to.
    """
    path = Path(text)
    if path.suffix != suffix:
        raise LoopscopeError(f"cannot write '{text}'; the name must end in {suffix}")
    if not os.path.isdir(path.parent):
        raise LoopscopeError(
            f"cannot write {shortened(path)}: the folder {shortened(path.parent)} does not exist"
        )
    if os.path.isdir(path):
        raise LoopscopeError(f"cannot write {path}: it is a folder")
    if not os.access(path.parent, os.W_OK):
        raise LoopscopeError(f"cannot write {path}: the folder may not be written to")
    return path


def write_json(document: dict[str, Any], output: Path | None) -> None:
    """Print a document, or write it to a file."""
    text = json.dumps(document, indent=None if output else 1, allow_nan=False)
    if output is None:
        print(text)
    else:
        write_text(output, text + "\n")


def save_figures(figures: Mapping[str, Figure], folder: Path) -> None:
    """Write each figure as PNG and PDF into ``folder``, by its name."""
    for name, figure in figures.items():
        for suffix in ("png", "pdf"):
            with written(folder / f"{name}.{suffix}") as part:
                figure.savefig(part, dpi=200, format=suffix)


class Bar:
    """A progress bar on standard error; silent when that is not a terminal."""

    def __init__(self, title: str) -> None:
        self.title, self.tick = title, -1

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.tick >= 0:
            print(file=sys.stderr)

    def show(self, share: float, note: str = "") -> None:
        """Draw the bar at ``share``, 0 to 1."""
        tick = int(share * 1000)
        if tick == self.tick or not sys.stderr.isatty():
            return
        self.tick = tick
        full = int(share * 30)
        bar = "█" * full + "·" * (30 - full)
        print(
            f"\r{self.title} {bar} {share:6.1%}  {note}\x1b[K", end="", file=sys.stderr, flush=True
        )


def run_script(main: Callable[[], None]) -> None:
    """Run a script and end the process: with exit code 2 and one line for a `LoopscopeError`."""
    try:
        main()
    except LoopscopeError as error:
        print(f"loopscope: error: {error}", file=sys.stderr)
        sys.exit(2)


def about_model(loaded: Loaded) -> dict[str, str]:
    """What made the numbers of a document: this version, the model, where and how it ran."""
    return {
        "loopscope": package_version(),
        "checkpoint": loaded.checkpoint.name,
        "weights sha256": loaded.weights_hash,
        "device": str(loaded.device.device),
        "dtype": loaded.dtype,
    }
