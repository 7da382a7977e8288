"""Planes and solids to look at states in: PCA, chosen directions, a random pair, a rotation.

Axis names: ``n`` points, ``d`` d_model, ``k`` components.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loopscope.core.arrays import F64

Points = npt.NDArray[np.floating[Any]]

# Components a basis holds; more are never drawn.
MAX_COMPONENTS = 8
# Multiply-adds up to which an exact SVD answers within about a second on one core.
_EXACT_WORK = 2e9
# Numbers that are taken to float64 at a time: these stay in a core's cache.
_BLOCK_ELEMENTS = 1 << 18


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Axes to project states on, and where they came from.

    mean : float64 ``[d]``, subtracted before projecting (zeros where nothing is centred).
    components : float64 ``[k, d]``, rows of unit length.
    explained_variance : float64 ``[k]``, variance along each component of the points it was
        fitted on (divisor ``n``), in state units squared; total_variance : over all ``d``.
    fitted_on : what it was fitted on, in words.  run : identity of the run it was fitted on.
    n_recurrences : recurrences that the fit saw.
    states, tokens, form : which states it was fitted on: at the "ends" of recurrences or of all
        "layers", of which tokens, in which form. Not known of a basis of a former version.
    """

    mean: F64
    components: F64
    explained_variance: F64
    total_variance: float
    fitted_on: str = ""
    run: str = ""
    n_recurrences: int = 0
    states: str = ""
    tokens: tuple[int, ...] = ()
    form: str = "raw"

    def misused(self) -> str:
        """What of its shapes does not go together, or ""; a file may hold anything."""
        k, d = self.components.shape if self.components.ndim == 2 else (0, 0)
        fits = self.components.ndim == 2 and self.mean.shape == (d,)
        if fits and self.explained_variance.shape == (k,):
            return ""
        return "'components': mean, components and variances are not of one shape"

    @property
    def width(self) -> int:
        """``d``, the width of the states that it applies to."""
        return int(self.components.shape[1])

    def component(self, index: int) -> F64:
        """Component ``index`` (from 0) ``[d]``; zeros when there are not so many."""
        if index < len(self.components):
            row: F64 = self.components[index]
            return row
        return np.zeros(self.width)


def fit_pca(points: Points, k: int | None = MAX_COMPONENTS) -> Basis:
    """Principal components of ``points`` ``[n, d]``, strongest first, signs fixed.

    ``X - mean = U S V^T`` in float64; components are the rows of ``V^T``, variances ``S^2 / n``.
    Each component's entry of largest magnitude is made positive, so that a refit does not mirror
    the picture. Above about 2e9 multiply-adds the leading components come from seeded subspace
    iteration on the covariance (Halko et al., arXiv 0909.4061), which needs no ``n x d`` copy.

    Parameters
    ----------
    points
        ``[n, d]``, all finite; ``n`` may be 0.
    k
        Components to keep, None for all ``min(n, d)``.

    Returns
    -------
    Basis
        With at most ``k`` components. Do not trust components whose variances are nearly equal:
        any rotation among them fits as well.
    """
    n, d = points.shape
    keep = min(n, d) if k is None else min(k, n, d)
    if n == 0:
        return Basis(np.zeros(d), np.zeros((0, d)), np.zeros(0), 0.0)
    mean = np.asarray(points.mean(0, dtype=np.float64))
    if k is None or float(n) * d * min(n, d) <= _EXACT_WORK:
        centred = points.astype(np.float64) - mean
        if n > d:  # R has the same S and V, and U is not wanted
            centred = np.linalg.qr(centred, mode="r")
        _, s, vt = np.linalg.svd(centred, full_matrices=False)
        variance, total = s**2 / n, float((s**2).sum() / n)
    else:
        vt, variance, total = _leading(points, mean, keep)
    components = fix_signs(vt[:keep])
    return Basis(mean, components, np.asarray(variance[:keep]), total)


def fix_signs(components: F64) -> F64:
    """Flip rows ``[k, d]`` so that each row's entry of largest magnitude is positive."""
    if components.size == 0:
        return components
    largest = np.take_along_axis(components, np.abs(components).argmax(1)[:, None], 1)
    return np.asarray(components * np.where(largest < 0, -1.0, 1.0))


def _leading(points: Points, mean: F64, k: int, sweeps: int = 12) -> tuple[F64, F64, float]:
    """Leading ``k`` eigenvectors of the covariance by block power iteration."""
    n, d = points.shape
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.normal(size=(d, min(d, k + 8))))
    total = 0.0
    for sweep in range(sweeps):
        product = np.zeros_like(q)
        for block in _blocks(points):
            centred = block - mean
            product += centred.T @ (centred @ q)
            total += float(np.vdot(centred, centred)) if sweep == 0 else 0.0
        if sweep < sweeps - 1:
            q, _ = np.linalg.qr(product)
    # Rayleigh-Ritz: the covariance inside the subspace found.
    values, rotation = np.linalg.eigh((q.T @ product + product.T @ q) / (2 * n))
    order = np.argsort(values)[::-1]
    return (q @ rotation[:, order]).T, np.maximum(values[order], 0), total / n


def _blocks(points: Points) -> Iterator[F64]:
    """``points [n, ..., d]`` as float64, a few at a time: wide models do not fit twice."""
    step = max(1, _BLOCK_ELEMENTS // max(math.prod(points.shape[1:]), 1))
    for i in range(0, len(points), step):
        yield points[i : i + step].astype(np.float64, order="C")


def project(points: Points, mean: F64, axes: F64) -> F64:
    """Coordinates ``z = axes (x - mean)`` of ``points [..., d]`` on ``axes [k, d]``: ``[..., k]``.

    ``points`` have at least two axes and need not lie in one piece.
    """
    parts = [(block - mean) @ axes.T for block in _blocks(points)]
    return np.concatenate(parts) if parts else np.zeros((*points.shape[:-1], len(axes)))


def variance_shares(points: Points, axes: F64) -> F64:
    """Share of the variance of ``points [..., d]`` along each of the unit ``axes [k, d]``.

    ``Var(v_k . x) / sum_j Var(x_j)``: between 0 and 1; the shares of a whole orthonormal basis
    add up to 1. Zeros when the points do not vary. ``points`` need not lie in one piece.
    """
    every = tuple(range(points.ndim - 1))
    if math.prod(points.shape[:-1]) < 2:
        return np.zeros(len(axes))
    mean = points.mean(every, dtype=np.float64)
    along, total = np.zeros(len(axes)), 0.0
    for block in _blocks(points):
        block -= mean
        along += ((block @ axes.T) ** 2).sum(every)
        total += float(np.vdot(block, block))
    return along / total if total > 0 else np.zeros(len(axes))


def random_pair(d: int, seed: int) -> F64:
    """Two orthonormal random directions ``[2, d]``: Gaussian from ``seed``, then Gram-Schmidt."""
    rng = np.random.default_rng(seed)
    q, r = np.linalg.qr(rng.normal(size=(d, min(2, d))))
    pair = np.zeros((2, d))
    pair[: q.shape[1]] = (q * np.where(np.diag(r) < 0, -1.0, 1.0)).T
    return pair


def unit_rows(rows: Points) -> F64:
    """Rows ``[k, d]`` scaled to length 1; rows of length 0 stay."""
    rows64 = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(rows64, axis=1, keepdims=True)
    return np.asarray(rows64 / np.where(length > 0, length, 1.0))


def turn(points: F64, azimuth: float, elevation: float) -> F64:
    """Look at ``points [..., 3]`` from ``azimuth`` and ``elevation``, both in degrees.

    Returns ``[..., 3]``: rightward, upward, and towards the viewer (orthographic: distances on
    the screen are true where the line lies in the screen). At azimuth -90, elevation 0 the first
    axis points right and the third up; at elevation 90 the second points up.
    """
    a, e = np.radians(azimuth), np.radians(elevation)
    view = np.array(
        [
            [-np.sin(a), np.cos(a), 0.0],
            [-np.sin(e) * np.cos(a), -np.sin(e) * np.sin(a), np.cos(e)],
            [np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)],
        ]
    )
    return np.asarray(points @ view.T)
