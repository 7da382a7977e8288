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
# Logits up to so many cost more in calls than in sums.
_SMALL = 1 << 16
# Logarithms that are kept until the next readout is compared with them: 4 MB.
_KEPT = 1 << 19


def top_answers(logits: Tensor) -> TopAnswers:
    """The `TOP_K` likeliest answers of logits ``[..., V]`` and their probabilities, ``[N, k]``."""
    probabilities = logits.flatten(0, -2).float().softmax(-1)
    top = probabilities.topk(min(TOP_K, logits.shape[-1]), dim=-1)
    return TopAnswers(top.indices.cpu().numpy(), top.values.cpu().numpy())


def both_answers(coda: Tensor, logit: Tensor) -> tuple[TopAnswers, TopAnswers]:
    """`top_answers` of logits ``[..., V]`` of two lenses; in one go where they are small."""
    if coda.numel() > _SMALL:
        return top_answers(coda), top_answers(logit)
    both = top_answers(torch.cat([coda, logit]))
    n = len(both.ids) // 2
    ids, probabilities = both.ids, both.probabilities
    return TopAnswers(ids[:n], probabilities[:n]), TopAnswers(ids[n:], probabilities[n:])


class LogProbabilities:
    """``log p`` of logits ``[..., V]`` in float64; small ones are worked out once and kept."""

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits.flatten(0, -2)
        self._kept: Tensor | None = None

    @classmethod
    def of(cls, log_p: Tensor) -> LogProbabilities:
        """Return those that were worked out already, ``[N, V]``."""
        made = cls(log_p)
        made._kept = log_p
        return made

    def rows(self, part: slice) -> Tensor:
        """Those of some of the rows of logits, ``[n, V]``."""
        if self._kept is None and self.logits.numel() > _KEPT:
            return float64(self.logits[part]).log_softmax(-1)
        if self._kept is None:
            self._kept = float64(self.logits).log_softmax(-1)
        return self._kept[part]


def entropy_and_change(logits: Tensor, before: Tensor | None) -> F32:
    """`spread` of logits ``[..., V]``, ``N`` of them."""
    return spread(LogProbabilities(logits), None if before is None else LogProbabilities(before))


def spread(read: LogProbabilities, before: LogProbabilities | None) -> F32:
    """Entropy of ``p`` and ``KL(p || p_before)`` in nats, ``[N, 2]``.

    No change (NaN) without a ``before``, neither number where a logit is not finite. In float64, as
    ``KL`` of two readouts that differ by 1e-6 is 1e-13, the difference of sums near 1.
    """
    n, vocabulary = read.logits.shape
    out = np.full((n, 2), np.nan, np.float32)
    rows = max(1, _MOST // vocabulary)
    for first in range(0, n, rows):
        part = slice(first, first + rows)
        log_p = read.rows(part)
        p = log_p.exp()
        out[part, 0] = _expected(p, -log_p)
        if before is not None:
            out[part, 1] = _expected(p, log_p - before.rows(part)).clip(0)
    return out


def _expected(p: Tensor, values: Tensor) -> F32:
    """``Σ p x`` of each row, where 0 times infinity is 0: what cannot happen has no share."""
    array: F32 = torch.where(p == 0, 0.0, p * values).sum(-1).float().cpu().numpy()
    return array
