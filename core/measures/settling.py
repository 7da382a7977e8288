"""How a trajectory settles: step sizes, distances to its end, and what kind of end it has.

Notation: ``s_r`` is the state after recurrence ``r`` (``s_0`` the initial state), ``x[r, l]`` the
residual stream after layer ``l`` of recurrence ``r``. Every function takes the recurrence as the
first axis and ``d_model`` as the last one, and accumulates in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]

# Explicit mantissa bits m of the types a model runs in.
MANTISSA_BITS = {"bfloat16": 7, "float16": 10, "float32": 23, "float64": 52}
# Steps that change by less than 1 % a recurrence neither shrink nor grow.
SHRINKING, GROWING = 0.99, 1.01
# Steps above this many rounding floors are hardly touched by the noise of a stack of layers.
NOISE_FLOORS = 32
# Net displacement over path length above which small steps are a walk and not a jitter.
STRAIGHT = 0.7
MAX_PERIOD = 16
# Recurrences that a fall is given to arrive before it is called slow.
PATIENCE = 64


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
        out[i] = _distance(states[i + 1], states[i])
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
        out[i] = _distance(states[i], states[-1])
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


class SettlingClass(Enum):
    """What a token's trajectory does; the value is the word that is shown."""

    CONVERGED = "settled"
    SLOW_DRIFT = "slow drift"
    WANDERING = "wandering"
    ORBIT = "orbit"
    DIVERGED = "diverged"
    TOO_FEW_STEPS = "not enough steps"


# Classes that a state which comes back after some steps could be taken for.
UNSETTLED = (SettlingClass.SLOW_DRIFT, SettlingClass.WANDERING, SettlingClass.TOO_FEW_STEPS)
# A state that moves by this share of its norm at each recurrence is not drifting slowly.
WANDERS = 0.1


@dataclass(frozen=True, slots=True)
class Settling:
    """A token's settling class and the evidence for it.

    kind : the class.
    period : recurrences of one round of an orbit, else None.
    relative_step : the last ``||s_r - s_{r-1}|| / ||s_r||``; NaN without one.
    tolerance, window : what was asked: steps below ``tolerance`` in ``window`` recurrences running.
    rate : fitted factor by which the relative step shrinks each recurrence (see `fitted_rate`).
    n_steps : recurrences that were looked at.
    """

    kind: SettlingClass
    period: int | None
    relative_step: float
    tolerance: float
    window: int
    rate: float
    n_steps: int

    def words(self) -> str:
        """The class in words, such as "orbit of period 5"."""
        return self.kind.value + (f" of period {self.period}" if self.period else "")


def fitted_rate(steps: Floats, floor: float = 0.0, n_points: int = 6) -> float:
    """Contraction rate per recurrence: ``exp`` of the least-squares slope of ``log step`` over r.

    Parameters
    ----------
    steps
        ``[R]``, one curve of relative step sizes.
    floor
        Steps at or below it are left out: rounding noise has no rate. So are those below
        `NOISE_FLOORS` of it, where three or more are left.
    n_points
        The fit takes the last this many of the remaining points.

    Returns
    -------
    0.7 means each step is 0.7 times the one before; NaN with fewer than three points.
    """
    values = np.asarray(steps, dtype=np.float64)
    usable = np.flatnonzero(np.isfinite(values) & (values > max(floor, 0.0)))
    clear = usable[values[usable] > NOISE_FLOORS * floor]
    usable = clear if len(clear) >= 3 else usable
    kept = usable[-max(n_points, 3) :]
    if len(kept) < 3:
        return float("nan")
    log_steps, x = np.log(values[kept]), kept - kept.mean()
    return float(np.exp((x @ (log_steps - log_steps.mean())) / (x @ x)))


def settling_class(
    states: Floats,
    tolerance: float = 1e-2,
    window: int = 3,
    dtype: str = "float32",
    max_period: int = MAX_PERIOD,
) -> tuple[Settling, ...]:
    """Say of each token whether it settles, drifts, goes round or flies off.

    The rules, in order, with ``k = window`` and ``W = max(2k, 6)``:

    1. *diverged*: the last state holds NaN or infinity.
    2. *not enough steps*: fewer than ``k`` recurrences.
    3. *settled*: relative step < tolerance in each of the last ``k`` recurrences. Except that
       small steps above the rounding noise which add up (net displacement over the last ``W``
       steps more than `STRAIGHT` of their path, the steps shrinking by less than 1 % a
       recurrence) are a *slow drift*: a slow point is not a fixed point.
    4. *diverged*: over the last ``W`` steps the norm grew by 1 % or more at every recurrence and
       the step size grew by 1 % or more a recurrence.
    5. *orbit of period p*, the least ``p >= 2``: ``||s_r - s_{r-p}|| / ||s_r||`` < tolerance for
       the last ``max(k, p)`` recurrences, while the relative step is not and the steps shrink by
       less than 1 % a recurrence (a spiral that closes in is not an orbit).
    6. *not enough steps*: fewer than ``W`` recurrences, or steps that shrink fast enough (over
       the later half of the run) to reach the tolerance within as many recurrences as were run,
       or `PATIENCE` if that is more.
    7. *wandering*: the median relative step over the last ``W`` recurrences is `WANDERS` or more.
    8. *slow drift*: everything else.

    Parameters
    ----------
    states
        ``[R + 1, T, d]``, or ``[R + 1, d]`` for one token.
    tolerance, window
        See above.
    dtype
        What the model ran in; steps under its `rounding_floor` are left out of the rate.
    max_period
        Longest orbit looked for.

    Notes
    -----
    The classes follow Blayney et al. (arXiv 2604.11791) in kind, not in procedure: theirs
    (Algorithm 1) needs 128 recurrences.
    """
    states = np.asarray(states)
    if states.ndim == 2:
        states = states[:, None]
    window = max(window, 1)
    steps, norms = step_size(states), state_norm(states)
    relative = ratio(steps, norms[1:])
    n_steps, n_tokens = steps.shape
    periods = _periods(states, steps, norms, tolerance, window, max_period)
    floor = relative_floor(dtype)
    found = []
    for t in range(n_tokens):
        rate = fitted_rate(relative[:, t], floor, max(2 * window, 6))
        kind = _class(states[:, t], steps[:, t], norms[:, t], tolerance, window, floor)
        period = None
        if periods[t] and kind in UNSETTLED:
            kind, period = SettlingClass.ORBIT, int(periods[t])
        last = float(relative[-1, t]) if n_steps else float("nan")
        found.append(Settling(kind, period, last, tolerance, window, rate, n_steps))
    return tuple(found)


def _distance(a: Floats, b: Floats) -> F64:
    """``||a - b||`` over the last axis, the difference itself taken in float64."""
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.subtract(a, b, dtype=np.float64)
        return np.asarray(np.sqrt(np.einsum("...d,...d->...", difference, difference)))


def _class(
    states: Floats, steps: F64, norms: F64, tolerance: float, window: int, floor: float
) -> SettlingClass:
    """All rules of `settling_class` but the orbit's, for one token ``[R + 1, d]``."""
    n, span = len(steps), max(2 * window, 6)
    if not np.isfinite(norms[-1]):
        return SettlingClass.DIVERGED
    if n < window:
        return SettlingClass.TOO_FEW_STEPS
    small = (steps < tolerance * norms[1:]) | (steps == 0)
    if small[-window:].all():
        drifts = _walks_on(states, steps[-span:], NOISE_FLOORS * floor * float(norms[-1]))
        return SettlingClass.SLOW_DRIFT if drifts else SettlingClass.CONVERGED
    if n < span:
        return SettlingClass.TOO_FEW_STEPS
    # Rates of the step itself: the relative step of a straight walk falls too, its norm grows.
    growth = norms[-span:] >= GROWING * norms[-span - 1 : -1]
    if growth.all() and fitted_rate(steps, 0.0, span) >= GROWING:
        return SettlingClass.DIVERGED
    # Over half of the run, so that a few unsteady steps do not pass for a fall.
    rate = fitted_rate(steps, 0.0, max(span, n // 2))
    arrives = _steps_to_reach(tolerance * norms[-1], steps[-1], rate) <= max(n, PATIENCE)
    if arrives:
        return SettlingClass.TOO_FEW_STEPS
    with np.errstate(divide="ignore", invalid="ignore"):
        wanders = np.nanmedian(steps[-span:] / norms[-span:]) >= WANDERS
    return SettlingClass.WANDERING if wanders else SettlingClass.SLOW_DRIFT


def _walks_on(states: Floats, steps: F64, noise: float) -> bool:
    """Whether the last steps keep their size and direction: a drift, however slow."""
    path = steps.sum()
    if len(steps) < 3 or not steps.min() > noise:
        return False
    straightness = float(_distance(states[-1], states[-1 - len(steps)])) / path
    return straightness > STRAIGHT and fitted_rate(steps, 0.0, len(steps)) > SHRINKING


def _steps_to_reach(tolerance: float, step: float, rate: float) -> float:
    """Recurrences until a step that shrinks by ``rate`` falls under ``tolerance``."""
    if step < tolerance:
        return 0.0
    if not (0 < rate < SHRINKING and tolerance > 0 and np.isfinite(step)):
        return float("inf")
    return float(np.log(tolerance / step) / np.log(rate))


def _periods(
    states: Floats, steps: F64, norms: F64, tolerance: float, window: int, max_period: int
) -> npt.NDArray[np.int64]:
    """Least period of each token's orbit by the rule of `settling_class`, 0 for none, ``[T]``."""
    n_steps, n_tokens = steps.shape
    periods = np.zeros(n_tokens, np.int64)
    for p in range(2, max_period + 1):
        span = max(window, p)
        if n_steps < span + p:
            break
        open_ = np.flatnonzero((periods == 0) & np.isfinite(norms[-1]))
        if not len(open_):
            break
        back = _distance(states[-span:, open_], states[-span - p : -p, open_])
        returns = (back < tolerance * norms[-span:, open_]).all(0)
        moves = (steps[-span:, open_] >= tolerance * norms[-span:, open_]).any(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            change = np.log(steps[-span:, open_] / steps[-span - p : -p, open_]).mean(0) / p
        periods[open_[returns & moves & (change > np.log(SHRINKING))]] = p
    return periods
