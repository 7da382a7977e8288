"""Tokens as text that can be seen."""

from __future__ import annotations

_SHOWN = {" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "␣"}


def visible(text: str) -> str:
    r"""Return ``text`` with its spaces, newlines and control characters made visible.

    Space is ``␣``, newline ``⏎``, tab ``⇥``, no text at all ``∅``; what else cannot be printed is
    written as Python would, such as ``\\x07``.
    """
    if not text:
        return "∅"
    return "".join(
        _SHOWN[c] if c in _SHOWN else c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in text
    )
