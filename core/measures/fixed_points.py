"""Fixed points: searched for by minimising ``q(s) = ½ ||s - F(s)||²`` from many starts.

Sussillo & Barak 2013 (Neural Computation 25); the tool users know is FixedPointFinder (JOSS
2018). A point whose residual stays above the tolerance is a *slow point*, never a fixed one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loopscope.core.views.base import Formula

F64 = npt.NDArray[np.float64]
F32 = npt.NDArray[np.float32]

Q = Formula(
    "q",
    "½ ‖s − F(s)‖²",
    "squared state units",
    "Sussillo & Barak 2013; minimised by L-BFGS",
)
RESIDUAL = Formula(
    "relative residual", "‖s − F(s)‖ / ‖s‖, all tokens together", "1", "as the relative step"
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
        """Which places are fixed points at the tolerance; the others are slow points."""
        return np.asarray(self.residual <= self.tolerance)
