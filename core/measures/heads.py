"""Attention heads: how alike two patterns are, and what one pattern does.

A pattern ``A`` is a ``[T, T]`` (query, key) matrix of probabilities, each row summing to 1. In a
causal pattern row 0 is ``[1, 0, 0, ...]`` whatever the head does. It adds nothing to the Frobenius
distance and a constant to the cosine, so both take all entries, as the source paper does. The
*row means* of Jensen-Shannon and total variation leave row 0 of a causal pattern out: it would
make short prompts look more alike than they are. The statistics of one pattern follow the papers
that define them and average over all ``T`` rows unless said otherwise; row 0 then gives the sink
and the self mass a floor of ``1 / T``.

Sums are accumulated in float64 over blocks of patterns, so that float32 recordings of gigabytes
are compared without a float64 copy of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from loopscope.core.arrays import F64
from loopscope.core.formula import Formula

Patterns = npt.NDArray[np.floating[Any]]
MeasureKey = Literal["frobenius", "cosine", "jensen_shannon", "total_variation"]

# Of the largest difference, what a float32 pattern resolves.
RESOLVED = 1e-8
# Entries converted to float64 at once: 4 MB, about what stays in cache.
BLOCK_ENTRIES = 1 << 19
NO_REPEAT = "no token of the prompt occurs again later than next to itself"
# Largest |u| with 1 - |u| > 0 in float64; (1 - u) log(1 - u) is 4e-15 there instead of 0 x inf.
_ALMOST_ONE = 1 - 2.0**-53


@dataclass(frozen=True, slots=True)
class PatternMeasure:
    """One way to compare two attention patterns.

    identical : the value of two equal patterns (0 for a distance, 1 for the cosine).
    """

    key: str
    label: str
    formula: Formula
    identical: float

    @property
    def is_distance(self) -> bool:
        """Whether 0 means the same."""
        return self.identical == 0

    def bound(self, n_tokens: int) -> float:
        """The value of two patterns that share no attention at all."""
        bounds = {
            "frobenius": math.sqrt(2 * n_tokens),
            "cosine": 0.0,
            "jensen_shannon": math.log(2),
            "total_variation": 1.0,
        }
        return bounds[self.key]

    def least_alike(self, values: npt.ArrayLike, n_tokens: int) -> float:
        """The finite value furthest from `identical`, or `bound` when all are identical."""
        array = np.asarray(values, np.float64)
        finite = array[np.isfinite(array)]
        if not finite.size:
            return self.bound(n_tokens)
        far = float(finite.max() if self.is_distance else finite.min())
        return far if far != self.identical else self.bound(n_tokens)

    def farther(self, one: float, other: float) -> float:
        """Of two values drawn darkest, the one that is less alike."""
        return max(one, other) if self.is_distance else min(one, other)

    def least_unlike(self, values: npt.ArrayLike, far: float) -> float:
        """The smallest difference from `identical` that is above rounding; 0 where there is none.

        Rounding is taken as `RESOLVED` of the difference of ``far``.
        """
        unlike = np.abs(np.asarray(values, np.float64) - self.identical)
        whole = abs(far - self.identical)
        known = unlike[np.isfinite(unlike) & (unlike > RESOLVED * whole)]
        least = float(known.min()) if known.size else 0.0
        return least if least < whole else 0.0

    def brightness(self, values: npt.ArrayLike, far: float, near: float = 0.0) -> F64:
        """Map ``values``, of any shape, to 0..1 with 1 = identical and 0 = ``far``; NaN stays NaN.

        With ``near``, a difference from `identical`, on a log scale of these that is 1 there.
        """
        array = np.asarray(values, np.float64)
        if near > 0:
            unlike, whole = np.abs(array - self.identical), abs(far - self.identical)
            array = np.log(np.maximum(unlike, near) / near) / np.log(whole / near)
            level: F64 = np.clip(1 - array, 0, 1)
            return np.where(np.isfinite(array), level, np.nan)
        level = np.clip((array - far) / (self.identical - far), 0, 1)
        return np.where(np.isfinite(array), level, np.nan)


_SOURCE = "arXiv 2604.11791"
MEASURES: dict[str, PatternMeasure] = {
    m.key: m
    for m in (
        PatternMeasure(
            "frobenius",
            "Frobenius distance",
            Formula(
                "Frobenius distance",
                "‖A − A′‖_F = √Σ(A − A′)²",
                "0 = same, at most √(2T)",
                f"{_SOURCE}, attention consistency, for one head",
            ),
            0,
        ),
        PatternMeasure(
            "cosine",
            "Cosine",
            Formula(
                "cosine",
                "Σ A·A′ / (‖A‖ ‖A′‖) of the flattened patterns",
                "0..1, 1 = same",
                f"after {_SOURCE}",
            ),
            1,
        ),
        PatternMeasure(
            "jensen_shannon",
            "Jensen–Shannon divergence",
            Formula(
                "Jensen–Shannon divergence",
                "mean over rows of ½ KL(A‖M) + ½ KL(A′‖M), M = ½(A + A′); no row 0 if causal",
                "nats, 0 = same, at most ln 2",
                "Lin 1991",
            ),
            0,
        ),
        PatternMeasure(
            "total_variation",
            "Total variation",
            Formula(
                "total variation",
                "mean over rows of ½ Σ|A − A′|; no row 0 if causal",
                "0..1, 0 = same",
                "attention mass that moved",
            ),
            0,
        ),
    )
}
MEASURE_LABELS: dict[str, str] = {m.key: m.label for m in MEASURES.values()}


def compare(a: Patterns, b: Patterns, measure: MeasureKey, *, causal: bool = True) -> F64:
    """Compare patterns pairwise.

    Raises `ValueError` for patterns of shapes that do not fit.

    Parameters
    ----------
    a
        ``[R, ..., T, T]``.
    b
        The same shape, or ``[1, ..., T, T]``: one reference for every row of ``a``.
    measure
        A key of `MEASURES`, which hold the formulas.
    causal
        Entries above the diagonal are 0 and row 0 is left out of row means.

    Returns
    -------
    float64 ``[R, ...]``. NaN where a pattern is not finite.
    """
    *lead, n_tokens, _ = a.shape
    if len(lead) == 0 or b.shape[1:] != a.shape[1:] or len(b) not in (1, len(a)):
        raise ValueError(f"cannot compare patterns of shapes {a.shape} and {b.shape}")
    out = np.empty((lead[0], int(np.prod(lead[1:]))))
    kept, rows = _entries(n_tokens, causal), _counted_rows(n_tokens, causal)
    fixed = len(b) == 1
    for r in range(lead[0]):
        x = a[r].reshape(-1, n_tokens * n_tokens)
        y = b[0 if fixed else r].reshape(-1, n_tokens * n_tokens)
        for part in _blocks(len(x), n_tokens**2):
            out[r, part] = _compare(_take(x[part], kept), _take(y[part], kept), measure, rows)
    return out.reshape(lead)


def compare_all(
    patterns: Patterns, measure: MeasureKey, *, causal: bool = True, known: F64 | None = None
) -> F64:
    """Compare every pattern ``[R, T, T]`` with every other: symmetric float64 ``[R, R]``.

    ``known`` is what the first of them gave before, ``[n, n]``: these are not compared again.
    """
    n, n_tokens, _ = patterns.shape
    done = 0 if known is None else len(known)
    kept, rows = _entries(n_tokens, causal), _counted_rows(n_tokens, causal)
    flat = patterns.reshape(n, n_tokens * n_tokens)[:, kept]
    out = np.empty((n, n))
    if known is not None:
        out[:done, :done] = known
    # Each new one with all before it and itself.
    for r in range(done, n):
        x = _take(flat[r : r + 1], slice(None))
        for part in _blocks(r + 1, flat.shape[1]):
            out[r, part] = _compare(_take(flat[part], slice(None)), x, measure, rows)
        out[:r, r] = out[r, :r]
    return out


def _compare(x: F64, y: F64, measure: MeasureKey, rows: int) -> F64:
    """Compare flattened patterns, float64 ``[n, entries]``; the sums cover ``rows`` rows."""
    result: F64
    if measure == "frobenius":
        d = x - y
        result = np.sqrt(np.einsum("ne,ne->n", d, d))
    elif measure == "total_variation":
        result = 0.5 * np.abs(x - y).sum(-1) / rows
    elif measure == "jensen_shannon":
        result = _jensen_shannon(x, y).sum(-1) / rows
    else:
        x, y = np.broadcast_arrays(x, y)
        norms = np.sqrt(np.einsum("ne,ne->n", x, x) * np.einsum("ne,ne->n", y, y))
        with np.errstate(divide="ignore", invalid="ignore"):
            result = np.minimum(np.einsum("ne,ne->n", x, y) / norms, 1.0)
    return result


def _jensen_shannon(x: F64, y: F64) -> F64:
    """Each entry's share of the divergence, in nats.

    With ``m = (x + y) / 2`` and ``u = |x - y| / 2m`` it is
    ``½ m [(1 + u) log(1 + u) + (1 - u) log(1 - u)]``, which keeps its digits where x and y are
    almost equal; the difference of entropies does not.
    """
    total = x + y
    u = np.abs(x - y)
    np.divide(u, total, out=u, where=total > 0)
    np.minimum(u, _ALMOST_ONE, out=u)
    share: F64 = 0.25 * total * ((1 + u) * np.log1p(u) + (1 - u) * np.log1p(-u))
    return share


@dataclass(frozen=True, slots=True, eq=False)
class HeadStatistics:
    """What patterns ``[..., T, T]`` do, each float64 ``[...]``; see `STATISTICS` for formulas.

    entropy : nats.  normalised_entropy, sink, previous, own, induction : 0..1.
    induction_missing : why `induction` is NaN, or "".
    """

    entropy: F64
    normalised_entropy: F64
    sink: F64
    previous: F64
    own: F64
    induction: F64
    induction_missing: str = ""


def joined(parts: Sequence[HeadStatistics], axis: int, *, new: bool = False) -> HeadStatistics:
    """Statistics of patterns that were measured in parts, along an axis or a ``new`` one."""
    names = [f.name for f in fields(HeadStatistics) if f.name != "induction_missing"]
    join = np.stack if new else np.concatenate
    arrays = {name: join([getattr(part, name) for part in parts], axis) for name in names}
    return HeadStatistics(**arrays, induction_missing=parts[0].induction_missing)


STATISTICS: dict[str, Formula] = {
    "entropy": Formula(
        "entropy",
        "−(1/T) Σ_i Σ_j A_ij log A_ij",
        "nats",
        "mixing score, arXiv 2604.11791 after 2510.06477",
    ),
    "normalised_entropy": Formula(
        "normalised entropy",
        "mean over rows i ≥ 1 of H(A_i) / log n_i, n_i the keys that i may attend to (i + 1, or "
        "the window); bidirectional: all rows",
        "0..1",
        "arXiv 2510.06477",
    ),
    "sink": Formula(
        "sink mass", "(1/T) Σ_i A_i0", "0..1", "Xiao 2024; sink score, arXiv 2510.06477"
    ),
    "previous": Formula(
        "previous-token mass", "mean over i ≥ 1 of A_i,i−1", "0..1", "Elhage 2021; Olsson 2022"
    ),
    "own": Formula("self mass", "(1/T) Σ_i A_ii", "0..1", "Elhage 2021"),
    "induction": Formula(
        "induction",
        "mean over i whose token came before at j < i − 1 of Σ_j A_i,j+1",
        "0..1",
        "prefix matching, Olsson 2022",
    ),
}


def even_attention(n_tokens: int, *, causal: bool = True, window: int = 0) -> F64:
    """The pattern ``[T, T]`` that attends alike to every key it may, float64.

    ``window`` keys at most, the query and those before it (where bidirectional also after it); 0
    for all.
    """
    back = np.subtract.outer(np.arange(n_tokens), np.arange(n_tokens))
    seen = (np.abs(back) < (window or n_tokens)) & ((back >= 0) | (not causal))
    return np.asarray(seen / seen.sum(-1, keepdims=True))


def head_statistics(
    patterns: Patterns, token_ids: Sequence[int], *, causal: bool = True, window: int = 0
) -> HeadStatistics:
    """Measure patterns ``[..., T, T]`` of a prompt of ``T`` tokens; see `STATISTICS`.

    ``causal`` and ``window`` say which keys a query may attend to, as in `even_attention`.

    The induction score sums the attention to the token after each earlier occurrence of the same
    token. An occurrence directly before is left out: the token after it is the query itself.
    """
    *lead, n_tokens, _ = patterns.shape
    kept = _entries(n_tokens, causal)
    i, j = np.divmod(kept, n_tokens)
    length = 1 / even_attention(n_tokens, causal=causal, window=window).max(-1)[i]
    after = _after_earlier(token_ids)
    n_repeats = int(after.any(-1).sum())
    counted = _counted_rows(n_tokens, causal)
    with np.errstate(divide="ignore"):
        by_log_length = np.where(length > 1, 1 / np.log(length), 0.0) / counted
    linear = np.stack([j == 0, j == i - 1, j == i, after[i, j]], axis=1).astype(np.float64)
    linear /= [n_tokens, max(n_tokens - 1, 1), n_tokens, max(n_repeats, 1)]
    by_row = np.stack([np.full(len(i), 1 / n_tokens), by_log_length], axis=1)
    flat = patterns.reshape(-1, n_tokens * n_tokens)
    out = np.empty((len(flat), 6))
    for part in _blocks(len(flat), n_tokens**2):
        x = _take(flat[part], kept)
        out[part, :4] = x @ linear
        out[part, 4:] = (x * np.log(np.maximum(x, np.finfo(np.float64).tiny))) @ -by_row
    if n_tokens == 1:
        out[:, 1] = np.nan
    if n_tokens == 1 or window == 1:
        out[:, 5] = np.nan
    if not n_repeats:
        out[:, 3] = np.nan
    sink, previous, own, induction, entropy, normalised = out.T.reshape(6, *lead)
    missing = "" if n_repeats else NO_REPEAT
    # 0 log 0 leaves -0.0; adding 0 makes it 0.
    return HeadStatistics(entropy + 0.0, normalised + 0.0, sink, previous, own, induction, missing)


def _after_earlier(token_ids: Sequence[int]) -> npt.NDArray[np.bool_]:
    """``[T, T]``: key ``k`` follows an earlier occurrence, before ``i - 1``, of token ``i``."""
    ids = np.asarray(token_ids)
    t = len(ids)
    after = np.zeros((t, t), bool)
    after[:, 1:] = ids[:, None] == ids[None, :-1]
    return after & np.tril(np.ones((t, t), bool), -1)


def _entries(n_tokens: int, causal: bool) -> npt.NDArray[np.intp]:
    """Flat indices of the entries that can be other than 0."""
    full = np.ones((n_tokens, n_tokens), bool)
    return np.flatnonzero(np.tril(full) if causal else full)


def _counted_rows(n_tokens: int, causal: bool) -> int:
    """Rows that a row mean covers: all, less row 0 of a causal pattern when there are others."""
    return n_tokens - 1 if causal and n_tokens > 1 else n_tokens


def _take(flat: Patterns, kept: Any) -> F64:
    return np.asarray(flat[:, kept], np.float64)


def _blocks(n: int, entries: int) -> Iterator[slice]:
    """Cut ``n`` patterns of ``entries`` each into slices of about `BLOCK_ENTRIES`."""
    size = max(1, BLOCK_ENTRIES // max(entries, 1))
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
