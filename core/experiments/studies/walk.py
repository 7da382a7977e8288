"""What a model answers after each pass: whether it walks, how far, whether it stops and settles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from loopscope.core.arrays import F64, I64
from loopscope.core.experiments.studies.subject import (
    STUDY_SEED,
    Subject,
    long_walk,
    prompts,
    tokens_of,
)
from loopscope.core.formula import Formula
from loopscope.core.model.float64 import float64

PASSED = Formula(
    "hop read out",
    "share of queries at which the readout after pass r is the pointer h hops on",
    "share of queries",
    "Loopscope",
)
# Hops of which an orbit's readout is asked, and letters of the graph.
LONG = (6, 16, 32, 64)
LETTERS = (5, 6, 7, 8, 10, 12)


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """What was read out.

    hops : the hop counts asked.
    accuracy : float64 ``[len(hops), R]``, share of right final answers after each pass.
    read : float64 ``[R, H + 1]``, on prompts of the largest count, `PASSED` of h = 0 .. H.
    step : float64 ``[len(hops), R]``, median relative step over tokens and prompts.
    """

    hops: tuple[int, ...]
    accuracy: F64
    read: F64
    step: F64

    @property
    def at_k(self) -> F64:
        """Accuracy of each hop count k after pass k, a share, ``[hop counts]``."""
        return np.array([self.accuracy[i, k - 1] for i, k in enumerate(self.hops)])

    @property
    def walked(self) -> F64:
        """On prompts of the largest count k: share with hop r after pass r < k, ``[k - 1]``."""
        k = self.hops[-1]
        return np.array([self.read[r - 1, r] for r in range(1, k)])


@torch.inference_mode()
def walk(
    subject: Subject,
    *,
    hops: Sequence[int] = (1, 2, 3, 4, 5, 6),
    passes: int = 16,
    n: int = 2000,
    n_letters: int = 8,
    batch_size: int = 250,
    seed: int = STUDY_SEED,
    report: Callable[[float], None] = lambda share: None,
) -> Walk:
    """Read out ``n`` prompts of each hop count after each of ``passes``."""
    accuracy, steps, read = [], [], np.zeros((passes, max(hops) + 1))
    for i, k in enumerate(hops):
        batch = prompts(n, k, n_letters=n_letters, seed=seed + k)
        pointers, tokens = long_walk(batch, max(hops)), tokens_of(batch)
        right: list[F64] = []
        sizes: list[F64] = []
        for first in range(0, n, batch_size):
            rows = slice(first, first + batch_size)
            states = subject.states(tokens[rows], passes)
            answers = subject.all_answers(states[1:], n_letters)
            right.append((answers == batch.answers[rows]).mean(-1))
            sizes.append(_relative_steps(states))
            if k == max(hops):
                share = (answers[:, None] == pointers[None, :, rows]).mean((-1, -2))
                read += share * len(tokens[rows]) / n
            report((i + min(first + batch_size, n) / n) / len(hops))
        accuracy.append(np.concatenate(right, axis=1).mean(1))
        steps.append(np.median(np.concatenate(sizes, axis=1), axis=1))
    return Walk(tuple(hops), np.array(accuracy), read, np.array(steps))


def _relative_steps(states: list[torch.Tensor]) -> F64:
    """``||s_r - s_{r-1}|| / ||s_r||`` of every token, ``[R, B T]``."""
    rows = []
    for before, state in pairwise(states):
        before, state = float64(before), float64(state)
        size = (state - before).norm(dim=-1) / state.norm(dim=-1)
        rows.append(size.flatten().cpu().numpy())
    return np.array(rows, dtype=np.float64)


@torch.inference_mode()
def far_hops(
    subject: Subject,
    *,
    at: Sequence[int] = LONG,
    n: int = 400,
    n_letters: int = 8,
    asked_hops: int = 6,
    seed: int = STUDY_SEED,
) -> F64:
    """Share of queries where hop r is read out after pass r, ``[len(at)]``, for r of ``at``.

    The prompts ask for ``asked_hops`` hops; a model that walks on whatever is asked reads hop r.
    A deep or untied model repeats its last pass.
    """
    batch = prompts(n, asked_hops, n_letters=n_letters, seed=seed)
    pointers = long_walk(batch, max(at))
    states = subject.states(tokens_of(batch), max(at))
    return np.array([(subject.answers(states[r], n_letters) == pointers[r]).mean() for r in at])


@torch.inference_mode()
def periods(
    subject: Subject, *, passes: int = 64, n: int = 20, n_letters: int = 8, within: float = 0.02
) -> I64:
    """Smallest period of each query's state at the end of a long run, ``[n, n_letters]``.

    The least m up to half of the passes with ``||s_R - s_{R-m}|| <= within ||s_R||`` and the same
    for the m states before; 0 without one. 1 is a fixed point.
    """
    batch = prompts(n, 6, n_letters=n_letters)
    states = float64(torch.stack(subject.states(tokens_of(batch), passes))[:, :, -n_letters:])
    periods = np.zeros(states.shape[1:3], np.int64)
    for m in range(passes // 2, 0, -1):
        tail, before = states[-m:], states[-2 * m : -m]
        near = (tail - before).norm(dim=-1) <= within * tail.norm(dim=-1)
        periods[near.all(0).cpu().numpy()] = m
    return periods
