"""From states to coordinates: the form that states are taken in, then the axes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.measures import projection
from loopscope.core.measures.state_forms import StateForm, States
from loopscope.core.views.state_space.overlay import Overlay


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What the states of ``tokens`` are drawn in.

    form : what is done to each state first.  mean : float64 ``[d]``, subtracted then.
    axes : float64 ``[k, d]``, unit rows.
    """

    form: StateForm
    mean: F64
    axes: F64
    tokens: tuple[int, ...]

    def coordinates(self, states: States) -> F64:
        """Coordinates ``[N, S, k]`` of ``states [N, S, d]``, a row for each token."""
        return projection.project(self.form.of(states, self.tokens), self.mean, self.axes)

    def projected(self, overlay: Overlay) -> Overlay:
        """The same overlay in coordinates."""
        return replace(overlay, points=self.coordinates(overlay.points))

    def same(self, other: Frame) -> bool:
        """Whether states have the same coordinates in both."""
        mine, its = self.form.centres, other.form.centres
        centred = mine is its or (
            mine is not None and its is not None and np.array_equal(mine, its)
        )
        return (
            self.form.form == other.form.form
            and centred
            and np.array_equal(self.mean, other.mean)
            and np.array_equal(self.axes, other.axes)
        )


def _equal(a: F64 | None, b: F64 | None) -> bool:
    if a is None or b is None:
        return a is b
    return np.array_equal(a, b)
