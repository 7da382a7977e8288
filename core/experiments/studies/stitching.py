"""Stitching: run one model to a pass, map its state linearly, and let another model finish.

A map that serves shows that what the second model needs is in the first one's state, in a form that
is linear. One fitted by ridge regression may fail for details that do not matter; one trained on
the task's loss, the second model held fixed, asks for no more than the answer. Both have a bias for
every position. References: a model into itself, and into one of its kind of another seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from loopscope.core.experiments.hops import HopsBatch
from loopscope.core.experiments.studies.subject import Subject, prompts, tokens_of
from loopscope.core.measures.linear_maps import RIDGE, ridge_map
from loopscope.core.model.float64 import float64


@dataclass(frozen=True, slots=True, eq=False)
class Stitch:
    """From the state after pass ``i`` of one model to that after pass ``j`` of another.

    weight ``[d2, d1]``, bias ``[T, d2]`` : ``s' = W s + b_t``.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, state: Tensor) -> Tensor:
        """Map ``[B, T, d1]`` to ``[B, T, d2]``."""
        return state @ self.weight.T + self.bias


@torch.inference_mode()
def ridge(source: Tensor, target: Tensor, penalty: float = RIDGE) -> Stitch:
    """Least squares from states ``[B, T, d1]`` to ``[B, T, d2]``, with a bias for each position.

    ``penalty`` is relative to the mean square of a source direction. Positions' means are taken
    out first, which is what a bias for each position amounts to.
    """
    x, y = (np.asarray(float64(z).flatten(0, 1).cpu().numpy()) for z in (source, target))
    positions = np.tile(np.arange(source.shape[1]), len(source))
    found = ridge_map(x, y, positions, penalty)
    return Stitch(*(torch.from_numpy(w).to(source) for w in (found.weight, found.bias)))


@dataclass(frozen=True, slots=True)
class TaskFit:
    """How a map is trained on the task's loss."""

    steps: int = 600
    batch_size: int = 64
    learning_rate: float = 2e-3
    seed: int = 0


def trained(
    first: Subject,
    second: Subject,
    i: int,
    j: int,
    passes: int,
    batch: HopsBatch,
    start: Stitch,
    fit: TaskFit = TaskFit(),
) -> Stitch:
    """A map trained on the answers of ``second`` after ``passes``, from ``start`` on.

    Both models are held fixed; ``batch`` is what is trained on.
    """
    tokens, answers = tokens_of(batch), torch.from_numpy(batch.answers)
    with torch.no_grad():
        source = first.states(tokens, i)[-1]
    weight, bias = (nn.Parameter(p.clone()) for p in (start.weight, start.bias))
    optimizer = torch.optim.AdamW([weight, bias], lr=fit.learning_rate, weight_decay=0.0)
    rng = np.random.default_rng(fit.seed)
    for step in range(fit.steps):
        rows = torch.from_numpy(rng.integers(0, len(tokens), fit.batch_size))
        state = Stitch(weight, bias)(source[rows])
        end = second.states(tokens[rows], passes - j, start=state, done=j)[-1]
        logits = second.model.readout(end)[:, -answers.shape[1] :]
        loss = F.cross_entropy(logits.flatten(0, 1), answers[rows].flatten())
        for group in optimizer.param_groups:
            group["lr"] = fit.learning_rate * (1 - step / fit.steps)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss, inputs=[weight, bias])
        optimizer.step()
    return Stitch(weight.detach(), bias.detach())


@torch.inference_mode()
def stitched_accuracy(
    first: Subject, second: Subject, i: int, j: int, passes: int, batch: HopsBatch, stitch: Stitch
) -> float:
    """Share of right answers when ``second`` goes on from the mapped state to ``passes``."""
    tokens = tokens_of(batch)
    state = stitch(first.states(tokens, i)[-1])
    end = second.states(tokens, passes - j, start=state, done=j)[-1]
    return float((second.answers(end, batch.answers.shape[1]) == batch.answers).mean())


@dataclass(frozen=True, slots=True)
class Stitched:
    """Accuracy of one stitch on fresh prompts, by the two maps."""

    i: int
    j: int
    ridge: float
    task: float


def stitch(
    first: Subject,
    second: Subject,
    i: int,
    j: int,
    *,
    passes: int = 6,
    hops: int = 6,
    fitted_on: int = 1500,
    tested_on: int = 400,
    fit: TaskFit = TaskFit(),
) -> Stitched:
    """Fit both maps on ``fitted_on`` prompts of ``hops`` hops and test them on other ones."""
    fitting, testing = prompts(fitted_on, hops), prompts(tested_on, hops, seed=9)
    with torch.inference_mode():
        tokens = tokens_of(fitting)
        by_ridge = ridge(first.states(tokens, i)[-1], second.states(tokens, j)[-1])
    by_task = trained(first, second, i, j, passes, fitting, by_ridge, fit)
    ridge_score, task_score = (
        stitched_accuracy(first, second, i, j, passes, testing, s) for s in (by_ridge, by_task)
    )
    return Stitched(i, j, ridge_score, task_score)
