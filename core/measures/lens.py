"""What is read out of the state after a layer, and from where on it is the final answer."""

from __future__ import annotations

from typing import Literal

import numpy as np

from loopscope.core.formula import Formula
from loopscope.core.measures.readout import NO_ANSWER, Ids

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
