"""The norms that layers and loops are made with, each computed in float32 whatever the dtype."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """``x / sqrt(mean(x^2) + eps) * weight``, computed in float32 whatever the model's dtype."""

    def __init__(self, d: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last axis; ``[..., d] -> [..., d]``."""
        if x.dtype == torch.float32:
            return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)
        wide = F.rms_norm(x.float(), (x.shape[-1],), None, self.eps)
        return wide.to(x.dtype) * self.weight


class BareNorm(nn.Module):
    """``x / sqrt(mean(x^2) + eps)``, computed in float32 whatever the model's dtype."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last axis; ``[..., d] -> [..., d]``."""
        return F.rms_norm(x.float(), (x.shape[-1],), None, self.eps).to(x.dtype)


class LayerNorm(nn.Module):
    """``(x - mean) / sqrt(var + eps) * weight + bias``, computed in float32."""

    def __init__(self, d: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
        self.bias = nn.Parameter(torch.zeros(d))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise over the last axis; ``[..., d] -> [..., d]``."""
        wide = F.layer_norm(
            x.float(), (x.shape[-1],), self.weight.float(), self.bias.float(), self.eps
        )
        return wide.to(x.dtype)


def make_norm(kind: str, d: int, eps: float) -> nn.Module:
    """Make an RMSNorm ("rms"), one without weights ("bare"), or a LayerNorm ("layer")."""
    if kind == "bare":
        return BareNorm(eps)
    return RMSNorm(d, eps) if kind == "rms" else LayerNorm(d, eps)
