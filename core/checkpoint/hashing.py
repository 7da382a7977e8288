"""The digest of a checkpoint's weights, for provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from loopscope.core.checkpoint.folder import Checkpoint
from loopscope.core.errors import Cancelled, CheckpointError
from loopscope.core.files import reason

# Weights up to this size are hashed whole; of larger ones samples of this size.
HASH_WHOLE, SAMPLE = 256 << 20, 64 << 10


def weights_hash(checkpoint: Checkpoint, cancelled: Callable[[], bool] = lambda: False) -> str:
    """Return what identifies the weights, for provenance.

    SHA-256 of the weight files, one after the other in name order, as hexadecimal. Of more than
    `HASH_WHOLE` bytes only the headers and `SAMPLE` bytes at the start, the middle and the end of
    every tensor are hashed, and the result begins with "sampled:".

    Raises `CheckpointError` for a file that cannot be read, `Cancelled` where ``cancelled`` says
    so between two pieces of 4 MiB.
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
