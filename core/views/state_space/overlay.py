"""One thing drawn beside the trajectories of the state-space plotter, on the same axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loopscope.core.arrays import F64, I64

Kind = Literal["points", "path", "segment"]
# How it looks: a fixed point (filled, hollow, muted), a slow point (cross), the real and the
# imaginary part of a mode, a run from another start, the second run.
Role = Literal[
    "stable", "unstable", "marginal", "slow point", "below resolution", "mode", "mode, imaginary",
    "run", "second run",
]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """Something drawn beside the trajectories: a row for each shown token.

    name : in the legend; overlays of one name and look have one entry.
    kind : "points" (each for itself), "path" (a row joined up) or "segment" (from a row's first
        point to its second).
    role, index : how it looks, and which of several runs it is.
    points : float64 ``[N, S, d]`` states, or ``[N, S, k]`` coordinates once projected; NaN where
        there is nothing.
    recurrences, layers : int64 ``[S]``, where each station is, -1 for nowhere.
    tooltips : what pointing at a row says, ``N`` of them.
    """

    name: str
    kind: Kind
    role: Role
    points: F64
    recurrences: I64
    layers: I64
    tooltips: tuple[str, ...]
    index: int = 0
