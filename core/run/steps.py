"""Sizes of steps of the recurrent state; differences and sums are taken in float64.

Notation: ``s_r`` is the state after recurrence ``r`` (``s_0`` the initial state), ``x[r, l]`` the
residual stream after layer ``l`` of recurrence ``r``. Every function takes the recurrence as the
first axis and ``d_model`` as the last one.
"""

from __future__ import annotations

import numpy as np

from loopscope.core.arrays import F64, Floats


def step_size(states: Floats) -> F64:
    """Size of each step, ``||s_r - s_{r-1}||``, in units of the state.

    Parameters
    ----------
    states
        ``[R + 1, ..., d]``. Given ``layer_states`` ``[R, L, T, d]`` these are the per-layer step
        sizes ``||x[r, l] - x[r-1, l]||`` (arXiv 2604.11791), the first of them at ``r = 2``.

    Returns
    -------
    float64 ``[R, ...]``.  Source: arXiv 2502.05171, arXiv 2509.23314.
    """
    out = np.empty((max(len(states) - 1, 0), *states.shape[1:-1]))
    for i in range(len(out)):
        out[i] = distance(states[i + 1], states[i])
    return out


def state_norm(states: Floats) -> F64:
    """``||s_r||`` of states ``[..., d]``: float64 ``[...]``."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(np.sqrt(np.einsum("...d,...d->...", states, states, dtype=np.float64)))


def relative_step(states: Floats) -> F64:
    """``||s_r - s_{r-1}|| / ||s_r||`` (arXiv 2502.05171), dimensionless; NaN where ``||s_r|| = 0``.

    Shapes as in `step_size`.
    """
    return ratio(step_size(states), state_norm(states[1:]))


def ratio(size: F64, norm: F64) -> F64:
    """``size / norm`` element by element, shapes alike; NaN where the norm is 0 or not a number."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(norm > 0, size / norm, np.nan), dtype=np.float64)


def distance(a: Floats, b: Floats) -> F64:
    """``||a - b||`` of ``[..., d]``: float64 ``[...]``, the difference itself taken in float64."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.subtract(a, b, dtype=np.float64)
        return np.asarray(np.sqrt(np.einsum("...d,...d->...", difference, difference)))
