"""8-bit weights with scales beside them, as float32.

A weight stands for ``q scale``. What each way of writing the scale calls it, and its shape:

- ``weight_scale_inv``, one for each block of 128 x 128 or so (``weight_dequant`` in
  `inference/kernel.py` of DeepSeek-V3: it is multiplied with, whatever its name says);
- ``weight_scale``, one number, one for each row, or one for each block ("float-quantized" and
  "int-quantized" of compressed-tensors: ``w = (q - zero) scale``).

Scales of activations and of cached keys and values say how to round those while running; they are
no part of the weights and left out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SCALES = ("_scale_inv", "_scale")
ZERO = "_zero_point"
# No part of a weight: of what runs through the layers, and the shape that was packed.
OF_ACTIVATIONS = (".input_scale", ".activation_scale", ".k_scale", ".v_scale", ".q_scale",
                  ".output_scale", ".input_zero_point")  # fmt: skip
NARROW = (torch.float8_e4m3fn, torch.float8_e5m2, torch.int8)
BLOCK = (128, 128)


def dequantised(tensors: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    """Return float tensors by name, scales used up.

    Parameters
    ----------
    tensors
        All of a checkpoint.
    config
        Its config.json, whose ``quantization_config`` may say how large blocks are.

    Raises ValueError for scales that do not fit their weight, integers without one, and a scale
    that belongs to nothing.
    """
    scales = {name: name + end for name in tensors for end in SCALES if name + end in tensors}
    used = {*scales.values(), *(name + ZERO for name in scales)}
    floats: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name in used or name.endswith(OF_ACTIVATIONS):
            continue
        if name.endswith((*SCALES, ZERO)):
            raise ValueError(f"tensor '{name}' is a scale of no weight")
        if name in scales:
            zero = tensors.get(name + ZERO)
            floats[name] = _scaled(name, tensor, tensors[scales[name]], zero, _block(config))
        elif tensor.dtype == torch.int8:
            raise ValueError(f"tensor '{name}' holds integers without a scale")
        else:
            floats[name] = tensor.float() if tensor.dtype in NARROW else tensor
    return floats


def _block(config: dict[str, Any]) -> tuple[int, int]:
    """Rows and columns that share a scale."""
    quantization = config.get("quantization_config")
    size = quantization.get("weight_block_size") if isinstance(quantization, dict) else None
    groups = quantization.get("config_groups") if isinstance(quantization, dict) else None
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        size = size or (weights.get("block_structure") if isinstance(weights, dict) else None)
    if size is None:
        return BLOCK
    sizes = isinstance(size, list) and all(type(n) is int and n > 0 for n in size)
    if not sizes or len(size) != 2:
        raise ValueError(f"key 'quantization_config': a block of {str(size)[:40]} is no size")
    return size[0], size[1]


def _scaled(
    name: str, tensor: Tensor, scale: Tensor, zero: Tensor | None, block: tuple[int, int]
) -> Tensor:
    """``(q - zero) scale`` in float32, a scale and its zero spread over what shares them."""
    if tensor.dtype not in NARROW:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise ValueError(f"tensor '{name}' has a scale, but is {kind}: neither FP8 nor int8")
    wide = tensor.float()
    if zero is not None:
        wide = wide - _spread(name, zero, wide, block)
    return wide * _spread(name, scale, wide, block)


def _spread(name: str, scale: Tensor, weight: Tensor, block: tuple[int, int]) -> Tensor:
    scale = scale.float()
    if scale.numel() == 1:
        return scale.reshape(())
    if weight.ndim == 2 and scale.shape in ((len(weight),), (len(weight), 1)):
        return scale.reshape(-1, 1)
    blocks = tuple(-(-n // size) for n, size in zip(weight.shape, block, strict=False))
    if weight.ndim != 2 or tuple(scale.shape) != blocks:
        raise ValueError(
            f"tensor '{name}' of {list(weight.shape)} has {list(scale.shape)} scales; blocks of "
            f"{list(block)} ask for {list(blocks)}"
        )
    rows, columns = weight.shape
    spread = scale.repeat_interleave(block[0], 0)[:rows]
    return spread.repeat_interleave(block[1], 1)[:, :columns]
