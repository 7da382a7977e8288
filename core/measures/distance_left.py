"""How far a state is from where its last steps lead."""

from __future__ import annotations

import numpy as np

from loopscope.core.arrays import F64, Floats
from loopscope.core.measures.settling import NOISE_FLOORS, fitted_rates
from loopscope.core.run.steps import ratio, state_norm

# Steps that change by less than 1 % a recurrence neither shrink nor grow.
SHRINKING = 0.99
# Steps that the modes of a turn are read from, and how many modes.
TURN, ORDERS = 24, (2, 6)


def distances_left(tail: Floats, steps: F64, norms: F64, window: int, floor: float) -> F64:
    """How far each state is from where its last steps lead, in units of the state, ``[T]``.

    The largest of these estimates, as each sees what another can miss:

    - Steps that shrink by ``ρ`` and turn by an angle of cosine ``c`` at each recurrence add up to
      ``step · ρ / √(1 − 2 ρ c + ρ²)``: along a line ``step · ρ / (1 − ρ)``, half a step where they
      jump to and fro. ``ρ`` and the mean cosine are of the last ``max(2 window, 6)`` steps.
    - What `linear_limit` gives of the last `TURN` steps, for each of `ORDERS`: on an ellipse, or
      where several modes meet, steps shrink and turn unevenly and may be small whatever is left.

    Within the rounding noise (`NOISE_FLOORS`) neither is known: there the step counts as ``floor``
    at least, straight on and with the rate that it had above the noise, or `SHRINKING` where that
    was not seen. The step itself where fewer than three steps tell no rate; NaN without a step.

    Parameters
    ----------
    tail, steps, norms, window
        As in `classes_of`.
    floor
        `relative_floor` of the dtype.
    """
    span = max(2 * window, 6)
    if not len(steps):
        return np.full(steps.shape[1], np.nan)
    step = np.maximum(steps[-1], floor * norms[-1])
    clear = ratio(steps, norms[1:]) > NOISE_FLOORS * floor
    rates = np.minimum(fitted_rates(steps[-span:], 0.0, span), 1.0)
    seen = np.where(clear.sum(0) >= 3, fitted_rates(np.where(clear, steps, np.nan), 0.0, span), 1)
    noisy = ~clear[-1]
    rates = np.where(noisy, np.minimum(seen, SHRINKING), rates)
    cosines = np.where(noisy, 1.0, _mean_cosine(tail[-span - 1 :]))
    with np.errstate(divide="ignore", invalid="ignore"):
        left = step * rates / np.sqrt(np.maximum(1 - 2 * rates * cosines + rates**2, 0.0))
    left = np.where(np.isnan(rates), step, np.where(step == 0, 0.0, left))
    products = _products(tail[-TURN - 1 :])
    for order in ORDERS:
        left = np.where(noisy, left, np.fmax(left, _limit(products, order)))
    return left


def linear_limit(path: Floats, order: int) -> F64:
    """How far the end of a path is from where it leads if each step is a sum of those before it.

    ``Δ_r = Σ_i c_i Δ_{r-i}``, i = 1 .. ``order``, by least squares over the path: what a linear map
    of so many modes does; two are a spiral on any ellipse. All later steps then add up to
    ``Σ_i c_i (Δ_R + .. + Δ_{R-i+1}) / (1 − Σ c)`` (minimal polynomial extrapolation, Cabay and
    Jackson 1976). ``[n, T, d]`` to float64 ``[T]``; infinite where ``Σ c`` is 1 (steps that do not
    shrink), NaN with fewer than ``2 order`` steps, without motion or where the path is not finite.
    """
    return _limit(_products(path), order)


def _products(path: Floats) -> F64:
    """Products of each two steps of a path ``[n + 1, T, d]``, float64 ``[T, n, n]``."""
    moves = np.diff(np.asarray(path, dtype=np.float64), axis=0).swapaxes(0, 1)
    return np.asarray(moves @ moves.swapaxes(1, 2))


def _limit(products: F64, order: int) -> F64:
    """`linear_limit` by the products of its steps, which hold all that it asks of them."""
    n_tokens, n = products.shape[:2]
    known = np.isfinite(products).all((1, 2)) & (np.trace(products, axis1=1, axis2=2) > 0)
    if n < 2 * order:
        return np.full(n_tokens, np.nan)
    products = np.where(known[:, None, None], products, 0.0)
    # Of step r and the ``order`` before it, summed over r.
    each = [products[:, r - order : r + 1, r - order : r + 1] for r in range(order, n)]
    summed = np.sum(each, axis=0)[:, ::-1, ::-1]
    inverse = np.linalg.pinv(summed[:, 1:, 1:], rcond=1e-10, hermitian=True)
    # Each token by itself: `einsum` would sum in another order among other tokens.
    weights = (inverse @ summed[:, 1:, :1])[..., 0]
    # Of each of the last steps in what is ahead.
    share = weights[:, ::-1].cumsum(1)
    ends = products[:, -order:, -order:]
    with np.errstate(divide="ignore", invalid="ignore"):
        ahead = np.sqrt((share[:, None] @ ends @ share[..., None])[:, 0, 0].clip(0))
        left = ahead / np.abs(1 - weights.sum(1))
    return np.where(known, left, np.nan)


def _mean_cosine(path: Floats) -> F64:
    """Mean cosine of successive steps of a path ``[n, T, d]``; 1 where there are none."""
    moves = np.diff(np.asarray(path, dtype=np.float64), axis=0)
    sizes = state_norm(moves)
    dots = np.einsum("...d,...d->...", moves[1:], moves[:-1])
    cosines = ratio(dots, sizes[1:] * sizes[:-1])
    known = ~np.isnan(cosines)
    total = np.where(known, cosines, 0.0).sum(0)
    return np.where(known.any(0), np.clip(total / np.maximum(known.sum(0), 1), -1, 1), 1.0)
