"""What a thread is given to do may hold nothing of Qt's: the last to hold a widget destroys it."""

from __future__ import annotations

import types
from functools import partial
from typing import Any

from PySide6.QtCore import QObject


def qt_held_by(work: Any) -> list[str]:
    """Where ``work``, a callable for another thread, holds an object of Qt's, in words.

    Looks into closures, bound objects and arguments, and into the fields of the application's own
    objects; what belongs to the model is not looked into.
    """
    found: list[str] = []
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [(getattr(work, "__qualname__", type(work).__name__), work)]
    while waiting:
        name, value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, QObject):
            found.append(f"{name}: {type(value).__name__}")
        else:
            waiting += [(f"{name}.{part}", inner) for part, inner in _parts(value)]
    return found


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, types.MethodType):
        return [("self", value.__self__), ("function", value.__func__)]
    if isinstance(value, types.BuiltinMethodType):
        return [("self", value.__self__)]
    if isinstance(value, types.FunctionType):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        # A cell is empty until its name is bound.
        held = [(name, cell.cell_contents) for name, cell in cells if cell != types.CellType()]
        return held + list(enumerate_named(value.__defaults__ or ()))
    if isinstance(value, partial):
        return [("function", value.func), *enumerate_named((*value.args, *value.keywords.values()))]
    if isinstance(value, list | tuple | set | frozenset):
        return list(enumerate_named(value))
    if isinstance(value, dict):
        return [(str(key), inner) for key, inner in value.items()]
    if type(value).__module__.startswith("loopscope.app"):
        names = getattr(value, "__dict__", None) or getattr(type(value), "__slots__", ())
        return [(name, getattr(value, name, None)) for name in names]
    return []


def enumerate_named(values: Any) -> list[tuple[str, Any]]:
    """The values with their places as names."""
    return [(str(i), inner) for i, inner in enumerate(values)]
