"""What the head consistency matrix shows, and its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from loopscope.core.arrays import F64
from loopscope.core.measures.head_groups import NAMES, Groups
from loopscope.core.measures.heads import MEASURE_LABELS, HeadStatistics, MeasureKey, PatternMeasure
from loopscope.core.options import setting
from loopscope.core.views.base import ViewData

Index = npt.NDArray[np.int64]
Reference = Literal["previous", "last", "chosen"]
Scale = Literal["data", "bound"]
Shown = Literal[
    "all", "changing", "stable", "sink", "previous-token", "self", "induction", "broad", "other",
]  # fmt: skip
SHOWN_LABELS = {
    "all": "all heads",
    "changing": "not yet stable",
    "stable": "stable",
    **{name: f"groups: {name}" for name in (*NAMES, "broad", "other")},
}
ColourScale = Literal["auto", "linear", "log"]
COLOUR_SCALES = {
    "auto": "log where a distance spans three decades",
    "linear": "linear",
    "log": "log: small differences apart",
}
# From how far apart the smallest and the largest difference are, log is chosen.
DECADES = 1e3
SCALE_LABELS = {"data": "least alike shown", "bound": "least alike possible"}


def near_of(values: F64, measure: PatternMeasure, far: float, colours: ColourScale) -> float:
    """The difference drawn brightest on a log scale, of ``values`` of any shape; else 0."""
    near = 0.0 if colours == "linear" else measure.least_unlike(values, far)
    if colours == "auto" and (not measure.is_distance or near * DECADES > far):
        return 0.0
    return near


class Scaled(Protocol):
    """A map with a colour scale: ``far`` is drawn darkest, ``near`` brightest, see `near_of`."""

    @property
    def missing(self) -> str:
        """What is missing when there is nothing to show, or ""."""

    @property
    def measure(self) -> PatternMeasure:
        """How its values are measured."""

    @property
    def far(self) -> float:
        """The value drawn darkest."""

    @property
    def near(self) -> float:
        """The difference drawn brightest on a log scale, 0 for a linear one."""


def scale_of_two(one: Scaled, other: Scaled) -> tuple[float, float] | None:
    """``far`` and ``near`` of the scale that holds both; None where they have none in common."""
    if one.missing or other.missing or one.measure is not other.measure:
        return None
    known = [near for near in (one.near, other.near) if near]
    return one.measure.farther(one.far, other.far), min(known, default=0.0)


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the head consistency matrix."""

    measure: MeasureKey = setting(
        "frobenius",
        "Measure",
        "How two patterns of a head are compared",
        labels=MEASURE_LABELS,
        at_hand=True,
    )
    reference: Reference = setting(
        "previous",
        "Compared with",
        "Which pattern of the same head each pattern is compared with",
        labels={
            "previous": "previous recurrence",
            "last": "last recurrence",
            "chosen": "chosen recurrence",
        },
    )
    recurrence: int = setting(
        1,
        "Chosen recurrence",
        "Used when compared with a chosen recurrence",
        low=1,
        idle=lambda o: "" if o.reference == "chosen" else "no recurrence is chosen to compare with",
    )
    order: Literal["layer", "consistency", "group"] = setting(
        "layer",
        "Order of rows",
        labels={
            "layer": "layer and head",
            "consistency": "least consistent first",
            "group": "by group: heads that do alike",
        },
    )
    shown: Shown = setting(
        "all",
        "Heads shown",
        "By whether their change to the recurrence before has come below a tolerance, or by what "
        "they do most",
        labels=SHOWN_LABELS,
    )
    layer: int = setting(-1, "Of layer", "Heads of one layer only", low=-1, lowest="every layer")
    scale: Scale = setting("data", "Darkest", "Which value is drawn darkest", labels=SCALE_LABELS)
    statistics: bool = setting(
        True,
        "Statistics of each pattern",
        "Entropy, sink, previous-token, self and induction beside the matrix",
    )
    tolerance: float = setting(
        0.05,
        "Stable below",
        "A head is stable since its change to the recurrence before, measured as here, stays below",
        low=0,
    )
    step_tolerance: float = setting(
        1e-2,
        "Layer settled below",
        "A layer has settled since its relative step, median over tokens, stays below",
        low=0,
        high=1,
    )
    groups: int = setting(
        4, "Groups", "Heads are grouped by what they do into as many", low=1, high=26
    )
    colours: ColourScale = setting(
        "auto", "Colour scale", "How differences become colours", labels=COLOUR_SCALES
    )


@dataclass(frozen=True, slots=True, eq=False)
class Stability:
    """When heads and layers stopped changing, and how the two go together.

    since, layer_since : int64 ``[L, H]`` and ``[L]``, the recurrence; 0 for not yet.
    r, n : correlation of log head change with log relative step, and its points.
    ranks, n_ranks : rank correlation of the two recurrences, and its heads.
    NaN where a correlation does not exist.
    """

    since: Index
    layer_since: Index
    r: float
    n: int
    ranks: float
    n_ranks: int

    @property
    def ranks_missing(self) -> str:
        """Why there is no rank correlation, or ""."""
        if np.isfinite(self.ranks):
            return ""
        if self.n_ranks < 3:
            return "fewer than 3 heads are stable in a layer that has settled"
        return "all heads or all layers since the same recurrence"


@dataclass(frozen=True, slots=True, eq=False)
class Data(ViewData):
    """The matrix and what goes beside it. ``R`` recurrences, ``L`` layers, ``H`` heads.

    values : float64 ``[R, L, H]`` in the unit of `measure`; NaN where there is no reference
        (recurrence 1 has no previous one) or a pattern is not finite.
    measure : how `values` are measured.  far : the value drawn darkest.
    reference : in words, such as "the previous recurrence".
    reference_recurrence : int64 ``[R]``, what each column is compared with; 0 for nothing.
    order : int64 ``[N]``, ``layer * H + head`` of each head shown, top first.
    consistency : float64 ``[L, H]``, mean of `values` over recurrences other than the reference.
    statistics : of each pattern, arrays ``[R, L, H]``.
    stability : since when each head is stable.  groups : of heads ``[L H]`` that do alike.
    show_statistics : whether they are shown.
    missing : what is missing when there is nothing to show, or "".
    near : the difference drawn brightest on a log colour scale, 0 for a linear one.
    first : recurrence of ``values[0]``.  log_r : whether the recurrences stand on a log axis.
    """

    values: F64
    measure: PatternMeasure
    far: float
    reference: str
    reference_recurrence: Index
    order: Index
    consistency: F64
    statistics: HeadStatistics
    stability: Stability
    groups: Groups
    head_names: tuple[str, ...]
    options: Options
    missing: str = ""
    near: float = 0.0
    first: int = 1
    log_r: bool = False

    @property
    @override
    def drawn_words(self) -> str:
        """What cells, shades and marks are."""
        return (
            "A row for each head (layer, head), a column for each recurrence. Shade: how alike its "
            f"attention is to that at {self.reference}, {self.measure.identical:g} where it is the "
            "same. Hatched: there is nothing to compare with."
        )

    @property
    def show_statistics(self) -> bool:
        """Whether the statistics of each pattern are shown."""
        return self.options.statistics

    @property
    def row_groups(self) -> tuple[tuple[int, int, str], ...]:
        """First and last row and label of each group, where the rows are ordered by group."""
        if self.options.order != "group":
            return ()
        rows = self.groups.of[self.order]
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        ends = [*(starts[1:] - 1).tolist(), len(rows) - 1]
        return tuple(
            (int(a), b, self.groups.label(int(rows[a]))) for a, b in zip(starts, ends, strict=True)
        )

    def since_text(self, layer: int, head: int) -> str:
        """The recurrence since which a head is stable, or "not yet"."""
        since = int(self.stability.since[layer, head])
        return str(since) if since else "not yet"

    @property
    def row_labels(self) -> tuple[str, ...]:
        """``layer.head`` of each row, top first."""
        return tuple(self.head_names[i] for i in self.order)

    def rows(self, values: F64) -> F64:
        """Arrange ``[R, L, H]`` as the matrix is drawn, ``[N, R]``."""
        return values.reshape(len(values), -1).T[self.order]
