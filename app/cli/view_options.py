"""A view's settings given on the command line: ``--set tolerance=1e-3``."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Any

from loopscope.core.errors import LoopscopeError
from loopscope.core.options import Setting, settings_of


def changed(options: Any, pairs: Sequence[str]) -> Any:
    """Return ``options`` with each ``NAME=VALUE`` of ``pairs`` set.

    Raises `LoopscopeError` for an unknown name and a value out of its range.
    """
    known = {entry.name: entry for entry in settings_of(options)}
    changes = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise LoopscopeError(f"--set {pair}: write NAME=VALUE")
        if name not in known:
            near = difflib.get_close_matches(name, known, 3) or sorted(known)
            raise LoopscopeError(f"--set {pair}: no such setting; perhaps {', '.join(near)}")
        changes[name] = _value(known[name], text, getattr(options, name))
    return dataclasses.replace(options, **changes)


def _value(entry: Setting, text: str, default: Any) -> Any:
    if entry.kind == "flag":
        if text.lower() not in ("true", "false"):
            raise LoopscopeError(f"--set {entry.name}: '{text}' is not true or false")
        return text.lower() == "true"
    if entry.kind == "choice":
        choices = [str(value) for value, _ in entry.choices]
        if text not in choices:
            raise LoopscopeError(f"--set {entry.name}: '{text}' is not one of {', '.join(choices)}")
        return entry.choices[choices.index(text)][0]
    if entry.kind == "text":
        return text
    try:
        value = type(default)(text)
    except ValueError:
        raise LoopscopeError(f"--set {entry.name}: '{text}' is not a number") from None
    if not entry.low <= value <= entry.high:
        raise LoopscopeError(
            f"--set {entry.name}: {text} is not between {entry.low:g} and {entry.high:g}"
        )
    return value
