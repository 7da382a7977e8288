"""Probes for the pointer: which hop a linear map reads from the state of a query.

A ridge classifier from the state after each pass (or each layer) to the letter h hops on, one for
every h, fitted on some prompts and scored on others. A probe reads what is *there*, not what is
used: interchange says that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from loopscope.core.arrays import F64, I64
from loopscope.core.experiments.studies.subject import (
    STUDY_SEED,
    Subject,
    long_walk,
    prompts,
    tokens_of,
)
from loopscope.core.measures.linear_maps import RidgeReader


@torch.inference_mode()
def pointer_probe(
    subject: Subject,
    *,
    passes: int = 6,
    hops: int = 6,
    fitted_on: int = 1000,
    tested_on: int = 400,
    n_letters: int = 8,
    seed: int = STUDY_SEED,
) -> F64:
    """Accuracy of reading hop h after pass r from the query's state, ``[passes + 1, hops + 1]``.

    Row 0 is the initial state, column 0 the query itself; the prompts ask for ``hops`` hops.
    """
    fitting = prompts(fitted_on, hops, n_letters=n_letters, seed=seed)
    testing = prompts(tested_on, hops, n_letters=n_letters, seed=seed + 1)
    states = [
        [s[:, -n_letters:] for s in subject.states(tokens_of(batch), passes)]
        for batch in (fitting, testing)
    ]
    walks = [long_walk(batch, hops) for batch in (fitting, testing)]
    return np.array(
        [read(fit, test, list(walks[0]), list(walks[1])) for fit, test in zip(*states, strict=True)]
    )


def read(fit: Tensor, test: Tensor, fit_letters: Sequence[I64], test_letters: Sequence[I64]) -> F64:
    """Test accuracy of one ridge classifier for each entry of the letters.

    ``fit`` and ``test`` are states ``[B, n, d]``, letters are tokens ``[B, n]``.
    """
    x, xt = (s.cpu().double().flatten(0, 1).numpy() for s in (fit, test))
    reader = RidgeReader(x)
    scores = []
    for letters, truth in zip(fit_letters, test_letters, strict=True):
        known, index = np.unique(letters, return_inverse=True)
        named = known[reader.classes_of(xt, index.ravel(), len(known))]
        scores.append((named == truth.reshape(-1)).mean())
    return np.array(scores)
