"""Settling classes: what kind of end a trajectory has, by Loopscope's own rules.

The source paper's procedure is in `limiting_behaviour`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from loopscope.core.arrays import F64, Bools, Floats
from loopscope.core.measures.settling import NOISE_FLOORS, fitted_rates, relative_floor
from loopscope.core.run.steps import distance, ratio, state_norm, step_size

# Steps that change by less than 1 % a recurrence neither shrink nor grow.
SHRINKING, GROWING = 0.99, 1.01
# Net displacement over path length above which small steps are a walk and not a jitter.
STRAIGHT = 0.7
MAX_PERIOD = 16
# Recurrences that a fall is given to arrive before it is called slow.
PATIENCE = 64
# A state that moves by this share of its norm at each recurrence is not drifting slowly.
WANDERS = 0.1


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


@dataclass(frozen=True, slots=True)
class Settling:
    """A token's settling class and the evidence for it.

    kind : the class.
    period : recurrences of one round of an orbit, else None.
    relative_step : the last ``||s_r - s_{r-1}|| / ||s_r||``; NaN without one.
    tolerance, window : what was asked: steps below ``tolerance`` in ``window`` recurrences running.
    rate : fitted factor by which the relative step shrinks each recurrence (see `fitted_rates`).
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

    @property
    def restless(self) -> bool:
        """Whether it is known not to settle."""
        return self.kind not in (SettlingClass.CONVERGED, SettlingClass.TOO_FEW_STEPS)


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
        What the model ran in; steps under its `relative_floor` are left out of the rate.
    max_period
        Longest orbit looked for.

    Notes
    -----
    The classes follow Blayney et al. (arXiv 2604.11791) in kind, not in procedure.
    """
    states = np.asarray(states)
    if states.ndim == 2:
        states = states[:, None]
    tail = states[-tail_length(window, max_period) :]
    return classes_of(
        tail, step_size(states), state_norm(states), tolerance, window, dtype, max_period
    )


def tail_length(window: int, max_period: int = MAX_PERIOD) -> int:
    """How many of the last states `classes_of` looks at."""
    return max(max(window, max_period) + max_period, max(2 * window, 6)) + 1


def classes_of(
    tail: Floats,
    steps: F64,
    norms: F64,
    tolerance: float = 1e-2,
    window: int = 3,
    dtype: str = "float32",
    max_period: int = MAX_PERIOD,
) -> tuple[Settling, ...]:
    """`settling_class` of steps ``[R, T]`` and norms ``[R + 1, T]`` that are known already.

    ``tail`` holds the last `tail_length` states, ``[n, T, d]``, or all when there are fewer.
    """
    window = max(window, 1)
    n_steps, n_tokens = steps.shape
    relative = ratio(steps, norms[1:])
    floor = relative_floor(dtype)
    rates = fitted_rates(relative, floor, max(2 * window, 6))
    kinds = _kinds(tail, steps, norms, tolerance, window, floor)
    periods = _periods(tail, steps, norms, tolerance, window, max_period)
    found = []
    for t in range(n_tokens):
        kind, period = kinds[t], None
        if periods[t] and kind in UNSETTLED:
            kind, period = SettlingClass.ORBIT, int(periods[t])
        last = float(relative[-1, t]) if n_steps else float("nan")
        found.append(Settling(kind, period, last, tolerance, window, float(rates[t]), n_steps))
    return tuple(found)


def _kinds(
    tail: Floats, steps: F64, norms: F64, tolerance: float, window: int, floor: float
) -> list[SettlingClass]:
    """All rules of `settling_class` but the orbit's, for each token."""
    n, span = len(steps), max(2 * window, 6)
    # From the last rule to the first: each overrules those after it.
    kinds = np.full(steps.shape[1], SettlingClass.SLOW_DRIFT, object)
    if n >= span:
        with np.errstate(divide="ignore", invalid="ignore"):
            wanders = _median(steps[-span:] / norms[-span:]) >= WANDERS
        kinds[wanders] = SettlingClass.WANDERING
        # Over half of the run, so that a few unsteady steps do not pass for a fall.
        rates = fitted_rates(steps, 0.0, max(span, n // 2))
        arrives = _steps_to_reach(tolerance * norms[-1], steps[-1], rates) <= max(n, PATIENCE)
        kinds[arrives] = SettlingClass.TOO_FEW_STEPS
        # Rates of the step itself: the relative step of a straight walk falls too, its norm grows.
        growth = (norms[-span:] >= GROWING * norms[-span - 1 : -1]).all(0)
        kinds[growth & (fitted_rates(steps, 0.0, span) >= GROWING)] = SettlingClass.DIVERGED
    else:
        kinds[:] = SettlingClass.TOO_FEW_STEPS
    if n >= window:
        settled = ((steps < tolerance * norms[1:]) | (steps == 0))[-window:].all(0)
        drifts = _walks_on(tail, steps[-span:], NOISE_FLOORS * floor * norms[-1])
        kinds[settled] = SettlingClass.CONVERGED
        kinds[settled & drifts] = SettlingClass.SLOW_DRIFT
    kinds[~np.isfinite(norms[-1])] = SettlingClass.DIVERGED
    return list(kinds)


def _median(values: F64) -> F64:
    """Median over the first axis, NaN left out; NaN where nothing else is."""
    known = ~np.isnan(values).all(0)
    return np.where(known, np.nanmedian(np.where(known, values, 0.0), axis=0), np.nan)


def _walks_on(tail: Floats, steps: F64, noise: F64) -> Bools:
    """Whether the last steps keep their size and direction: a drift, however slow."""
    if len(steps) < 3:
        return np.zeros(steps.shape[1], bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        straightness = distance(tail[-1], tail[-1 - len(steps)]) / steps.sum(0)
        keeps = fitted_rates(steps, 0.0, len(steps)) > SHRINKING
        return np.asarray((steps.min(0) > noise) & (straightness > STRAIGHT) & keeps)


def _steps_to_reach(tolerance: F64, step: F64, rate: F64) -> F64:
    """Recurrences until steps that shrink by ``rate`` fall under ``tolerance``."""
    falls = (rate > 0) & (rate < SHRINKING) & (tolerance > 0) & np.isfinite(step)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.log(tolerance / step) / np.log(rate)
    return np.where(step < tolerance, 0.0, np.where(falls, left, np.inf))


def _periods(
    tail: Floats, steps: F64, norms: F64, tolerance: float, window: int, max_period: int
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
        moves = (steps[-span:, open_] >= tolerance * norms[-span:, open_]).any(0)
        open_ = open_[moves]
        back = distance(tail[-span:, open_], tail[-span - p : -p, open_])
        returns = (back < tolerance * norms[-span:, open_]).all(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            change = np.log(steps[-span:, open_] / steps[-span - p : -p, open_]).mean(0) / p
        periods[open_[returns & (change > np.log(SHRINKING))]] = p
    return periods
