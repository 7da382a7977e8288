"""Tokens, counts and sizes as text."""

from __future__ import annotations

from collections.abc import Sequence
from string import punctuation

_LINES = {"\n": "⏎", "\r": "␍", "\t": "⇥"}


def printable(text: str) -> str:
    r"""Return ``text`` in one line of characters that every screen, page and file format can show.

    Newline is ``⏎``, tab ``⇥``; what else cannot be printed is written as Python would, such as
    ``\\x07``: control characters, which XML forbids, and those that turn the direction of what
    follows. Spaces stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        _LINES.get(c) or (c if c.isprintable() else c.encode("unicode_escape").decode())
        for c in text.replace("\u00a0", " ")
    )


def writable(text: str) -> str:
    """Return ``text`` with what UTF-8 cannot hold as U+FFFD: bytes of a name that is no text."""
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


def visible(text: str) -> str:
    """Return a token's text, `printable`, with its spaces as ``␣`` and no text at all as ``∅``."""
    return printable(text).replace(" ", "␣") or "∅"


def at_position(position: int, label: str) -> str:
    """Name a token by its position: "3 a", and "3 '75'" or "3 '::'" where it is no word."""
    quoted = label[:1].isdigit() or set(label) <= set(punctuation)
    return f"{position} '{label}'" if quoted else f"{position} {label}"


def name_tokens(positions: Sequence[int]) -> str:
    """Such as "token 3", "tokens 0 and 5" and "12 tokens"."""
    if len(positions) > 2:
        return f"{len(positions)} tokens"
    return f"token{'s' * (len(positions) > 1)} {' and '.join(map(str, positions))}"


def counted(n: int, noun: str) -> str:
    """A number with its noun: ``1, "seed" -> "1 seed"``, ``3, "seed" -> "3 seeds"``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def count(n: float) -> str:
    """Three significant digits with k, M, G: ``210432 -> "210 k"``."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if n >= scale * 0.9995:
            return f"{_three(n / scale)} {unit}"
    return f"{n:.0f}"


def size(n: float) -> str:
    """Bytes with binary units, three significant digits."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n >= scale * 0.9995:
            return f"{_three(n / scale)} {unit}"
    return f"{n:.0f} B"


def _three(x: float) -> str:
    return f"{x:.0f}" if x >= 99.95 else f"{x:.1f}" if x >= 9.995 else f"{x:.2f}"
