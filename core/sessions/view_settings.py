"""The settings of a view read from a file, each held to its type, its choices and its range."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_type_hints

from loopscope.core.errors import LoopscopeError
from loopscope.core.options import settings_of
from loopscope.core.typed_json import Reader


def read_settings(options: Any, saved: Mapping[str, object]) -> tuple[Any, list[str]]:
    """Return a view's ``options`` with the ``saved`` values that suit it, and the other keys.

    One that does not suit costs only itself: settings come and go between versions.
    """
    hints, read = get_type_hints(type(options)), Reader()
    bounds = {s.name: (s.low, s.high) for s in settings_of(options) if s.kind == "number"}
    values, left_out = {}, []
    for name, value in saved.items():
        try:
            if name not in hints:
                raise LoopscopeError("no setting")
            values[name] = read.value(hints[name], value, name)
            low, high = bounds.get(name, (0, 0))
            if name in bounds and not low <= values[name] <= high:
                raise LoopscopeError("out of range")
        except LoopscopeError:
            values.pop(name, None)
            left_out.append(name)
    return dataclasses.replace(options, **values), left_out
