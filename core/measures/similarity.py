"""How alike two places of a run are, by their states or by their attention.

A place is a (recurrence, layer); its state ``x[r,l]`` is a ``[T, d]`` matrix, its patterns
``A[r,l]`` are ``[H, T, T]``. The functions for all pairs take two lists of places, of one run or
of two; sums are float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from loopscope.core.arrays import F64, Floats
from loopscope.core.formula import Formula
from loopscope.core.measures.heads import PatternMeasure, Patterns

Key = Literal["cka_debiased", "cka", "cosine", "attention"]

# Fewer tokens than this and the number says nothing: two centred tokens always have CKA 1, and
# the debiased form divides by T - 3.
LEAST_TOKENS: dict[Key, int] = {"cka_debiased": 4, "cka": 3, "cosine": 1, "attention": 1}
# Entries worked on at once: half a megabyte, which stays in the cache.
_BLOCK = 1 << 16
# A state whose tokens vary by less than this share of its norm (squared) is constant: float32
# rounds at 1e-7, centring in float64 leaves 1e-16.
_CONSTANT = 1e-20
# A debiased self-similarity this small beside the plain one is rounding.
_NOTHING_LEFT = 1e-12


@dataclass(frozen=True, slots=True)
class PlaceMeasure(PatternMeasure):
    """One way to compare two places."""

    @override
    def bound(self, n_tokens: int) -> float:
        """The value of two places that have nothing in common."""
        return math.sqrt(2 * n_tokens) if self.is_distance else 0.0


_CYCLE = "arXiv 2604.11791"
PLACE_MEASURES: dict[Key, PlaceMeasure] = {
    "cka_debiased": PlaceMeasure(
        "cka_debiased",
        "Debiased CKA",
        Formula(
            "debiased CKA",
            "HSIC₁(K, K′) / √(HSIC₁(K, K) HSIC₁(K′, K′)), K = X Xᵀ, X = x[r,l] (T × d), HSIC₁ the "
            "unbiased estimate",
            "at most 1 = same up to rotation and scale, 0 = unrelated",
            "Song et al. 2012; Nguyen et al. arXiv 2010.15327",
        ),
        1,
    ),
    "cka": PlaceMeasure(
        "cka",
        "CKA",
        Formula(
            "linear CKA",
            "‖X′ᵀ X‖²_F / (‖Xᵀ X‖_F ‖X′ᵀ X′‖_F), X = x[r,l] (T × d) less its mean over tokens",
            "0..1, 1 = same up to rotation and scale; reads high when tokens are fewer than "
            "dimensions",
            "Kornblith et al. 2019, arXiv 1905.00414",
        ),
        1,
    ),
    "cosine": PlaceMeasure(
        "cosine",
        "Mean cosine",
        Formula(
            "mean cosine",
            "mean over tokens t of cos(x[r,l,t], x[r′,l′,t])",
            "−1..1, 1 = same direction",
            f"residual cosine map, {_CYCLE}",
        ),
        1,
    ),
    "attention": PlaceMeasure(
        "attention",
        "Attention distance",
        Formula(
            "attention distance",
            "mean over heads h of ‖A[r,l,h] − A[r′,l′,h]‖_F",
            "0 = same, at most √(2T)",
            f"attention consistency, {_CYCLE}",
        ),
        0,
    ),
}


# ---- CKA ----
@dataclass(frozen=True, slots=True, eq=False)
class Kernels:
    """What CKA needs of ``N`` states of ``T`` tokens.

    rows : float64, the lower triangles of the centred Gram matrices, ``[N, T (T + 1) / 2]``, their
        off-diagonal entries times √2 so that a dot product of two is ``Σ K ∘ K′``; or the centred
        states ``[N, T, d]`` where these are smaller.
    diagonals : float64 ``[N, T]``, of the Gram matrices.
    own : float64 ``[N]``, ``Σ K ∘ K``; NaN for a state that is constant or not finite.
    """

    rows: F64
    diagonals: F64
    own: F64

    @property
    def n_tokens(self) -> int:
        """Tokens, ``T``."""
        return int(self.diagonals.shape[1])

    def dots(self, other: Kernels) -> F64:
        """``Σ K ∘ K′ = ‖X′ᵀ X‖²_F`` of all pairs, ``[N, M]``."""
        if self.rows.ndim == 2:
            return np.asarray(self.rows @ other.rows.T)
        out = np.empty((len(self.rows), len(other.rows)))
        for i, x in enumerate(self.rows):
            for j, y in enumerate(other.rows):
                out[i, j] = np.square(x.T @ y).sum()
        return out

    def permuted(self, order: npt.NDArray[np.intp]) -> Kernels:
        """The same states with their tokens in another order, ``[T]``."""
        rows = self.rows
        if rows.ndim == 3:
            return Kernels(rows[:, order], self.diagonals[:, order], self.own)
        row, column = np.tril_indices(self.n_tokens)
        a, b = order[row], order[column]
        high, low = np.maximum(a, b), np.minimum(a, b)
        return Kernels(rows[:, high * (high + 1) // 2 + low], self.diagonals[:, order], self.own)

    def take(self, index: npt.NDArray[np.intp]) -> Kernels:
        """Some of the states."""
        return Kernels(self.rows[index], self.diagonals[index], self.own[index])

    def joined(self, other: Kernels) -> Kernels:
        """These states, then the other ones."""
        pairs = ((getattr(self, f), getattr(other, f)) for f in ("rows", "diagonals", "own"))
        return Kernels(*(np.concatenate(pair) for pair in pairs))


def holds_grams(n_tokens: int, width: int) -> bool:
    """Whether half a Gram matrix is smaller than a state of ``width`` dimensions."""
    return (n_tokens + 1) / 2 <= width


def kernels(states: Sequence[Floats], as_grams: bool | None = None) -> Kernels:
    """Prepare states ``[T, d]`` for CKA; all of one list need the same ``T``, and ``d``."""
    t, d = states[0].shape
    grams = holds_grams(t, d) if as_grams is None else as_grams
    row, column = np.tril_indices(t)
    scale = np.where(row == column, 1.0, math.sqrt(2))
    rows = np.empty((len(states), len(row)) if grams else (len(states), t, d))
    diagonals, own = np.empty((len(states), t)), np.empty(len(states))
    for i, state in enumerate(states):
        x = np.asarray(state, dtype=np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.square(x).sum()
            x = x - x.mean(0)
            diagonals[i] = np.square(x).sum(-1)
            constant = not diagonals[i].sum() > _CONSTANT * size
            # inf - inf is NaN: what is not finite says so in the diagonal already.
            rows[i] = (x @ x.T)[row, column] * scale if grams else x
            own[i] = np.square(rows[i]).sum() if grams else np.square(x.T @ x).sum()
        if constant or not np.isfinite(own[i]):
            # Zeros keep NaN out of matrix products; `own` carries it.
            rows[i], diagonals[i], own[i] = 0.0, 0.0, np.nan
    return Kernels(rows, diagonals, own)


def cka_of(a: Kernels, b: Kernels, dots: F64, debiased: bool) -> F64:
    """CKA ``[N, M]`` of two lists from their `Kernels.dots`.

    The debiased form puts ``HSIC₁`` in place of ``Σ K ∘ K′``. For centred Gram matrices the
    estimator of Song et al. 2012 (eq. 5) is, times ``T (T - 3)``,
    ``Σ K ∘ K′ - T / (T - 2) k·k′ + Σk Σk′ / ((T - 1) (T - 2))`` with ``k`` the diagonals: row sums
    of ``K`` without its diagonal are ``-k``.
    """
    t = a.n_tokens
    own_a, own_b = a.own, b.own
    if t < LEAST_TOKENS["cka_debiased" if debiased else "cka"]:
        return np.full(dots.shape, np.nan)
    if debiased:
        ka, kb = a.diagonals, b.diagonals
        sums = np.outer(ka.sum(1), kb.sum(1)) / ((t - 1) * (t - 2))
        dots = dots - t / (t - 2) * (ka @ kb.T) + sums
        own_a, own_b = (_debiased_own(x) for x in (a, b))
    cka: F64 = np.minimum(dots / np.sqrt(np.outer(own_a, own_b)), 1.0)
    return cka


def _debiased_own(a: Kernels) -> F64:
    t, k = a.n_tokens, a.diagonals
    own = a.own - t / (t - 2) * np.square(k).sum(1) + k.sum(1) ** 2 / ((t - 1) * (t - 2))
    return np.where(own > _NOTHING_LEFT * a.own, own, np.nan)


def cka_matrix(xs: Sequence[Floats], ys: Sequence[Floats], debiased: bool = False) -> F64:
    """Linear CKA of every state of one list with every state of another.

    Raises `ValueError` for states of different numbers of tokens.

    Parameters
    ----------
    xs, ys
        ``N`` states ``[T, d1]`` and ``M`` states ``[T, d2]`` of the same tokens; widths may differ.
    debiased
        Use the unbiased estimate of HSIC, which does not read high when tokens are few.

    Returns
    -------
    float64 ``[N, M]``: 1 for states that are the same up to rotation and isotropic scale. NaN
    where a state is not finite or the same at every token, and for too few tokens
    (`LEAST_TOKENS`).

    Sources: Kornblith et al. 2019, arXiv 1905.00414; Song et al. 2012 and Nguyen et al. arXiv
    2010.15327 for the debiased form.
    """
    (t, d1), (t2, d2) = xs[0].shape, ys[0].shape
    if t != t2:
        raise ValueError(f"cannot compare states of {t} and {t2} tokens")
    grams = holds_grams(t, max(d1, d2))
    a, b = kernels(xs, grams), kernels(ys, grams)
    return cka_of(a, b, a.dots(b), debiased)


# ---- cosine ----
def cosine_matrix(xs: Sequence[Floats], ys: Sequence[Floats]) -> F64:
    """Mean over tokens of the cosine between states, ``[N, M]`` (arXiv 2604.11791).

    States are ``[T, d]``, all of one shape. NaN where a state is not finite or has a token of
    norm 0, which has no direction.
    """
    out = np.empty((len(xs), len(ys)))
    for rows in _blocks(len(xs), xs[0].size):
        x = directions(xs[rows])
        for columns in _blocks(len(ys), ys[0].size):
            out[rows, columns] = mean_cosines(x, directions(ys[columns]))
    return out


def mean_cosines(x: F64, y: F64) -> F64:
    """`cosine_matrix` of two lists of `directions`, ``[n, T, d]`` and ``[m, T, d]``."""
    products = x.reshape(len(x), -1) @ y.reshape(len(y), -1).T
    return np.asarray(np.clip(products / x.shape[1], -1.0, 1.0))


def directions(states: Sequence[Floats]) -> F64:
    """Each token's direction, float64 ``[n, T, d]``; all NaN where one has none."""
    x = np.asarray(np.stack(states), dtype=np.float64)
    norms = np.sqrt(np.square(x).sum(-1, keepdims=True))
    usable = ((norms > 0) & np.isfinite(norms)).all((1, 2), keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = np.where(usable, x / norms, np.nan)
    return np.asarray(unit)


# ---- attention ----
def attention_distances(a: Sequence[Patterns], b: Sequence[Patterns], causal: bool = True) -> F64:
    """Mean over heads of the Frobenius distance between patterns, ``[N, M]``.

    Patterns are ``[H, T, T]``; head ``h`` of one is compared with head ``h`` of the other. Of
    causal patterns only the lower triangle is read. NaN where a pattern is not finite.
    Raises `ValueError` for patterns of different shapes.
    Source: attention consistency of arXiv 2604.11791.
    """
    if a[0].shape != b[0].shape:
        raise ValueError(f"cannot compare patterns of shapes {a[0].shape} and {b[0].shape}")
    heads, t, _ = a[0].shape
    kept = np.flatnonzero(np.tril(np.ones((t, t), bool)) if causal else np.ones((t, t), bool))
    out = np.zeros((len(a), len(b)))
    for head in range(heads):
        x, y = (np.stack([p[head].ravel()[kept] for p in side]) for side in (a, b))
        for columns in _blocks(len(y), len(kept)):
            there = y[columns].astype(np.float64)
            for i, pattern in enumerate(x):
                d = there - pattern
                out[i, columns] += np.sqrt(np.einsum("ne,ne->n", d, d))
    return np.asarray(out / heads)


def _blocks(n: int, entries: int) -> Iterator[slice]:
    size = max(1, _BLOCK // max(entries, 1))
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


# ---- the cycle ----
CONTRAST = Formula(
    "cycle contrast",
    "mean over r ≠ r′ of S[r,l; r′,l] − mean over r ≠ r′, l ≠ l′ of S[r,l; r′,l′]; of a distance "
    "the second less the first",
    "the unit of S; above 0 = equal layers are more alike",
    "Loopscope; the cycle of arXiv 2604.11791",
)


@dataclass(frozen=True, slots=True, eq=False)
class Cycle:
    """Whether equal layers of different recurrences are alike.

    same, different : mean over pairs of different recurrences, of equal and of different layers;
        over the pairs that have a number, NaN when none has.
    contrast : `CONTRAST`.
    by_layer : float64 ``[L, L]``, mean over pairs of different recurrences of layer ``l`` with
        layer ``l′``.
    own : how many layers are more like themselves than like any other.
    missing : why there is no number, or "".
    """

    same: float
    different: float
    contrast: float
    by_layer: F64
    own: int = 0
    missing: str = ""


def cycle(values: F64, n_layers: int, is_distance: bool = False) -> Cycle:
    """Fold a map of places along effective depth, ``[R L, R L]``, by layer."""
    n = len(values) // n_layers
    grid = values.reshape(n, n_layers, n, n_layers)
    apart = np.where(np.eye(n, dtype=bool)[:, None, :, None], np.nan, grid)
    by_layer = _mean(apart.transpose(1, 3, 0, 2).reshape(n_layers, n_layers, -1))
    none = float("nan")
    equal = np.eye(n_layers, dtype=bool)
    repetition = Cycle(
        _mean_of(apart, equal[None, :, None]), _mean_of(apart, ~equal[None, :, None]), none,
        by_layer,
    )  # fmt: skip
    if n < 2:
        return replace(repetition, missing="A second recurrence is needed to see a cycle")
    if n_layers < 2:
        return replace(repetition, missing="The block has one layer: there is no cycle to see")
    sign = -1.0 if is_distance else 1.0
    rivals = np.where(equal, -np.inf, sign * by_layer)
    own = int((sign * np.diagonal(by_layer) > rivals.max(1)).sum())
    return replace(repetition, contrast=sign * (repetition.same - repetition.different), own=own)


def _mean_of(apart: F64, which: npt.NDArray[np.bool_]) -> float:
    picked = apart[np.broadcast_to(which, apart.shape)]
    return float(_mean(picked[None])[0])


def _mean(values: F64) -> F64:
    """Mean over the last axis of what is finite; NaN where nothing is."""
    known = np.isfinite(values)
    n = known.sum(-1)
    total = np.where(known, values, 0.0).sum(-1)
    return np.asarray(np.where(n > 0, total / np.maximum(n, 1), np.nan))
