"""Curves as plain data: what every view that draws lines over recurrences or depth hands over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from typing_extensions import override

from loopscope.core.arrays import F64
from loopscope.core.formula import Formula
from loopscope.core.selection import RecurrenceRange
from loopscope.core.views.base import Table, ViewData

# What a curve's colour means: its recurrence (sequential map), its layer of the cycle, one token or
# run among several, a reference that is no measurement, or the one curve there is.
Role = Literal["recurrence", "layer", "token", "reference", "only"]


_LINES = (
    ("recurrence", "One line for each recurrence, from dark (the first) to light (the last)"),
    ("layer", "One line for each layer"),
    ("token", "One line for each of those named"),
)

LineStyle = Literal["solid", "dashed", "dotted", "dash-dot", "dash-dot-dot"]
# Colours that tell curves of a kind apart, and how the lines after so many are drawn.
N_COLOURS = 8
_AGAIN: tuple[LineStyle, ...] = ("solid", "dash-dot", "dash-dot-dot")


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One curve.

    name : shown at its end or in the legend.
    x, y : float64 ``[n]``; NaN in ``y`` breaks the line.
    low, high : ends of an interval around ``y``, or None.
    role, index, count : what its colour means, and which of how many.
    place : fields of the cursor at any of its points.
    places : the same for each point, ``n`` of them, or () when `place` is all there is.
    dashed : for what is not a measurement of this run (a null value, a bound), or for the second
        of two that share a colour.
    dotted : for the second run, where both are drawn on one pair of axes.
    notes : what each point is, in words, ``n`` of them, or () when name and x say it.
    """

    name: str
    x: F64
    y: F64
    low: F64 | None = None
    high: F64 | None = None
    role: Role = "only"
    index: int = 0
    count: int = 1
    place: dict[str, int] = field(default_factory=dict)
    places: tuple[dict[str, int], ...] = ()
    dashed: bool = False
    dotted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def line(self) -> LineStyle:
        """How its line is drawn: with the same colour again after eight, in another style."""
        if self.dashed or self.dotted:
            return "dashed" if self.dashed else "dotted"
        again = self.index // N_COLOURS if self.role in ("token", "layer") else 0
        return _AGAIN[again % len(_AGAIN)]


@dataclass(frozen=True, slots=True, eq=False)
class Curves(ViewData):
    """Curves over one pair of axes; views subclass it to add what only they know.

    x_label, y_label : what, symbol and unit.
    log_x, log_y : whether an axis is logarithmic; values of 0 and below are not drawn then.
    formula : of the vertical axis.
    cursor : the field of the cursor that stands on the horizontal axis, or "" for none.
    whole_x : whether the horizontal axis counts.
    missing : what is missing when there is nothing to show, or "".
    marks : places on the horizontal axis with their names, drawn as thin upright lines.
    bands : what the bands are: level, kind and of how many; "" where no curve has one.
    x_shown : the part of the horizontal axis that is shown at first, or None for all of it.
    x_names : what stands at 0, 1, ... on the horizontal axis, () where these are numbers.
    """

    curves: tuple[Curve, ...]
    x_label: str
    y_label: str
    formula: Formula
    log_y: bool = False
    cursor: str = ""
    whole_x: bool = True
    missing: str = ""
    log_x: bool = False
    marks: tuple[tuple[float, str], ...] = ()
    x_shown: tuple[float, float] | None = None
    bands: str = ""
    x_names: tuple[str, ...] = ()

    @property
    @override
    def drawn_words(self) -> str:
        """What the lines, bands and marks are."""
        roles = {c.role for c in self.curves}
        parts = [text for role, text in _LINES if role in roles]
        if any(c.dashed for c in self.curves):
            parts.append("Dashed: a reference, or the second of two that share a colour")
        if any(c.dotted for c in self.curves):
            parts.append("Dotted: the second run")
        if self.bands:
            parts.append(f"Bands: {self.bands}")
        parts += [f"Upright line: {name}" for _, name in self.marks]
        logs = [name for name, log in (("horizontal", self.log_x), ("vertical", self.log_y)) if log]
        if logs:
            parts.append(f"Logarithmic {' and '.join(logs)} axis; values of 0 are not drawn")
        return " ".join(f"{part}." for part in parts)


def curves_within(data: Curves, shown: RecurrenceRange) -> Curves:
    """The part of the curves that is of a range of recurrences, on a log axis where asked.

    Curves over recurrences and along depth are shown in part; of curves that are each of one
    recurrence those that are not in the range are left out.
    """
    if data.missing or not data.curves or (shown.whole and not shown.log):
        return data
    if any(c.role == "recurrence" for c in data.curves):
        latest = max(c.place.get("recurrence", 0) for c in data.curves)
        first, last = shown.ends(latest)
        kept = [c for c in data.curves if first <= c.place.get("recurrence", first) <= last]
        return replace(data, curves=tuple(kept))
    ends = _axis_ends(data, shown)
    if ends is None:
        return data
    x_shown = data.x_shown if shown.whole and data.x_shown is not None else ends
    return replace(data, x_shown=x_shown, log_x=data.log_x or (shown.log and ends[0] > 0))


def _axis_ends(data: Curves, shown: RecurrenceRange) -> tuple[float, float] | None:
    """Ends on the horizontal axis of a range; None where it is not of recurrences."""
    if data.cursor == "recurrence":
        xs = np.concatenate([c.x for c in data.curves])
        xs = xs[np.isfinite(xs)]
        if not len(xs):
            return None
        first, last = shown.ends(int(xs.max()))
        return max(float(first), float(xs.min())), float(last)
    at = [
        (place["recurrence"], float(x))
        for c in data.curves
        for place, x in zip(c.places, c.x, strict=bool(c.places))
        if "recurrence" in place
    ]
    if not at or data.cursor:
        return None
    first, last = shown.ends(max(r for r, _ in at))
    inside = [x for r, x in at if first <= r <= last]
    return (min(inside), max(inside)) if len(inside) > 1 else None


def curves_table(data: Curves, *, x: str, curve: str = "curve") -> Table:
    """One row for each point: curve, ``x``, value and, where there are any, its interval."""
    value = f"{data.formula.name} [{data.formula.unit}]"
    intervals = any(c.low is not None for c in data.curves)
    columns = (curve, x, value, *(("low", "high", "interval") if intervals else ()))
    return Table(columns, _rows(data, intervals))


def _rows(data: Curves, intervals: bool) -> Iterator[tuple[object, ...]]:
    for c in data.curves:
        for i in range(len(c.x)):
            ends: tuple[object, ...] = ()
            if intervals:
                known = c.low is not None and c.high is not None
                ends = (float(c.low[i]), float(c.high[i])) if known else ("", "")  # type: ignore[index]
                ends = (*ends, data.bands if known else "")
            at = float(c.x[i])
            yield c.name, int(at) if at.is_integer() else at, float(c.y[i]), *ends


def curves_of_two(
    first: Curves, second: Curves, name: str, back: Callable[[dict[str, int]], dict[str, int]]
) -> tuple[Curve, ...]:
    """Curves of both runs on one pair of axes.

    Those of the second run are called ``name`` and dotted; where each run has the one curve they
    get a colour each. ``back`` turns a place of the second run into one of the first.
    """
    alone = all(c.role in ("only", "reference") for c in (*first.curves, *second.curves))
    own = [
        replace(c, role="token", index=0, count=2, name=c.name or "this run")
        if alone and c.role == "only"
        else c
        for c in first.curves
    ]
    others = []
    for c in second.curves:
        if c.role == "reference":
            continue  # what is no measurement of either run
        moved = replace(
            c,
            name=f"{name}: {c.name}" if c.name else name,
            place=back(c.place) if c.place else {},
            places=tuple(back(place) for place in c.places),
        )
        if alone:
            others.append(replace(moved, role="token", index=1, count=2))
        else:
            others.append(replace(moved, dotted=True))
    return (*own, *others)
