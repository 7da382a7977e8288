"""Dataclasses as plain JSON and back, each value held to the type of its field.

A file is not trusted: what is of another type, out of range, unknown or twice there is refused in
one line that says where it stands.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from loopscope.core.errors import LoopscopeError
from loopscope.core.files import read_bytes, reason, unique_keys

# Reads one value, given where it stands; raises `LoopscopeError`.
Read = Callable[[Any, str], Any]
BYTES, SHAPE = "float64", "shape"
# Objects within objects that are read; nothing that is written lies as deep.
DEEPEST = 60


def read_json(path: Path, most: int, what: str) -> Any:
    """Read a JSON file of at most ``most`` bytes; ``what`` it holds, in words, is not nested deep.

    Raises `LoopscopeError` that names the file.
    """
    raw = read_bytes(path, most)
    try:
        text = raw.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=unique_keys)
    except RecursionError:
        raise LoopscopeError(f"{path}: is nested too deeply; {what} are not") from None
    except ValueError as error:
        raise LoopscopeError(f"{path}: cannot be read as JSON: {reason(error)}") from None


def plain(value: Any) -> Any:
    """Values of JSON that a `Reader` reads back: dataclasses, tuples and float64 arrays of them.

    A dataclass whose class has a ``kind`` says it too.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = getattr(type(value), "kind", None)
        fields = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return ({"kind": kind} if isinstance(kind, str) else {}) | fields
    if isinstance(value, np.ndarray):
        raw = np.ascontiguousarray(value, "<f8").tobytes()
        return {SHAPE: list(value.shape), BYTES: base64.b64encode(raw).decode()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    return value


class Reader:
    """Reads values by the type they are to have.

    Parameters
    ----------
    special
        How values of some types are read that are not read field by field.
    """

    def __init__(self, special: Mapping[type, Read] | None = None) -> None:
        self._special = dict(special or {})
        self._depth = 0

    def fields(self, cls: type[Any], entry: Any, where: str) -> Any:
        """Read a dataclass; what it says is `misused` in it is refused as well.

        Raises `LoopscopeError` that says where ``entry`` is none.
        """
        if self._depth >= DEEPEST:
            raise LoopscopeError(f"{where[:60]}…: nested too deeply")
        self._depth += 1
        try:
            return self._fields(cls, entry, where)
        finally:
            self._depth -= 1

    def _fields(self, cls: type[Any], entry: Any, where: str) -> Any:
        if not isinstance(entry, dict):
            raise LoopscopeError(f"{where}: expected an object")
        hints = get_type_hints(cls)
        names = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(entry) - names)
        if unknown:
            raise LoopscopeError(
                f"{where}: there is no '{unknown[0][:40]}'; {', '.join(sorted(names))}"
            )
        values = {
            name: self.value(hints[name], value, f"{where}, '{name}'")
            for name, value in entry.items()
        }
        try:
            made = cls(**values)
        except TypeError as error:
            raise LoopscopeError(f"{where}: {error}") from None
        if problem := misused(made):
            raise LoopscopeError(f"{where}, {problem}")
        return made

    def value(self, hint: Any, value: Any, where: str) -> Any:
        """Read one value of the type ``hint``."""
        if hint is Any:
            return value
        if hint in self._special:
            return self._special[hint](value, where)
        if hint in (bool, str):
            return _exactly(hint, value, where)
        if hint in (int, float):
            return _number(hint, value, where)
        if dataclasses.is_dataclass(hint):
            assert isinstance(hint, type)
            return self.fields(hint, value, where)
        return self._composed(hint, value, where)

    def _composed(self, hint: Any, value: Any, where: str) -> Any:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Literal:
            return _one_of(arguments, value, where)
        if origin in (Union, UnionType):  # of one type and None
            of_value = next(a for a in arguments if a is not NoneType)
            return None if value is None else self.value(of_value, value, where)
        if origin is tuple:
            return self._tuple(arguments, value, where)
        if origin is dict:
            return self._by_text(arguments[1], value, where)
        if origin is np.ndarray:
            return _array(value, where)
        raise TypeError(f"{where}: no value of {hint} is read from JSON")

    def _by_text(self, hint: Any, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise LoopscopeError(f"{where}: expected an object")
        return {key: self.value(hint, v, f"{where}, '{key[:40]}'") for key, v in value.items()}

    def _tuple(self, hints: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
        whole = hints[0] is int
        if not isinstance(value, list):
            raise LoopscopeError(f"{where}: expected a list" + (" of whole numbers" * whole))
        if hints[-1] is Ellipsis:
            hints = (hints[0],) * len(value)
            places = [where if whole else f"{where}, entry {i + 1}" for i in range(len(value))]
        else:
            places = [where] * len(hints)
        if len(value) != len(hints):
            raise LoopscopeError(f"{where}: expected {len(hints)} values, got {len(value)}")
        read = zip(hints, value, places, strict=True)
        return tuple(self.value(hint, v, place) for hint, v, place in read)


def misused(value: Any) -> str:
    """What a value says of its own fields that no type tells, or ""."""
    problem = getattr(value, "misused", None)
    return "" if problem is None else str(problem())


def _exactly(hint: type, value: Any, where: str) -> Any:
    if not isinstance(value, hint):
        raise LoopscopeError(f"{where}: expected {hint.__name__}, got {_short(value)}")
    if isinstance(value, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        raise LoopscopeError(f"{where}: {_short(value)} is not text that can be shown")
    return value


def _number(hint: type[int] | type[float], value: Any, where: str) -> int | float:
    number = isinstance(value, int) or (hint is float and isinstance(value, float))
    most = 1 << 63 if hint is int else 1e12
    if not number or isinstance(value, bool) or not abs(value) < most:  # also refuses NaN
        expected = "a whole number" if hint is int else "a number"
        raise LoopscopeError(f"{where}: expected {expected}, got {_short(value)}")
    return hint(value)


def _one_of(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    for choice in choices:
        if type(value) is type(choice) and value == choice:
            return choice
    raise LoopscopeError(f"{where}: {_short(value)} is not one of {', '.join(map(str, choices))}")


def _array(value: Any, where: str) -> Any:
    """A float64 array of finite values; its size is that of what the file holds."""
    shape = value.get(SHAPE) if isinstance(value, dict) else None
    data = value.get(BYTES) if isinstance(value, dict) else None
    if not isinstance(shape, list) or not isinstance(data, str):
        raise LoopscopeError(f"{where}: expected an object with '{SHAPE}' and '{BYTES}'")
    sizes = [_number(int, n, where) for n in shape]
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise LoopscopeError(f"{where}: '{BYTES}' is not base64") from None
    if len(sizes) > 4 or min(sizes, default=0) < 0 or len(raw) != 8 * math.prod(sizes):
        raise LoopscopeError(f"{where}: {len(raw)} bytes are no array of the shape {sizes}")
    array = np.frombuffer(raw, "<f8").astype(np.float64).reshape([int(n) for n in sizes])
    if not np.isfinite(array).all():
        raise LoopscopeError(f"{where}: holds NaN or infinite values")
    return array


def _short(value: Any) -> str:
    return ascii(value)[:40]
