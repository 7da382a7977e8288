"""Activations by the names that configs give them: those of `transformers`' table.

Most are functions. Two have parameters of their own, which a file holds for each layer:
`architecture.ACTIVATION_PARAMETERS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

Activation = Callable[[Tensor], Tensor]


def _tanh_gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _laplace(x: Tensor) -> Tensor:
    """MEGA's, arXiv 2209.10655: the normal distribution's function with these constants."""
    return 0.5 * (1 + torch.erf((x - 0.707107) / (0.282095 * math.sqrt(2))))


FUNCTIONS: dict[str, Activation] = {
    "gelu": F.gelu,
    "gelu_10": lambda x: F.gelu(x).clamp(-10, 10),
    "gelu_accurate": _tanh_gelu,
    "gelu_fast": _tanh_gelu,
    "gelu_new": _tanh_gelu,
    "gelu_python": F.gelu,
    "gelu_python_tanh": _tanh_gelu,
    "gelu_pytorch_tanh": _tanh_gelu,
    "half_relu2": lambda x: 0.5 * F.relu(x).square(),  # Parcae's; no name of the table
    "hardswish": F.hardswish,
    "laplace": _laplace,
    "leaky_relu": F.leaky_relu,
    "linear": lambda x: x,
    "mish": F.mish,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": F.relu,
    "relu2": lambda x: F.relu(x).square(),
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "sqrtsoftplus": lambda x: F.softplus(x).sqrt(),
    "swish": F.silu,
    "tanh": torch.tanh,
}


class XIELU(nn.Module):
    """xIELU, arXiv 2411.13010: a parabola above 0, an exponential below, both of learned slope."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha_p = nn.Parameter(torch.zeros(1))
        self.alpha_n = nn.Parameter(torch.zeros(1))
        self.beta = nn.Parameter(torch.tensor(0.5))
        self.eps = nn.Parameter(torch.tensor(-1e-6))

    @override
    def forward(self, x: Tensor) -> Tensor:
        """``a x^2 + b x`` above 0, ``(exp(min(x, eps)) - 1 - x) c + b x`` below."""
        above = F.softplus(self.alpha_p) * x * x
        slope = self.beta + F.softplus(self.alpha_n)
        below = (torch.expm1(torch.minimum(x, self.eps)) - x) * slope
        return torch.where(x > 0, above, below) + self.beta * x


def make_activation(name: str) -> Activation:
    """Make an activation; a module where it has parameters."""
    if name == "prelu":
        return nn.PReLU()
    return XIELU() if name == "xielu" else FUNCTIONS[name]
