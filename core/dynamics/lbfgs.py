"""L-BFGS for many small problems at once: each row of a batch is minimised for itself.

`torch.optim.LBFGS` takes one problem; many starts of one search would each pay for their own
passes through the model, or share one step size. Here a pass serves all rows and each row has its
own step, history and end (Nocedal & Wright, Numerical Optimization, algorithms 7.4 and 7.5; step
by bisection to the weak Wolfe conditions, Lewis & Overton 2013).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Objective = Callable[[Tensor], Tensor]

# Sufficient decrease and curvature of the Wolfe conditions.
DECREASE, CURVATURE = 1e-4, 0.9
# Evaluations that one step may take.
MOST_TRIES = 20
HISTORY = 20
# A row that gains less than this share in so many iterations has come as far as it gets.
GAIN, PATIENCE = 1e-3, 5


def minimise_rows(
    objective: Objective,
    starts: Tensor,
    *,
    arrived: Callable[[Tensor, Tensor], Tensor],
    most: int = 200,
    report: Callable[[float], None] = lambda share: None,
) -> tuple[Tensor, Tensor]:
    """Minimise ``objective`` from each row of ``starts``.

    Parameters
    ----------
    objective
        ``[B, n] -> [B]``, differentiable; row b of the result depends on row b alone.
    starts
        ``[K, n]``.
    arrived
        ``(rows [B, n], values [B]) -> bool [B]``: which rows are good enough.
    most
        Iterations of each row.
    report
        Told the share done at each evaluation; may raise to cancel.

    Returns
    -------
    The best points found, ``[K, n]``, and the iterations each took, int64 ``[K]``. A row ends when
    it has arrived, gains nothing more, or has left what the objective is finite for; the others
    go on without it.
    """
    best, taken = starts.detach().clone(), torch.zeros(len(starts), dtype=torch.int64)
    rows = _Rows(objective, best, report)
    for k in range(most):
        over = rows.stuck | arrived(rows.x, rows.f).to(rows.stuck)
        if bool(over.any()):
            best[rows.index[over]] = rows.x[over]
            taken[rows.index[over].cpu()] = k
            rows.keep(~over)
        if not len(rows.x):
            break
        rows.share = k / most
        rows.step(first=not k)
        if k % PATIENCE == PATIENCE - 1:
            rows.check_gain()
    best[rows.index] = rows.x
    taken[rows.index.cpu()] = most
    report(1.0)
    return best, taken


class _Rows:
    """The rows that are still under way, ``B`` of them."""

    def __init__(self, objective: Objective, x: Tensor, report: Callable[[float], None]) -> None:
        self.objective, self.report, self.total, self.share = objective, report, len(x), 0.0
        self.index = torch.arange(len(x), device=x.device)
        self.x = x.clone()
        self.f, self.g = self._evaluate(self.x)
        self.stuck = ~torch.isfinite(self.f)
        self.before = self.f.clone()
        # Steps, changes of the gradient and 1 / (s y); a pair without curvature has 0 there.
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        self.scale = torch.ones_like(self.f)

    def _evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        done = self.total - len(self.index)
        self.report((done + self.share * len(self.index)) / self.total)
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            f = self.objective(x)
            (g,) = torch.autograd.grad(f.sum(), x)
        return f.detach(), g

    def keep(self, which: Tensor) -> None:
        """Go on with these rows only: ``which`` is bool ``[n]`` of the rows there are."""
        for name in ("index", "x", "f", "g", "stuck", "before", "scale"):
            setattr(self, name, getattr(self, name)[which])
        self.pairs = [(s[which], y[which], r[which]) for s, y, r in self.pairs]

    def check_gain(self) -> None:
        """Give up rows that have hardly gained since the last check."""
        self.stuck |= ~(self.f < (1 - GAIN) * self.before)
        self.before = self.f.clone()

    def step(self, first: bool) -> None:
        """One iteration of each row."""
        d = self._direction()
        slope = _dot(self.g, d)
        uphill = ~(slope < 0)
        if bool(uphill.any()):
            # Rounding has spoilt this row's history: start it anew, straight downhill.
            d = torch.where(uphill[:, None], -self.g, d)
            slope = torch.where(uphill, -_dot(self.g, self.g), slope)
            for _, _, r in self.pairs:
                r[uphill] = 0.0
        step = torch.ones_like(slope)
        if first:
            step = torch.minimum(step, 1 / self.g.abs().sum(1).clamp_min(1e-30))
        x, f, g, moved = self._search(d, slope, step)
        s, y = x - self.x, g - self.g
        sy = _dot(s, y)
        curved = moved & (sy > 1e-10 * _dot(y, y).clamp_min(1e-30))
        self.pairs.append((s, y, torch.where(curved, 1 / sy, 0.0)))
        del self.pairs[:-HISTORY]
        self.scale = torch.where(curved, sy / _dot(y, y), self.scale)
        self.x, self.f, self.g = x, f, g
        self.stuck |= ~moved

    def _direction(self) -> Tensor:
        """Minus the inverse Hessian's estimate times the gradient: the two-loop recursion."""
        d, alphas = -self.g, []
        for s, y, r in reversed(self.pairs):
            alpha = r * _dot(s, d)
            d = d - alpha[:, None] * y
            alphas.append(alpha)
        d = d * self.scale[:, None]
        for (s, y, r), alpha in zip(self.pairs, reversed(alphas), strict=True):
            d = d + (alpha - r * _dot(y, d))[:, None] * s
        return d

    def _search(
        self, d: Tensor, slope: Tensor, step: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Each row's step to the weak Wolfe conditions; points, values, gradients, which moved.

        A row that does not get there takes the best decrease it saw, or stays.
        """
        x, f, g = self.x.clone(), self.f.clone(), self.g.clone()
        low, high = torch.zeros_like(step), torch.full_like(step, torch.inf)
        open_ = torch.arange(len(step), device=step.device)
        for _ in range(MOST_TRIES):
            t = step[open_]
            there = self.x[open_] + t[:, None] * d[open_]
            value, gradient = self._evaluate(there)
            falls = value <= self.f[open_] + DECREASE * t * slope[open_]
            better = falls & (value < f[open_])
            x[open_[better]], f[open_[better]] = there[better], value[better]
            g[open_[better]] = gradient[better]
            flat = _dot(gradient, d[open_]) >= CURVATURE * slope[open_]
            low[open_] = torch.where(falls, t, low[open_])
            high[open_] = torch.where(falls, high[open_], t)
            wide = torch.isinf(high[open_])
            step[open_] = torch.where(wide, 2 * t, (low[open_] + high[open_]) / 2)
            open_ = open_[~(falls & flat)]
            if not len(open_):
                break
        return x, f, g, f < self.f


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Dot product of each row."""
    return torch.einsum("bn,bn->b", a, b)
