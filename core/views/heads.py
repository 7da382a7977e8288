"""Head consistency: every head's pattern against a reference, by recurrence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from loopscope.core.measures.heads import (
    F64,
    MEASURE_LABELS,
    MEASURES,
    STATISTICS,
    HeadStatistics,
    MeasureKey,
    PatternMeasure,
    compare,
    head_statistics,
)
from loopscope.core.recording import F32, Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import Table, ViewData, option

Index = npt.NDArray[np.int64]
Reference = Literal["previous", "last", "chosen"]
Scale = Literal["data", "bound"]
SCALE_LABELS = {"data": "least alike shown", "bound": "least alike possible"}

NO_RUN = "No recurrence has been run. Press Space to run one."
NO_PATTERNS = "This run did not keep attention patterns. Turn on keeping them, then run again."


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the head consistency matrix."""

    measure: MeasureKey = option(
        "frobenius", "Measure", "How two patterns of a head are compared", labels=MEASURE_LABELS
    )
    reference: Reference = option(
        "previous",
        "Compared with",
        "Which pattern of the same head each pattern is compared with",
        labels={
            "previous": "previous recurrence",
            "last": "last recurrence",
            "chosen": "chosen recurrence",
        },
    )
    recurrence: int = option(
        1, "Chosen recurrence", "Used when compared with a chosen recurrence", low=1
    )
    order: Literal["layer", "consistency"] = option(
        "layer",
        "Order of rows",
        labels={"layer": "layer and head", "consistency": "least consistent first"},
    )
    scale: Scale = option("data", "Darkest", "Which value is drawn darkest", labels=SCALE_LABELS)
    statistics: bool = option(
        True,
        "Statistics of each pattern",
        "Entropy, sink, previous-token, self and induction beside the matrix",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Data(ViewData):
    """The matrix and what goes beside it. ``R`` recurrences, ``L`` layers, ``H`` heads.

    values : float64 ``[R, L, H]`` in the unit of `measure`; NaN where there is no reference
        (recurrence 1 has no previous one) or a pattern is not finite.
    measure : how `values` are measured.  far : the value drawn darkest.
    reference : in words, such as "the previous recurrence".
    reference_recurrence : int64 ``[R]``, what each column is compared with; 0 for nothing.
    order : int64 ``[L H]``, ``layer * H + head`` of each row, top first.
    consistency : float64 ``[L, H]``, mean of `values` over recurrences other than the reference.
    statistics : of each pattern, arrays ``[R, L, H]``.
    show_statistics : whether they are shown.
    recurrence : where the cursor was; the page shows the statistics of this recurrence.
    missing : what is missing when there is nothing to show, or "".
    """

    values: F64
    measure: PatternMeasure
    far: float
    reference: str
    reference_recurrence: Index
    order: Index
    consistency: F64
    statistics: HeadStatistics
    show_statistics: bool
    recurrence: int
    head_names: tuple[str, ...]
    missing: str = ""

    @property
    def row_labels(self) -> tuple[str, ...]:
        """``layer.head`` of each row, top first."""
        return tuple(self.head_names[i] for i in self.order)

    def rows(self, values: F64) -> F64:
        """Arrange ``[R, L, H]`` as the matrix is drawn, ``[L H, R]``."""
        return values.reshape(len(values), -1).T[self.order]


def patterns_of(recording: Recording) -> tuple[F32, str]:
    """Patterns ``[R, L, H, T, T]``, and what is missing when there are none."""
    arch, t = recording.info.architecture, recording.n_tokens
    patterns = recording.patterns
    if patterns is None:
        empty = np.zeros((0, recording.n_layers, arch.layer.n_heads, t, t), np.float32)
        return empty, NO_PATTERNS
    return patterns, "" if len(patterns) else NO_RUN


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Compare every head's pattern with the reference and measure each pattern."""
    patterns, missing = patterns_of(recording)
    arch = recording.info.architecture
    causal = arch.layer.causal
    names = tuple(arch.head_name(*at) for at in np.ndindex(arch.n_block, arch.layer.n_heads))
    measure = MEASURES[options.measure]
    values, reference, words = _against_reference(patterns, options, causal)
    numbers = np.arange(1, len(patterns) + 1)
    consistency = _mean_where(values, (reference != numbers) & (reference > 0))
    return Data(
        statement=missing or _statement(values, consistency, measure, words, reference, names),
        formulas=(measure.formula, *STATISTICS.values()),
        values=values,
        measure=measure,
        far=_far(values, measure, options.scale, recording.n_tokens),
        reference=words,
        reference_recurrence=reference,
        order=_order(consistency, measure, options.order),
        consistency=consistency,
        statistics=head_statistics(patterns, recording.info.token_ids, causal=causal),
        show_statistics=options.statistics,
        recurrence=min(selection.recurrence, len(patterns)),
        head_names=names,
        missing=missing,
    )


def _against_reference(patterns: F32, options: Options, causal: bool) -> tuple[F64, Index, str]:
    """Values ``[R, L, H]``, the reference of each recurrence, and the reference in words."""
    n = len(patterns)
    if options.reference == "previous":
        values = np.full(patterns.shape[:3], np.nan)
        if n > 1:
            values[1:] = compare(patterns[1:], patterns[:-1], options.measure, causal=causal)
        return values, np.arange(n), "the previous recurrence"
    chosen = n if options.reference == "last" else int(options.recurrence)
    words = "the last recurrence" if options.reference == "last" else f"recurrence {chosen}"
    if not 1 <= chosen <= n:
        return np.full(patterns.shape[:3], np.nan), np.zeros(n, np.int64), words
    values = compare(patterns, patterns[chosen - 1 : chosen], options.measure, causal=causal)
    return values, np.full(n, chosen), words


def _mean_where(values: F64, counted: npt.NDArray[np.bool_]) -> F64:
    """Mean ``[L, H]`` over the counted recurrences; NaN when there is none."""
    if not counted.any():
        return np.full(values.shape[1:], np.nan)
    mean: F64 = values[counted].mean(0)
    return mean


def _far(values: F64, measure: PatternMeasure, scale: Scale, n_tokens: int) -> float:
    """Return the value drawn darkest."""
    if scale == "bound":
        return measure.bound(n_tokens)
    return measure.least_alike(values, n_tokens)


def _order(consistency: F64, measure: PatternMeasure, order: str) -> Index:
    """Rows, top first: by layer and head, or least consistent first (not finite before all)."""
    flat = consistency.ravel()
    if order == "layer" or not np.isfinite(flat).any():
        return np.arange(flat.size)
    unlike = np.abs(flat - measure.identical)
    return np.argsort(-np.where(np.isfinite(unlike), unlike, np.inf), kind="stable")


def _statement(
    values: F64,
    consistency: F64,
    measure: PatternMeasure,
    words: str,
    reference: Index,
    names: tuple[str, ...],
) -> str:
    """Say the median of the newest informative recurrence and name the least consistent head."""
    n = len(values)
    numbers = np.arange(1, n + 1)
    informative = (reference > 0) & (reference != numbers)
    if not informative.any():
        if not reference.any() and words.startswith("recurrence"):
            return f"There is nothing to compare with: {words} is not among the {n} that were run."
        return "One recurrence has been run; a second one is needed to compare patterns."
    columns = np.flatnonzero(informative & np.isfinite(values).any((1, 2)))
    if not columns.size:
        return "The attention patterns are not finite, so no two can be compared."
    last = int(columns[-1])
    median = float(np.nanmedian(values[last]))
    text = f"{measure.label} to {words}: median {median:.3g} at recurrence {last + 1}"
    unlike = np.abs(consistency - measure.identical)
    if np.isfinite(unlike).any():
        worst = int(np.nanargmax(unlike))
        text += f"; head {names[worst]} is least consistent (mean {consistency.flat[worst]:.3g})"
    broken = int((~np.isfinite(consistency)).sum())
    if broken:
        text += f"; {broken} of {consistency.size} heads have patterns that are not finite"
    return text + "."


def table(data: Data) -> Table:
    """One row for each head and recurrence: the comparison and the statistics."""
    columns = (
        "recurrence",
        "layer",
        "head",
        "compared with recurrence",
        f"{data.measure.label} [{data.measure.formula.unit}]",
        *(f"{s.name} [{s.unit}]" for s in STATISTICS.values()),
    )
    return Table(columns, _table_rows(data))


def _table_rows(data: Data) -> Iterator[tuple[object, ...]]:
    kept = [getattr(data.statistics, key) for key in STATISTICS]
    for r, layer, head in np.ndindex(data.values.shape):
        at = (r, layer, head)
        reference = int(data.reference_recurrence[r])
        yield (
            r + 1,
            layer,
            head,
            reference or "",
            float(data.values[at]),
            *(float(values[at]) for values in kept),
        )
