"""A study drawn: the mean of one measure along one axis of its grid, or over two of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from typing_extensions import override

from loopscope.core.arrays import F64, I64
from loopscope.core.errors import LoopscopeError
from loopscope.core.formula import Formula
from loopscope.core.labels import counted
from loopscope.core.measures.intervals import MEAN_KIND, Estimate, bootstrap_mean
from loopscope.core.sweeps.axes import AXES, NUMBERS, PLACES, Axis, axis_of, chosen, of_measure
from loopscope.core.sweeps.following import NOWHERE, Rows
from loopscope.core.sweeps.quantities import formula_of
from loopscope.core.views.base import Table, ViewData
from loopscope.core.views.curves_data import Curve, Curves

Kind = Literal["curves", "map"]
# Lines of one picture, and cells of a map; beyond them nothing can be told apart.
MOST_LINES, MOST_CELLS = 24, 40_000
# Numbers of prompts that are resampled at once, at most: beyond them an interval takes seconds.
MOST_RESAMPLED = 200_000
NO_ROWS = "There are no rows yet."
# Axes over which nothing is averaged unasked, and those of them that are the first lines.
ALONE = ("R", "step", "checkpoint", "intervention", "start")
FIRST_LINES = ("checkpoint", "intervention", "start")


@dataclass(frozen=True, slots=True)
class Choice:
    """What is drawn of a study.

    measure : "" for the first, and then the lines are checkpoints or cuts where there are several.
    along : the axis across.  by : the axis of the lines, or down in a map; "" for one line.
    kept : by axis, the one place that is drawn, "" for the mean over all of them; what is on no
        axis of the picture and not in it is averaged, but for those of `ALONE`.
    """

    measure: str = ""
    kind: Kind = "curves"
    along: str = ""
    by: str = ""
    kept: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Offered:
    """What can be chosen of a study's rows: measures, and the places of every axis with several."""

    measures: tuple[str, ...]
    axes: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class StudyCurves(Curves):
    """A mean and its interval along an axis.

    names : of the places across and of the lines.  n : prompts of each point ``[lines, across]``.
    cells : for each point, a row of the study's rows of that measure that is in it; -1 for none.
    """

    along: str = ""
    by: str = ""
    names: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    n: I64 = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    cells: I64 = field(default_factory=lambda: np.zeros((0, 0), np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class StudyMap(ViewData):
    """A mean over two axes.

    values : float64 ``[down, across]``, NaN where there is no number.  n, cells : as in
        `StudyCurves`.  names : of the places across and down.
    """

    values: F64
    n: I64
    cells: I64
    names: tuple[tuple[str, ...], tuple[str, ...]]
    along: str
    by: str
    formula: Formula
    missing: str = ""

    @property
    @override
    def drawn_words(self) -> str:
        """What cells and shades are."""
        return (
            f"Across: {AXES[self.along]}. Down: {AXES[self.by]}. Shade: the mean, bright is high; "
            "hatched cells have no number."
        )


StudyPicture = StudyCurves | StudyMap


def offered(rows: Rows, measure: str = "") -> Offered:
    """What can be chosen of these rows; the axes are those of ``measure``, or of the first."""
    used = np.unique(rows.codes["measure"]).tolist()
    measures = tuple(rows.words["measure"][i] for i in used)
    own = of_measure(rows, measure if measure in measures else next(iter(measures), ""))
    axes = {}
    for key in AXES:
        there = chosen(own, own.codes[key] != NOWHERE) if key in PLACES else own
        axes[key] = axis_of(there, key).names
    return Offered(measures, {key: names for key, names in axes.items() if len(names) > 1})


def settled(choice: Choice, there: Offered) -> Choice:
    """The choice as far as these rows have it; what they lack is what comes first.

    Of an axis of `ALONE` that is not in the picture one place is kept: the longest run, the last
    step, what the study names first.
    """
    measure = choice.measure if choice.measure in there.measures else ""
    measure = measure or next(iter(there.measures), "")
    axes = list(there.axes)
    along = choice.along if choice.along in axes else next(iter(axes), "R")
    others = [key for key in axes if key != along]
    by = choice.by if choice.by in others else ""
    if not choice.measure:
        by = next((key for key in FIRST_LINES if key in others), "")
    if choice.kind == "map" and not by and others:
        by = others[0]
    kept = {
        key: name
        for key, name in choice.kept.items()
        if key in others and key != by and name in ("", *there.axes[key])
    }
    for key in ALONE:
        if key in others and key != by:
            last = key in ("R", "step")
            kept.setdefault(key, there.axes[key][-1 if last else 0])
    return Choice(measure, choice.kind, along, by, kept)


def picture(rows: Rows, choice: Choice) -> StudyPicture:
    """Average the rows as a `settled` choice says; the interval is over prompts.

    Where prompts are on an axis of the picture it is over seeds.
    """
    own = kept_rows(rows, choice)
    along = axis_of(own, choice.along)
    by = axis_of(own, choice.by) if choice.by else None
    return _map(own, choice, along, by) if choice.kind == "map" else _curves(own, choice, along, by)


def kept_rows(rows: Rows, choice: Choice) -> Rows:
    """The rows that a picture is made of, the first of the grid first."""
    own = of_measure(rows, choice.measure)
    for key, name in choice.kept.items():
        if name:
            axis = axis_of(own, key)
            code = axis.names.index(name) if name in axis.names else -1
            own = chosen(own, axis.codes == code)
    for key in {choice.along, choice.by} & PLACES:
        own = chosen(own, own.codes[key] != NOWHERE)
    order = ("token", "head", "layer", "R", "seed", "line", "prompts", "start", "intervention",
             "checkpoint")  # fmt: skip
    return chosen(own, np.lexsort([own.codes[key] for key in order]))


def _formula(choice: Choice, own: Rows) -> Formula:
    """Of what is drawn; of a measure that is not installed here only its unit is known."""
    try:
        return formula_of(choice.measure)
    except (KeyError, LoopscopeError):
        units = [own.words["unit"][i] for i in own.codes["unit"][:1].tolist()]
        return Formula(choice.measure or "value", "", "".join(units), "a measure of a plug-in")


# ---- means ----
@dataclass(frozen=True, slots=True, eq=False)
class _Means:
    """Means ``[lines, across]`` with n, a row of each, and, where asked for, their interval."""

    value: F64
    n: I64
    cells: I64
    estimate: Estimate | None
    unit: str


def _means(own: Rows, along: Axis, by: Axis | None, *, interval: bool) -> _Means:
    """Average first within a prompt, so that each counts once, then over prompts."""
    shape = (1 if by is None else len(by), len(along))
    place = along.codes if by is None else by.codes * len(along) + along.codes
    on_axes = {along.key, "" if by is None else by.key}
    unit = "seed" if "prompt" in on_axes else "prompt"
    units = axis_of(own, unit)
    n_places = shape[0] * shape[1]
    each = np.full((len(units), n_places), np.nan)
    known = np.isfinite(own.value)
    flat = units.codes[known] * n_places + place[known]
    count = np.bincount(flat, minlength=each.size)
    total = np.bincount(flat, own.value[known], minlength=each.size)
    each.ravel()[count > 0] = total[count > 0] / count[count > 0]
    n = np.isfinite(each).sum(0)
    with np.errstate(invalid="ignore"):
        value = np.where(n > 0, np.nansum(each, 0) / np.maximum(n, 1), np.nan)
    cells = np.full(n_places, -1)
    cells[place[::-1]] = np.arange(len(own))[::-1]
    estimate = None
    if interval and each.size <= MOST_RESAMPLED:
        estimate = bootstrap_mean(each.reshape(len(units), *shape))
    return _Means(value.reshape(shape), n.reshape(shape), cells.reshape(shape), estimate, unit)


def _curves(own: Rows, choice: Choice, along: Axis, by: Axis | None) -> StudyCurves:
    formula = _formula(choice, own)
    if not len(own):
        return StudyCurves(NO_ROWS, (), (), "", "", formula, missing=NO_ROWS)
    means = _means(own, along, by, interval=True)
    names = ("",) if by is None else by.names
    curves = []
    for i, name in enumerate(names[:MOST_LINES]):
        low, high = _ends(means, i)
        curves.append(
            Curve(
                name, along.at, means.value[i], low, high, "only" if by is None else "token",
                i, len(names),
            )
        )  # fmt: skip
    most = int(means.n.max(initial=0))
    bands = ""
    if any(c.low is not None for c in curves):
        least = int(means.n[means.n > 0].min(initial=most))
        n = str(most) if least == most else f"{least} to {most}"
        bands = f"{MEAN_KIND}, n = {n} {means.unit}{'s' * (most != 1)}"
    return StudyCurves(
        _statement(choice, means, along, by), (formula,), tuple(curves), along.label,
        f"{formula.name} [{formula.unit}]", formula, whole_x=True, bands=bands,
        x_names=() if along.key in NUMBERS else along.names, along=along.key,
        by="" if by is None else by.key, names=(along.names, names), n=means.n, cells=means.cells,
    )  # fmt: skip


def _ends(means: _Means, line: int) -> tuple[F64 | None, F64 | None]:
    own = means.estimate
    if own is None or not np.isfinite(own.low[line]).any():
        return None, None
    return own.low[line], own.high[line]


def _map(own: Rows, choice: Choice, along: Axis, by: Axis | None) -> StudyMap:
    formula = _formula(choice, own)
    empty = np.zeros((0, 0))
    none = StudyMap(
        NO_ROWS, (), empty, empty.astype(np.int64), empty.astype(np.int64), ((), ()), along.key,
        choice.by or "R", formula, NO_ROWS,
    )  # fmt: skip
    if not len(own):
        return none
    if by is None:
        why = "A heat map needs two axes with several places each; this grid has one."
        return replace(none, statement=why, missing=why)
    if len(along) * len(by) > MOST_CELLS:
        why = f"{len(along) * len(by):,} cells cannot be told apart: choose other axes."
        return replace(none, statement=why, missing=why)
    means = _means(own, along, by, interval=False)
    return StudyMap(
        _statement(choice, means, along, by), (formula,), means.value, means.n, means.cells,
        (along.names, by.names), along.key, by.key, formula,
    )  # fmt: skip


def _statement(choice: Choice, means: _Means, along: Axis, by: Axis | None) -> str:
    """What is averaged over what, and what is kept."""
    most = int(means.n.max(initial=0))
    text = f"Mean of {choice.measure} over {counted(most, means.unit)}"
    text += f", by {along.label}" + ("" if by is None else f" and {by.label}")
    if any(choice.kept.values()):
        text += "; " + ", ".join(
            f"R = {name}" if key == "R" else f"{AXES[key]} {name}"
            for key, name in choice.kept.items()
            if name
        )
    if by is not None and choice.kind == "curves" and len(by) > MOST_LINES:
        text += f"; the first {MOST_LINES} of {len(by)} lines are drawn"
    return text + "."


# ---- numbers ----
def table(data: StudyPicture) -> Table:
    """One row for each point or cell: its places, the mean, its interval, n."""
    value = f"{data.formula.name} [{data.formula.unit}]"
    down = (AXES[data.by],) if data.by else ()
    if isinstance(data, StudyMap):
        return Table((*down, AXES[data.along], value, "n"), _map_rows(data))
    columns = (*down, AXES.get(data.along, ""), value, "low", "high", "interval", "n")
    return Table(columns, _curve_rows(data))


def _map_rows(data: StudyMap) -> Iterator[tuple[object, ...]]:
    for i, down in enumerate(data.names[1]):
        for j, across in enumerate(data.names[0]):
            yield down, across, float(data.values[i, j]), int(data.n[i, j])


def _curve_rows(data: StudyCurves) -> Iterator[tuple[object, ...]]:
    for i, curve in enumerate(data.curves):
        for j, across in enumerate(data.names[0]):
            ends: tuple[object, ...] = ("", "", "")
            if curve.low is not None and curve.high is not None:
                ends = (float(curve.low[j]), float(curve.high[j]), data.bands)
            down = (data.names[1][i],) if data.by else ()
            yield *down, across, float(curve.y[j]), *ends, int(data.n[i, j])
