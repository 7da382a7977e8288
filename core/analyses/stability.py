"""Measure fixed points and stability of a run; of one in half precision, of the same in float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from loopscope.core.arrays import F32
from loopscope.core.dynamics.fixed_point_search import search
from loopscope.core.dynamics.recurrence_map import RecurrenceMap
from loopscope.core.measures.stability import (
    Stability,
    leading_eigenvalues,
    lyapunov_exponents,
    token_spectrum,
)
from loopscope.core.run.float32_twin import Float32Twin
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.stability import Options, whole_rate

# Numbers of a state up to which the exact spectrum is taken: as many products with the Jacobian.
MOST_COLUMNS = 8192


# Share of the work that loading the checkpoint in float32 and stepping it takes, roughly.
LOAD, STEP = 0.1, 0.3

Report = Callable[[float], None]


def run(stepper: Stepper, selection: Selection, options: Options, job: Job[Stability]) -> Stability:
    """Take the spectrum, search for fixed points and follow a perturbation along the run.

    Derivatives in half precision are rounding noise: there the checkpoint is loaded in float32 as
    well, runs the same prompt from the same ``s_0``, and that run is measured. Raises
    `LoopscopeError` where there is no memory for both.
    """
    if stepper.loaded.dtype == "float32":
        return _measured(stepper, selection, options, job.report)
    twin = Float32Twin(stepper.loaded, lambda share: job.report(LOAD * share))
    try:
        twin.error(stepper.recording, lambda share: job.report(LOAD + (STEP - LOAD) * share))
        return _measured(
            twin.stepper, selection, options, lambda share: job.report(STEP + (1 - STEP) * share)
        )
    finally:
        twin.release()


def _measured(
    stepper: Stepper, selection: Selection, options: Options, report: Report
) -> Stability:
    f, recording = RecurrenceMap(stepper), stepper.recording
    states, n_done = recording.states, recording.n_recurrences
    at = selection.recurrence if options.at == "cursor" else n_done
    n = states[0].size

    def part(start: float, end: float) -> Report:
        return lambda share: report(start + (end - start) * share)

    k = int(options.n_values)
    spectrum = leading_eigenvalues(f.product(states[at]), n, k, report=part(0, 0.2))
    # By token only where causal attention makes the Jacobian block triangular.
    exact = f.model.arch.layer.causal and n <= MOST_COLUMNS
    tokens = token_spectrum(f.token_blocks(states[at], part(0.2, 0.3))) if exact else None
    products = [f.product(state) for state in states[:n_done]]
    lyapunov = lyapunov_exponents(products, n, skip=n_done // 2, report=part(0.3, 0.4))
    starts = _starts(f, states, options, part(0.4, 0.4))
    points = search(
        f, starts, tolerance=options.tolerance, radius=options.radius, report=part(0.4, 0.9)
    )
    with torch.no_grad():
        cycles = [f.layers(f.flat(point))[0][:, 0].float().cpu().numpy() for point in points.points]
    radii = np.full(len(points.points), np.nan)
    margins = radii.copy()
    for i, point in enumerate(points.points):
        if points.is_fixed[i]:
            share = part(0.9 + 0.1 * i / len(radii), 0.9 + 0.1 * (i + 1) / len(radii))
            if exact:
                here = token_spectrum(f.token_blocks(point, share))
                radii[i], margins[i] = here.radius, here.error
                continue
            pair = leading_eigenvalues(f.product(point), n, 2, report=share)
            radii[i], margins[i] = pair.radius, pair.residuals.max()
    return Stability(
        spectrum=spectrum,
        points=points,
        cycles=np.stack(cycles),
        radii=radii,
        margins=margins,
        lyapunov=lyapunov,
        rate=whole_rate(recording),
        recurrence=at,
        n_recurrences=n_done,
        n_random=len(starts) - _n_along(len(states), options),
        warm_up=int(options.warm_up),
        tokens=tokens,
    )


def _n_along(n_states: int, options: Options) -> int:
    """Starts that are states of the run; the others are random."""
    return min(max(int(options.starts) // 2, 1), n_states - 1)


def _starts(
    f: RecurrenceMap,
    states: F32,
    options: Options,
    report: Callable[[float], None] = lambda share: None,
) -> Tensor:
    """The run's end, states spread along the run, then random states of the end's size, ``[K, n]``.

    The map is run on the random ones first: as drawn they are far from any state that the model
    ever makes, and the search would stop there at slow points that mean nothing.
    """
    # The end comes first, whatever the number.
    along = np.linspace(len(states) - 1, 1, _n_along(len(states), options)).round().astype(int)
    chosen = [f.flat(states[r]) for r in along]
    rms = float(np.sqrt(np.mean(np.square(states[-1], dtype=np.float64))))
    rng = np.random.default_rng(options.seed)
    drawn = rng.normal(size=(max(int(options.starts) - len(along), 0), *states[0].shape)) * rms
    with torch.no_grad():
        for state in drawn:
            s = f.flat(state)
            for _ in range(int(options.warm_up)):
                report(0.0)  # which cancels, too
                s = f(s)
            chosen.append(s)
    return torch.cat(chosen)
