"""What is kept of the logits of one recurrence: top answers, entropy and change."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from loopscope.core.arrays import F32
from loopscope.core.model.float64 import float64
from loopscope.core.run.states import TOP_K, TopAnswers

# Numbers that are held in float64 at a time: 32 MB.
_MOST = 1 << 22


def top_answers(logits: Tensor) -> TopAnswers:
    """The `TOP_K` likeliest answers of logits ``[..., V]`` and their probabilities, ``[N, k]``."""
    probabilities = logits.flatten(0, -2).float().softmax(-1)
    top = probabilities.topk(min(TOP_K, logits.shape[-1]), dim=-1)
    return TopAnswers(top.indices.cpu().numpy(), top.values.cpu().numpy())


def entropy_and_change(logits: Tensor, before: Tensor | None) -> F32:
    """Entropy of ``p`` and ``KL(p || p_before)`` in nats, ``[N, 2]``.

    Logits ``[..., V]``, ``N`` of them; no change (NaN) without a ``before``, neither number where
    a logit is not finite. In float64, as ``KL`` of two readouts that differ by 1e-6 is 1e-13, the
    difference of sums near 1.
    """
    logits = logits.flatten(0, -2)
    out = np.full((len(logits), 2), np.nan, np.float32)
    rows = max(1, _MOST // logits.shape[-1])
    for first in range(0, len(out), rows):
        part = slice(first, first + rows)
        log_p = float64(logits[part]).log_softmax(-1)
        p = log_p.exp()
        out[part, 0] = _expected(p, -log_p)
        if before is not None:
            change = log_p - float64(before.flatten(0, -2)[part]).log_softmax(-1)
            out[part, 1] = _expected(p, change).clip(0)
    return out


def _expected(p: Tensor, values: Tensor) -> F32:
    """``Σ p x`` of each row, where 0 times infinity is 0: what cannot happen has no share."""
    array: F32 = torch.where(p == 0, 0.0, p * values).sum(-1).float().cpu().numpy()
    return array
