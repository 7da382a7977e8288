"""Weights from safetensors files to a device: mapped, checked and copied piece by piece.

The file is memory-mapped and each piece is looked at once: checked for NaN and infinity, converted
and copied to where it stays. Pages that were used are given back at once, so that the peak is the
weights in their final dtype and little more.
"""

from __future__ import annotations

import math
import mmap
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from loopscope.core.checkpoint.folder import Checkpoint
from loopscope.core.checkpoint.headers import TensorInfo
from loopscope.core.errors import Cancelled, CheckpointError
from loopscope.core.families.family import Source
from loopscope.core.model.architecture import Architecture, parameter_shapes

Report = Callable[[float, str], None]
TORCH_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
}  # fmt: skip
# Entries looked at in one go: few enough to be still in the cache when they are copied.
PIECE = 1 << 21
# Most of the time goes to the system finding new memory, which more than one thread can wait for.
THREADS = 2


class MappedFile:
    """One safetensors file, mapped for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            problem = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{path}: cannot be read: {problem}") from None

    def check(self, info: TensorInfo) -> None:
        """Raise `CheckpointError` when the file ends before the tensor does."""
        if info.end > len(self._map):
            raise CheckpointError(f"{self.path}: tensor '{info.name}': the file has become shorter")

    def entries(self, start: int, count: int, dtype: torch.dtype) -> Tensor:
        """``count`` entries from byte ``start``, ``[count]``; valid while the file is mapped."""
        if start % dtype.itemsize:  # written by something that does not align
            raw = bytearray(self._map[start : start + count * dtype.itemsize])
            return torch.frombuffer(raw, dtype=dtype)
        with warnings.catch_warnings():
            # We never write to it.
            warnings.filterwarnings("ignore", message="The given buffer is not writable")
            return torch.frombuffer(self._map, dtype=dtype, count=count, offset=start)

    def used(self, start: int, end: int) -> None:
        """Give pages from ``start`` to ``end`` back; they can be mapped again."""
        if hasattr(self._map, "madvise"):
            first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
            length = end // mmap.PAGESIZE * mmap.PAGESIZE - first
            if length > 0:
                self._map.madvise(mmap.MADV_DONTNEED, first, length)


def read_weights(
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    report: Report = lambda share, doing: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Tensor]:
    """Read every parameter of the checkpoint's architecture, in ``dtype`` on ``device``.

    They come by name, in the shapes of `parameter_shapes`. Raises `CheckpointError` for NaN,
    infinity and values that ``dtype`` cannot hold, naming file and tensor; `Cancelled`.
    """
    arch, shapes = checkpoint.architecture, parameter_shapes(checkpoint.architecture)
    files = {path: MappedFile(path) for path in checkpoint.weight_files}

    def place(parameter: str) -> tuple[Path, int]:
        first = checkpoint.tensors[checkpoint.sources[parameter].names[0]]
        return first.file, first.start

    flat: dict[str, Tensor] = {}
    pieces: list[Piece] = []
    for parameter in sorted(checkpoint.sources, key=place):  # as they lie in the files
        source = checkpoint.sources[parameter]
        flat[parameter] = target = torch.empty(
            math.prod(shapes[parameter]), dtype=dtype, device=device
        )
        at = 0
        for name in source.names:
            info = checkpoint.tensors[name]
            tensor_pieces = _pieces(files[info.file], info, source, target[at:])
            at += sum(len(piece.target) for piece in tensor_pieces)
            pieces += tensor_pieces
    total = sum(piece.n_bytes for piece in pieces)
    done = 0
    with ThreadPoolExecutor(THREADS, thread_name_prefix="loopscope-reading") as threads:
        try:
            for piece in threads.map(Piece.copy, pieces):
                if cancelled():
                    raise Cancelled("loading was stopped")
                done += piece.n_bytes
                report(done / total, "reading the weights")
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    return {
        name: _arranged(flat[name], checkpoint.sources[name], shapes[name], arch)
        for name in checkpoint.sources
    }


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Some entries of a tensor, from byte ``start`` of the file, and where they go, ``target``."""

    file: MappedFile
    info: TensorInfo
    start: int
    target: Tensor

    @property
    def n_bytes(self) -> int:
        """Bytes in the file."""
        return len(self.target) * TORCH_DTYPES[self.info.dtype].itemsize

    def copy(self) -> Piece:
        """Check, convert and copy; returns itself. Raises `CheckpointError` for bad values."""
        source = self.file.entries(self.start, len(self.target), TORCH_DTYPES[self.info.dtype])
        # NaN passes through both; a comparison with it is false.
        low, high = torch.aminmax(source)
        largest = torch.finfo(self.target.dtype).max
        if not (-largest <= float(low) and float(high) <= largest):
            problem = _why(low, high, self.target)
            raise CheckpointError(f"{self.info.file}: tensor '{self.info.name}' {problem}")
        self.target.copy_(source)
        self.file.used(self.start, self.start + self.n_bytes)
        return self


def _pieces(file: MappedFile, info: TensorInfo, source: Source, target: Tensor) -> list[Piece]:
    """Cut a tensor (or its ``source.rows``) up; it goes to the head of ``target``."""
    file.check(info)
    size = TORCH_DTYPES[info.dtype].itemsize
    first, count = 0, (info.end - info.start) // size
    if source.rows is not None:
        row = count // info.shape[0]
        first, count = source.rows[0] * row, (source.rows[1] - source.rows[0]) * row
    begin = info.start + first * size
    return [
        Piece(file, info, begin + i * size, target[i : min(i + PIECE, count)])
        for i in range(0, count, PIECE)
    ]


def _why(low: Tensor, high: Tensor, target: Tensor) -> str:
    if bool(torch.isfinite(low) & torch.isfinite(high)):
        worst = max(abs(float(low)), abs(float(high)))
        dtype = str(target.dtype).removeprefix("torch.")
        return f"holds {worst:.3g}, more than {dtype} can; load it in float32 or bfloat16"
    return "holds NaN or infinite values"


def _arranged(flat: Tensor, source: Source, shape: tuple[int, ...], arch: Architecture) -> Tensor:
    """Bring the file's entries into our shape and order of rows, see `Source`."""
    if source.how == "transpose":
        return flat.view(shape[::-1]).T.contiguous()
    if source.how == "interleaved":
        heads, rest = arch.layer.n_heads, shape[1:]
        return flat.view(heads, 3, -1, *rest).transpose(0, 1).reshape(shape)
    if source.how == "input_first":
        return torch.cat(flat.view(shape).chunk(2, dim=-1)[::-1], dim=-1)
    if source.how == "half_turn":
        return _half_turned(flat.view(shape), arch)
    return flat.view(shape)


def _half_turned(qkv: Tensor, arch: Architecture) -> Tensor:
    """Swap the halves of the rows of every query and key head; values stay."""
    layer = arch.layer
    turned = (layer.n_heads + layer.n_kv_heads) * layer.d_head
    halves = qkv[:turned].view(-1, 2, layer.d_head // 2, *qkv.shape[1:])
    return torch.cat([halves.flip(1).reshape(turned, *qkv.shape[1:]), qkv[turned:]])
