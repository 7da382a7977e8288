"""Checkpoint folders, from headers alone: no weights are read and torch is not imported.

A folder holds `config.json`, `model.safetensors` (or shards with an index) and perhaps
`tokenizer.json`. Nothing of it is ever executed. Whatever is wrong with it ends in one
`CheckpointError` line that names the file and the key or tensor.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from os.path import lexists
from pathlib import Path
from typing import Any

from loopscope.core.checkpoint.places import resolve
from loopscope.core.checkpoint.ties import Settled, settle_ties
from loopscope.core.errors import Cancelled, CheckpointError
from loopscope.core.families import FAMILIES, recognise
from loopscope.core.families.family import Config, Family, Source
from loopscope.core.files import check_regular, read_bytes, reason
from loopscope.core.model.architecture import (
    Architecture,
    parameter_shapes,
    renamed_by_loop,
    with_loop,
)

# Bytes an element takes, for the dtypes that weights come in.
DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}
FLOATS = ("F64", "F32", "F16", "BF16")
MAX_HEADER = 100 << 20
MAX_JSON = 64 << 20
# Weights up to this size are hashed whole; of larger ones samples of this size.
HASH_WHOLE, SAMPLE = 256 << 20, 64 << 10
LOOPED = " looped "  # between a deep checkpoint's name and the span of it that is looped


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor as the header describes it; ``start`` and ``end`` are offsets in the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that was recognised, with every tensor its family needs present and in shape.

    notes : what it is that its config does not say, a line each.
    """

    path: Path
    name: str
    family: Family
    recognised_by: str
    architecture: Architecture
    config: dict[str, Any]
    tensors: dict[str, TensorInfo]
    sources: dict[str, Source]
    tokenizer_file: Path | None
    notes: tuple[str, ...] = ()

    @property
    def weight_files(self) -> tuple[Path, ...]:
        """Files the weights are in, in name order."""
        return tuple(sorted({t.file for t in self.tensors.values()}))

    @property
    def dtype(self) -> str:
        """The dtype that most parameters are stored in, in safetensors' spelling."""
        counts: dict[str, int] = {}
        for t in self.tensors.values():
            counts[t.dtype] = counts.get(t.dtype, 0) + math.prod(t.shape)
        return max(counts, key=lambda k: counts[k])


def open_checkpoint(path: str) -> Checkpoint:
    """Recognise a folder and check every header in it.

    Reads no weights but those that a config ties, where the file holds them twice.
    """
    folder, name = resolve(path)
    values, tensors = _read_json(folder / "config.json"), _read_tensors(folder)
    config = Config(values, folder / "config.json", frozenset(tensors))
    found = recognise(config, frozenset(tensors))
    if found is None:
        known = ", ".join(family.title for family in FAMILIES)
        raise CheckpointError(
            f"{config.path}: model_type '{config.model_type}' is not supported; "
            f"supported: {known} (docs/adding-a-family.md says how to add one)"
        )
    family, how = found
    arch = family.architecture(config)
    _refuse_oversized(config, arch, tensors)
    settled = settle_ties(family, arch, tensors)
    _check_shapes(settled, tensors, folder, family)
    tokenizer = folder / "tokenizer.json"
    return Checkpoint(
        folder, name, family, how, settled.architecture, config.values, tensors, settled.sources,
        tokenizer if lexists(tokenizer) else None, settled.notes,
    )  # fmt: skip


def looped_checkpoint(checkpoint: Checkpoint, first: int, last: int, damping: float) -> Checkpoint:
    """Return a deep checkpoint with layers ``first`` to ``last - 1`` as its recurrent block."""
    arch = with_loop(checkpoint.architecture, first, last, damping)
    # Not asked of the family: what a file calls its layers does not change with what is looped.
    names = renamed_by_loop(checkpoint.architecture, arch)
    sources = {names[ours]: source for ours, source in checkpoint.sources.items()}
    name = checkpoint.name.split(LOOPED)[0]
    if arch.looped_span:
        name += f"{LOOPED}{first}:{last}" + (f" β = {damping:g}" if damping != 1 else "")
    return replace(checkpoint, architecture=arch, sources=sources, name=name)


def _refuse_oversized(config: Config, arch: Architecture, tensors: dict[str, TensorInfo]) -> None:
    """Refuse a config that claims more layers than the file has tensors, before listing them."""
    if arch.unique_depth > len(tensors):
        raise CheckpointError(
            f"{config.path}: says {arch.unique_depth} layers, "
            f"but the weights hold only {len(tensors)} tensors"
        )


def _read_json(path: Path) -> dict[str, Any]:
    if not lexists(path):
        raise CheckpointError(f"{path.parent} is not a checkpoint folder: {path.name} is missing")
    raw = read_bytes(path, MAX_JSON, CheckpointError)
    try:
        values = json.loads(raw, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON: {reason(error)}") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that says one thing twice: JSON readers differ in which they believe."""
    values = dict(pairs)
    if len(values) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"'{twice[:80]}' is there twice")
    return values


def _read_tensors(folder: Path) -> dict[str, TensorInfo]:
    index = folder / "model.safetensors.index.json"
    single = folder / "model.safetensors"
    if lexists(single):
        return read_header(single)
    if not lexists(index):
        problem = f"neither {single.name} nor {index.name} is there"
        pickles = sorted(p.name for p in folder.glob("*.bin")) + sorted(
            p.name for p in folder.glob("*.pt*")
        )
        if pickles:
            problem += f"; {pickles[0]} is a pickle, which could run anything and is never loaded"
        raise CheckpointError(f"{folder} is not a checkpoint folder: {problem}")
    weight_map = _read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: key 'weight_map' is missing or empty")
    tensors: dict[str, TensorInfo] = {}
    headers: dict[str, dict[str, TensorInfo]] = {}
    for name, file_name in weight_map.items():
        if not isinstance(file_name, str):
            raise CheckpointError(f"{index}: tensor '{name}': the shard's name is not text")
        if file_name not in headers:
            headers[file_name] = read_header(_inside(folder, file_name, index))
        if name not in headers[file_name]:
            raise CheckpointError(f"{folder / file_name}: tensor '{name}' is missing")
        tensors[name] = headers[file_name][name]
    return tensors


def _inside(folder: Path, file_name: str, index: Path) -> Path:
    """Return a shard's path, whose name must not lead out of the folder.

    Where a link leads is up to whoever made the link: shards are linked into other places by the
    Hugging Face cache and by hand. Only the index is the stranger's.
    """
    said = file_name[:80]
    parts = file_name.replace("\\", "/").split("/")
    if ".." in parts or "" in parts or ":" in parts[0]:
        raise CheckpointError(f"{index}: shard '{said}' is outside the folder")
    path = folder / file_name
    try:
        missing = not path.exists()
    except (OSError, ValueError) as error:  # a name too long, or one with a zero byte
        raise CheckpointError(f"{index}: shard '{said}': {reason(error)}") from None
    if missing:
        raise CheckpointError(f"{index}: shard '{said}' is missing")
    return path


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Read and check the header of a safetensors file: 8 bytes of length, JSON, then data."""
    size = check_regular(path, CheckpointError)
    try:
        with path.open("rb") as file:
            prefix = file.read(8)
            if len(prefix) < 8:
                raise CheckpointError(f"{path}: the file is cut short ({size} bytes)")
            (length,) = struct.unpack("<Q", prefix)
            if length > min(MAX_HEADER, size - 8):
                raise CheckpointError(
                    f"{path}: the header claims {length} bytes of a file of {size}; cut short?"
                )
            header = json.loads(file.read(length), object_pairs_hook=_no_duplicates)
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
        raise wrong(f"dtype {str(dtype)[:20]!r} is not supported")
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


def _check_shapes(
    settled: Settled, tensors: dict[str, TensorInfo], folder: Path, family: Family
) -> None:
    shapes, sources = parameter_shapes(settled.architecture), settled.sources
    for parameter, source in sources.items():
        names = source.names
        for name in names:
            if name not in tensors:
                raise CheckpointError(f"{folder}: tensor '{name}' is missing")
        parts = [tensors[name].shape for name in names]
        if len({part[1:] for part in parts}) > 1:
            raise CheckpointError(
                f"{tensors[names[0]].file}: tensors {', '.join(names)} do not fit together"
            )
        got = (sum(p[0] for p in parts if p), *parts[0][1:]) if len(parts) > 1 else parts[0]
        wanted = shapes[parameter]
        if source.rows is not None:
            _, end, rows = source.rows
            wanted = (rows or max(end, got[0] if got else 0), *wanted[1:])
        if source.how == "transpose":
            got = got[::-1]
        if got != wanted:
            raise CheckpointError(
                f"{tensors[names[0]].file}: tensor '{names[0]}' has shape {list(got)}, "
                f"config.json asks for {list(wanted)}"
            )
    for source in sources.values():
        for name in source.names:
            if tensors[name].dtype not in FLOATS:
                raise CheckpointError(
                    f"{tensors[name].file}: tensor '{name}' is {tensors[name].dtype}, "
                    f"not one of {', '.join(FLOATS)}"
                )
    used = {name for source in sources.values() for name in source.names} | settled.known
    extra = sorted(name for name in set(tensors) - used if not family.ignored(name))
    if extra:
        raise CheckpointError(
            f"{tensors[extra[0]].file}: tensor '{extra[0]}' is not one this family has "
            f"({len(extra)} such)"
        )


def weights_hash(checkpoint: Checkpoint, cancelled: Callable[[], bool] = lambda: False) -> str:
    """Return what identifies the weights, for provenance.

    SHA-256 of the weight files, one after the other in name order, as hexadecimal. Of more than
    `HASH_WHOLE` bytes only the headers and `SAMPLE` bytes at the start, the middle and the end of
    every tensor are hashed, and the result begins with "sampled:".
    """
    digest = hashlib.sha256()
    try:
        sizes = {path: path.stat().st_size for path in checkpoint.weight_files}
    except OSError as error:
        raise CheckpointError(f"{checkpoint.path}: cannot be read: {reason(error)}") from None
    sampled = sum(sizes.values()) > HASH_WHOLE
    for path in checkpoint.weight_files:
        try:
            with path.open("rb") as file:
                for start, end in _sampled(checkpoint, path) if sampled else [(0, sizes[path])]:
                    file.seek(start)
                    while start < end and (chunk := file.read(min(1 << 22, end - start))):
                        digest.update(chunk)
                        start += len(chunk)
                        if cancelled():
                            raise Cancelled("hashing the weights was stopped")
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read: {reason(error)}") from None
    return ("sampled:" if sampled else "") + digest.hexdigest()


def _sampled(checkpoint: Checkpoint, path: Path) -> list[tuple[int, int]]:
    """Ranges of bytes that stand for a large file: its header, and three in every tensor."""
    inside = sorted(
        (t for t in checkpoint.tensors.values() if t.file == path), key=lambda t: t.start
    )
    ranges = [(0, inside[0].start)]
    for t in inside:
        middle = (t.start + t.end) // 2
        for start in (t.start, middle, max(t.start, t.end - SAMPLE)):
            ranges.append((start, min(start + SAMPLE, t.end)))
    return ranges
