"""The norms that layers and loops are made with, each computed in float32 or better."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override


def wide(x: Tensor) -> Tensor:
    """``x`` in float32, or in its own dtype where that is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class RMSNorm(nn.Module):
    """``x / sqrt(mean(x^2) + eps) * weight``, computed in float32 or better."""

    def __init__(self, d: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
        self.eps = eps

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last axis; ``[..., d] -> [..., d]``."""
        if x.dtype in (torch.float32, torch.float64):
            return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)
        normed = F.rms_norm(x.float(), (x.shape[-1],), None, self.eps)
        return normed.to(x.dtype) * self.weight


class BareNorm(nn.Module):
    """``x / sqrt(mean(x^2) + eps)``, computed in float32 or better."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last axis; ``[..., d] -> [..., d]``."""
        return F.rms_norm(wide(x), (x.shape[-1],), None, self.eps).to(x.dtype)


class LayerNorm(nn.Module):
    """``(x - mean) / sqrt(var + eps) * weight + bias``, computed in float32 or better."""

    def __init__(self, d: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
        self.bias = nn.Parameter(torch.zeros(d))
        self.eps = eps

    @override
    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last axis; ``[..., d] -> [..., d]``."""
        weight, bias = wide(self.weight), wide(self.bias)
        return F.layer_norm(wide(x), (x.shape[-1],), weight, bias, self.eps).to(x.dtype)


def make_norm(kind: str, d: int, eps: float) -> nn.Module:
    """Make an RMSNorm ("rms"), one without weights ("bare"), or a LayerNorm ("layer")."""
    if kind == "bare":
        return BareNorm(eps)
    return RMSNorm(d, eps) if kind == "rms" else LayerNorm(d, eps)
