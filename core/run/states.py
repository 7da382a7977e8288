"""What one step of a run leaves: of a layer, of a whole recurrence, of a readout.

Axis names: ``L`` layers of the recurrent block, ``T`` positions, ``d`` d_model, ``H`` heads, ``k``
kept answers. Recurrences are numbered from 1, layers from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from loopscope.core.arrays import F32, I64
from loopscope.core.run.steps import distance, ratio, state_norm

# Kept answers of each readout; `Stepper.readout` gives the whole distribution.
TOP_K = 5


@dataclass(frozen=True, slots=True, eq=False)
class LayerState:
    """What one layer of one recurrence did.

    state : float32 ``[T, d]``, the residual stream ``x[r, l]`` after the layer.
    pattern : float32 ``[H, T, T]`` (query, key) probabilities, or None when not captured.
    writes : float32 ``[T, 2]``, euclidean norm of what attention and the MLP added, or None.
    """

    recurrence: int
    layer: int
    state: F32
    pattern: F32 | None = None
    writes: F32 | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TopAnswers:
    """The ``k`` most probable next tokens: ids int64 ``[..., T, k]``, probabilities float32."""

    ids: I64
    probabilities: F32


class ReadOut(NamedTuple):
    """What is kept of the readouts of ``n`` recurrences in a row.

    coda, logit : answers of both lenses, ``[n, T, k]``.
    spread : float32 ``[n, T, 2]``, entropy of the coda lens and its divergence from the recurrence
        before, in nats; NaN where it was not measured.
    """

    coda: TopAnswers
    logit: TopAnswers
    spread: F32


@dataclass(frozen=True, slots=True, eq=False)
class IterationState:
    """Recurrence ``r``, complete: ``s_r = close(block(inject(s_{r-1}, e)))``.

    state : float32 ``[T, d]``, ``s_r`` (after the closing norm, if the model has one).
    layers : float32 ``[L, T, d]``, ``x[r, l]`` after each layer (before the closing norm).
    patterns : float32 ``[L, H, T, T]`` or None.  writes : float32 ``[L, T, 2]`` or None.
    before : float32 ``[T, d]``, ``s_{r-1}``.
    coda_lens, logit_lens : answers of ``head(coda(s_r))`` and of ``head(norm(s_r))``, or None.
    hazard : float32 ``[T]``, of the exit gate after this recurrence, or None without a gate.
    """

    recurrence: int
    state: F32
    layers: F32
    patterns: F32 | None
    writes: F32 | None
    before: F32
    coda_lens: TopAnswers | None
    logit_lens: TopAnswers | None
    hazard: F32 | None = None

    @property
    def step_size(self) -> F32:
        """``||s_r - s_{r-1}||``, float32 ``[T]``."""
        return distance(self.state, self.before).astype(np.float32)

    @property
    def relative_step(self) -> F32:
        """``||s_r - s_{r-1}|| / ||s_r||`` (arXiv 2502.05171), float32 ``[T]``."""
        size = distance(self.state, self.before)
        return ratio(size, state_norm(self.state)).astype(np.float32)
