"""Heads grouped by what they do: average linkage on their statistics over recurrences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loopscope.core.arrays import F64, I64
from loopscope.core.formula import Formula

# Excess over uniform attention from which a statistic names a group.
DOMINATES = 0.1
# Normalised entropy from which a group without such a statistic is called broad.
BROAD = 0.5
# What heads are grouped by, fields of `HeadStatistics`; all but the first can name a group.
FEATURES = ("normalised_entropy", "sink", "previous", "own", "induction")
NAMES = ("sink", "previous-token", "self", "induction")
GROUP = Formula(
    "group",
    "average linkage on the root mean square over r and {normalised entropy, sink, previous, self, "
    "induction} of two heads' difference, cut into as many groups as asked; named by the mass "
    f"furthest above uniform attention's (by {DOMINATES} or more), else broad where the normalised "
    f"entropy is {BROAD} or more",
    "group",
    "Loopscope; Sokal & Michener 1958",
)


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Groups of heads.

    of : int64 ``[N]``, the group of each head, numbered in the order in which they first occur.
    names : of each group, such as "previous-token".
    """

    of: I64
    names: tuple[str, ...]

    def label(self, group: int) -> str:
        """Letter and name, such as "B sink": two groups may have the same name."""
        return f"{chr(65 + group % 26)} {self.names[group]}"


def group_heads(features: F64, uniform: F64, n_groups: int) -> Groups:
    """Group heads by their statistics and name the groups.

    Parameters
    ----------
    features
        float64 ``[R, N, 5]``, in the order of `FEATURES`. A statistic that is NaN for
        every head does not exist for this prompt and is left out.
    uniform
        float64 ``[N, 5]``, the same of the even attention of each head's layer; or ``[5]``.
    n_groups
        As many, or one for each head when there are fewer. Heads whose patterns are not finite are
        one more group.
    """
    n = features.shape[1]
    uniform = np.broadcast_to(uniform, features.shape[1:])
    exists = np.asarray(np.isfinite(features).any((0, 1)))
    kept = features[:, :, exists]
    finite = np.asarray(np.isfinite(kept).all((0, 2))) if kept.size else np.zeros(n, bool)
    known = np.flatnonzero(finite)
    of = np.full(n, -1, np.int64)
    if len(known):
        flat = kept[:, known].transpose(1, 0, 2).reshape(len(known), -1)
        of[known] = average_linkage(_distances(flat), n_groups)
    else:
        exists[:] = False
    order = list(dict.fromkeys(of.tolist()))
    names = tuple(
        "not finite"
        if g < 0
        else _name(features[:, of == g].mean((0, 1)), uniform[of == g].mean(0), exists)
        for g in order
    )
    return Groups(np.array([order.index(g) for g in of.tolist()], np.int64), names)


def _distances(flat: F64) -> F64:
    """Root mean square difference of all pairs of rows."""
    squares = np.einsum("nf,nf->n", flat, flat)
    apart = squares[:, None] + squares - 2 * flat @ flat.T
    # Rounding must not make one pair nearer than its mirror image.
    apart = (apart + apart.T) / 2
    return np.asarray(np.sqrt(np.clip(apart, 0, None) / max(flat.shape[1], 1)))


def average_linkage(distances: F64, n_groups: int) -> I64:
    """Cut the average-linkage tree of ``[N, N]`` distances into ``n_groups``: a number for each.

    By chains of nearest neighbours, which for this linkage gives the tree that merging the nearest
    pair again and again gives. Of equal distances the lower index is taken.
    """
    d, n = np.array(distances, dtype=np.float64), len(distances)
    np.fill_diagonal(d, np.inf)
    size, alive = np.ones(n), np.ones(n, bool)
    merges: list[tuple[float, int, int]] = []
    chain: list[int] = []
    while len(merges) < n - 1:
        if not chain:
            chain.append(int(alive.argmax()))
        here = chain[-1]
        near = int(d[here].argmin())
        if len(chain) > 1 and d[here, chain[-2]] <= d[here, near]:
            near = chain[-2]
        if len(chain) < 2 or near != chain[-2]:
            chain.append(near)
            continue
        del chain[-2:]
        low, high = min(here, near), max(here, near)
        merges.append((float(d[low, high]), low, high))
        both = size[low] + size[high]
        d[low] = (size[low] * d[low] + size[high] * d[high]) / both
        d[:, low] = d[low]
        d[low, low] = d[high, :] = d[:, high] = np.inf
        size[low], alive[high] = both, False
    merges.sort(key=lambda m: m[0])  # stable: what was merged first stays first
    of = np.arange(n)
    for _, low, high in merges[: max(n - n_groups, 0)]:
        of[of == of[high]] = of[low]
    return of


def _name(mean: F64, uniform: F64, exists: npt.NDArray[np.bool_]) -> str:
    """Name a group by its mean statistics."""
    excess = np.where(exists[1:], mean[1:] - uniform[1:], -np.inf)
    if excess.max() >= DOMINATES:
        return NAMES[int(excess.argmax())]
    return "broad" if mean[0] >= BROAD else "other"
