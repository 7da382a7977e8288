"""Search for fixed points by L-BFGS on ``q``; what it finds is `measures.fixed_points`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from loopscope.core.arrays import F64
from loopscope.core.dynamics.lbfgs import HISTORY, minimise_rows
from loopscope.core.dynamics.recurrence_map import Map
from loopscope.core.measures.fixed_points import FixedPoints

# Steps of past iterations that starts minimised together may hold.
MOST_BYTES = 256 << 20


def search(
    f: Map,
    starts: Tensor,
    *,
    tolerance: float = 1e-5,
    radius: float = 1e-2,
    max_iterations: int = 200,
    report: Callable[[float], None] = lambda share: None,
) -> FixedPoints:
    """Minimise ``q`` from each start by L-BFGS, all starts at once.

    Parameters
    ----------
    f
        The map, ``[B, n] -> [B, n]``, differentiable.
    starts
        ``[K, n]``; they share passes through the map but nothing else (see `lbfgs`).
    tolerance, radius
        See `FixedPoints`.
    max_iterations
        Of each start.
    report
        Told the share done, often; may raise to cancel.
    """

    def q(s: Tensor) -> Tensor:
        half: Tensor = 0.5 * (s - f(s)).square().sum(1)
        return half

    def arrived(s: Tensor, value: Tensor) -> Tensor:
        good: Tensor = (2 * value).sqrt() <= tolerance / 10 * s.norm(dim=1)
        return good

    # The history of a step is what takes memory.
    at_once = max(1, MOST_BYTES // max(2 * HISTORY * starts[:1].nbytes, 1))
    ends: list[_End] = []
    for first in range(0, len(starts), at_once):
        part = starts[first : first + at_once]

        def report_part(share: float, first: int = first, n: int = len(part)) -> None:
            report((first + n * share) / len(starts))

        points, taken = minimise_rows(
            q, part, arrived=arrived, most=max_iterations, report=report_part
        )
        pairs = zip(points, taken.tolist(), strict=True)
        ends += [_judge(f, s[None], n) for s, n in pairs]
    return _distinct(ends, tolerance, radius)


@dataclass(frozen=True, slots=True)
class _End:
    point: F64
    q: float
    residual: float
    iterations: int


def _judge(f: Map, s: Tensor, iterations: int) -> _End:
    """Residual of a point, accumulated in float64."""
    with torch.no_grad():
        point = s[0].cpu().double().numpy()
        image = f(s)[0].cpu().double().numpy()
    size, norm = float(np.linalg.norm(point - image)), float(np.linalg.norm(point))
    relative = size / norm if norm > 0 else (0.0 if size == 0 else float("inf"))
    return _End(point, 0.5 * size**2, relative, iterations)


def _distinct(ends: list[_End], tolerance: float, radius: float) -> FixedPoints:
    """Put ends within ``radius`` of a better one together with it."""
    order = sorted(range(len(ends)), key=lambda i: (not np.isfinite(ends[i].q), ends[i].q))
    kept: list[int] = []
    found_by: list[int] = []
    place_of = {}
    for i in order:
        here = ends[i].point
        near = next((j for j, k in enumerate(kept) if _near(here, ends[k].point, radius)), None)
        if near is None:
            near = len(kept)
            kept.append(i)
            found_by.append(0)
        found_by[near] += 1
        place_of[i] = near
    n = len(ends[0].point) if ends else 0
    return FixedPoints(
        points=np.array([ends[i].point for i in kept], np.float32).reshape(len(kept), n),
        q=np.array([ends[i].q for i in kept]),
        residual=np.array([ends[i].residual for i in kept]),
        found_by=np.array(found_by, np.int64),
        iterations=np.array([ends[i].iterations for i in kept], np.int64),
        from_end=place_of.get(0, -1),
        tolerance=tolerance,
        radius=radius,
        n_starts=len(ends),
    )


def _near(a: F64, b: F64, radius: float) -> bool:
    return float(np.linalg.norm(a - b)) <= radius * max(float(np.linalg.norm(b)), 1e-30)
