"""A measure: how far each token's state is from the mean state of the prompt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from loopscope.core.formula import Formula
from loopscope.core.measures.base import Measure
from loopscope.core.run.recording import Recording


def spread(states: NDArray[np.floating]) -> NDArray[np.float64]:
    """``‖s_t − s̄‖ / ‖s_t‖`` for each token: ``[..., T, d]`` to float64 ``[..., T]``."""
    s = np.asarray(states, dtype=np.float64)
    away = np.linalg.norm(s - s.mean(-2, keepdims=True), axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(away / np.linalg.norm(s, axis=-1), dtype=np.float64)


def rows(recording: Recording, first: int, last: int) -> NDArray[np.float64]:
    """Recurrences ``first .. last`` of a run, ``[last - first + 1, T]``."""
    return spread(recording.states_of(first, last))


SPREAD = Measure(
    "spread",
    Formula("spread of tokens", "‖s_t − s̄‖ / ‖s_t‖, s̄ = (1/T) Σ_u s_u", "relative", "example"),
    axes=("token",),
    rows=rows,
)
