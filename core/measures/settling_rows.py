"""Settling as live measures: steps, angles and accelerations of recurrence ends and of layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from loopscope.core.arrays import F64, Floats
from loopscope.core.formula import Formula
from loopscope.core.measures.base import Measure
from loopscope.core.run.recording import Recording
from loopscope.core.run.steps import ratio, state_norm, step_size

_STEP, _ANGLE, _CYCLE = "arXiv 2502.05171", "arXiv 2509.23314", "arXiv 2604.11791"
OfPath = Callable[[Floats], F64]


def step_angle(states: Floats) -> F64:
    """Cosine between each step and the one before, ``cos(s_r - s_{r-1}, s_{r-1} - s_{r-2})``.

    Parameters
    ----------
    states
        ``[n, ..., d]``, recurrences in order.

    Returns
    -------
    float64 ``[n - 2, ...]``, -1..1: 1 goes straight on, 0 turns at a right angle, -1 turns back.
    NaN where a step is 0.  Source: Pappone et al. arXiv 2509.23314.
    """
    steps = np.diff(np.asarray(states, dtype=np.float64), axis=0)
    dots = np.einsum("...d,...d->...", steps[1:], steps[:-1])
    cosine = ratio(dots, state_norm(steps[1:]) * state_norm(steps[:-1]))
    return np.asarray(np.clip(cosine, -1, 1))


def acceleration(states: Floats) -> F64:
    """Change of the step, ``||Δ_r - Δ_{r-1}||`` with ``Δ_r = s_r - s_{r-1}``.

    ``[n, ..., d]`` to float64 ``[n - 2, ...]``, in units of the state (arXiv 2509.23314).
    """
    return state_norm(np.diff(np.asarray(states, dtype=np.float64), n=2, axis=0))


def cosine_to_previous(states: Floats) -> F64:
    """``cos(x_r, x_{r-1})``, ``[n, ..., d]`` to float64 ``[n - 1, ...]``; NaN where a norm is 0."""
    a = np.asarray(states, dtype=np.float64)
    dots = np.einsum("...d,...d->...", a[1:], a[:-1])
    return np.asarray(np.clip(ratio(dots, state_norm(a[1:]) * state_norm(a[:-1])), -1, 1))


def _relative_step(states: Floats) -> F64:
    return ratio(step_size(states), state_norm(states[1:]))


def _relative_acceleration(states: Floats) -> F64:
    return ratio(acceleration(states), state_norm(states[2:]))


def _rows(
    path: Callable[[int, int], Floats], start: int, first: int, last: int, of: OfPath, before: int
) -> F64:
    """Rows ``first .. last`` of a measure that looks ``before`` recurrences back.

    ``path`` gives recurrences, from ``start`` on; rows without enough before them are NaN.
    """
    values = of(states := path(max(first - before, start), last))
    absent = np.full((last - first + 1 - len(values), *states.shape[1:-1]), np.nan)
    return np.concatenate([absent, values])


def of_ends(of: OfPath, before: int) -> Callable[[Recording, int, int], F64]:
    """``rows`` of a measure of the states at the ends of recurrences; ``s_0`` counts."""
    return lambda run, first, last: _rows(run.states_of, 0, first, last, of, before)


def of_layers(of: OfPath, before: int) -> Callable[[Recording, int, int], F64]:
    """``rows`` of a measure of the states after each layer, the same layer compared."""
    return lambda run, first, last: _rows(run.layer_states_of, 1, first, last, of, before)


# fmt: off
STEP_SIZE = Measure("step_size", Formula("step size", "‖s_r − s_{r−1}‖", "state units", _STEP), ("token",), of_ends(step_size, 1), log=True, average="median")
RELATIVE_STEP = Measure("relative_step", Formula("relative step", "‖s_r − s_{r−1}‖ / ‖s_r‖", "1", _STEP), ("token",), of_ends(_relative_step, 1), log=True, average="median")
STEP_ANGLE = Measure("step_angle", Formula("step angle", "cos(s_r − s_{r−1}, s_{r−1} − s_{r−2})", "cosine, −1..1", _ANGLE), ("token",), of_ends(step_angle, 2), first=2, average="median")
ACCELERATION = Measure("acceleration", Formula("acceleration", "‖Δ_r − Δ_{r−1}‖, Δ_r = s_r − s_{r−1}", "state units", _ANGLE), ("token",), of_ends(acceleration, 2), first=2, log=True, average="median")
RELATIVE_ACCELERATION = Measure("relative_acceleration", Formula("relative acceleration", "‖Δ_r − Δ_{r−1}‖ / ‖s_r‖", "1", "after " + _ANGLE), ("token",), of_ends(_relative_acceleration, 2), first=2, log=True, average="median")
STATE_NORM = Measure("state_norm", Formula("state norm", "‖s_r‖", "state units", _STEP), ("token",), of_ends(state_norm, 0), average="median")
LAYER_STEP_SIZE = Measure("layer_step_size", Formula("step size of layer l", "‖x[r,l] − x[r−1,l]‖", "state units", _CYCLE), ("layer", "token"), of_layers(step_size, 1), first=2, log=True, average="median")
LAYER_RELATIVE_STEP = Measure("layer_relative_step", Formula("relative step of layer l", "‖x[r,l] − x[r−1,l]‖ / ‖x[r,l]‖", "1", _CYCLE), ("layer", "token"), of_layers(_relative_step, 1), first=2, log=True, average="median")
LAYER_COSINE = Measure("layer_cosine", Formula("cosine of layer l", "cos(x[r,l], x[r−1,l])", "cosine, −1..1", _CYCLE), ("layer", "token"), of_layers(cosine_to_previous, 1), first=2)
LAYER_STEP_ANGLE = Measure("layer_step_angle", Formula("step angle of layer l", "cos(x[r,l] − x[r−1,l], x[r−1,l] − x[r−2,l])", "cosine, −1..1", "after " + _ANGLE), ("layer", "token"), of_layers(step_angle, 2), first=3, average="median")
LAYER_ACCELERATION = Measure("layer_acceleration", Formula("acceleration of layer l", "‖Δ_r − Δ_{r−1}‖, Δ_r = x[r,l] − x[r−1,l]", "state units", "after " + _ANGLE), ("layer", "token"), of_layers(acceleration, 2), first=3, log=True, average="median")
# fmt: on
