"""Weights from safetensors files to a device: mapped, checked and copied piece by piece.

The file is memory-mapped and each piece is looked at once: checked for NaN and infinity, converted
and copied to where it stays. Pages that were used are given back at once, so that the peak is the
weights in their final dtype and little more.
"""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from loopscope.core.architecture import Architecture, parameter_shapes
from loopscope.core.checkpoint import Checkpoint, TensorInfo
from loopscope.core.errors import Cancelled, CheckpointError
from loopscope.core.families.family import Source

Report = Callable[[float, str], None]
TORCH_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
}  # fmt: skip
# Entries looked at in one go: small enough for the cache, large enough for the loop not to matter.
PIECE = 1 << 21
# Bytes after which used pages are given back.
KEEP_MAPPED = 32 << 20


class MappedFile:
    """One safetensors file, mapped for reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._unused_from = 0
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            problem = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{path}: cannot be read: {problem}") from None

    def flat(self, info: TensorInfo) -> Tensor:
        """The tensor's entries in file order, one-dimensional; valid while the file is mapped."""
        dtype = TORCH_DTYPES[info.dtype]
        count = (info.end - info.start) // dtype.itemsize
        if info.end > len(self._map):
            raise CheckpointError(f"{self.path}: tensor '{info.name}': the file has become shorter")
        if count == 0:
            return torch.empty(0, dtype=dtype)
        if info.start % dtype.itemsize:  # written by something that does not align
            return torch.frombuffer(bytearray(self._map[info.start : info.end]), dtype=dtype)
        with warnings.catch_warnings():
            # We never write to it.
            warnings.filterwarnings("ignore", message="The given buffer is not writable")
            return torch.frombuffer(self._map, dtype=dtype, count=count, offset=info.start)

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
    report: Report = lambda share, what: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> dict[str, Tensor]:
    """Read every parameter of the checkpoint's architecture, in ``dtype`` on ``device``.

    Raises `CheckpointError` for NaN, infinity and values that ``dtype`` cannot hold, naming file
    and tensor; `Cancelled`.
    """
    arch, shapes = checkpoint.architecture, parameter_shapes(checkpoint.architecture)
    names = {name for source in checkpoint.sources.values() for name in source.names}
    total = sum(checkpoint.tensors[n].end - checkpoint.tensors[n].start for n in names)
    files = {path: MappedFile(path) for path in checkpoint.weight_files}
    done = 0

    def progress(n_bytes: int) -> None:
        nonlocal done
        if cancelled():
            raise Cancelled("loading was stopped")
        done += n_bytes
        report(min(1.0, done / max(total, 1)), "reading the weights")

    weights: dict[str, Tensor] = {}
    for parameter, source in checkpoint.sources.items():
        target = torch.empty(shapes[parameter], dtype=dtype, device=device).flatten()
        at = 0
        for name in source.names:
            info = checkpoint.tensors[name]
            at += _copy(files[info.file], info, source, target[at:], progress)
        weights[parameter] = _arranged(target, source, shapes[parameter], arch)
    return weights


def _copy(
    file: MappedFile,
    info: TensorInfo,
    source: Source,
    target: Tensor,
    progress: Callable[[int], None],
) -> int:
    """Copy a tensor (or its ``source.rows``) to the head of ``target``; returns its entries."""
    flat = file.flat(info)
    size = flat.element_size()
    first = 0
    if source.rows is not None:
        row = len(flat) // source.rows[2]
        first = source.rows[0] * row
        flat = flat[first : source.rows[1] * row]
    largest = torch.finfo(target.dtype).max
    begin = info.start + first * size
    given_back = begin
    for i in range(0, len(flat), PIECE):
        piece = flat[i : i + PIECE]
        # NaN passes through both; a comparison with it is false.
        low, high = torch.aminmax(piece)
        if not (-largest <= float(low) and float(high) <= largest):
            raise CheckpointError(f"{info.file}: tensor '{info.name}' {_why(low, high, target)}")
        target[i : i + len(piece)].copy_(piece)
        end = begin + (i + len(piece)) * size
        if end - given_back >= KEEP_MAPPED:
            file.used(given_back, end)
            given_back = end
        progress(len(piece) * size)
    file.used(given_back, begin + len(flat) * size)
    return len(flat)


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
    return flat.view(shape)
