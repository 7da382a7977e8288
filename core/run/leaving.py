"""How what a layer made leaves its device.

On the CPU an array is the tensor's own memory. From a CUDA device everything of a layer is copied
on a stream of its own into pinned memory, at the full speed of the bus, and waited for once; what
the recording is given is a copy, as pinned memory is scarce and used again for the next layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from loopscope.core.arrays import F32


class Copies(Protocol):
    """Copies of tensors of a device to the host that are under way until they are waited for."""

    def host(self, shape: torch.Size) -> Tensor:
        """A float32 tensor of the host that may be copied into."""
        ...

    def start(self, targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
        """Begin to copy each source into its target; the sources stay until that is done."""
        ...

    def wait(self) -> None:
        """Wait until all that was started is there."""
        ...


class CudaCopies:
    """`Copies` on a side stream of a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def host(self, shape: torch.Size) -> Tensor:
        """Pinned memory."""
        return torch.empty(shape, dtype=torch.float32, device="cpu", pin_memory=True)

    def start(self, targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
        """Begin once the stream that computes has come so far."""
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            for target, source in zip(targets, sources, strict=True):
                target.copy_(source, non_blocking=True)
                source.record_stream(self._stream)
            self._done.record(self._stream)

    def wait(self) -> None:
        """Wait for the last copy."""
        self._done.synchronize()


def copies_for(device: torch.device) -> Copies | None:
    """What copies from a device; None where a tensor is copied by itself."""
    return CudaCopies(device) if device.type == "cuda" else None


class Leaving:
    """Gives arrays of the tensors of one device."""

    def __init__(self, device: torch.device) -> None:
        self._copies = copies_for(device)
        # By place in a call and shape: used again for the next layer.
        self._hosts: dict[tuple[int, torch.Size], Tensor] = {}

    def arrays(self, *tensors: Tensor | None) -> list[F32 | None]:
        """Each tensor ``[1, ...]`` as a float32 array ``[...]``, None where there is none."""
        if self._copies is None:
            return [None if x is None else array_of(x) for x in tensors]
        sources = {i: x[0].float() for i, x in enumerate(tensors) if x is not None}
        targets = [self._host(i, x.shape) for i, x in sources.items()]
        self._copies.start(targets, list(sources.values()))
        self._copies.wait()
        made = dict(zip(sources, (target.numpy().copy() for target in targets), strict=True))
        return [made.get(i) for i in range(len(tensors))]

    def _host(self, i: int, shape: torch.Size) -> Tensor:
        assert self._copies is not None
        key = i, shape
        if key not in self._hosts:
            self._hosts[key] = self._copies.host(shape)
        return self._hosts[key]


def array_of(x: Tensor) -> F32:
    """A tensor ``[1, ...]`` of any device as a float32 array ``[...]``."""
    first = x[0]
    if first.dtype is not torch.float32:
        first = first.float()
    array: F32 = (first if first.is_cpu else first.cpu()).numpy()
    return array
