"""How a trajectory settles: step sizes, distances to its end, and the rate at which they shrink.

Notation: ``s_r`` is the state after recurrence ``r`` (``s_0`` the initial state), ``x[r, l]`` the
residual stream after layer ``l`` of recurrence ``r``. Every function takes the recurrence as the
first axis and ``d_model`` as the last one, and accumulates in float64.
"""

from __future__ import annotations

import numpy as np

from loopscope.core.arrays import F64, Floats
from loopscope.core.run.steps import distance, ratio, state_norm

# Explicit mantissa bits m of the types a model runs in.
MANTISSA_BITS = {"bfloat16": 7, "float16": 10, "float32": 23, "float64": 52}
# Numbers of states whose differences are held in float64 at a time.
_NUMBERS = 1 << 20
# Steps above this many rounding floors are hardly touched by the noise of a stack of layers.
NOISE_FLOORS = 32


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
    # Some rows at a time: one costs a call, all of them a copy in float64.
    some = max(1, _NUMBERS // max(states[:1].size, 1))
    for i in range(0, len(out), some):
        out[i : i + some] = distance(states[i : i + some], states[-1])
    return ratio(out, state_norm(states[-1])) if relative and len(out) else out


def relative_floor(dtype: str) -> float:
    """Smallest relative step that rounding leaves visible: ``2^-m / sqrt(12)``.

    ``m`` are the mantissa bits of ``dtype``: rounding errors uniform over one unit in the last
    place, of a state whose entries are alike in size. The true noise of a stack of layers is
    somewhat larger.
    """
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
