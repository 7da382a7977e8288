"""What joins the parts of a looped model: how ``e`` enters a recurrence, and how one is closed.

Axis names: ``B`` batch, ``T`` pos, ``d`` d_model.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loopscope.core.model.architecture import Architecture


class Adapter(nn.Linear):
    """Input injection "concat": ``W cat[s, e] + b`` (Geiping et al., arXiv 2502.05171)."""

    def __init__(self, d: int, bias: bool) -> None:
        super().__init__(2 * d, d, bias=bias)

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

    def forward(self, state: Tensor, e: Tensor) -> Tensor:
        """``s`` and ``e``, each ``[B, T, d]``, to what enters the block."""
        dt = F.softplus(self.step)
        return torch.exp(-dt * torch.exp(self.decay)) * state + dt * F.linear(e, self.weight)


class Sum(nn.Module):
    """Input injection "add": ``s + e``."""

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

    def forward(self, output: Tensor, state: Tensor) -> Tensor:
        """The block's output and the state it began with, ``[B, T, d]``, to the next state."""
        delta = F.softplus(self.up(self.down(output - state)))
        share = torch.exp(-delta * torch.exp(self.decay))
        return share * output + (1 - share) * state


def make_injection(arch: Architecture) -> nn.Module:
    """Make one input injection of ``arch``, which has one."""
    if arch.injection == "concat":
        return Adapter(arch.d_model, arch.adapter_bias)
    return DiagonalInjection(arch.d_model) if arch.injection == "diagonal" else Sum()
