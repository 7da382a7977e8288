"""Rows on their way: each array once, in no more bytes than it needs, equal bit for bit."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
How = Literal["plain", "upper half", "float16", "int32", "zlib"]

# Below so many bytes nothing is gained; what saves less than a tenth is sent as it is.
LEAST, GAIN = 4096, 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """An array on its way. ``data`` holds it as ``how`` says; ``nbytes`` travel."""

    how: How
    shape: tuple[int, ...]
    dtype: str
    data: Array | bytes

    @property
    def nbytes(self) -> int:
        """Bytes that travel."""
        return len(self.data) if isinstance(self.data, bytes) else self.data.nbytes


def pack(array: Array, *, slow: bool = False) -> Packed:
    """Pack an array; over a ``slow`` link what zlib shortens is shortened.

    float32 rows of a half-precision model hold 16 bits each: only those are sent.
    """
    array = np.ascontiguousarray(array)
    how, data = _halved(array)
    if slow and how == "plain" and array.nbytes >= LEAST:
        pressed = zlib.compress(array.tobytes(), 1)
        if len(pressed) < GAIN * array.nbytes:
            return Packed("zlib", array.shape, array.dtype.str, pressed)
    return Packed(how, array.shape, array.dtype.str, data)


def _halved(array: Array) -> tuple[How, Array]:
    """The array in half as many bytes, where it has no more information than those."""
    if array.dtype == np.int64 and array.size and array.min() >= 0 and array.max() < 1 << 31:
        return "int32", array.astype(np.int32)
    if array.dtype != np.float32:
        return "plain", array
    bits = array.view(np.uint32)
    if not (bits & 0xFFFF).any():  # bfloat16
        return "upper half", (bits >> 16).astype(np.uint16)
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if np.array_equal(half.astype(np.float32).view(np.uint32), bits):
        return "float16", half
    return "plain", array


def unpack(packed: Packed) -> Array:
    """Return what was packed, bit for bit; it may be read only."""
    data, dtype = packed.data, np.dtype(packed.dtype)
    if isinstance(data, bytes):
        return np.frombuffer(zlib.decompress(data), dtype).reshape(packed.shape)
    if packed.how == "upper half":
        return (data.astype(np.uint32) << 16).view(np.float32).reshape(packed.shape)
    return data.astype(dtype, copy=False).reshape(packed.shape)
