"""Heads, stages and cycles beside what they would be if there were nothing to find.

*Heads*: the change of a head's pattern against the bound of Proposition 4.2 (arXiv 2604.11791).
*Stages*: how well the curves of a measure over the block's layers repeat, before the state has
settled, against the same with the layers of every recurrence shuffled. *Cycle*: how far the points
of different layers are apart, against how far prompts are. Each beside a block whose weights are
shuffled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.formula import Formula
from loopscope.core.measures.intervals import Estimate
from loopscope.core.results import ResultKey

BOUND = Formula(
    "bound of head change",
    "‖softmax A(X) − softmax A(X′)‖_F ≤ ½ · 2Bκ/√d_head · ‖X − X′‖_F, X and X′ the normed inputs "
    "of the layer at two successive recurrences, B the larger of ‖X‖_F and ‖X′‖_F, "
    "κ = ‖W_q‖₂ ‖W_k‖₂",
    "Frobenius norm of the pattern",
    "after Proposition 4.2, arXiv 2604.11791, with rotated queries and keys; ½ is the Lipschitz "
    "constant of the softmax",
)
CHANGE = Formula(
    "head change",
    "‖A[r,l,h] − A[r−1,l,h]‖_F, mean over layers and heads, then over prompts",
    "Frobenius norm of the pattern",
    "arXiv 2604.11791",
)
REPETITION = Formula(
    "stage repetition",
    "mean over r ≤ r* of Pearson's r between the curves over the layers at r − 1 and r, r* the "
    "last recurrence with a median relative step of the tolerance or more; null: the same with the "
    "layers of every recurrence shuffled",
    "−1..1",
    "arXiv 2604.11791, with nulls",
)
CYCLE = Formula(
    "cycle ratio",
    "√(mean ‖x[R,l] − x[R,l′]‖²) over two layers of one prompt, over the same over two prompts at "
    "one layer and position",
    "above 1: layers are farther apart than prompts",
    "Loopscope",
)
SHUFFLED = Formula(
    "weights shuffled",
    "the same of the model with the entries of each matrix of its block in a random order",
    "as above",
    "null: what a block of such weights does whatever it has learnt",
)


@dataclass(frozen=True, slots=True, eq=False)
class Repetition:
    """How well curves repeat from one recurrence to the next.

    value : mean Pearson r over pairs of successive recurrences.
    shuffled : float64 ``[n]``, the same with the layers of every recurrence shuffled.
    """

    value: float
    shuffled: F64

    @property
    def p(self) -> float:
        """Share of shuffles that repeat as well, the curves themselves counted among them."""
        better = int((self.shuffled >= self.value - 1e-12).sum())
        return (1 + better) / (1 + len(self.shuffled))


def repetition(curves: F64, *, until: int, shuffles: int = 1000, seed: int = 0) -> Repetition:
    """Ask whether curves ``[R, L]`` over layers repeat in the recurrences 1 .. ``until``.

    ``until`` is the last recurrence before the state settles: afterwards successive recurrences are
    the same state and every curve repeats. NaN with fewer than two recurrences or three layers.
    """
    used = np.asarray(curves, dtype=np.float64)[:until]
    if used.shape[0] < 2 or used.shape[1] < 3:
        return Repetition(float("nan"), np.full(shuffles, np.nan))
    rng = np.random.default_rng(seed)
    shuffled = [_correlation(rng.permuted(used, axis=1)) for _ in range(shuffles)]
    return Repetition(_correlation(used), np.array(shuffled))


def _correlation(curves: F64) -> float:
    """Mean Pearson r of successive rows; a flat row has none and counts 0."""
    off = curves - curves.mean(1, keepdims=True)
    size = np.linalg.norm(off, axis=1, keepdims=True)
    unit = off / np.where(size > 0, size, 1.0)
    return float((unit[:-1] * unit[1:]).sum(1).mean())


@dataclass(frozen=True, slots=True)
class CycleSpread:
    """Points of a cycle against prompts; both root mean squares of distances, in state units.

    between_layers : of the ends of different layers in one prompt, over tokens and prompts.
    between_prompts : of the ends of one layer in two prompts at the same position.
    """

    between_layers: float
    between_prompts: float

    @property
    def ratio(self) -> float:
        """Above 1 the layers' points are farther apart than prompts are."""
        return self.between_layers / self.between_prompts


def cycle_spread(ends: F64) -> CycleSpread:
    """Compare the last cycle of several prompts, ``[P, L, T, d]`` with P and L at least 2.

    Raises ValueError for fewer: there is nothing to compare.
    """
    x = np.asarray(ends, dtype=np.float64)
    if x.shape[0] < 2 or x.shape[1] < 2:
        raise ValueError("a cycle needs two layers and two prompts to be compared")
    return CycleSpread(_spread(x, 1), _spread(x, 0))


def _spread(x: F64, axis: int) -> float:
    """Root mean square distance of two different entries along ``axis``."""
    n = x.shape[axis]
    variance = x.var(axis=axis).sum(-1).mean()
    return float(np.sqrt(2 * n / (n - 1) * variance))


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage measure: its repetition, the 95th percentile of shuffled layers and its p.

    weights : repetition with the block's weights shuffled.
    """

    measure: str
    value: float
    shuffled: float
    p: float
    weights: float


@dataclass(frozen=True, slots=True, eq=False)
class HeldToNulls:
    """What was found of one model.

    change : ``[R − 1]`` with intervals over prompts; bound : float64 ``[R − 1]``, mean likewise.
    tightest : the largest change over its bound of any head, layer, recurrence and prompt.
    change_shuffled : float64 ``[R − 1]``, with weights shuffled.
    no_bound : why there is no bound, or "".
    until : the last recurrence before the state settles.
    stages : by measure; no_stages : why there are none, or "".
    cycle, cycle_shuffled : cycle ratio; no_cycle : why there is none, or "".
    """

    model: str
    recurrences: int
    n_prompts: int
    prompts: str
    change: Estimate
    bound: F64
    tightest: float
    change_shuffled: F64
    no_bound: str
    until: int
    stages: tuple[Stage, ...]
    no_stages: str
    cycle: float
    cycle_shuffled: float
    no_cycle: str


NULLS = ResultKey("nulls", HeldToNulls, "model")
