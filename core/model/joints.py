"""What joins the parts of a looped model: how ``e`` enters a recurrence, and how one is closed.

Axis names: ``B`` batch, ``T`` pos, ``d`` d_model.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from loopscope.core.model.architecture import TIME_WAVES, Architecture


class Adapter(nn.Linear):
    """Input injection "concat": ``W cat[s, e] + b`` (Geiping et al., arXiv 2502.05171)."""

    def __init__(self, d: int, bias: bool) -> None:
        super().__init__(2 * d, d, bias=bias)

    @override
    def forward(self, state: Tensor, e: Tensor) -> Tensor:  # type: ignore[override]
        """``s`` and ``e``, each ``[B, T, d]``, to what enters the block."""
        return super().forward(torch.cat([state, e], dim=-1))


class DiagonalInjection(nn.Module):
    """Input injection "diagonal" (Parcae): the step of a diagonal linear system.

    ``exp(-dt exp(a)) s + dt (B e)`` with ``dt = softplus(c)``, entry by entry; ``weight`` is B,
    ``decay`` is a, ``step`` is c.
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(d, d))
        self.decay = nn.Parameter(torch.zeros(d))
        self.step = nn.Parameter(torch.zeros(d))

    @override
    def forward(self, state: Tensor, e: Tensor) -> Tensor:
        """``s`` and ``e``, each ``[B, T, d]``, to what enters the block."""
        dt = F.softplus(self.step)
        return torch.exp(-dt * torch.exp(self.decay)) * state + dt * F.linear(e, self.weight)


class Sum(nn.Module):
    """Input injection "add": ``s + e``."""

    @override
    def forward(self, state: Tensor, e: Tensor) -> Tensor:
        """``s`` and ``e``, each ``[B, T, d]``, to what enters the block."""
        return state + e


class ClosingGate(nn.Module):
    """The gate that closes a recurrence of LoopUS: ``a u + (1 - a) s`` for the block's output u.

    ``a = exp(-exp(decay) softplus(up(down(u - s))))``, entry by entry, between 0 and 1.
    """

    def __init__(self, d: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(d, rank, bias=False)
        self.up = nn.Linear(rank, d)
        self.decay = nn.Parameter(torch.zeros(d))

    @override
    def forward(self, output: Tensor, state: Tensor) -> Tensor:
        """The block's output and the state it began with, ``[B, T, d]``, to the next state."""
        delta = F.softplus(self.up(self.down(output - state)))
        share = torch.exp(-delta * torch.exp(self.decay))
        return share * output + (1 - share) * state


class TimeEmbedding(nn.Sequential):
    """``W_2 silu(W_1 f(u) + b_1) + b_2`` with ``f(u) = [cos(u w_i), sin(u w_i)]`` (LoopFormer).

    ``w_i = 10000^(-i / 128)`` for i < 128.
    """

    def __init__(self, d: int) -> None:
        super().__init__(nn.Linear(TIME_WAVES, d), nn.SiLU(), nn.Linear(d, d))

    def at(self, time: float) -> Tensor:
        """A time, in shares of the whole, to its embedding ``[d]``."""
        half = TIME_WAVES // 2
        exponent = torch.arange(half, device="cpu", dtype=torch.float32) / half
        angle = time * torch.exp(-math.log(10000.0) * exponent)
        waves = torch.cat([angle.cos(), angle.sin()])
        weight = next(self.parameters())
        embedding: Tensor = self(waves.to(weight))
        return embedding


def make_injection(arch: Architecture) -> nn.Module:
    """Make one input injection of ``arch``, which has one."""
    if arch.injection == "concat":
        return Adapter(arch.d_model, arch.adapter_bias)
    return DiagonalInjection(arch.d_model) if arch.injection == "diagonal" else Sum()
