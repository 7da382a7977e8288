"""Which layer of one model does the work of which place of another.

Rows are places of a looped run along effective depth, ``(recurrence, layer)``; columns are places
of the other model, such as the layers of a deep one. The similarity matrix between them says how
alike their states are over the same tokens; what a bright matrix means is said by a baseline in
which the prompts of one model are permuted, and by the best monotone alignment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loopscope.core.arrays import F64, I64, Floats
from loopscope.core.formula import Formula
from loopscope.core.measures.places import Places
from loopscope.core.measures.similarity import (
    cka_of,
    cosine_matrix,
    directions,
    holds_grams,
    kernels,
    mean_cosines,
)
from loopscope.core.results import ResultKey

ALIGNMENT = Formula(
    "best monotone alignment",
    "j(i), never falling, that maximises Σ_i S[i, j(i)]; of equal sums the nearest to the diagonal",
    "place of the other model for each place of this one",
    "dynamic programming, as in Needleman & Wunsch 1970 without gaps",
)
ALIGNED = Formula(
    "aligned similarity", "(1/N) Σ_i S[i, j(i)] along the best monotone alignment", "unit of S",
    "Loopscope",
)  # fmt: skip
BASELINE = Formula(
    "permutation baseline",
    "the same with the prompts of the other model permuted, positions kept; 95th percentile over "
    "permutations",
    "unit of S",
    "permutation test",
)
MEANS_OUT = Formula(
    "position means taken out",
    "x_pt − (1/P) Σ_q x_qt, over the P prompts that are compared at position t (of answers: at the "
    "t-th answer); S, alignment and baseline are of what is left",
    "state units",
    "Loopscope",
)
REFERENCE = Formula(
    "seed-to-seed reference",
    "the aligned similarity of one of the two models with a model of its own kind and another "
    "training seed, on the same prompts",
    "unit of S",
    "Loopscope",
)
HEAD_BASELINE = Formula(
    "head distance on other prompts",
    "mean over prompts of ‖A[r,l,h] − A″[j,h′]‖_F, A″ on the prompt before where that is as long",
    "0 = same, at most √(2T)",
    "Loopscope",
)
HEAD_DISTANCE = Formula(
    "head distance",
    "mean over prompts of ‖A[r,l,h] − A′[j,h′]‖_F",
    "0 = same, at most √(2T)",
    "after arXiv 2604.11791, between two models",
)


# Prompts that a position mean is taken over, at least.
LEAST_MEAN = 2
# Numbers of states whose directions are held in float64 while prompts are permuted: 256 MB.
MOST_HELD = 1 << 25


def monotone_alignment(similarity: F64) -> I64:
    """Return the best never-falling assignment of rows to columns.

    Parameters
    ----------
    similarity
        float64 ``[N, M]``, larger is more alike; NaN counts as the smallest there is.

    Returns
    -------
    int64 ``[N]``: the column of each row, ``j(0) <= j(1) <= ...``, with the largest sum of
    similarities. Columns may be left out and may be taken by several rows. Of assignments with
    equal sums (within rounding) the one nearest to the diagonal is taken.
    """
    n, m = similarity.shape
    finite = similarity[np.isfinite(similarity)]
    low = float(finite.min()) if finite.size else 0.0
    s = np.where(np.isfinite(similarity), similarity, low)
    span = float(s.max() - s.min()) or 1.0
    # Too small to change which sum is larger, enough to choose among equal ones.
    rows = np.arange(n)[:, None] / max(n - 1, 1)
    columns = np.arange(m)[None] / max(m - 1, 1)
    s = s - 1e-9 * span * np.abs(rows - columns)
    best = np.empty((n, m))
    came = np.zeros((n, m), np.int64)
    best[0] = s[0]
    for i in range(1, n):
        # The best of columns up to j of the row before.
        top = np.maximum.accumulate(best[i - 1])
        first = np.r_[True, best[i - 1][1:] > top[:-1]]
        came[i] = np.maximum.accumulate(np.where(first, np.arange(m), 0))
        best[i] = s[i] + top
    path = np.empty(n, np.int64)
    path[-1] = int(best[-1].argmax())
    for i in range(n - 1, 0, -1):
        path[i - 1] = came[i, path[i]]
    return path


def aligned(similarity: F64, path: I64) -> float:
    """Mean of similarity ``[n, m]`` along an alignment ``[n]``, its column of each row.

    Rows without a number are left out; NaN without any.
    """
    values = similarity[np.arange(len(path)), path]
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class Correspondence:
    """How alike the places of two models are, and what that is worth.

    values : float64 ``[N, M]``.  path : int64 ``[N]``, `monotone_alignment`.
    aligned : mean similarity along it.
    baseline : float64 ``[P]``, the same for permuted prompts, each with its own best alignment.
    level : float64 ``[M]``, 95th percentile over permutations and rows of the permuted
        similarities of each column; NaN without permutations.
    """

    values: F64
    path: I64
    aligned: float
    baseline: F64
    level: F64

    @property
    def above(self) -> bool:
        """Whether the alignment is better than 95 of 100 permuted ones."""
        return len(self.baseline) > 0 and self.aligned > float(np.percentile(self.baseline, 95))

    @property
    def drop(self) -> float:
        """How far the aligned similarity lies above the baseline's 95th percentile; NaN without."""
        if not len(self.baseline):
            return float("nan")
        return self.aligned - float(np.percentile(self.baseline, 95))


def correspondence(
    xs: Sequence[Floats], ys: Sequence[Floats], *, measure: str = "cka_debiased", **how: Any
) -> Correspondence:
    """`correspondences` by one measure."""
    return correspondences(xs, ys, measures=(measure,), **how)[measure]


def correspondences(
    xs: Sequence[Floats],
    ys: Sequence[Floats],
    *,
    measures: Sequence[str],
    n_prompts: int,
    positions: I64 | None = None,
    permutations: int = 20,
    seed: int = 0,
    report: Callable[[float], None] = lambda share: None,
) -> dict[str, Correspondence]:
    """Compare every place of one model with every place of another, by each of some measures.

    Parameters
    ----------
    xs, ys
        ``N`` states ``[P m, d1]`` and ``M`` states ``[P m, d2]``: ``m`` tokens of each of ``P``
        prompts, one prompt after the other, the same tokens in both.
    measures
        Of "cka_debiased", "cka" and "cosine" (which needs ``d1 = d2``); the prompts are permuted
        alike for all.
    n_prompts
        ``P``; the baseline permutes which prompt of ``xs`` goes with which of ``ys``, positions
        kept, so that what all prompts have in common stays in it.
    positions
        ``[P, m]``, which tokens of each prompt: prompts are permuted among those with the same
        ones. None when all have the same.
    """
    rng = np.random.default_rng(seed)
    per_prompt = len(xs[0]) // n_prompts
    alike = _alike(positions, n_prompts)
    orders = []
    for _ in range(permutations if any(len(group) > 1 for group in alike) else 0):
        order = np.arange(n_prompts)
        for group in alike:
            order[group] = rng.permutation(group)
        orders.append((order[:, None] * per_prompt + np.arange(per_prompt)).ravel())
    compared: list[dict[str, F64]] = []
    values_of = _comparing(xs, ys, measures)
    for rows in (None, *orders):
        compared.append(values_of(rows))
        report(len(compared) / (1 + len(orders)))
    return {
        measure: _beside_permuted(compared[0][measure], [own[measure] for own in compared[1:]])
        for measure in measures
    }


def without_position_means(x: Floats, n_prompts: int, positions: I64 | None = None) -> F64:
    """Take out what all prompts have in common at a position: ``[P m, d]`` to the same, float64.

    ``positions`` as in `correspondences`: the mean is over prompts that have the same ones, token
    by token. Raises ValueError where fewer than `LEAST_MEAN` prompts share theirs.
    """
    by_prompt = np.asarray(x, dtype=np.float64).reshape(n_prompts, -1, x.shape[-1])
    out = np.empty_like(by_prompt)
    for group in _alike(positions, n_prompts):
        if len(group) < LEAST_MEAN:
            raise ValueError(f"{len(group)} prompts are compared at the same positions")
        out[group] = by_prompt[group] - by_prompt[group].mean(0)
    return out.reshape(-1, x.shape[-1])


def fewest_alike(positions: I64 | None, n_prompts: int) -> int:
    """How many prompts are compared at the same positions, of the fewest.

    ``positions`` is int64 ``[P, m]``, as for `correspondences`; None where all are alike.
    """
    return min(len(group) for group in _alike(positions, n_prompts))


def _comparing(
    xs: Sequence[Floats], ys: Sequence[Floats], measures: Sequence[str]
) -> Callable[[I64 | None], dict[str, F64]]:
    """Compare by each measure, with the tokens of ``ys`` in another order if one is given.

    What does not depend on the order is made once.
    """
    wanted = {key: key == "cka_debiased" for key in measures if key != "cosine"}
    if wanted:
        grams = holds_grams(len(xs[0]), max(xs[0].shape[1], ys[0].shape[1]))
        a, b = kernels(xs, grams), kernels(ys, grams)
    held = "cosine" in measures and sum(x.size for x in (*xs, *ys)) <= MOST_HELD
    if held:
        u, v = directions(xs), directions(ys)

    def of(rows: I64 | None) -> dict[str, F64]:
        found: dict[str, F64] = {}
        if wanted:
            other = b if rows is None else b.permuted(rows)
            dots = a.dots(other)
            found |= {key: cka_of(a, other, dots, debiased) for key, debiased in wanted.items()}
        if held:
            found["cosine"] = mean_cosines(u, v if rows is None else v[:, rows])
        elif "cosine" in measures:
            found["cosine"] = cosine_matrix(xs, ys if rows is None else [y[rows] for y in ys])
        return found

    return of


def _beside_permuted(values: F64, permuted: Sequence[F64]) -> Correspondence:
    """Values with their alignment, and what the same of permuted prompts gives."""
    path = monotone_alignment(values)
    baseline = np.array([aligned(own, monotone_alignment(own)) for own in permuted])
    level = (
        np.nanpercentile(np.stack(permuted), 95, axis=(0, 1))
        if permuted and np.isfinite(permuted).any()
        else np.full(values.shape[1], np.nan)
    )
    return Correspondence(values, path, aligned(values, path), baseline, level)


def _alike(positions: I64 | None, n_prompts: int) -> list[I64]:
    """Prompts that are compared at the same positions, group by group."""
    if positions is None:
        return [np.arange(n_prompts)]
    _, which = np.unique(positions, axis=0, return_inverse=True)
    return [np.flatnonzero(which.ravel() == i) for i in range(int(which.max()) + 1)]


def head_distance(a: Floats, b: Floats) -> F64:
    """Frobenius distance of every head's pattern to every other's, on one prompt.

    ``[N, T, T]`` and ``[M, T, T]`` to float64 ``[N, M]``; see `HEAD_DISTANCE`. NaN where a pattern
    is not finite.
    """
    p = np.asarray(a, dtype=np.float64).reshape(len(a), -1)
    q = np.asarray(b, dtype=np.float64).reshape(len(b), -1)
    squares = np.square(p).sum(1)[:, None] + np.square(q).sum(1)[None] - 2 * p @ q.T
    # Rounding of the three terms, which are at most 2 T together, may leave less than nothing.
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))


@dataclass(frozen=True, slots=True, eq=False)
class SeedReference:
    """A model beside one of its own kind and another training seed.

    first, second : their names.  states, without_means : as of `ModelCorrespondence`.
    """

    first: str
    second: str
    states: dict[str, Correspondence]
    without_means: dict[str, Correspondence]


@dataclass(frozen=True, slots=True, eq=False)
class ModelCorrespondence:
    """Every place of one model compared with every place of another.

    first, second : names of the two models.
    places, second_places : theirs, along effective depth.
    depths, second_depths : int64 ``[N]``, ``[M]``: effective depth, prelude included.
    n_prompts, n_tokens : compared over; prompts : what they are, in words.
    n_diverged : prompts that were left out, as a state of theirs is not finite in a model.
    states : by measure; a measure that cannot be taken is missing, `why` says why.
    without_means : the same with position means taken out; {} where too few prompts share theirs.
    tokens : "drawn" from whole prompts, or the "answers" alone.
    references : seed to seed, for as many models as were given.
    heads, heads_null : float64 ``[N, H, M, H']`` distances, and of permuted prompts; or None.
    """

    first: str
    second: str
    places: Places
    second_places: Places
    depths: I64
    second_depths: I64
    n_prompts: int
    n_tokens: int
    prompts: str
    states: dict[str, Correspondence]
    why: dict[str, str] = field(default_factory=dict)
    heads: F64 | None = None
    heads_null: F64 | None = None
    without_means: dict[str, Correspondence] = field(default_factory=dict)
    tokens: str = "drawn"
    references: tuple[SeedReference, ...] = ()
    n_diverged: int = 0


CORRESPONDENCE = ResultKey("correspondence", ModelCorrespondence, "model")
