"""Fixed points: searched for by minimising ``q(s) = ½ ||s - F(s)||²`` from many starts.

Sussillo & Barak 2013 (Neural Computation 25); the tool users know is FixedPointFinder (JOSS
2018). A point whose residual stays above the tolerance is a *slow point*, never a fixed one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loopscope.core.arrays import F32, F64
from loopscope.core.formula import Formula

Q = Formula(
    "q",
    "½ ‖s − F(s)‖²",
    "squared state units",
    "Sussillo & Barak 2013; minimised by L-BFGS",
)
RESIDUAL = Formula(
    "relative residual", "‖s − F(s)‖ / ‖s‖, all tokens together", "1", "as the relative step"
)

CYCLE = Formula(
    "distance of two layers' points",
    "‖x*_l − x*_m‖ / (½ ‖x*_l‖ + ½ ‖x*_m‖), all tokens together, x*_l after layer l at the point",
    "1",
    "the L points of the cycle, Proposition 4.1, arXiv 2604.11791",
)


@dataclass(frozen=True, slots=True, eq=False)
class FixedPoints:
    """What a search found, the smallest residual first.

    points : float32 ``[P, n]``, one of each distinct place.  q : float64 ``[P]``.
    residual : float64 ``[P]``, ``||s - F(s)|| / ||s||``.  found_by : int64 ``[P]``, starts that
        ended there.  iterations : int64 ``[P]``, of the best of them.
    from_end : int64, the place where the first start (the run's end) ended, -1 without one.
    tolerance : largest relative residual of a fixed point.  radius : relative distance within
        which two ends are one place.  n_starts : starts tried.
    """

    points: F32
    q: F64
    residual: F64
    found_by: npt.NDArray[np.int64]
    iterations: npt.NDArray[np.int64]
    from_end: int
    tolerance: float
    radius: float
    n_starts: int

    @property
    def is_fixed(self) -> npt.NDArray[np.bool_]:
        """Which places are fixed points at the tolerance, ``[P]``; the others are slow points."""
        return np.asarray(self.residual <= self.tolerance)


def cycle_distances(points: F32) -> F64:
    """Relative distances between the points that a cycle's layers reach.

    Parameters
    ----------
    points
        ``[L, ...]``, the state after each layer at a fixed point.

    Returns
    -------
    float64 ``[L, L]``, symmetric, 0 to 2; all 0 where every layer leaves the state alone (the
    degenerate case of Proposition 4.1). NaN where both norms are 0 or a point is not finite.
    """
    x = points.reshape(len(points), -1).astype(np.float64)
    norms = np.linalg.norm(x, axis=1)
    apart = np.array([[np.linalg.norm(a - b) for b in x] for a in x])
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = apart / (0.5 * (norms[:, None] + norms))
    return np.where(np.isfinite(relative), relative, np.nan)
