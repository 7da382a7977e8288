"""How numbers travel in a page: arrays as base64, everything compressed."""

from __future__ import annotations

import base64
import gzip
from typing import Any

import numpy as np
import numpy.typing as npt

from loopscope.core.measures.heads import Patterns

# What an array is read as in the browser.
_NAMES = {"float32": "Float32Array", "uint8": "Uint8Array"}
# A probability in a byte: a step of 1/255.
LEVELS = 255


def packed(array: npt.NDArray[Any]) -> dict[str, Any]:
    """Return ``array`` as JSON: float32, or uint8 where it is that, little-endian.

    The shape goes along; NaN stays NaN.
    """
    kept = array if array.dtype == np.uint8 else np.asarray(array, "<f4")
    name = _NAMES[kept.dtype.name]
    data = base64.b64encode(np.ascontiguousarray(kept).tobytes()).decode("ascii")
    return {"array": name, "shape": list(array.shape), "data": data}


def compressed(data: bytes) -> str:
    """Return ``data`` in gzip, then base64: text that no HTML parser can misread."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii")


def recurrences_that_fit(n: int, size: int, most: int) -> list[int]:
    """Choose which of recurrences 1 to ``n``, each of ``size`` bytes, fit ``most`` bytes.

    All of them where they fit; else the first and the last and, between them, the early ones
    more densely: a run changes most at its beginning. At least the last one is kept.
    """
    room = max(most // max(size, 1), 1)
    if n <= room:
        return list(range(1, n + 1))
    if room == 1:
        return [n]
    places = np.unique(np.geomspace(1, n, room).round().astype(int))
    left = [r for r in range(1, n + 1) if r not in set(places.tolist())]
    return sorted([*places.tolist(), *left[: room - len(places)]])


def as_bytes(patterns: Patterns) -> npt.NDArray[np.uint8]:
    """Round probabilities of any shape to 1/255, as uint8; what is not finite becomes 0."""
    return np.asarray(np.rint(np.nan_to_num(patterns) * LEVELS), np.uint8)
