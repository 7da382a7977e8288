"""Every kind of intervention: one line each. Files, form and command line follow from it.

Those of other packages come after ours.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args, get_type_hints

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import read_bytes, reason
from loopscope.core.interventions import layers, states
from loopscope.core.interventions.base import Intervention, Source
from loopscope.core.plugins import INTERVENTION, Registry

OURS: tuple[type[Intervention], ...] = (
    states.Noise,
    states.Zero,
    states.Mean,
    states.Replace,
    layers.AblateHead,
    layers.FreezeHead,
    layers.DropInjection,
    layers.SkipLayer,
    layers.RepeatLayer,
    layers.ScaleWrite,
    layers.BorrowLayer,
    layers.PerturbWeights,
)
MOST_IN_A_FILE, MOST_BYTES = 1000, 16 << 20


def _checked(value: object) -> type[Intervention]:
    """Return what another package brings as a kind; raises where it is none."""
    if not (isinstance(value, type) and issubclass(value, Intervention)):
        raise LoopscopeError("expected a class made from Intervention")
    own = value()
    fields = {name: plain for name, plain in _plain(own).items() if name != "kind"}
    if not (value.title and value.help and value.formula.name):
        raise LoopscopeError("it lacks a title, a help or a formula")
    if _fields(value, fields, "written to a file and read back") != own:
        raise LoopscopeError("it is not the same when it is written to a file and read back")
    return value


KINDS = Registry(INTERVENTION, OURS, lambda kind: kind.kind, _checked)


def as_json(interventions: tuple[Intervention, ...]) -> list[dict[str, Any]]:
    """Plain values; `from_json` reads them back."""
    return [_plain(own) for own in interventions]


def _plain(value: Any) -> Any:
    if isinstance(value, Intervention | Source):
        fields = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return ({"kind": value.kind} if isinstance(value, Intervention) else {}) | fields
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def from_json(values: Any, where: str = "interventions") -> tuple[Intervention, ...]:
    """Read what `as_json` wrote; raises `LoopscopeError` naming the entry and the key."""
    if not isinstance(values, list) or len(values) > MOST_IN_A_FILE:
        raise LoopscopeError(f"{where}: expected a list of at most {MOST_IN_A_FILE} interventions")
    return tuple(_read(entry, f"{where}, entry {i + 1}") for i, entry in enumerate(values))


def _read(entry: Any, where: str) -> Intervention:
    if not isinstance(entry, dict):
        raise LoopscopeError(f"{where}: expected an object")
    kind = KINDS.get(str(entry.get("kind")))
    if kind is None:
        raise LoopscopeError(
            f"{where}: there is no intervention '{str(entry.get('kind'))[:40]}'; "
            f"there are {', '.join(KINDS)}"
        )
    own: Intervention = _fields(kind, {k: v for k, v in entry.items() if k != "kind"}, where)
    if problem := own.misused():
        raise LoopscopeError(f"{where}, {problem}")
    return own


def _fields(cls: type[Any], entry: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(cls)
    names = {f.name for f in dataclasses.fields(cls)}
    unknown = sorted(set(entry) - names)
    if unknown:
        raise LoopscopeError(
            f"{where}: there is no '{unknown[0][:40]}'; {', '.join(sorted(names))}"
        )
    values = {}
    for name, value in entry.items():
        values[name] = _value(hints[name], value, f"{where}, '{name}'")
    try:
        return cls(**values)
    except TypeError as error:
        raise LoopscopeError(f"{where}: {error}") from None


def _value(hint: Any, value: Any, where: str) -> Any:
    """One field, held to its type: a file is not trusted."""
    if hint is Source:
        if not isinstance(value, dict):
            raise LoopscopeError(f"{where}: expected an object")
        return _fields(Source, value, where)
    if hint in (bool, str):
        if not isinstance(value, hint):
            raise LoopscopeError(f"{where}: expected {hint.__name__}, got {_short(value)}")
        return value
    if hint in (int, float):
        return _number(hint, value, where)
    if hint == tuple[Intervention, ...]:
        return from_json(value, where)
    if hint == tuple[int, ...]:
        if not isinstance(value, list):
            raise LoopscopeError(f"{where}: expected a list of whole numbers")
        return tuple(_number(int, v, where) for v in value)
    if value not in get_args(hint):
        choices = ", ".join(map(str, get_args(hint)))
        raise LoopscopeError(f"{where}: {_short(value)} is not one of {choices}")
    return value


def _number(hint: type[int] | type[float], value: Any, where: str) -> int | float:
    number = isinstance(value, int) or (hint is float and isinstance(value, float))
    if not number or isinstance(value, bool) or not abs(value) < 1e12:  # also refuses NaN
        expected = "a whole number" if hint is int else "a number"
        raise LoopscopeError(f"{where}: expected {expected}, got {_short(value)}")
    return hint(value)


def _short(value: Any) -> str:
    return repr(value)[:40]


def load_interventions(path: Path) -> tuple[Intervention, ...]:
    """Read a file of interventions (JSON, a list); nothing of it is run.

    Raises `LoopscopeError` that names the file, the entry and the key.
    """
    raw = read_bytes(path, MOST_BYTES)
    try:
        return from_json(json.loads(raw.decode("utf-8-sig")), str(path))
    except RecursionError:
        raise LoopscopeError(f"{path}: is nested too deeply; interventions are not") from None
    except ValueError as error:
        raise LoopscopeError(f"{path}: cannot be read as JSON: {reason(error)}") from None
