"""What the readout after each recurrence says: where the top answer flips, and since when not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from loopscope.core.arrays import Bools
from loopscope.core.formula import Formula

Ids = npt.NDArray[np.int64]

# Stands for "no answer": the probabilities are not finite.
NO_ANSWER = -1

PROBABILITY = {
    "coda": Formula(
        "p",
        "softmax(head(coda(s_r)))[answer]",
        "probability",
        "coda lens, Geiping et al. arXiv 2502.05171",
    ),
    "logit": Formula(
        "p",
        "softmax(head(norm(s_r)))[answer]",
        "probability",
        "logit lens, nostalgebraist 2020",
    ),
}
FLIP = Formula(
    "flip",
    "argmax p_r ≠ argmax p_(r-1)",
    "yes or no",
    "Loopscope; recurrence 1 has none before it",
)
UNCHANGED_SINCE = Formula(
    "unchanged since", "max{r : flip at r}, or 1 without a flip", "recurrence", "Loopscope"
)


def flips(answers: Ids) -> Bools:
    """Whether the answer differs from the previous recurrence's, ``[R, T]``.

    Parameters
    ----------
    answers
        int64 ``[R, T]``, the top answer after recurrence 1..R; `NO_ANSWER` where there is none.

    Recurrence 1 has nothing before it and never counts as a flip. Going from an answer to none,
    or back, counts.
    """
    changed = np.zeros(answers.shape, np.bool_)
    changed[1:] = answers[1:] != answers[:-1]
    return changed


def unchanged_since(changed: Bools) -> Ids:
    """The recurrence of each token's last flip, int64 ``[T]``: 1 without a flip, 0 with no run.

    From it on the answer stayed the same *as far as the run has gone*: that is no proof that it
    stays for good.
    """
    n = len(changed)
    if not n:
        return np.zeros(changed.shape[1], np.int64)
    from_the_end = changed[::-1].argmax(0)
    return np.where(changed.any(0), n - from_the_end, 1).astype(np.int64)
