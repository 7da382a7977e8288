"""Heads and cycles with what they would be if there were nothing to find.

*Heads*: the change of a head's pattern against the bound of Proposition 4.2 (arXiv 2604.11791).
*Cycle*: how far the points of different layers are apart, against how far prompts are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from loopscope.core.arrays import F64
from loopscope.core.formula import Formula
from loopscope.core.model.float64 import float64
from loopscope.core.model.layers import DecoderLayer, rope_table

BOUND = Formula(
    "bound of head change",
    "‖softmax A(X) − softmax A(X′)‖_F ≤ ½ · 2Bκ/√d_head · ‖X − X′‖_F, X and X′ the normed inputs "
    "of the layer at two successive recurrences, B the larger of ‖X‖_F and ‖X′‖_F, "
    "κ = ‖W_q‖₂ ‖W_k‖₂",
    "Frobenius norm of the pattern",
    "after Proposition 4.2, arXiv 2604.11791, with rotated queries and keys; ½ is the Lipschitz "
    "constant of the softmax",
)


@dataclass(frozen=True, slots=True, eq=False)
class HeadBound:
    """Change of each head's pattern from one recurrence to the next, and its bound; ``[H]``."""

    change: F64
    bound: F64


@torch.no_grad()
def head_bound(layer: DecoderLayer, before: Tensor, after: Tensor) -> HeadBound:
    """Compare a layer on two inputs ``[T, d]``; see `BOUND`.

    Rotation turns W_q^T W_k by a different angle for every pair of positions, which a product of
    norms and Frobenius norms of X cover. Raises ValueError for a layer that normalises queries and
    keys, scales them or has biases on them: the bound is not of these.
    """
    s = layer.shape
    plain = s.qk_norm == "none" and not s.qk_bias and "qkv" not in s.bias
    if not plain or s.n_kv_heads != s.n_heads or s.score_scale is not None:
        raise ValueError("the bound is of plain queries and keys")
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


@dataclass(frozen=True, slots=True)
class CycleSpread:
    """Points of a cycle against prompts; both root mean squares of distances, in state units.

    between_layers : of the ends of different layers in one prompt, over tokens and prompts.
    between_prompts : of the ends of one layer in two prompts at the same position.
    """

    between_layers: float
    between_prompts: float

    @property
    def ratio(self) -> float:
        """Above 1 the layers' points are farther apart than prompts are."""
        return self.between_layers / self.between_prompts


def cycle_spread(ends: F64) -> CycleSpread:
    """Compare the last cycle of several prompts, ``[P, L, T, d]`` with P and L at least 2.

    Raises ValueError for fewer: there is nothing to compare.
    """
    x = np.asarray(ends, dtype=np.float64)
    if x.shape[0] < 2 or x.shape[1] < 2:
        raise ValueError("a cycle needs two layers and two prompts to be compared")
    return CycleSpread(_spread(x, 1), _spread(x, 0))


def _spread(x: F64, axis: int) -> float:
    """Root mean square distance of two different entries along ``axis``."""
    n = x.shape[axis]
    variance = x.var(axis=axis).sum(-1).mean()
    return float(np.sqrt(2 * n / (n - 1) * variance))
