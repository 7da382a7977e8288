"""What was measured and takes long, beside the rows: as arrays and a line of JSON.

Results of one run are kept with it, those of its model (over prompt sets) once in the file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Mapping
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from loopscope.core.errors import LoopscopeError, log_unforeseen
from loopscope.core.interventions.base import Intervention
from loopscope.core.interventions.registry import as_json, from_json
from loopscope.core.measures.base import Measure
from loopscope.core.measures.correspondence import CORRESPONDENCE
from loopscope.core.measures.exits_over_prompts import EXITS_OVER_PROMPTS
from loopscope.core.measures.interchange import INTERCHANGE
from loopscope.core.measures.lens import READINGS
from loopscope.core.measures.linear_probes import LINEAR_PROBES
from loopscope.core.measures.nulls import NULLS
from loopscope.core.measures.over_prompts import PROMPT_MEASURES
from loopscope.core.measures.path_independence import PATHS
from loopscope.core.measures.probe import PROBE
from loopscope.core.measures.quality import QUALITY
from loopscope.core.measures.registry import MEASURES
from loopscope.core.measures.stability import STABILITY
from loopscope.core.measures.stitching import STITCHING
from loopscope.core.plugins import NAME
from loopscope.core.recordings.result_shapes import misshapen
from loopscope.core.results import ResultKey, Results
from loopscope.core.run.file_blocks import Array

T = TypeVar("T")
KEYS: tuple[ResultKey[Any], ...] = (STABILITY, PATHS, READINGS)
MODEL_KEYS: tuple[ResultKey[Any], ...] = (
    QUALITY,
    PROMPT_MEASURES,
    EXITS_OVER_PROMPTS,
    CORRESPONDENCE,
    PROBE,
    LINEAR_PROBES,
    INTERCHANGE,
    STITCHING,
    NULLS,
)
# Names in a file: of the line of JSON, and before the number of an array.
WORDS, NUMBERS = "results", "results_arrays/"
# Where those of the model are.
MODEL = "model"


class _NoMeasure(LoopscopeError):
    """A measure of another package, which is not here."""


def flattened(results: Results, keys: tuple[ResultKey[Any], ...] = KEYS) -> dict[str, Array]:
    """Return results as arrays, by their names in a file; {} for none.

    ``keys`` are our own of their kind. What a view of another package measured is there as well;
    one of a class that cannot be read again is left out, and logged.
    """
    unread = {name: own for name, own in results.unread.items() if isinstance(own, KeptUnread)}
    arrays: dict[str, Array] = {}
    for own in unread.values():
        arrays |= own.arrays
    words: dict[str, Any] = {name: own.words for name, own in unread.items()}
    kept = {key: results.get(key) for key in keys}
    words |= {key.name: _put(result, arrays) for key, result in kept.items() if result is not None}
    for key, result in results.items():
        if key not in keys and key.name not in words and (made := _foreign(key, result, arrays)):
            words[key.name], arrays = made
    if not words:
        return {}
    return {WORDS: np.frombuffer(json.dumps(words).encode(), np.uint8), **arrays}


def _foreign(
    key: ResultKey[Any], result: Any, arrays: dict[str, Array]
) -> tuple[Any, dict[str, Array]] | None:
    """JSON and arrays with one more result, of another package; None where it cannot be kept."""
    more = dict(arrays)
    try:
        words = _put(result, more)
        json.dumps(words)
        _value(key.kind, words, more, f"'{key.name}'")
    except Exception as error:  # whatever another package has put into its class
        log_unforeseen(f"keeping the result of '{key.name}' in a recording", TypeError(str(error)))
        return None
    return words, more


@dataclasses.dataclass(frozen=True, slots=True)
class KeptUnread:
    """A result in a file, of a class that is not known yet: its JSON and its arrays, by name."""

    words: Any
    arrays: dict[str, Array]
    where: str

    def read(self, kind: type[T]) -> T | None:
        """Return it as one of this class; None, and logged, where it is none."""
        try:
            result = _value(kind, self.words, self.arrays, self.where)
        except Exception as error:  # of a file, or of the class
            log_unforeseen("reading a result of a recording", TypeError(str(error)))
            return None
        return result if isinstance(result, kind) else None


def _arrays_in(words: Any) -> set[str]:
    """Names of the arrays that JSON refers to."""
    found, left = set(), [words]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            found.add(str(one.get("array")))
            left += one.values()
        elif isinstance(one, list):
            left += one
    return found


def _put(value: Any, arrays: dict[str, Array]) -> Any:
    """JSON of a value; its arrays are put aside."""
    if isinstance(value, Measure):
        return {"measure": value.key}
    if isinstance(value, Intervention):
        return as_json((value,))[0]
    if dataclasses.is_dataclass(value):
        return {name: _put(getattr(value, name), arrays) for name in _names(type(value))}
    if isinstance(value, Mapping):
        return {key: _put(one, arrays) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        name = _free_name(arrays)
        # A file has no array without an axis, and none of truth values.
        arrays[name] = np.atleast_1d(value.astype(np.uint8) if value.dtype == bool else value)
        return {"array": name, "bool": value.dtype == bool, "shape": list(value.shape)}
    if isinstance(value, tuple):
        return [_put(one, arrays) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": repr(value)}
    return value.item() if isinstance(value, np.generic) else value


def _free_name(arrays: Mapping[str, Array]) -> str:
    """A name that no array has; those of packages that have not asked for them keep theirs."""
    number = len(arrays)
    while (name := f"{NUMBERS}{number}") in arrays:
        number += 1
    return name


def _names(cls: type[Any]) -> list[str]:
    """Fields that are kept: what is remembered beside them is found again."""
    return [f.name for f in dataclasses.fields(cls) if not f.name.startswith("_")]


def _required(cls: type[Any]) -> set[str]:
    """Fields without a default."""
    missing = dataclasses.MISSING
    fields = dataclasses.fields(cls)
    return {f.name for f in fields if f.default is missing and f.default_factory is missing}


def put_results(
    into: Results,
    words: Any,
    arrays: Mapping[str, Array],
    where: str,
    keys: tuple[ResultKey[Any], ...] = KEYS,
    sizes: Mapping[str, int] | None = None,
) -> None:
    """Keep what `flattened` wrote; raises `LoopscopeError` for anything else.

    ``sizes`` are the lengths that a run has, as `result_shapes` names them.
    What was measured by a measure of a package that is not here is left out; the result of a view
    of one is read when that asks for it, and written again as it is.
    """
    if not isinstance(words, dict):
        raise LoopscopeError(f"{where}: 'results' is no object")
    for key in keys:
        if key.name in words:
            result = _value(key.kind, words[key.name], arrays, f"{where}, '{key.name}'")
            if problem := misshapen(result, sizes):
                raise LoopscopeError(f"{where}, '{key.name}': {problem}")
            into.put(key, result)
    for name in set(words) - {key.name for key in keys}:
        if NAME.fullmatch(name):
            own = {array: arrays[array] for array in _arrays_in(words[name]) & set(arrays)}
            into.unread[name] = KeptUnread(words[name], own, f"{where}, '{name}'")


def _value(hint: Any, said: Any, arrays: Mapping[str, Array], where: str) -> Any:
    if hint in (Measure, Intervention):
        return _of_registry(hint, said, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _fields(hint, said, arrays, where)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is np.ndarray:
        return _array(arguments[1], said, arrays, where)
    if origin is tuple and isinstance(said, list):
        return tuple(_value(arguments[0], one, arrays, where) for one in said)
    if origin in (dict, Mapping) and isinstance(said, dict):
        return _entries(arguments[1], said, arrays, where)
    if NoneType in arguments:
        (of_value,) = (a for a in arguments if a is not NoneType)
        return None if said is None else _value(of_value, said, arrays, where)
    return _plain(hint, said, where)


def _plain(hint: Any, said: Any, where: str) -> Any:
    """A number, a text or one of several words."""
    if get_origin(hint) is Literal and said in get_args(hint):
        return said
    if hint is float and isinstance(said, dict) and said.get("number") in ("nan", "inf", "-inf"):
        return float(said["number"])
    if hint is float and type(said) in (int, float) and abs(said) < math.inf:
        return float(said)
    if hint in (int, str, bool) and type(said) is hint:
        return said
    raise LoopscopeError(f"{where}: holds no value of its kind")


def _entries(hint: Any, said: Any, arrays: Mapping[str, Array], where: str) -> dict[str, Any]:
    kept = {}
    for name, one in said.items():
        with contextlib.suppress(_NoMeasure):
            kept[name] = _value(hint, one, arrays, f"{where}, '{name[:40]}'")
    return kept


def _of_registry(hint: Any, said: Any, where: str) -> Any:
    if hint is Intervention:
        return from_json([said])[0]
    key = said.get("measure") if isinstance(said, dict) else None
    if not isinstance(key, str):
        raise LoopscopeError(f"{where}: names no measure")
    if key not in MEASURES:
        raise _NoMeasure(f"{where}: there is no measure '{key[:40]}' here")
    return MEASURES[key]


def _fields(cls: type[Any], said: Any, arrays: Mapping[str, Array], where: str) -> Any:
    hints = get_type_hints(cls)
    # What a class has got since the file was written is as it is by default.
    if not isinstance(said, dict) or not _required(cls) <= set(said) <= set(_names(cls)):
        raise LoopscopeError(f"{where}: is no {cls.__name__}")
    return cls(**{n: _value(hints[n], v, arrays, f"{where}, '{n}'") for n, v in said.items()})


def _array(dtype: Any, said: Any, arrays: Mapping[str, Array], where: str) -> Array:
    """An array of the kind that is expected; of the shape that is said of it."""
    shape = said.get("shape") if isinstance(said, dict) else None
    array = arrays.get(str(said.get("array"))) if isinstance(said, dict) else None
    whole = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    if array is None or not whole or math.prod(shape or ()) != array.size:
        raise LoopscopeError(f"{where}: has no array")
    array = array.reshape(shape or ())
    array = array != 0 if said.get("bool") is True else array
    (kind,) = get_args(dtype) or (np.generic,)
    if isinstance(kind, type) and not issubclass(array.dtype.type, kind):
        raise LoopscopeError(f"{where}: is an array of {array.dtype}")
    return array
