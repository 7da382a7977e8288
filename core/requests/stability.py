"""Measure fixed points and stability of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from loopscope.core.dynamics import RecurrenceMap
from loopscope.core.fixed_point_search import search
from loopscope.core.measures.stability import leading_eigenvalues, lyapunov_exponent
from loopscope.core.selection import Selection
from loopscope.core.views.stability import Options, Stability, whole_rate


def run(stepper: Any, selection: Selection, options: Options, job: Any) -> Stability:
    """Take the spectrum, search for fixed points and follow a perturbation along the run."""
    f, recording = RecurrenceMap(stepper), stepper.recording
    states, n_done = recording.states, recording.n_recurrences
    at = selection.recurrence if options.at == "cursor" else n_done
    n = states[0].size

    def part(start: float, end: float) -> Callable[[float], None]:
        return lambda share: job.report(start + (end - start) * share)

    k = int(options.n_values)
    spectrum = leading_eigenvalues(f.product(states[at]), n, k, report=part(0, 0.3))
    products = [f.product(state) for state in states[:n_done]]
    lyapunov = lyapunov_exponent(products, n, skip=n_done // 2, report=part(0.3, 0.4))
    starts = torch.cat([f.flat(s) for s in _starts(states, options)])
    points = search(
        f, starts, tolerance=options.tolerance, radius=options.radius, report=part(0.4, 0.9)
    )
    radii = np.full(len(points.points), np.nan)
    margins = radii.copy()
    for i, point in enumerate(points.points):
        if points.is_fixed[i]:
            share = part(0.9 + 0.1 * i / len(radii), 0.9 + 0.1 * (i + 1) / len(radii))
            found = leading_eigenvalues(f.product(point), n, 2, report=share)
            radii[i], margins[i] = found.radius, found.residuals.max()
    return Stability(spectrum, points, radii, margins, lyapunov, whole_rate(recording), at, n_done)


def _starts(states: Any, options: Options) -> list[Any]:
    """The run's end, states spread along the run, then random states of the end's size."""
    n = int(options.starts)
    # The end comes first, whatever the number.
    along = np.linspace(len(states) - 1, 1, max(n // 2, 1)).astype(int)
    chosen = [states[r] for r in dict.fromkeys(along.tolist())]
    rms = float(np.sqrt(np.mean(np.square(states[-1], dtype=np.float64))))
    rng = np.random.default_rng(options.seed)
    while len(chosen) < n:
        chosen.append((rng.normal(size=states[0].shape) * rms).astype(np.float32))
    return chosen
