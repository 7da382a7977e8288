"""One head at every recurrence against itself at every other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
from typing_extensions import override

from loopscope.core.arrays import F64
from loopscope.core.measures.base import NO_RUN, RUNS_ONCE, has_run_once
from loopscope.core.measures.heads import (
    MEASURE_LABELS,
    MEASURES,
    MeasureKey,
    PatternMeasure,
    compare_all,
)
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.selection import RecurrenceRange, Selection
from loopscope.core.views.base import RECURRENCE, Table, ViewData, ViewDefinition
from loopscope.core.views.difference import (
    Difference,
    difference_formula,
    left_out,
    make_difference,
    recurrence_pairs,
    recurrence_side,
)
from loopscope.core.views.heads import without_patterns
from loopscope.core.views.heads_data import (
    COLOUR_SCALES,
    SCALE_LABELS,
    ColourScale,
    Scale,
    near_of,
    scale_of_two,
)
from loopscope.core.views.pattern import clamp_head
from loopscope.core.views.second_run import SecondRun


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the recurrence by recurrence map."""

    measure: MeasureKey = setting(
        "frobenius",
        "Measure",
        "How two patterns of the head are compared",
        labels=MEASURE_LABELS,
        at_hand=True,
    )
    scale: Scale = setting("data", "Darkest", "Which value is drawn darkest", labels=SCALE_LABELS)
    colours: ColourScale = setting(
        "auto", "Colour scale", "How differences become colours", labels=COLOUR_SCALES
    )


@dataclass(frozen=True, slots=True, eq=False)
class Data(ViewData):
    """The map of one head.

    values : float64 ``[R, R]``, symmetric, in the unit of `measure`; row and column 0 are
        recurrence 1. NaN where a pattern is not finite.
    measure : how `values` are measured.  far : the value drawn darkest.
    layer, head, name : which head.
    missing : what is missing when there is nothing to show, or "".
    near : the difference drawn brightest on a log colour scale, 0 for a linear one.
    first : recurrence of row and column 0.  log_r : whether they stand on log axes.
    """

    values: F64
    measure: PatternMeasure
    far: float
    layer: int
    head: int
    name: str
    missing: str = ""
    near: float = 0.0
    first: int = 1
    log_r: bool = False

    @property
    @override
    def drawn_words(self) -> str:
        """What cells, shades and marks are."""
        return (
            "Rows and columns: recurrences, from 1. Shade: how alike the head's attention is at "
            f"the two, {self.measure.identical:g} where it is the same."
        )


# Of each run the head and measure last asked for, and its map.
_kept: WeakKeyDictionary[Recording, tuple[tuple[int, int, MeasureKey], F64]] = WeakKeyDictionary()


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Compare the selected head's patterns with one another."""
    missing, arch = without_patterns(recording), recording.info.architecture
    layer, head = clamp_head(selection, arch)
    name = arch.head_name(layer, head)
    measure = MEASURES[options.measure]
    t = recording.n_tokens
    values = _compared(recording, layer, head, options.measure)
    far = measure.bound(t) if options.scale == "bound" else measure.least_alike(values, t)
    once = f"{RUNS_ONCE.capitalize()}: head {name} has no earlier recurrence to compare with."
    return Data(
        statement=missing
        or (once if has_run_once(recording) else _statement(values, measure, name)),
        formulas=(measure.formula,),
        values=values,
        measure=measure,
        far=far,
        near=near_of(values, measure, far, options.colours),
        layer=layer,
        head=head,
        name=name,
        missing=missing,
        lacks=RECURRENCE if missing == NO_RUN else None,
    )


def _compared(recording: Recording, layer: int, head: int, measure: MeasureKey) -> F64:
    """`compare_all` of a head; what was compared before the run went on is not again."""
    patterns, which = recording.head_patterns(layer, head), (layer, head, measure)
    of, before = _kept.get(recording, (which, None))
    known = before if of == which else None
    if known is None or len(known) < len(patterns):
        t, causal = recording.n_tokens, recording.info.architecture.layer.causal
        every = np.reshape(list(patterns), (-1, t, t))
        known = compare_all(every, measure, causal=causal, known=known)
        _kept[recording] = which, known
    return known


def _statement(values: F64, measure: PatternMeasure, name: str) -> str:
    """Say how far the first pattern is from the last."""
    n = len(values)
    if n == 1:
        return f"Head {name} has run once; a second recurrence is needed to compare its patterns."
    unlike = np.abs(values - measure.identical)
    if not np.isfinite(unlike).any():
        return f"The patterns of head {name} are not finite, so no two can be compared."
    text = f"{measure.label} of head {name}: {values[0, -1]:.3g} between recurrences 1 and {n}"
    if n > 2:
        text += f", {values[-2, -1]:.3g} between the last two"
    return text + "."


def table(data: Data) -> Table:
    """One row for each pair of recurrences, each pair once."""
    columns = (
        "layer",
        "head",
        "recurrence",
        "other recurrence",
        f"{data.measure.label} [{data.measure.formula.unit}]",
    )
    return Table(columns, _table_rows(data))


def _table_rows(data: Data) -> Iterator[tuple[object, ...]]:
    for i, j in zip(*np.tril_indices(len(data.values)), strict=True):
        yield (
            data.layer,
            data.head,
            data.first + int(i),
            data.first + int(j),
            float(data.values[i, j]),
        )


def alike(one: Data, other: Data) -> tuple[Data, Data]:
    """Give both the colour scale that holds both."""
    if (scale := scale_of_two(one, other)) is None:
        return one, other
    far, near = scale
    return replace(one, far=far, near=near), replace(other, far=far, near=near)


def within(data: Data, shown: RecurrenceRange) -> Data:
    """Only these recurrences, both ways; the colour scale stays that of all."""
    first, last = shown.ends(len(data.values))
    first = max(first, 1)
    part = slice(first - 1, last)
    return replace(data, values=data.values[part, part], first=first, log_r=shown.log)


def difference(one: Data, other: Data, selection: Selection, second: SecondRun) -> Difference:
    """How much more, or less, two recurrences of the run shown differ than those of the second."""
    pairs = recurrence_pairs(range(1, len(one.values) + 1), second, (one.layer, other.layer))
    pairs = [(r, s) for r, s in pairs if s <= len(other.values)]
    here, there = [r - 1 for r, _ in pairs], [s - 1 for _, s in pairs]
    words = (
        "" if one.name == other.name else f"head {one.name} and head {other.name}",
        left_out("recurrences", len(pairs), len(one.values), len(other.values)),
    )
    side = recurrence_side([r for r, _ in pairs])
    return make_difference(
        one.values[np.ix_(here, here)], other.values[np.ix_(there, there)], side,
        replace(side, title="recurrence r′"), difference_formula(one.measure.formula), second,
        words, symmetric=True,
    )  # fmt: skip


VIEW = ViewDefinition(
    Options,
    compute,
    table,
    reads=frozenset({"layer", "head"}),
    alike=alike,
    difference=difference,
    within=within,
    compares_patterns=True,
)
