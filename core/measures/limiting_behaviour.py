"""Algorithm 1 of arXiv 2604.11791: what a token's state does in the long run.

It looks at one series for each token, how near the state is to the last one over the last
recurrences, and asks for a fixed point, an orbit and a slider in that order. It is made for 128
recurrences. Loopscope's own classes, which need fewer, are in `settling_classes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from loopscope.core.arrays import F64, Floats
from loopscope.core.measures.settling import NOISE_FLOORS, relative_floor
from loopscope.core.run.steps import distance, ratio, state_norm

# Recurrences that the paper looks at, and the fewest that are judged here: a Hann window spreads
# an oscillation over four frequencies, so a shorter series cannot tell an orbit from a slope.
PAPER_RECURRENCES, LEAST_RECURRENCES = 128, 16


class Behaviour(Enum):
    """Limiting behaviour; the value is the word that is shown."""

    FIXED_POINT = "fixed point"
    ORBIT = "orbit"
    SLIDER = "slider"
    UNKNOWN = "unknown"
    NOT_FINITE = "not finite"
    UNRESOLVED = "below resolution"
    TOO_FEW_STEPS = "not enough steps"


@dataclass(frozen=True, slots=True)
class Limit:
    """A token's limiting behaviour and the evidence for it.

    kind : the class.
    share_near : share of the series at 1 - tau or above.
    frequency : of its strongest oscillation about a straight line, cycles per recurrence.
    amplitude : of that oscillation.  slope : of the line, per recurrence. All NaN where there was
        nothing to look at.
    n : values of the series.
    """

    kind: Behaviour
    share_near: float
    frequency: float
    amplitude: float
    slope: float
    n: int

    def describe(self) -> str:
        """The class in words, such as "orbit of period 5"."""
        about = f" of period {1 / self.frequency:.3g}" if self.kind is Behaviour.ORBIT else ""
        return self.kind.value + about

    @property
    def unsettled(self) -> bool:
        """Whether it is known not to settle."""
        return self.kind not in (
            Behaviour.FIXED_POINT, Behaviour.TOO_FEW_STEPS, Behaviour.UNRESOLVED
        )  # fmt: skip


def cosine_series(states: Floats) -> F64:
    """``cos(s_r, s_R)``, ``[n + 1, ..., d]`` to float64 ``[n, ...]``, the last one left out."""
    if len(states) < 2:
        return np.zeros((0, *states.shape[1:-1]))
    last = np.asarray(states[-1], dtype=np.float64)
    dots = np.stack([np.einsum("...d,...d->...", s, last, dtype=np.float64) for s in states[:-1]])
    return ratio(dots, state_norm(states[:-1]) * state_norm(last))


def distance_series(states: Floats) -> F64:
    """``1 - ||s_r - s_R|| / ||s_R||``, shapes as in `cosine_series`.

    The paper runs the algorithm on norms too, with the slope negated. Written as nearness, 1 at the
    end and growing towards it, the same rules and signs apply to both series.
    """
    if len(states) < 2:
        return np.zeros((0, *states.shape[1:-1]))
    apart = np.stack([distance(s, states[-1]) for s in states[:-1]])
    return 1 - ratio(apart, np.broadcast_to(state_norm(states[-1]), apart.shape))


def noise_of(series: str, dtype: str) -> float:
    """How far rounding alone may move a series ("cosine" or "distance") from 1.

    `NOISE_FLOORS` rounding floors ``x`` as a distance; a turn by as much lowers the cosine by
    ``x² / 2``.
    """
    x = NOISE_FLOORS * relative_floor(dtype)
    return x * x / 2 if series == "cosine" else x


def limiting_behaviour(
    series: F64, tau: float = 0.05, rho: float = 0.9, noise: float = 0.0
) -> tuple[Limit, ...]:
    """Class each column of nearness to the end, ``[n, T]``, oldest first, by Algorithm 1.

    1. The least-squares line is taken off (its slope is ``a``), a Hann window is laid over the
       rest and its real Fourier transform taken: ``M_k``, ``k = 1, 2, ..``, ``k*`` the largest,
       amplitude ``A = 4 M_k* / n``.
    2. *fixed point*: at least ``rho n`` values are ``1 - tau`` or above.
    3. *orbit* of frequency ``k* / n``: ``A >= tau / 2`` and ``k* >= 2``.
    4. *slider*: ``a > tau / n``. Else *unknown*.

    *Below resolution*, which the paper does not have, where every value is within ``noise`` of 1
    and ``noise`` is more than what tells the class: ``tau`` of a fixed point, ``tau / 2`` else.
    *Not enough steps* with fewer than `LEAST_RECURRENCES` values, the end counted; *not finite*
    where a value is NaN or infinite.
    """
    n, n_tokens = series.shape
    if n + 1 < LEAST_RECURRENCES:
        nan = float("nan")
        return tuple(Limit(Behaviour.TOO_FEW_STEPS, nan, nan, nan, nan, n) for _ in range(n_tokens))
    finite = np.asarray(np.isfinite(series).all(0))
    s = np.where(finite, series, 0.0)
    x = np.arange(n) - (n - 1) / 2
    slope = x @ s / (x @ x)
    flat = s - s.mean(0) - np.outer(x, slope)
    spectrum = np.abs(np.fft.rfft(np.hanning(n)[:, None] * flat, axis=0))[1:]
    strongest = spectrum.argmax(0) + 1
    amplitude = 4 * spectrum.max(0) / n
    near = (s >= 1 - tau).sum(0, dtype=np.int64)
    limits = []
    for t in range(n_tokens):
        kind = Behaviour.UNKNOWN
        if not finite[t]:
            limits.append(_nothing(Behaviour.NOT_FINITE, n))
            continue
        if near[t] >= rho * n:
            kind = Behaviour.FIXED_POINT
        elif amplitude[t] >= tau / 2 and strongest[t] >= 2:
            kind = Behaviour.ORBIT
        elif slope[t] > tau / n:
            kind = Behaviour.SLIDER
        told_by = tau if kind is Behaviour.FIXED_POINT else tau / 2
        if noise > told_by and s[:, t].min() >= 1 - noise:
            kind = Behaviour.UNRESOLVED
        share, frequency = float(near[t]) / n, float(strongest[t]) / n
        limits.append(Limit(kind, share, frequency, float(amplitude[t]), float(slope[t]), n))
    return tuple(limits)


def _nothing(kind: Behaviour, n: int) -> Limit:
    nan = float("nan")
    return Limit(kind, nan, nan, nan, nan, n)
