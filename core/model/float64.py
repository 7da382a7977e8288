"""Tensors in float64, which not every device has."""

from __future__ import annotations

from torch import Tensor

# Kinds of devices whose arithmetic has float64; MPS has none, of others nothing is known.
_WITH_FLOAT64 = ("cpu", "cuda")


def float64(x: Tensor) -> Tensor:
    """``x``, of any shape, in float64: where it is if that device has the type, else on the CPU."""
    return near_float64(x).double()


def near_float64(x: Tensor) -> Tensor:
    """``x`` itself, on the CPU if its device has no float64."""
    return x if x.device.type in _WITH_FLOAT64 else x.cpu()
