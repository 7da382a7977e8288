"""What is read out of the state after a layer, and from where on it is the final answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from loopscope.core.arrays import F32
from loopscope.core.formula import Formula
from loopscope.core.measures.readout import NO_ANSWER, Ids
from loopscope.core.results import ResultKey

Lens = Literal["coda", "logit"]

_SOURCES = {
    "coda": "coda lens, Geiping et al. arXiv 2502.05171",
    "logit": "logit lens, nostalgebraist 2020",
}
READ = {
    "coda": "softmax(head(coda(close(x[r,l]))))",
    "logit": "softmax(head(norm(x[r,l])))",
}
TOP = {
    lens: Formula(
        "probability of the top answer",
        f"max p, p = {READ[lens]}; after a recurrence's last layer of s_r",
        "probability",
        source,
    )
    for lens, source in _SOURCES.items()
}
ENTROPY = Formula("entropy", "H(p) = −Σ p log p", "nats", "arXiv 2502.05171")
DIVERGENCE = Formula(
    "KL to the last",
    "KL(p ‖ p_last) = Σ p log(p / p_last), p_last after the last layer that was read",
    "nats",
    "Kullback & Leibler 1951",
)
CHANCE = Formula("probability of a chosen token", "p[token]", "probability", "nostalgebraist 2020")
RANK = Formula(
    "rank of a chosen token",
    "1 + number of tokens with a larger logit",
    "1 = top",
    "nostalgebraist 2020",
)
FINAL_SINCE = Formula(
    "final since",
    "the first place along depth from which the top answer stays that of the last readout",
    "recurrence:layer",
    "Loopscope; the same over recurrence ends only is the flip recurrence",
)


def final_since(answers: Ids, final: Ids) -> Ids:
    """Where each token's answer becomes the final one and stays it.

    Parameters
    ----------
    answers
        int64 ``[N, n]``, top answers along some order of places.
    final
        int64 ``[n]``, the answer that counts as final; `NO_ANSWER` for none.

    Returns
    -------
    int64 ``[n]``: index of the first place from which on every answer is the final one; ``N``
    where the last one is not, or where there is no final answer.
    """
    n = len(answers)
    other = (answers != final) | (final == NO_ANSWER)
    since_the_end = np.where(other.any(0), other[::-1].argmax(0), n) if n else np.zeros(len(final))
    return np.asarray(n - since_the_end, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What one lens read after every layer of ``R`` recurrences, at every token.

    ids : int64, probabilities : float32, ``[R, L, T, k]``, most probable first.
    entropy, divergence : float32 ``[R, L, T]``, nats; the divergence is from the last readout.
    kept : int64 ``[C]``, the tokens whose chances are kept.
    chances, ranks : float32 ``[R, L, T, C]``, probability and rank (1 = top) of each of them.
    final_chances, final_ranks : float32 ``[R, L, T]``, of each token's own final answer.

    NaN where the readout is not finite.
    """

    ids: Ids
    probabilities: F32
    entropy: F32
    divergence: F32
    kept: Ids
    chances: F32
    ranks: F32
    final_chances: F32
    final_ranks: F32

    @property
    def top(self) -> Ids:
        """Top answers, int64 ``[R, L, T]``; `NO_ANSWER` where the readout is not finite."""
        return np.where(np.isfinite(self.probabilities[..., 0]), self.ids[..., 0], NO_ANSWER)

    def final(self, tokens: tuple[int, ...]) -> Ids:
        """Top answers of the last readout, int64 ``[n]``; `NO_ANSWER` for none."""
        if not len(self.ids):
            return np.full(len(tokens), NO_ANSWER)
        return self.top[-1, -1, list(tokens)]


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """What each lens read of a run, None where it has not read."""

    coda: Reading | None = None
    logit: Reading | None = None

    def of(self, lens: Lens) -> Reading | None:
        """Return what one lens read."""
        return self.coda if lens == "coda" else self.logit

    def put(self, lens: Lens, reading: Reading) -> Readings:
        """Return these with another reading of one lens."""
        return replace(self, coda=reading) if lens == "coda" else replace(self, logit=reading)


READINGS = ResultKey("lens", Readings)
