"""Fixed points and stability: where a recurrence leaves the state alone, and if it returns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from loopscope.core.measures.fixed_points import RESIDUAL, FixedPoints, Q
from loopscope.core.measures.settling import (
    fitted_rate,
    ratio,
    relative_floor,
    state_norm,
    step_size,
)
from loopscope.core.measures.stability import EIGEN_RESIDUAL, EIGENVALUE, LYAPUNOV, Spectrum
from loopscope.core.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import Formula, Request, Table, ViewData, option

LABEL = "Search and measure stability"
NOT_YET = f"Nothing has been measured. Press “{LABEL}”."
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


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the search and of the spectrum."""

    at: At = option(
        "end",
        "Eigenvalues at",
        "The state whose Jacobian is looked at",
        labels={"end": "the run's end", "cursor": "the cursor's recurrence"},
    )
    n_values: int = option(8, "Eigenvalues", "Of largest modulus", low=1, high=40)
    starts: int = option(
        6, "Starts of the search", "The run's end, states along it, random states", low=1, high=64
    )
    tolerance: float = option(
        1e-5, "Tolerance", "Largest relative residual of a fixed point", low=0, high=1
    )
    radius: float = option(
        1e-2, "Radius", "Ends nearer than this, relatively, are one point", low=0, high=1
    )
    seed: int = option(0, "Seed", "Of the random starts")


@dataclass(frozen=True, slots=True, eq=False)
class Stability:
    """What was found.

    spectrum : at ``recurrence``.  points : of the search.  radii, margins : float64 ``[P]``,
        spectral radius at each fixed point and the largest residual of its eigenpairs; NaN at a
        slow point.  lyapunov : nats per recurrence along the run.
    rate : fitted to the run.  recurrence : where the spectrum was taken.  n_recurrences : how far
        the run had gone.
    """

    spectrum: Spectrum
    points: FixedPoints
    radii: npt.NDArray[np.float64]
    margins: npt.NDArray[np.float64]
    lyapunov: float
    rate: float
    recurrence: int
    n_recurrences: int


@dataclass(frozen=True, slots=True, eq=False)
class Data(ViewData):
    """The finding, or why there is none.

    values : complex128 ``[k]``, eigenvalues.  residuals : float64 ``[k]``.
    kinds : for each found point "stable", "unstable", "marginal" (too near to 1 to tell) or
        "slow point".
    """

    found: Stability | None
    kinds: tuple[str, ...] = ()
    missing: str = ""


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
    if recording.info.dtype != "float32":
        return f"Derivatives in {recording.info.dtype} are rounding noise; open it in float32."
    return ""


REQUEST = Request(
    LABEL,
    "Takes the leading eigenvalues of one recurrence's Jacobian, searches for fixed points and "
    "follows a small perturbation along the run",
    why_not,
)


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Put the finding into words; it was measured on request."""
    found = recording.findings.get("stability")
    formulas = (EIGENVALUE, EIGEN_RESIDUAL, RATE, LYAPUNOV, Q, RESIDUAL)
    if not isinstance(found, Stability):
        why = why_not(recording) or NOT_YET
        return Data(why, formulas, None, missing=why)
    kinds = tuple(
        _kind(*of) for of in zip(found.points.is_fixed, found.radii, found.margins, strict=True)
    )
    return Data(_statement(found, kinds, recording), formulas, found, kinds)


def _kind(fixed: bool, radius: float, margin: float) -> str:
    """Stable or not, where the residual leaves no doubt."""
    if not fixed:
        return "slow point"
    if abs(radius - 1) <= margin:
        return "marginal"
    return "stable" if radius < 1 else "unstable"


def _statement(found: Stability, kinds: tuple[str, ...], recording: Recording) -> str:
    """Say the radius, whether the run agrees, and what was found."""
    radius, rate = found.spectrum.radius, found.rate
    text = f"Spectral radius {radius:.3g} at recurrence {found.recurrence}"
    if not found.spectrum.converged.all():
        loose = int((~found.spectrum.converged).sum())
        text += f" ({loose} of {len(found.spectrum.values)} pairs above residual "
        text += f"{found.spectrum.tolerance:g})"
    if np.isfinite(rate):
        agree = abs(rate - radius) <= AGREES * max(radius, 1e-12)
        text += f", {'and' if agree else 'but'} the run shrinks by ×{rate:.3g} per recurrence"
    fixed = [k for k in kinds if k != "slow point"]
    slow = len(kinds) - len(fixed)
    if not fixed:
        text += f"; no fixed point at tolerance {found.points.tolerance:g}"
    else:
        stable = fixed.count("stable")
        noun = "fixed point" if len(fixed) == 1 else "fixed points"
        text += f"; {len(fixed)} {noun}, {stable} stable"
    if slow:
        text += f", {slow} slow point{'s' if slow > 1 else ''}"
    text += f" from {found.points.n_starts} starts"
    if recording.n_recurrences > found.n_recurrences:
        text += f"; measured at {found.n_recurrences} of {recording.n_recurrences} recurrences"
    return text


def table(data: Data) -> Table:
    """One row for each eigenpair and for each point."""
    columns = ("what", "index", "real", "imaginary", "modulus", "residual", "q", "found by", "kind")
    return Table(columns, _rows(data))


def _rows(data: Data) -> Iterator[tuple[object, ...]]:
    found = data.found
    if found is None:
        return
    s = found.spectrum
    for i, (value, residual) in enumerate(zip(s.values, s.residuals, strict=True)):
        modulus = float(abs(value))
        yield (
            "eigenvalue",
            i,
            float(value.real),
            float(value.imag),
            modulus,
            float(residual),
            "",
            "",
            "",
        )
    p = found.points
    for i, kind in enumerate(data.kinds):
        radius = float(found.radii[i])
        yield (
            "point",
            i,
            "",
            "",
            radius,
            float(p.residual[i]),
            float(p.q[i]),
            int(p.found_by[i]),
            kind,
        )
    yield "Lyapunov exponent", "", "", "", found.lyapunov, "", "", "", ""
    yield "fitted rate", "", "", "", found.rate, "", "", "", ""
