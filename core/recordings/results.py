"""What was measured of a run and takes long, beside its rows: as arrays and a line of JSON.

Results over prompt sets are of the model, not of the run, and are not kept with it.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from loopscope.core.errors import LoopscopeError
from loopscope.core.measures.lens import READINGS
from loopscope.core.measures.path_independence import PATHS
from loopscope.core.measures.stability import STABILITY
from loopscope.core.results import ResultKey, Results
from loopscope.core.run.file_blocks import Array

KEYS: tuple[ResultKey[Any], ...] = (STABILITY, PATHS, READINGS)
# Names in a file: of the line of JSON, and before the number of an array.
WORDS, NUMBERS = "results", "results_arrays/"


def flattened(results: Results) -> dict[str, Array]:
    """Return the results of a run as arrays, by their names in a file; {} for none."""
    arrays: dict[str, Array] = {}
    kept = {key.name: results.get(key) for key in KEYS}
    words = {name: _put(result, arrays) for name, result in kept.items() if result is not None}
    if not words:
        return {}
    return {WORDS: np.frombuffer(json.dumps(words).encode(), np.uint8), **arrays}


def _put(value: Any, arrays: dict[str, Array]) -> Any:
    """JSON of a value; its arrays are put aside."""
    if dataclasses.is_dataclass(value):
        return {f.name: _put(getattr(value, f.name), arrays) for f in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        name = f"{NUMBERS}{len(arrays)}"
        # A file has no array without an axis, and none of truth values.
        arrays[name] = np.atleast_1d(value.astype(np.uint8) if value.dtype == bool else value)
        return {"array": name, "bool": value.dtype == bool, "shape": list(value.shape)}
    if isinstance(value, tuple):
        return [_put(one, arrays) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": repr(value)}
    return value.item() if isinstance(value, np.generic) else value


def put_results(into: Results, words: Any, arrays: Mapping[str, Array], where: str) -> None:
    """Keep what `flattened` wrote; raises `LoopscopeError` for anything else."""
    if not isinstance(words, dict):
        raise LoopscopeError(f"{where}: 'results' is no object")
    for key in KEYS:
        if key.name in words:
            into.put(key, _value(key.kind, words[key.name], arrays, f"{where}, '{key.name}'"))


def _value(hint: Any, said: Any, arrays: Mapping[str, Array], where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _fields(hint, said, arrays, where)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is np.ndarray:
        return _array(arguments[1], said, arrays, where)
    if origin is tuple and isinstance(said, list):
        return tuple(_value(arguments[0], one, arrays, where) for one in said)
    if NoneType in arguments:
        (of_value,) = (a for a in arguments if a is not NoneType)
        return None if said is None else _value(of_value, said, arrays, where)
    if hint is float and isinstance(said, dict) and said.get("number") in ("nan", "inf", "-inf"):
        return float(said["number"])
    if hint is float and type(said) in (int, float) and abs(said) < math.inf:
        return float(said)
    if hint in (int, str) and type(said) is hint:
        return said
    raise LoopscopeError(f"{where}: holds no value of its kind")


def _fields(cls: type[Any], said: Any, arrays: Mapping[str, Array], where: str) -> Any:
    hints = get_type_hints(cls)
    if not isinstance(said, dict) or set(said) != {f.name for f in dataclasses.fields(cls)}:
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
