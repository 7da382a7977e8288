"""Errors that are told to the user as they stand: one line, with the offender and the remedy."""

from __future__ import annotations

import logging

# Silent unless somebody listens: the window does.
LOG = logging.getLogger("loopscope")
LOG.addHandler(logging.NullHandler())


class LoopscopeError(Exception):
    """Base of everything that the user can cause and can read; the message is one line."""

    def __init__(self, message: str) -> None:
        # Names out of a file may hold anything, line ends and control characters included.
        line = " ".join(message.split())
        super().__init__("".join(c if c.isprintable() else "\ufffd" for c in line))


def one_line(error: BaseException) -> str:
    """The error's message on one line; with its kind where it was not written to be read."""
    message = " ".join(str(error).split())[:400]
    if isinstance(error, LoopscopeError | MemoryError | RuntimeError | OSError):
        return message or type(error).__name__
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: of Python, numpy or torch, on any device."""
    if isinstance(error, RuntimeError):  # torch's, whose own class is one of them
        message = str(error).lower()
        return any(p in message for p in ("allocate memory", "out of memory", "not enough memory"))
    return isinstance(error, MemoryError)


def log_unforeseen(doing: str, error: BaseException) -> None:
    """Log an error of our own making, with its traceback; one that is the user's to mend is not."""
    if not isinstance(error, LoopscopeError | OSError) and not is_out_of_memory(error):
        LOG.error(doing, exc_info=error)


def described(error: BaseException, doing: str) -> str:
    """The error on one line; with the work under way where it is no `Exception`.

    One that nobody foresaw is logged as well.
    """
    log_unforeseen(doing, error)
    line = one_line(error)
    return line if isinstance(error, Exception) else f"{doing}: {line}"


class CheckpointError(LoopscopeError):
    """A checkpoint folder cannot be used; the message names the file and the key or tensor."""


class ForeignError(CheckpointError):
    """A folder may compute something else than the family it names.

    family : name of the family that it can be read as all the same.
    """

    def __init__(self, message: str, family: str = "") -> None:
        super().__init__(message)
        self.family = family


class PromptError(LoopscopeError):
    """A prompt cannot be run on this model; the message says why and what would be accepted."""


class Cancelled(LoopscopeError):
    """The user stopped it."""
