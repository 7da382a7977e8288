"""How a run starts: the name of its start, the noise of a random one, what it says of itself."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import Intervention
from loopscope.core.model.architecture import Architecture
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.run_info import RunInfo
from loopscope.core.version import package_version

Start = Literal["default", "zeros", "random"]


def resolved(start: str, arch: Architecture) -> str:
    """How a run of this model starts: "zeros", "random", "embedding" or "learned"."""
    if arch.initial_state in ("embedding", "learned"):
        return arch.initial_state
    if start == "default":
        return "random" if arch.initial_state in ("normal", "truncated") else "zeros"
    return start


def check_start(start: str, scale: float, arch: Architecture) -> None:
    """Raise `LoopscopeError` for a start that this model cannot have."""
    choices = ("default", *arch.starts)
    if start not in choices:
        raise LoopscopeError(f"start={start!r}: this model starts from {', '.join(choices)}")
    if not math.isfinite(scale):
        raise LoopscopeError(f"start_scale={scale}: expected a finite number")


def drawn(arch: Architecture, shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Tensor:
    """Draw the start state of a random run, float32 of ``shape``.

    On the CPU, so that a seed means the same start on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(shape, generator=generator)
    if arch.initial_state == "truncated":
        torch.nn.init.trunc_normal_(noise, 0, 1, -3, 3, generator=generator)
    return noise * (arch.start_std * scale)


def run_info(
    loaded: Loaded,
    prompt: Prompt,
    seed: int,
    start: str,
    start_scale: float,
    interventions: tuple[Intervention, ...] = (),
) -> RunInfo:
    """What a run of ``prompt`` says of itself; ``start`` as `resolved`, or "given"."""
    return RunInfo(
        checkpoint=loaded.checkpoint.name,
        weights_hash=loaded.weights_hash,
        architecture=loaded.architecture,
        prompt=prompt.text,
        token_ids=prompt.token_ids,
        token_labels=prompt.labels,
        seed=seed,
        start=start,
        start_scale=start_scale,
        device=str(loaded.device.device),
        dtype=loaded.dtype,
        version=package_version(),
        interventions=interventions,
        notes=loaded.checkpoint.notes,
    )
