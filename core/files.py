"""Files: read only where they are files and of a sensible size, written whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from loopscope.core.errors import LoopscopeError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_regular(path: Path, error: type[LoopscopeError] = LoopscopeError) -> int:
    """Return the size of a regular file in bytes; nothing is opened.

    To open a pipe waits for a writer, and a device may never end. Raises ``error`` for what is no
    regular file, is not there or cannot be looked at; its message begins with the path.
    """
    try:
        status = path.stat()
    except (OSError, ValueError, RuntimeError) as problem:
        raise error(f"{shortened(path)}: cannot be read: {reason(problem)}") from None
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
        raise error(f"{shortened(path)}: is {kind}, not a file")
    return status.st_size


def expanded(path: str, error: type[LoopscopeError] = LoopscopeError) -> Path:
    """Return ``path`` with ``~`` and ``~USER`` written out; raises ``error`` for no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as problem:
        raise error(f"{path}: {reason(problem)}") from None


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads`: refuse an object that says one thing twice.

    JSON readers differ in which of the two they believe. Raises `ValueError`.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"'{twice[:80]}' is there twice")
    return values


def read_bytes(path: Path, most: int, error: type[LoopscopeError] = LoopscopeError) -> bytes:
    """Read a regular file of at most ``most`` bytes; raises ``error`` for any other."""
    size = check_regular(path, error)
    try:
        with path.open("rb") as file:
            # Of one that is known to be larger nothing is read.
            raw = b"" if size > most else file.read(most + 1)
    except (OSError, MemoryError) as problem:
        raise error(f"{path}: cannot be read: {reason(problem)}") from None
    if max(size, len(raw)) > most:
        limit = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most:,} bytes"
        raise error(f"{path}: is larger than {limit}")
    return raw


def read_text(path: Path, most: int, error: type[LoopscopeError] = LoopscopeError) -> str:
    """Read a UTF-8 file of at most ``most`` bytes; raises ``error`` for any other."""
    try:
        return read_bytes(path, most, error).decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{path}: is not UTF-8 text: {problem.reason} at {problem.start}") from None


@contextmanager
def written(
    path: Path, also: tuple[type[Exception], ...] = (), error: type[LoopscopeError] = LoopscopeError
) -> Iterator[Path]:
    """Give a path beside ``path`` to write to; it takes the name of ``path`` when all went well.

    Whatever goes wrong, an older file stays as it is. Raises ``error`` where the system refuses,
    and for the exceptions ``also`` that a library makes of it.
    """
    part: Path | None = None
    refusals: tuple[type[Exception], ...] = (OSError, *also)
    try:
        target = Path(os.path.realpath(path))  # a link stays a link
        if os.path.lexists(target):
            check_regular(path, error)
        part = target.with_name(f".{os.urandom(6).hex()}{target.suffix[:20]}")
        yield part
        if target.exists():
            shutil.copymode(target, part)
        os.replace(part, target)
    except refusals as problem:
        raise error(f"cannot write {shortened(path)}: {reason(problem)}") from None
    finally:
        if part is not None:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file that is complete or not there at all; UTF-8, lone surrogates escaped."""
    with written(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def make_folder(path: Path) -> Path:
    """Make a folder, and those above it, where they are not there; returns it.

    Raises `LoopscopeError` where it cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as problem:
        raise LoopscopeError(f"cannot make {shortened(path)}: {reason(problem)}") from None
    if not os.access(path, os.W_OK):
        raise LoopscopeError(f"cannot write to the folder {shortened(path)}")
    return path


def mistaken_for(start: bytes) -> str:
    """What a file that begins so is instead of what its name says, and the way out; or ""."""
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file itself: run `git lfs pull` in its folder"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, not the file itself: download it again"
    return ""


def reason(problem: BaseException) -> str:
    """What the system says of an error, without the path that stands before it anyway."""
    text = problem.strerror if isinstance(problem, OSError) else None
    return " ".join((text or str(problem)).split())[:200] or type(problem).__name__


def shortened(path: Path) -> str:
    """A path as messages show it: the middle of a very long one is left out."""
    text = str(path)
    return text if len(text) <= 400 else f"{text[:200]}…{text[-100:]}"
