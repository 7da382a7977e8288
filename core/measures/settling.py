"""How a trajectory settles: step sizes, distances to its end, and the rate at which they shrink.

Notation: ``s_r`` is the state after recurrence ``r`` (``s_0`` the initial state), ``x[r, l]`` the
residual stream after layer ``l`` of recurrence ``r``. Every function takes the recurrence as the
first axis and ``d_model`` as the last one, and accumulates in float64.
"""

from __future__ import annotations

import numpy as np

from loopscope.core.arrays import F64, Floats

# Explicit mantissa bits m of the types a model runs in.
MANTISSA_BITS = {"bfloat16": 7, "float16": 10, "float32": 23, "float64": 52}
# Steps above this many rounding floors are hardly touched by the noise of a stack of layers.
NOISE_FLOORS = 32


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
    """``||s_r||``, float64, the last axis summed out."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(np.sqrt(np.einsum("...d,...d->...", states, states, dtype=np.float64)))


def relative_step(states: Floats) -> F64:
    """``||s_r - s_{r-1}|| / ||s_r||`` (arXiv 2502.05171), dimensionless; NaN where ``||s_r|| = 0``.

    Shapes as in `step_size`.
    """
    return ratio(step_size(states), state_norm(states[1:]))


def ratio(size: F64, norm: F64) -> F64:
    """``size / norm`` element by element; NaN where the norm is 0 or not a number."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(norm > 0, size / norm, np.nan), dtype=np.float64)


def distance_to_end(states: Floats, relative: bool = False) -> F64:
    """``||s_r - s_R||``, or ``/ ||s_R||`` when relative (arXiv 2502.05171); 0 at ``r = R``.

    Parameters
    ----------
    states
        ``[n, ..., d]``; the last row is the reference.

    Returns
    -------
    float64 ``[n, ...]``; relative distances are NaN where ``||s_R|| = 0``.
    """
    out = np.empty(states.shape[:-1])
    for i in range(len(out)):
        out[i] = distance(states[i], states[-1])
    return ratio(out, state_norm(states[-1])) if relative and len(out) else out


def rounding_floor(states: Floats, dtype: str) -> F64:
    """Smallest step that rounding leaves visible: ``sqrt(d) * rms * 2^-m / sqrt(12)``.

    ``rms`` is the root mean square of the state's ``d`` entries (so ``sqrt(d) * rms = ||s_r||``)
    and ``m`` the mantissa bits of ``dtype``: rounding errors uniform over one unit in the last
    place. Settling cannot be followed below it; the true noise of a stack of layers is somewhat
    larger.

    Returns
    -------
    float64, the shape of ``states`` less its last axis, in units of the state.
    """
    return state_norm(states) * relative_floor(dtype)


def relative_floor(dtype: str) -> float:
    """`rounding_floor` over ``||s_r||``: ``2^-m / sqrt(12)``."""
    bits = MANTISSA_BITS.get(dtype.removeprefix("torch."), MANTISSA_BITS["float32"])
    return float(2.0**-bits / np.sqrt(12))


def is_settled(relative_step_rows: Floats, tolerance: float, k: int) -> bool:
    """Whether all tokens stepped by less than ``tolerance`` in each of the last ``k`` recurrences.

    ``relative_step_rows`` is ``[R, T]``. NaN is not settled; nor is a run of fewer recurrences.
    """
    rows = np.asarray(relative_step_rows)
    return len(rows) >= max(k, 1) and rows.size > 0 and bool((rows[-max(k, 1) :] < tolerance).all())


def fitted_rate(steps: Floats, floor: float = 0.0, n_points: int = 6) -> float:
    """`fitted_rates` of one curve ``[R]``."""
    return float(fitted_rates(np.asarray(steps), floor, n_points))


def fitted_rates(steps: Floats, floor: float = 0.0, n_points: int = 6) -> F64:
    """Contraction rate per recurrence: ``exp`` of the least-squares slope of ``log step`` over r.

    Parameters
    ----------
    steps
        ``[R, ...]``, curves of relative step sizes.
    floor
        Steps at or below it are left out: rounding noise has no rate. So are those below
        `NOISE_FLOORS` of it, where three or more are left.
    n_points
        The fit takes the last this many of the remaining points of each curve.

    Returns
    -------
    float64 ``[...]``. 0.7 means each step is 0.7 times the one before; NaN with fewer than three
    points.
    """
    values = np.asarray(steps, dtype=np.float64)
    usable = np.isfinite(values) & (values > max(floor, 0.0))
    clear = usable & (values > NOISE_FLOORS * floor)
    usable = np.where(clear.sum(0) >= 3, clear, usable)
    from_end = usable[::-1].cumsum(0)[::-1]
    kept = usable & (from_end <= max(n_points, 3))
    count = np.maximum(kept.sum(0), 1)
    x = np.arange(float(len(values))).reshape(-1, *[1] * (values.ndim - 1))
    y = np.log(np.where(kept, values, 1.0))
    dx = np.where(kept, x - np.where(kept, x, 0.0).sum(0) / count, 0.0)
    dy = np.where(kept, y - y.sum(0) / count, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (dx * dy).sum(0) / (dx * dx).sum(0)
    return np.where(kept.sum(0) >= 3, np.exp(slope), np.nan)


def distance(a: Floats, b: Floats) -> F64:
    """``||a - b||`` over the last axis, the difference itself taken in float64."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.subtract(a, b, dtype=np.float64)
        return np.asarray(np.sqrt(np.einsum("...d,...d->...", difference, difference)))
