"""Correspondence of what depends on the prompt: position means taken out, with nulls.

What all prompts have in common at a position is alike in any two models and drowns the rest. With
the mean over prompts taken out at every position, similarity is of what the prompt changes. Two
references: the same with prompts permuted, and two models of one kind and different seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from loopscope.core.arrays import F64
from loopscope.core.experiments.studies.subject import STUDY_SEED, Subject, prompts, tokens_of
from loopscope.core.measures.correspondence import Correspondence, correspondence
from loopscope.core.model.float64 import float64

Tokens = Literal["all", "queries"]


def without_position_means(states: Tensor) -> F64:
    """Take the mean over prompts out at every position: ``[P, T, d]`` to float64 ``[P T, d]``."""
    x = float64(states)
    return np.asarray((x - x.mean(0)).flatten(0, 1).cpu().numpy())


@torch.inference_mode()
def prompt_correspondence(
    first: Subject,
    second: Subject,
    *,
    tokens: Tokens = "queries",
    passes: tuple[int, int] = (6, 6),
    n_prompts: int = 128,
    n_letters: int = 8,
    hops: Sequence[int] = (1, 2, 3, 4, 5, 6),
    permutations: int = 100,
    seed: int = STUDY_SEED,
) -> Correspondence:
    """Compare the states after each pass of two models, position means taken out.

    Debiased linear CKA over all tokens of ``n_prompts``, or over the queries alone. Rows are the
    passes 1 .. ``passes[0]`` of the first model, columns those of the second.
    """
    batch = prompts(n_prompts, hops, n_letters=n_letters, seed=seed)
    last = n_letters if tokens == "queries" else batch.tokens.shape[1]
    xs, ys = (
        [without_position_means(s[:, -last:]) for s in subject.states(tokens_of(batch), n)[1:]]
        for subject, n in zip((first, second), passes, strict=True)
    )
    return correspondence(
        xs, ys, n_prompts=n_prompts, permutations=permutations, measure="cka_debiased", seed=seed
    )
