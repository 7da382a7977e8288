"""Settling classes: what kind of end a trajectory has, by Loopscope's own rules.

The source paper's procedure is in `limiting_behaviour`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from loopscope.core.arrays import F64, I64, Bools, Floats
from loopscope.core.measures.distance_left import SHRINKING, distances_left
from loopscope.core.measures.orbits import CLEAR_STEP, approach, nearing, periods, states_needed
from loopscope.core.measures.settling import NOISE_FLOORS, fitted_rates, relative_floor
from loopscope.core.run.steps import distance, ratio, state_norm, step_size

GROWING = 1.01  # as SHRINKING
# Net displacement over path length above which small steps are a walk and not a jitter.
LEAST_STRAIGHTNESS = 0.7
MAX_PERIOD = 64
# Recurrences that a fall is given to arrive before it is called slow.
PATIENCE = 64
# A state that moves by this share of its norm at each recurrence is not drifting slowly.
WANDERING_STEP = 0.1


class SettlingClass(Enum):
    """What a token's trajectory does; the value is the word that is shown."""

    SETTLED = "settled"
    SLOW_DRIFT = "slow drift"
    WANDERING = "wandering"
    ORBIT = "orbit"
    NEARING_ORBIT = "nearing an orbit"
    DIVERGED = "diverged"
    TOO_FEW_STEPS = "not enough steps"
    UNRESOLVED = "below resolution"


# Classes that a state which comes back after some steps could be taken for, and those that it could
# be while it rests within its round: settled for as long as it stands still.
POSSIBLE_ORBITS = (SettlingClass.SLOW_DRIFT, SettlingClass.WANDERING, SettlingClass.TOO_FEW_STEPS)
RESTING_ORBITS = (SettlingClass.SETTLED, SettlingClass.UNRESOLVED)


@dataclass(frozen=True, slots=True)
class Settling:
    """A token's settling class and the evidence for it.

    kind : the class.
    period : recurrences of one round of an orbit that it is on or nears, else None.
    relative_step : the last ``||s_r - s_{r-1}|| / ||s_r||``; NaN without one.
    tolerance, window : what was asked: steps below ``tolerance`` in ``window`` recurrences running.
    rate : fitted factor by which the relative step shrinks each recurrence (see `fitted_rates`).
    distance_left : relative distance to where the last steps lead, see `distances_left`, or to the
        orbit; NaN without a step.
    n_steps : recurrences that were looked at.
    """

    kind: SettlingClass
    period: int | None
    relative_step: float
    tolerance: float
    window: int
    rate: float
    distance_left: float
    n_steps: int

    def describe(self) -> str:
        """The class in words, such as "orbit of period 5"."""
        return self.kind.value + (f" of period {self.period}" if self.period else "")

    @property
    def unsettled(self) -> bool:
        """Whether it is known not to settle."""
        return self.kind not in (
            SettlingClass.SETTLED, SettlingClass.TOO_FEW_STEPS, SettlingClass.UNRESOLVED
        )  # fmt: skip


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
    3. *settled*: relative step < tolerance in each of the last ``k`` recurrences, and so is the
       distance left to where the steps lead (`distances_left`): small steps alone may go on for
       long. *Below resolution* where that distance is not known, because the steps are within the
       rounding noise of the dtype, which could hide it. A *slow drift* where steps above the noise
       add up (net displacement over the last ``W`` steps more than `LEAST_STRAIGHTNESS` of their
       path, the steps shrinking by less than 1 % a recurrence): a slow point is not a fixed point.
    4. *diverged*: the norm grew by 1 % or more at each of the last ``W`` recurrences, and over them
       as over the later half of the run the step grew by 1 % or more a recurrence while the
       relative step did not shrink by 1 %. Where that falls, as with writes of a bounded size, the
       state grows by sums and not by factors: a drift or a wandering.
    5. *orbit of period p*, the least ``p >= 2``: ``||s_r - s_{r-p}|| / ||s_r||`` < tolerance for
       the last ``max(k, p)`` recurrences, while some relative step is not and the path of a round
       shrinks by less than 1 % a recurrence (a spiral that closes in is not an orbit). One that
       rests for ``k`` recurrences of its round is no settled state; a step of `CLEAR_STEP`
       tolerances tells it from one that trembles. *Not enough steps* where the last ``k`` states
       have been ``p`` recurrences before, and a whole round more has not been run. *Nearing an
       orbit* where states of a round lead to one by a factor that shrinks (`nearing`, from three
       rounds on), or come back, and are further from it than the tolerance: `distance_left` is
       then the distance from the orbit.
    6. *not enough steps*: fewer than ``W`` recurrences, or steps that shrink fast enough (over
       the later half of the run) for step and distance left to reach the tolerance within as many
       recurrences as were run, or `PATIENCE` if that is more.
    7. *wandering*: the median relative step over the last ``W`` recurrences is `WANDERING_STEP` or
       more. There may be an orbit of more than ``max_period`` recurrences, or half of those run;
       or one that is neared, of more than a third.
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


def longest_periods(n_steps: int, window: int = 3, max_period: int = MAX_PERIOD) -> tuple[int, int]:
    """Longest orbit that is looked for after ``n_steps`` recurrences, and longest that is neared.

    1 where none can be told yet.
    """
    states = min(n_steps + 1, tail_length(window, max_period))
    neared = [p for p in range(2, max_period + 1) if states_needed(p) <= states]
    return max(min(max_period, n_steps // 2), 1), max(neared, default=1)


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
    left = distances_left(tail, steps, norms, window, floor)
    kinds = _kinds(tail, steps, norms, left, tolerance, window, floor)
    resting = np.array([kind in RESTING_ORBITS for kind in kinds], bool)
    moving = np.where(resting, CLEAR_STEP, 1) * tolerance
    rounds, unfinished = periods(tail, steps, norms, tolerance, moving, window, max_period)
    possible = np.array([kind in POSSIBLE_ORBITS for kind in kinds], bool)
    rounds = np.where(possible | resting, rounds, 0)
    left, rounds = left.copy(), rounds.copy()
    _judge_orbits(tail, norms[-len(tail) :], rounds, left, tolerance)
    open_ = np.flatnonzero(possible & ~unfinished & (rounds == 0))
    rounds[open_], ahead = nearing(tail, norms[-len(tail) :], open_, tolerance, max_period)
    left[open_] = np.where(rounds[open_] > 0, ahead, left[open_])
    for t in np.flatnonzero(rounds):
        far = left[t] > tolerance * norms[-1, t]
        kinds[t] = SettlingClass.NEARING_ORBIT if far else SettlingClass.ORBIT
    for t in np.flatnonzero(possible & unfinished & (rounds == 0)):
        kinds[t] = SettlingClass.TOO_FEW_STEPS
    far, last = ratio(left, norms[-1]), relative[-1] if n_steps else np.full(n_tokens, np.nan)
    return tuple(
        Settling(
            kinds[t], int(rounds[t]) or None, float(last[t]), tolerance, window, float(rates[t]),
            float(far[t]), n_steps,
        )
        for t in range(n_tokens)
    )  # fmt: skip


def _judge_orbits(tail: Floats, norms: F64, rounds: I64, left: F64, tolerance: float) -> None:
    """Note in ``left`` how far each token is from its orbit; 0 in ``rounds`` where it is a spiral.

    ``norms`` are those of ``tail``. The last return is what is left where no rate is known.
    """
    for p in set(rounds[rounds > 0].tolist()):
        on = np.flatnonzero(rounds == p)
        to = approach(tail, norms, on, p, tolerance)
        known = (to.factor < 1) & (to.doubt < tolerance)
        left[on] = np.where(known, to.left, distance(tail[-1, on], tail[-1 - p, on]))
        rounds[on[known & (to.keeps <= SHRINKING)]] = 0


def _kinds(
    tail: Floats, steps: F64, norms: F64, left: F64, tolerance: float, window: int, floor: float
) -> list[SettlingClass]:
    """All rules of `settling_class` but the orbit's, for each token."""
    n, span = len(steps), max(2 * window, 6)
    # From the last rule to the first: each overrules those after it.
    kinds = np.full(steps.shape[1], SettlingClass.SLOW_DRIFT, object)
    if n >= span:
        with np.errstate(divide="ignore", invalid="ignore"):
            wanders = _median(steps[-span:] / norms[-span:]) >= WANDERING_STEP
        kinds[wanders] = SettlingClass.WANDERING
        # Over half of the run, so that a few unsteady steps pass neither for a fall nor for growth.
        half = max(span, n // 2)
        rates = fitted_rates(steps, 0.0, half)
        ahead = np.fmax(steps[-1], left)
        arrives = _steps_to_reach(tolerance * norms[-1], ahead, rates) <= max(n, PATIENCE)
        kinds[arrives] = SettlingClass.TOO_FEW_STEPS
        grows = (norms[-span:] >= GROWING * norms[-span - 1 : -1]).all(0)
        for length in (span, half):
            grows &= fitted_rates(steps, 0.0, length) >= GROWING
            grows &= fitted_rates(ratio(steps, norms[1:]), 0.0, length) > SHRINKING
        kinds[grows] = SettlingClass.DIVERGED
    else:
        kinds[:] = SettlingClass.TOO_FEW_STEPS
    if n >= window:
        small = ((steps < tolerance * norms[1:]) | (steps == 0))[-window:].all(0)
        settled = small & (left <= tolerance * norms[-1])
        noisy = steps[-1] <= NOISE_FLOORS * floor * norms[-1]
        drifts = _walks_on(tail, steps[-span:], NOISE_FLOORS * floor * norms[-1])
        kinds[small & noisy] = SettlingClass.UNRESOLVED
        kinds[settled] = SettlingClass.SETTLED
        kinds[small & drifts] = SettlingClass.SLOW_DRIFT
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
        return np.asarray((steps.min(0) > noise) & (straightness > LEAST_STRAIGHTNESS) & keeps)


def _steps_to_reach(tolerance: F64, step: F64, rate: F64) -> F64:
    """Recurrences until steps that shrink by ``rate`` fall under ``tolerance``."""
    falls = (rate > 0) & (rate < SHRINKING) & (tolerance > 0) & np.isfinite(step)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.log(tolerance / step) / np.log(rate)
    return np.where(step < tolerance, 0.0, np.where(falls, left, np.inf))
