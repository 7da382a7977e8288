"""A model that is asked something: its passes, its prompts, its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from loopscope.core.arrays import I64
from loopscope.core.experiments.hops import HopsBatch, make_batch
from loopscope.core.experiments.passes import Change, pass_states
from loopscope.core.measures.readout import NO_ANSWER
from loopscope.core.model.looped_model import LoopedModel

# Of every prompt that a study draws; not one of training or of `evaluate_hops`.
STUDY_SEED = 3_000_017


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model and how it is run in passes.

    per_pass : layers of a pass.
    """

    model: LoopedModel
    per_pass: int

    @property
    def passes(self) -> int:
        """Passes with weights of their own; 1 for a looped model, which runs it again and again."""
        return self.model.arch.n_block // self.per_pass

    def states(
        self,
        tokens: Tensor,
        n: int,
        *,
        start: Tensor | None = None,
        done: int = 0,
        change: Change | None = None,
    ) -> list[Tensor]:
        """States ``[B, T, d]`` after passes ``done`` (the start itself) to ``done + n``."""
        e = self.model.prelude(tokens)
        first = self.model.initial_state(e) if start is None else start
        rest = pass_states(
            self.model, e, n, self.per_pass, start=first, done=done, change=change
        )  # fmt: skip
        return [first, *rest]

    def answers(self, state: Tensor, n_letters: int) -> I64:
        """Tokens read out at the queries, the last ``n_letters`` positions, ``[B, n]``.

        `NO_ANSWER` where the readout is not finite.
        """
        logits = self.model.readout(state)[:, -n_letters:]
        top = logits.argmax(-1).where(logits.isfinite().all(-1), NO_ANSWER)
        return np.asarray(top.cpu().numpy())

    def all_answers(self, states: Sequence[Tensor], n_letters: int) -> I64:
        """`answers` of several states, ``[len(states), B, n]``."""
        return np.stack([self.answers(state, n_letters) for state in states])


def prompts(
    n: int, hops: int | Sequence[int], *, n_letters: int = 8, seed: int = STUDY_SEED
) -> HopsBatch:
    """``n`` prompts on one cycle of ``n_letters``, of the hop counts in turn."""
    counts = np.resize(np.atleast_1d(np.asarray(hops, dtype=np.int64)), n)
    return make_batch(np.random.default_rng(seed), counts, n_letters=n_letters)


def tokens_of(batch: HopsBatch) -> Tensor:
    """Tokens of a batch, int64 ``[B, T]``."""
    return torch.from_numpy(batch.tokens)


def long_walk(batch: HopsBatch, n: int) -> I64:
    """The pointer after 0 .. ``n`` hops whatever count is asked, tokens ``[n + 1, B, n_letters]``.

    Read from the edges of the prompts themselves.
    """
    n_letters = batch.answers.shape[1]
    edges = batch.tokens[:, : 2 * n_letters].reshape(len(batch.tokens), n_letters, 2)
    following = np.zeros((len(edges), batch.tokens.max() + 1), np.int64)
    np.put_along_axis(following, edges[..., 0], edges[..., 1], axis=1)
    walk = [batch.tokens[:, -n_letters:]]
    for _ in range(n):
        walk.append(np.take_along_axis(following, walk[-1], axis=1))
    return np.stack(walk)
