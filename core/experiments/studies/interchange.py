"""Interchange: part of a run's state is replaced by that of another prompt.

*Pointer*: the second prompt has the same edges and the same count and other queries at the same
positions; the state of one query is replaced. Where the state of a query holds the pointer, its
answer becomes the other query's. *Edges*: the second prompt has another graph; the states of the
edge tokens are replaced. Where edges are only read through the injected prompt, nothing happens.
*Erasing and overwriting*: the whole state becomes zero, random or another prompt's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from loopscope.core.arrays import F64
from loopscope.core.experiments.hops import HopsBatch
from loopscope.core.experiments.studies.subject import STUDY_SEED, Subject, prompts, tokens_of

Part = Literal["pointer", "edges"]


@dataclass(frozen=True, slots=True, eq=False)
class Interchange:
    """What an interchange after pass r = 1 .. R did, read out after pass R.

    exchanged : float64 ``[R, B]``, share of the replaced queries (of all, for "edges") that answer
        as the other prompt's do.
    kept : the same as before.
    Prompts whose answers are alike have no number in either: NaN.
    """

    exchanged: F64
    kept: F64


def other_queries(batch: HopsBatch, seed: int) -> HopsBatch:
    """The same graphs and counts with the queries in another order, none in its old place."""
    rng = np.random.default_rng(seed)
    n = batch.answers.shape[1]
    # A random cycle moves every query.
    orders = np.empty(batch.answers.shape, np.int64)
    for row in orders:
        cycle = rng.permutation(n)
        row[cycle] = np.roll(cycle, -1)

    def moved(values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values, orders, axis=-1)

    tokens = batch.tokens.copy()
    tokens[:, -n:] = moved(tokens[:, -n:])
    walk = np.stack([moved(pointer) for pointer in batch.walk])
    return replace(batch, tokens=tokens, answers=moved(batch.answers), walk=walk)


@torch.inference_mode()
def interchange(
    subject: Subject,
    part: Part,
    *,
    passes: int = 6,
    hops: int = 6,
    n: int = 400,
    n_letters: int = 8,
    seed: int = STUDY_SEED,
) -> Interchange:
    """Replace part of the state after each pass, run on to ``passes`` and read out.

    One query of each prompt is replaced, at random; or all edge tokens, two for each letter.
    """
    batch = prompts(n, hops, n_letters=n_letters, seed=seed)
    donor = other_queries(batch, seed) if part == "pointer" else _rolled(batch)
    rng, rows = np.random.default_rng(seed + 1), np.arange(n)
    query = rng.integers(0, n_letters, n)
    tokens = tokens_of(batch)
    own, others = (subject.states(t, passes) for t in (tokens, tokens_of(donor)))
    replaced = torch.zeros(tokens.shape, dtype=torch.bool)
    if part == "pointer":
        replaced[rows, tokens.shape[1] - n_letters + query] = True
        chosen = np.zeros((n, n_letters), bool)
        chosen[rows, query] = True
    else:
        replaced[:, : 2 * n_letters] = True
        chosen = np.ones((n, n_letters), bool)
    chosen &= batch.answers != donor.answers
    exchanged, kept = [], []
    for r in range(1, passes + 1):
        state = torch.where(replaced[..., None], others[r], own[r])
        end = subject.states(tokens, passes - r, start=state, done=r)[-1]
        answers = subject.answers(end, n_letters)
        exchanged.append(_share(answers == donor.answers, chosen))
        kept.append(_share(answers == batch.answers, chosen))
    return Interchange(np.array(exchanged), np.array(kept))


def _rolled(batch: HopsBatch) -> HopsBatch:
    """Every prompt's neighbour: another graph."""
    return replace(
        batch, tokens=np.roll(batch.tokens, 1, 0), answers=np.roll(batch.answers, 1, 0),
        walk=np.roll(batch.walk, 1, 1),
    )  # fmt: skip


def _share(right: np.ndarray, of: np.ndarray) -> F64:
    """Share of ``right`` among ``of`` in each row; NaN in rows without any."""
    counted = of.sum(1)
    return np.where(counted > 0, (right & of).sum(1) / np.maximum(counted, 1), np.nan)


@torch.inference_mode()
def overwriting(
    subject: Subject,
    how: Literal["zero", "random", "other prompt"],
    *,
    after: int,
    passes: int,
    hops: int = 6,
    n: int = 256,
    n_letters: int = 8,
    seed: int = STUDY_SEED,
    draw: int = 0,
) -> F64:
    """Accuracy of each prompt after each of ``passes`` more, ``[passes, B]``.

    The whole state after pass ``after`` becomes zero, normal noise of each token's norm, or the
    state of the neighbour in the batch.
    """
    batch = prompts(n, hops, n_letters=n_letters, seed=seed)
    tokens = tokens_of(batch)
    state = subject.states(tokens, after)[-1]
    end = subject.states(tokens, passes, start=_put(state, how, draw), done=after)[1:]
    return np.stack([(subject.answers(s, n_letters) == batch.answers).mean(-1) for s in end])


def _put(state: Tensor, how: str, draw: int) -> Tensor:
    if how == "zero":
        return torch.zeros_like(state)
    if how == "other prompt":
        return state.roll(1, 0)
    noise = torch.randn(state.shape, generator=torch.Generator().manual_seed(draw)).to(state)
    size: Tensor = state.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True)
    return noise * size
