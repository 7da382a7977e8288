"""The change of a head's pattern beside its bound, Proposition 4.2 of arXiv 2604.11791."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from loopscope.core.arrays import F64
from loopscope.core.model.float64 import float64
from loopscope.core.model.layers import DecoderLayer, rope_table


@dataclass(frozen=True, slots=True, eq=False)
class HeadBound:
    """Change of each head's pattern from one recurrence to the next, and its bound; ``[H]``."""

    change: F64
    bound: F64


def why_no_bound(layer: DecoderLayer) -> str:
    """Why the bound is not of this layer, or ""."""
    s = layer.shape
    plain = s.qk_norm == "none" and not s.qk_bias and "qkv" not in s.bias
    if plain and s.n_kv_heads == s.n_heads and s.score_scale is None and not s.modulated:
        return ""
    return (
        "the bound is of plain queries and keys: not normalised, scaled, shared between heads, "
        "modulated or with biases"
    )


@torch.no_grad()
def head_bound(layer: DecoderLayer, before: Tensor, after: Tensor) -> HeadBound:
    """Compare a layer on two inputs ``[T, d]``; see `core.measures.nulls.BOUND`.

    Rotation turns W_q^T W_k by a different angle for every pair of positions, which a product of
    norms and Frobenius norms of X cover. Raises ValueError for a layer that normalises queries and
    keys, scales them or has biases on them: the bound is not of these.
    """
    if why := why_no_bound(layer):
        raise ValueError(why)
    s = layer.shape
    x, y = (float64(_normed(layer, z)) for z in (before, after))
    largest = max(float(z.norm()) for z in (x, y))
    patterns = [_patterns(layer, z) for z in (before, after)]
    change = (patterns[0] - patterns[1]).flatten(1).norm(dim=1)
    q, k, _ = float64(layer.qkv.weight).chunk(3)
    heads = [w.reshape(s.n_heads, s.d_head, -1) for w in (q, k)]
    kappa = torch.linalg.matrix_norm(heads[0], 2) * torch.linalg.matrix_norm(heads[1], 2)
    bound = 0.5 * 2 * largest * kappa / s.d_head**0.5 * (x - y).norm()
    return HeadBound(np.asarray(change.cpu().numpy()), np.asarray(bound.cpu().numpy()))


def _normed(layer: DecoderLayer, x: Tensor) -> Tensor:
    """What attention reads of the residual stream."""
    normed: Tensor = layer.norms["attn_in"](x) if "attn_in" in layer.shape.norms else x
    return normed


def _patterns(layer: DecoderLayer, x: Tensor) -> Tensor:
    table = None
    if layer.shape.rope.pairs != "none":
        table = rope_table(layer.shape.rope, layer.shape.d_head, len(x), x.device, x.dtype)
    pattern: Tensor | None = layer(x[None], table, want_pattern=True).pattern
    assert pattern is not None
    return float64(pattern[0])
