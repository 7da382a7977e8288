"""Linear maps fitted on states by ridge regression: one that names a label, one to other states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loopscope.core.arrays import F64, I64, Floats

# Of a standardised state's mean square, and of the mean square of a source direction.
RIDGE = 1e-3


class RidgeReader:
    """Ridge regressions of several targets on one set of states.

    What does not depend on the targets is worked out once.

    Parameters
    ----------
    x
        States ``[n, d]``; each dimension is standardised, and a constant is added.
    penalty
        Of the squared weights, in units of n.
    """

    def __init__(self, x: Floats, penalty: float = RIDGE) -> None:
        states = np.asarray(x, dtype=np.float64)
        self._mean, self._scale = states.mean(0), states.std(0) + 1e-9
        design = self._design(states)
        gram = design.T @ design + penalty * len(design) * np.eye(design.shape[1])
        # [d + 1, n]: weights of any target are this times the target.
        self._fit = np.linalg.solve(gram, design.T)

    def _design(self, x: Floats) -> F64:
        z = (np.asarray(x, dtype=np.float64) - self._mean) / self._scale
        return np.hstack([z, np.ones((len(z), 1))])

    def classes_of(self, x: Floats, labels: I64, n_classes: int) -> I64:
        """Fit ``labels`` ``[n]``, 0 to ``n_classes`` - 1, and name those of states ``[m, d]``.

        One regression for each class on being of it; the largest wins.
        """
        targets = (labels[:, None] == np.arange(n_classes)).astype(np.float64)
        named: I64 = (self._design(x) @ (self._fit @ targets)).argmax(1)
        return named


@dataclass(frozen=True, slots=True, eq=False)
class LinearMap:
    """``y = W x + b_t``, t the token's position.

    weight : float64 ``[d2, d1]``.  bias : float64 ``[T, d2]``, for each position.
    """

    weight: F64
    bias: F64

    def __call__(self, x: Floats, positions: I64) -> F64:
        """Map states ``[n, d1]`` of tokens at ``positions`` ``[n]``; beyond T as at the last."""
        mapped: F64 = np.asarray(x, dtype=np.float64) @ self.weight.T
        return mapped + self.bias[np.minimum(positions, len(self.bias) - 1)]


def ridge_map(x: Floats, y: Floats, positions: I64, penalty: float = RIDGE) -> LinearMap:
    """Least squares from states ``[n, d1]`` to ``[n, d2]`` with a bias for each position.

    ``positions`` are int64 ``[n]``, from 0. A position's means are taken out first, which is what
    a bias for each amounts to; one that no token stands at has the mean of all. ``penalty`` is
    relative to the mean square of a source direction.
    """
    a, b = (np.asarray(z, dtype=np.float64) for z in (x, y))
    mean_a, mean_b = (_means(z, positions) for z in (a, b))
    a, b = a - mean_a[positions], b - mean_b[positions]
    gram = a.T @ a
    if not gram.any():  # at each position one state: nothing to tell one from another by
        return mean_map(x, y, positions)
    gram += penalty * gram.diagonal().mean() * np.eye(len(gram))
    weight = np.asarray(np.linalg.solve(gram, a.T @ b).T, dtype=np.float64)
    return LinearMap(weight, mean_b - mean_a @ weight.T)


def mean_map(x: Floats, y: Floats, positions: I64) -> LinearMap:
    """The map that says nothing of ``x``: the mean of ``y`` at each position."""
    return LinearMap(np.zeros((y.shape[1], x.shape[1])), _means(y, positions))


def _means(z: Floats, positions: I64) -> F64:
    """Mean at each position, ``[T, d]``; that of all where there is none."""
    n = int(positions.max()) + 1
    total = np.zeros((n, z.shape[1]))
    np.add.at(total, positions, z)
    count = np.bincount(positions, minlength=n)[:, None]
    means: F64 = np.where(count > 0, total / np.maximum(count, 1), z.mean(0, dtype=np.float64))
    return means
