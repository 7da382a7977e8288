"""Headers of safetensors files: which tensors there are, and where. No weights are read.

A header is untrusted: it is checked before anything is allocated, and whatever is wrong with it is
one `CheckpointError` line that names the file and the tensor.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopscope.core.checkpoint.foreign import NARROW, WAY_OUT
from loopscope.core.errors import CheckpointError
from loopscope.core.files import check_regular, mistaken_for, reason, unique_keys

# Bytes an element takes, for the dtypes that weights come in; those of 8 bits only `convert` reads.
DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1,
               "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1}  # fmt: skip
FLOATS = ("F64", "F32", "F16", "BF16")
MAX_HEADER = 100 << 20


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor as the header describes it; ``start`` and ``end`` are offsets in the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Read and check the header of a safetensors file: 8 bytes of length, JSON, then data.

    Nothing is allocated on the file's word: a header is at most `MAX_HEADER` bytes and not longer
    than the file, and every tensor has to lie inside it. Raises `CheckpointError`, one line that
    names the file and the tensor.
    """
    size = check_regular(path, CheckpointError)
    try:
        with path.open("rb") as file:
            prefix = file.read(8)
            if len(prefix) < 8:
                raise CheckpointError(f"{path}: the file is cut short ({size} bytes)")
            (length,) = struct.unpack("<Q", prefix)
            if length > min(MAX_HEADER, size - 8):
                claim = f"the header claims {length} bytes of a file of {size}; cut short?"
                raise CheckpointError(f"{path}: {mistaken_for(prefix + file.read(64)) or claim}")
            header = json.loads(file.read(length), object_pairs_hook=unique_keys)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot read the header: {reason(error)}") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{path}: the header is not a JSON object")
    data = 8 + length
    tensors = {
        name: _tensor_info(name, entry, path, data, size)
        for name, entry in header.items()
        if name != "__metadata__"
    }
    end = data
    for tensor in sorted(tensors.values(), key=lambda t: (t.start, t.end)):
        if tensor.start != end:
            raise CheckpointError(
                f"{path}: tensor '{tensor.name}': its bytes overlap or leave a gap"
            )
        end = tensor.end
    if end != size:
        raise CheckpointError(f"{path}: {size} bytes, but its tensors end at {end}")
    return tensors


def _tensor_info(name: str, entry: Any, path: Path, data: int, size: int) -> TensorInfo:
    def wrong(problem: str) -> CheckpointError:
        return CheckpointError(f"{path}: tensor '{name}': {problem}")

    if not isinstance(entry, dict):
        raise wrong("its header entry is not an object")
    dtype: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        way_out = f"; {WAY_OUT}" if str(dtype).startswith(NARROW) else ""
        raise wrong(f"dtype {str(dtype)[:20]!r} is not supported{way_out}")
    if not (_are_sizes(shape) and _are_sizes(offsets)):
        raise wrong("shape or data_offsets is not a list of sizes")
    if len(offsets) != 2 or len(shape) > 8:
        raise wrong("its header entry is malformed")
    start, end = data + offsets[0], data + offsets[1]
    if not data <= start <= end <= size:
        raise wrong("its bytes lie outside the file; cut short?")
    if math.prod(shape) * DTYPE_BYTES[dtype] != end - start:
        raise wrong(f"shape {shape} of {dtype} does not take {end - start} bytes")
    return TensorInfo(name, dtype, tuple(shape), path, start, end)


def _are_sizes(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(
        isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 62 for n in numbers
    )
