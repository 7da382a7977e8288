"""Search for fixed points by L-BFGS on ``q``; what it finds is `measures.fixed_points`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from loopscope.core.dynamics import Map
from loopscope.core.measures.fixed_points import F64, FixedPoints


def search(
    f: Map,
    starts: Tensor,
    *,
    tolerance: float = 1e-5,
    radius: float = 1e-2,
    max_iterations: int = 200,
    report: Callable[[float], None] = lambda share: None,
) -> FixedPoints:
    """Minimise ``q`` from each start by L-BFGS with a strong Wolfe line search.

    Parameters
    ----------
    f
        The map, ``[B, n] -> [B, n]``, differentiable.
    starts
        ``[K, n]``; each is minimised alone, so that one does not stop the others.
    tolerance, radius
        See `FixedPoints`.
    max_iterations
        Of each start.
    report
        Told the share done, often; may raise to cancel.
    """

    def part(i: int) -> Callable[[float], None]:
        return lambda share: report((i + share) / len(starts))

    ends = [
        _minimise(f, starts[i : i + 1], tolerance, max_iterations, part(i))
        for i in range(len(starts))
    ]
    return _distinct(ends, tolerance, radius)


@dataclass(frozen=True, slots=True)
class _End:
    point: F64
    q: float
    residual: float
    iterations: int


def _minimise(
    f: Map, start: Tensor, tolerance: float, most: int, report: Callable[[float], None]
) -> _End:
    s = start.detach().clone().requires_grad_(True)
    # Chunks, so that it can be told of progress and be cancelled; the history is kept across.
    chunk = 5
    optimizer = torch.optim.LBFGS(
        [s],
        max_iter=chunk,
        history_size=20,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    done, best = 0, _judge(f, s, 0)

    def closure() -> Tensor:
        # Here, not only after a chunk: one chunk of a large model takes long to cancel.
        report(min(done / most, 1.0))
        optimizer.zero_grad()
        q = 0.5 * (s - f(s)).square().sum()
        torch.autograd.backward(q)
        return q

    while done < most and best.residual > tolerance / 10:
        optimizer.step(closure)  # type: ignore[no-untyped-call]
        done += chunk
        now = _judge(f, s, done)
        if not np.isfinite(now.q):
            break
        if now.q > best.q * 0.999:  # it has come as far as float32 lets it
            best = min(now, best, key=lambda end: end.q)
            break
        best = now
    report(1.0)
    return best


def _judge(f: Map, s: Tensor, iterations: int) -> _End:
    """Residual of a point, accumulated in float64."""
    with torch.no_grad():
        point = s[0].double().cpu().numpy()
        image = f(s)[0].double().cpu().numpy()
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
