"""Fixed points and stability: where a recurrence leaves the state alone, and if it returns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from typing_extensions import override

from loopscope.core.arrays import C128, F64, I64, Bools
from loopscope.core.formula import Formula
from loopscope.core.measures.fixed_points import CYCLE, RESIDUAL, Q, cycle_distances
from loopscope.core.measures.settling import NOISE_FLOORS, fitted_rate, relative_floor
from loopscope.core.measures.stability import (
    EIGEN_RESIDUAL,
    EIGENVALUE,
    LYAPUNOV,
    STABILITY,
    TOKEN_SPECTRUM,
    Stability,
)
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.run.steps import ratio, state_norm, step_size
from loopscope.core.selection import Selection
from loopscope.core.views.base import Lack, Request, Table, ViewData, ViewDefinition

LABEL = "Search and measure stability"
NOT_YET = "Nothing has been measured."
LACKS = Lack("measurement", LABEL)
# The fitted rate and the spectral radius agree within this factor.
AGREES = 0.1
RATE = Formula(
    "fitted rate",
    "exp(slope of log ‖s_r − s_{r−1}‖ / ‖s_r‖, all tokens together) over the last steps above "
    "the rounding floor",
    "per recurrence",
    "Loopscope; agrees with the spectral radius within 10 %",
)
At = Literal["cursor", "end"]
Kind = Literal["stable", "unstable", "marginal", "slow point", "below resolution"]
# Kinds of what is a fixed point at the tolerance.
FIXED: tuple[Kind, ...] = ("stable", "unstable", "marginal")


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the search and of the spectrum."""

    at: At = setting(
        "end",
        "Eigenvalues at",
        "The state whose Jacobian is looked at",
        labels={"end": "the run's end", "cursor": "the cursor's recurrence"},
    )
    n_values: int = setting(8, "Eigenvalues", "Of largest modulus", low=1, high=40)
    starts: int = setting(
        6, "Starts of the search", "The run's end, states along it, random states", low=1, high=64
    )
    tolerance: float = setting(
        1e-5, "Tolerance", "Largest relative residual of a fixed point", low=0, high=1
    )
    radius: float = setting(
        1e-2, "Radius", "Ends nearer than this, relatively, are one point", low=0, high=1
    )
    seed: int = setting(0, "Seed", "Of the random starts")
    warm_up: int = setting(
        3,
        "Recurrences before",
        "A random start is run for so many recurrences before the search: as drawn it is far from "
        "any state the model makes and would end in a slow point",
        low=0,
        high=1000,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Eigenvalues:
    """The eigenvalues that are drawn: every one where they are known exactly, else estimates.

    values : complex128 ``[n]``.  tokens : int64 ``[n]``, whose each is, -1 of an estimate's.
    doubt : float64 ``[n]``, how far rounding may move each; of an estimate its residual, which
        bounds nothing.  sure : bool ``[n]``, whether that is within the tolerance.
    exact : whether they are.  said : in words what they are.
    """

    values: C128
    tokens: I64
    doubt: F64
    sure: Bools
    exact: bool
    said: str


def eigenvalues_of(result: Stability) -> Eigenvalues:
    """What is known best of the spectrum."""
    tokens, estimate = result.tokens, result.spectrum
    if tokens is None:
        n = len(estimate.values)
        said = f"{n} leading eigenvalues, estimates: no residual bounds them"
        return Eigenvalues(estimate.values, np.full(n, -1), estimate.residuals,
                           estimate.converged, False, said)  # fmt: skip
    t, d = tokens.values.shape
    doubt = tokens.errors.ravel()
    said = f"all {t * d:,} eigenvalues, exact: {d} of each of {t} token{'s' if t > 1 else ''}"
    return Eigenvalues(tokens.values.ravel(), np.repeat(np.arange(t), d), doubt,
                       np.asarray(doubt <= estimate.tolerance), True, said)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Data(ViewData):
    """The finding, or why there is none.

    eigenvalues : that are drawn.  token_labels : of all tokens.
    kinds : for each found point "stable", "unstable", "marginal" (too near to 1 to tell), "slow
        point", or "below resolution": its residual is above the tolerance and within rounding.
    distances : float64 ``[P, L, L]``, between the points of each one's cycle.
    layer_names : of the layers.
    """

    result: Stability | None
    eigenvalues: Eigenvalues | None = None
    token_labels: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    distances: F64 | None = None
    layer_names: tuple[str, ...] = ()
    missing: str = ""

    @property
    @override
    def drawn_words(self) -> str:
        """What the circles are."""
        return (
            "Each circle is an eigenvalue of the Jacobian in the complex plane: filled where it is "
            "exact, hollow where it is an estimate or its residual is above the tolerance. Inside "
            "the unit circle small disturbances die out."
        )


def whole_rate(recording: Recording) -> float:
    """`fitted_rate` of the whole ``T x d`` state, to be held against the spectral radius."""
    states = recording.states
    flat = states.reshape(len(states), -1)
    steps = ratio(step_size(flat), state_norm(flat[1:]))
    return fitted_rate(steps, relative_floor(recording.info.dtype))


def why_not(recording: Recording) -> str:
    """Why stability cannot be measured of this run, or ""."""
    arch = recording.info.architecture
    if recording.n_recurrences < 1:
        return "Run a recurrence first: its end is where stability is asked."
    if arch.inner_cycles:
        return "A nested loop carries a second state that is not recorded: its map is not known."
    return ""


REQUEST = Request(
    LABEL,
    "Takes the leading eigenvalues of one recurrence's Jacobian, searches for fixed points and "
    "follows a small perturbation along the run",
    STABILITY,
    why_not,
)


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Put the finding into words; it was measured on request."""
    result = recording.result(STABILITY)
    formulas = (TOKEN_SPECTRUM, EIGENVALUE, EIGEN_RESIDUAL, RATE, LYAPUNOV, Q, RESIDUAL, CYCLE)
    if result is None:
        why = why_not(recording) or NOT_YET
        lacks = LACKS if why == NOT_YET else None
        return Data(why, formulas, None, missing=why, lacks=lacks)
    kinds = kinds_of(result)
    distances = np.stack([cycle_distances(cycle) for cycle in result.cycles])
    statement = _statement(result, kinds, distances, recording)
    names = recording.info.architecture.layer_names
    labels = recording.info.token_names
    return Data(
        statement, formulas, result, eigenvalues_of(result), labels, kinds, distances, names
    )


def kinds_of(result: Stability) -> tuple[Kind, ...]:
    """What each point found is. Whatever the run was in, the search was in float32."""
    points = result.points
    noise = points.residual <= NOISE_FLOORS * relative_floor("float32")
    of = zip(points.is_fixed, noise, result.radii, result.margins, strict=True)
    return tuple(_kind(*point) for point in of)


def _kind(fixed: bool, noise: bool, radius: float, margin: float) -> Kind:
    """Stable or not, where the residual leaves no doubt.

    ``noise`` : whether the residual is within the rounding of the dtype.
    """
    if not fixed:
        return "below resolution" if noise else "slow point"
    if abs(radius - 1) <= margin:
        return "marginal"
    return "stable" if radius < 1 else "unstable"


def _statement(
    result: Stability,
    kinds: tuple[Kind, ...],
    distances: F64,
    recording: Recording,
) -> str:
    """Say the radius, whether the run agrees, and what was found."""
    radius, rate = result.radius, result.rate
    dtype = recording.info.dtype
    rounding = f"Of the same run in float32, as derivatives in {dtype} are rounding noise: "
    text = "Spectral" if dtype == "float32" else f"{rounding}spectral"
    text += f" radius {radius:.3g} at recurrence {result.recurrence}"
    text += _how_sure(result, recording)
    if result.tokens is None and not result.spectrum.converged.all():
        loose = int((~result.spectrum.converged).sum())
        text += f" ({loose} of {len(result.spectrum.values)} pairs above residual "
        text += f"{result.spectrum.tolerance:g})"
    if np.isfinite(rate):
        agree = abs(rate - radius) <= AGREES * max(radius, 1e-12)
        text += f", {'and' if agree else 'but'} the run shrinks by ×{rate:.3g} per recurrence"
    fixed = [k for k in kinds if k in FIXED]
    slow, noise = kinds.count("slow point"), kinds.count("below resolution")
    if not fixed:
        text += f"; no fixed point at tolerance {result.points.tolerance:g}"
    else:
        stable = fixed.count("stable")
        noun = "fixed point" if len(fixed) == 1 else "fixed points"
        text += f"; {len(fixed)} {noun}, {stable} stable"
    if slow:
        text += f", {slow} slow point{'s' if slow > 1 else ''}"
    if noise:
        text += f", {noise} below what float32 resolves"
    text += f" from {result.points.n_starts} starts"
    if result.n_random and result.warm_up:
        text += f" ({result.n_random} random, run for {result.warm_up} recurrences first)"
    text += _cycle_said(distances[result.shown_point])
    text += _lyapunov_said(result.lyapunov)
    if recording.info.interventions:
        text += "; of one recurrence uncut: what was cut into this run is not in the map"
    if recording.n_recurrences > result.n_recurrences:
        text += f"; measured at {result.n_recurrences} of {recording.n_recurrences} recurrences"
    return text


def _lyapunov_said(exponents: F64) -> str:
    known = exponents[np.isfinite(exponents)]
    if not len(known):
        return ""
    spread = f" ({known.min():.3g} to {known.max():.3g} over {len(known)} start vectors)"
    return f"; Lyapunov exponent {known.mean():.3g}{spread}"


def _how_sure(result: Stability, recording: Recording) -> str:
    """Of which token the radius is and how far rounding may move it, or that it is an estimate."""
    if result.tokens is None:
        return " (an estimate: no residual bounds it where the Jacobian is not normal)"
    token = int(np.abs(result.tokens.values).max(1).argmax())
    label = recording.info.names_of((token,))[0]
    error = result.tokens.error
    doubt = f", ± {error:.1g} by rounding" if error > 0.01 * result.radius else ""
    return f" (exact, of token {token} {label}{doubt})"


def _cycle_said(distances: F64) -> str:
    """How far apart the layers' points are."""
    apart = distances[np.tril_indices(len(distances), -1)]
    apart = apart[np.isfinite(apart)]
    if not len(apart):
        return ""
    low, high = f"{apart.min():.3g}", f"{apart.max():.3g}"
    between = low if low == high else f"{low} to {high}"
    return f"; the {len(distances)} points of its cycle are {between} of their norm apart"


def table(data: Data) -> Table:
    """One row for each eigenpair, each point, and each pair of layers at each point."""
    columns = (
        "what", "index", "real", "imaginary", "modulus", "residual", "known",
        "± by rounding", "q", "found by", "kind",
        "layer", "other layer", "relative distance", "exponent [nats per recurrence]",
    )  # fmt: skip
    return Table(columns, _rows(data))


def _rows(data: Data) -> Iterator[tuple[object, ...]]:
    result = data.result
    if result is None or data.distances is None:
        return
    s, none = result.spectrum, ("", "", "", "")
    for i, (value, residual) in enumerate(zip(s.values, s.residuals, strict=True)):
        parts = (float(value.real), float(value.imag), float(abs(value)), float(residual))
        yield "eigenvalue", i, *parts, "estimate", "", "", "", "", *none
    if result.tokens is not None:
        for (t, i), value in np.ndenumerate(result.tokens.values):
            exact = float(value.real), float(value.imag), float(abs(value))
            error = float(result.tokens.errors[t, i])
            yield "eigenvalue of a token", t, *exact, "", "exact", error, "", "", "", *none
    p = result.points
    for i, kind in enumerate(data.kinds):
        known = "" if not p.is_fixed[i] else "estimate" if result.tokens is None else "exact"
        measured = (float(result.radii[i]), float(p.residual[i]), known, "", float(p.q[i]))
        yield "point", i, "", "", *measured, int(p.found_by[i]), kind, *none
    for i, kind in enumerate(data.kinds):
        for a, b in zip(*np.tril_indices(len(data.layer_names), -1), strict=True):
            apart = (int(b), int(a), float(data.distances[i, a, b]))
            yield "points of the cycle", i, "", "", "", "", "", "", "", "", kind, *apart, ""
    for i, exponent in enumerate(result.lyapunov.tolist()):
        yield "Lyapunov exponent", i, *("",) * 12, exponent
    yield "fitted rate", "", "", "", result.rate, "", "", "", "", "", "", *none


VIEW = ViewDefinition(Options, compute, table, request=REQUEST)
