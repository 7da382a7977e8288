"""Orbits that a state goes round, and orbits that it is still on its way to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loopscope.core.arrays import F64, I64, Bools, Floats
from loopscope.core.measures.distance_left import SHRINKING
from loopscope.core.run.steps import distance, ratio, state_norm

# Tolerances by which an orbit moves at the least somewhere in its round, where what is known of it
# could be a jitter about the tolerance or is an extrapolation.
CLEAR_STEP = 2
# Over so many recurrences, in whole rounds, an orbit is told from a spiral that turns about as far.
LOOK_BACK = 24
# States that are compared with one round before, at the least: two of one number agree by chance.
LEAST_COMPARED = 4


@dataclass(frozen=True, slots=True)
class Approach:
    """Where states lead that come nearer to an orbit by one factor a round, of each token ``[T]``.

    factor : of ``s_r - s_{r-p}`` from one round to the next.
    left : distance of the last state from the orbit, in units of the state.
    doubt : the largest difference between the ends that two rounds lead to, over the norm.
    motion : the largest step within the round that is led to, over the norm.
    keeps : factor by which the path of that round shrinks each recurrence, from the round that
        states about `LOOK_BACK` recurrences before lead to, or as early as there are.
    period : the least divisor of ``p`` after which those ends come back within `CLEAR_STEP`
        tolerances; 1 for a point.
    """

    factor: F64
    left: F64
    doubt: F64
    motion: F64
    keeps: F64
    period: I64


def states_needed(p: int) -> int:
    """How many states, the initial one included, tell whether an orbit of ``p`` is neared."""
    return max(p, LEAST_COMPARED) + 2 * p


def approach(tail: Floats, norms: F64, tokens: I64, p: int, tolerance: float) -> Approach:
    """Where the last states lead if they come nearer to an orbit of period ``p``.

    With ``d_r = s_r - s_{r-p}`` and its factor ``q`` by least squares over the last round, each
    state leads to ``s_r + d_r q / (1 - q)`` (Aitken 1926, a round as the step). ``tail`` ``[n, T,
    d]`` ends with the last state; ``norms`` ``[n, T]`` are its norms. NaN and period ``p`` with
    fewer than `states_needed`.
    """
    compared = max(p, LEAST_COMPARED)
    if len(tail) < states_needed(p):
        none = np.full(len(tokens), np.nan)
        return Approach(none, none, none, none, none, np.full(len(tokens), p))
    # Rounds before the last one that are looked at, as many as there are states for.
    ago = p * max(1, min(-(-LOOK_BACK // p), (len(tail) - compared) // p - 1))
    path = np.asarray(tail[-compared - p - ago :, tokens], dtype=np.float64)
    back = path[p:] - path[:-p]
    now, before = back[-compared:], back[-compared - p : -p]
    size = norms[-1, tokens]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factor = (now * before).sum((0, 2)) / (before * before).sum((0, 2))
        factor = np.where((before == 0).all((0, 2)), 0.0, factor)
        ahead = (factor / (1 - factor))[:, None]
        ends = path[p:] + ahead * back
        doubt = state_norm(now - factor[:, None] * before).max(0) / np.abs(1 - factor)
        left = state_norm(ahead * now[-1])
        steps = distance(ends[1:], ends[:-1])
        keeps = (steps[-p:].sum(0) / steps[-p - ago :][:p].sum(0)) ** (1 / ago)
        period = np.full(len(tokens), p)
        for divisor in [e for e in range(p - 1, 0, -1) if p % e == 0]:
            apart = distance(ends[divisor:], ends[:-divisor])[-p:].max(0)
            period[apart < CLEAR_STEP * tolerance * size] = divisor
        doubt, motion = ratio(doubt, size), ratio(steps[-p:].max(0), size)
    return Approach(factor, left, doubt, motion, keeps, period)


def nearing(
    tail: Floats, norms: F64, tokens: I64, tolerance: float, max_period: int
) -> tuple[I64, F64]:
    """Orbits that some tokens come nearer to without having reached them.

    ``tail`` are the last states, ``[n, T, d]``, ``norms`` theirs, ``[n, T]``, and ``tokens`` the
    tokens asked about, int64 ``[k]``.

    The least ``p`` for which `approach` finds a factor that shrinks, the ends of two rounds less
    than ``tolerance`` apart throughout, and between them a motion of `CLEAR_STEP` tolerances that
    does not shrink by 1 % a recurrence (what leads to one point is a spiral).

    Returns
    -------
    Period of each of ``tokens``, int64, 0 for none, and how far the last state is from the orbit,
    in units of the state.
    """
    found, lefts = np.zeros(len(tokens), np.int64), np.full(len(tokens), np.nan)
    open_ = np.arange(len(tokens))
    for p in range(2, max_period + 1):
        if not len(open_) or len(tail) < states_needed(p):
            break
        near = open_[_straight(tail, norms, tokens[open_], p, tolerance)]
        if not len(near):
            continue
        to = approach(tail, norms, tokens[near], p, tolerance)
        shrinks = (to.factor < 1) & (to.factor > -(SHRINKING**p))
        leads = shrinks & (to.doubt < tolerance)
        orbit = leads & (to.motion >= CLEAR_STEP * tolerance) & (to.keeps > SHRINKING)
        orbit &= to.period > 1
        found[near[orbit]], lefts[near[orbit]] = to.period[orbit], to.left[orbit]
        # What leads to a point leads there at every period, and less surely.
        open_ = np.setdiff1d(open_, near[leads], assume_unique=True)
    return found, lefts


def _straight(tail: Floats, norms: F64, tokens: I64, p: int, tolerance: float) -> Bools:
    """Whether the last state can lead where the one ``p`` before it did: the two steps are in line.

    The ends are apart by at least half of what the later step has across the earlier one.
    """
    last, before, first = (np.asarray(tail[-1 - k * p, tokens], np.float64) for k in range(3))
    now, then = last - before, before - first
    with np.errstate(divide="ignore", invalid="ignore"):
        along = (now * then).sum(-1) / (then * then).sum(-1)
    along = np.where(np.isfinite(along), along, 0.0)
    return np.asarray(
        state_norm(now - along[:, None] * then) < 2 * tolerance * norms[-1, tokens], bool
    )


def periods(
    tail: Floats, steps: F64, norms: F64, tolerance: float, moving: F64, window: int,
    max_period: int,
) -> tuple[I64, Bools]:  # fmt: skip
    """Orbits by the rule of `settling_class`.

    ``moving`` is the relative step of each token, ``[T]``, at which a round counts as a motion.

    Returns
    -------
    Least period of each token's orbit, 0 for none, int64 ``[T]``, and whether there is a period of
    which too few recurrences were run to tell, bool ``[T]``.
    """
    n_steps, n_tokens = steps.shape
    found, unfinished = np.zeros(n_tokens, np.int64), np.zeros(n_tokens, np.bool_)
    recent = max(window, max_period)
    moves = steps[-recent:] >= moving * norms[1:][-recent:]
    able = moves.any(0) & np.isfinite(norms[-1])
    # How many recurrences ago each token moved last.
    moved = moves[::-1].argmax(0) if n_steps else found

    def comes_back(p: int, tokens: I64, ago: I64) -> I64:
        """Those of ``tokens`` whose state ``ago`` recurrences ago was there ``p`` before that."""
        at = len(tail) - 1 - ago
        known = at >= p
        tokens, at = tokens[known], at[known]
        near = distance(tail[at, tokens], tail[at - p, tokens])
        return tokens[near < tolerance * norms[len(norms) - len(tail) + at, tokens]]

    for p in range(2, min(max_period, n_steps - window) + 1):
        span = max(window, p)
        open_ = np.flatnonzero((found == 0) & able & (moved < span))
        # Most periods are ruled out by the last state, or by the end of the last motion.
        open_ = comes_back(p, open_, np.zeros(len(open_), np.int64))
        open_ = comes_back(p, open_, moved[open_])
        compared = min(span, n_steps - p)
        back = distance(tail[-compared:, open_], tail[-compared - p : -p, open_])
        open_ = open_[(back < tolerance * norms[-compared:, open_]).all(0)]
        if compared < span:
            unfinished[open_] = True
            continue
        rounds = steps[-span:, open_].sum(0), steps[-span - p : -p, open_].sum(0)
        found[open_[rounds[0] > SHRINKING**p * rounds[1]]] = p
    return found, unfinished
