"""How a run starts: the name of its start, and the noise of a random one."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from loopscope.core.model.architecture import Architecture

Start = Literal["default", "zeros", "random"]


def resolved(start: str, arch: Architecture) -> str:
    """How a run of this model starts: "zeros", "random", "embedding" or "learned"."""
    if arch.initial_state in ("embedding", "learned"):
        return arch.initial_state
    if start == "default":
        return "random" if arch.initial_state in ("normal", "truncated") else "zeros"
    return start


def drawn(arch: Architecture, shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Tensor:
    """Draw the start state of a random run, float32 of ``shape``.

    On the CPU, so that a seed means the same start on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(shape, generator=generator)
    if arch.initial_state == "truncated":
        torch.nn.init.trunc_normal_(noise, 0, 1, -3, 3, generator=generator)
    return noise * (arch.start_std * scale)
