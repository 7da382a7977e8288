"""The `loopscope` command: errors and exit codes. Imports stay light here."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence

from loopscope.app.cli.leaving import leave
from loopscope.app.cli.parser import COMMANDS, build_parser, refuse_empty_names
from loopscope.core.errors import LoopscopeError, is_out_of_memory
from loopscope.core.plugins import blamed, left_out

DEFAULT_MODEL = "bundled:looped"


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
    refuse_empty_names(options)
    if options.command == "open":
        from loopscope.app.cli.desktop import run_desktop

        return run_desktop(options)
    from loopscope.app.cli import commands

    try:
        commands.RUN[options.command](options)
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
