"""Head consistency: every head's pattern against a reference, by recurrence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from loopscope.core.arrays import F64, Bools
from loopscope.core.measures.base import (
    NO_PATTERNS,
    NO_RUN,
    RUNS_ONCE,
    Measure,
    has_run_once,
    measure,
)
from loopscope.core.measures.head_groups import FEATURES, GROUP, Groups, group_heads
from loopscope.core.measures.head_rows import CHANGES, STATISTIC_ROWS
from loopscope.core.measures.head_stability import (
    RANKS,
    STABLE_SINCE,
    WITH_SETTLING,
    correlate,
    rank_correlation,
    stable_since,
)
from loopscope.core.measures.heads import (
    MEASURES,
    NO_REPEAT,
    STATISTICS,
    HeadStatistics,
    PatternMeasure,
    compare,
    even_attention,
    head_statistics,
)
from loopscope.core.measures.settling import relative_floor
from loopscope.core.measures.settling_rows import LAYER_RELATIVE_STEP
from loopscope.core.run.recording import Recording
from loopscope.core.selection import RecurrenceRange, Selection
from loopscope.core.views.base import RECURRENCE, Table, ViewDefinition
from loopscope.core.views.difference import (
    Difference,
    Side,
    difference_formula,
    goes_with,
    left_out,
    make_difference,
    recurrence_side,
)
from loopscope.core.views.heads_data import (
    SHOWN_LABELS,
    Data,
    Index,
    Options,
    Scale,
    Stability,
    near_of,
    scale_of_two,
)
from loopscope.core.views.second_run import SecondRun

__all__ = ["VIEW", "NO_PATTERNS", "Data", "Options", "compute", "table"]


def without_patterns(recording: Recording) -> str:
    """Why there is no pattern to show, or ""."""
    if not recording.capture.patterns:
        return NO_PATTERNS
    return "" if recording.n_recurrences else NO_RUN


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Compare every head's pattern with the reference and measure each pattern."""
    missing = without_patterns(recording)
    arch, n = recording.info.architecture, 0 if missing else recording.n_recurrences
    names = tuple(arch.head_name(*at) for at in np.ndindex(arch.n_block, arch.layer.n_heads))
    how = MEASURES[options.measure]
    # Rows that are kept as recurrences arrive: going on costs the new ones.
    changes = _rows(recording, CHANGES[options.measure], n)
    values, reference, words = _against_reference(recording, changes, options)
    consistency = _mean_where(values, (reference != np.arange(1, n + 1)) & (reference > 0))
    statistics = _statistics(recording, n)
    groups = _groups(recording, statistics, options)
    stability = _stability(recording, np.abs(changes - how.identical), options)
    far = _far(values, how, options.scale, recording.n_tokens)
    order = _order(consistency, how, groups, options.order)
    shown = _shown(stability, groups, options)
    if not missing and not shown.any():
        missing = f"None of the {shown.size} heads is shown ({_filter_words(options)})."
    data = Data(
        statement=missing,
        formulas=(how.formula, *STATISTICS.values(), STABLE_SINCE, WITH_SETTLING, RANKS, GROUP),
        values=values,
        measure=how,
        far=far,
        near=near_of(values, how, far, options.colours),
        reference=words,
        reference_recurrence=reference,
        order=order[shown[order]],
        consistency=consistency,
        statistics=statistics,
        stability=stability,
        groups=groups,
        head_names=names,
        options=options,
        missing=missing,
        lacks=RECURRENCE if missing == NO_RUN else None,
    )
    if not missing and has_run_once(recording):
        text = f"{RUNS_ONCE.capitalize()}: there is no earlier recurrence to compare heads with."
        return replace(data, statement=text)
    return data if missing else replace(data, statement=_statement(data))


def _rows(recording: Recording, quantity: Measure, n: int) -> F64:
    """Rows of a measure by head, ``[n, L, H]``; NaN where it has none."""
    values = measure(recording, quantity).values[:n]
    arch = recording.info.architecture
    missing = len(values) < n or values.ndim != 3 or not n
    return np.full((n, arch.n_block, arch.layer.n_heads), np.nan) if missing else values


def _statistics(recording: Recording, n: int) -> HeadStatistics:
    rows = {key: _rows(recording, quantity, n) for key, quantity in STATISTIC_ROWS.items()}
    missing = NO_REPEAT if n and np.isnan(rows["induction"]).all() else ""
    return HeadStatistics(**rows, induction_missing=missing)


def _groups(recording: Recording, statistics: HeadStatistics, options: Options) -> Groups:
    """Group the heads by what they do."""
    arch, t = recording.info.architecture, recording.n_tokens
    n_heads = arch.n_block * arch.layer.n_heads
    kept = [getattr(statistics, key) for key in FEATURES]
    features = np.stack([s.reshape(len(s), n_heads) for s in kept], -1)
    uniform = [_of_even(t, arch.layer.causal, w, recording.info.token_ids) for w in arch.windows]
    return group_heads(features, np.repeat(uniform, arch.layer.n_heads, 0), int(options.groups))


def _of_even(n_tokens: int, causal: bool, window: int, token_ids: tuple[int, ...]) -> F64:
    """`FEATURES` of `even_attention`, ``[5]``."""
    even = even_attention(n_tokens, causal=causal, window=window)
    null = head_statistics(even[None], token_ids, causal=causal, window=window)
    return np.array([getattr(null, key)[0] for key in FEATURES])


def _stability(recording: Recording, changes: F64, options: Options) -> Stability:
    """Say since when heads and layers are calm, from changes ``[R, L, H]``."""
    layer_steps = measure(recording, LAYER_RELATIVE_STEP)
    n, n_layers, n_heads = changes.shape
    steps = (
        np.full((n, n_layers), np.nan)
        if len(layer_steps.values) < n or n < 2
        else layer_steps.by_depth()
    )
    since = stable_since(changes, options.tolerance)
    layer_since = stable_since(steps[:n], options.step_tolerance)
    floor = relative_floor(recording.info.dtype)
    r, points = correlate(steps[:n], changes.mean(-1), floor)
    ranks, heads = rank_correlation(since.ravel(), np.repeat(layer_since, n_heads))
    return Stability(since, layer_since, r, points, ranks, heads)


def _against_reference(
    recording: Recording, changes: F64, options: Options
) -> tuple[F64, Index, str]:
    """Values ``[R, L, H]``, the reference of each recurrence, and the reference in words."""
    n = len(changes)
    if options.reference == "previous":
        return changes, np.arange(n), "the previous recurrence"
    chosen = n if options.reference == "last" else int(options.recurrence)
    words = "the last recurrence" if options.reference == "last" else f"recurrence {chosen}"
    if not 1 <= chosen <= n:
        return np.full(changes.shape, np.nan), np.zeros(n, np.int64), words
    one, causal = recording.patterns_of(chosen, chosen), recording.info.architecture.layer.causal
    parts = recording.pattern_parts(1, n)
    values = [
        compare(recording.patterns_of(a, b), one, options.measure, causal=causal) for a, b in parts
    ]
    return np.concatenate(values), np.full(n, chosen), words


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


def _order(consistency: F64, measure: PatternMeasure, groups: Groups, order: str) -> Index:
    """Rows, top first: by layer and head, by group, or least consistent first.

    What is not finite is least consistent of all.
    """
    flat = consistency.ravel()
    if order == "group":
        return np.argsort(groups.of, kind="stable")
    if order == "layer" or not np.isfinite(flat).any():
        return np.arange(flat.size)
    unlike = np.abs(flat - measure.identical)
    return np.argsort(-np.where(np.isfinite(unlike), unlike, np.inf), kind="stable")


def _shown(stability: Stability, groups: Groups, options: Options) -> Bools:
    """Which heads the settings let through, bool ``[L H]``."""
    n_layers, n_heads = stability.since.shape
    layers = np.repeat(np.arange(n_layers), n_heads)
    kept = np.ones(layers.size, bool) if options.layer < 0 else layers == options.layer
    stable = stability.since.ravel() > 0
    if options.shown in ("changing", "stable"):
        kept &= stable if options.shown == "stable" else ~stable
    elif options.shown != "all":
        kept &= np.array([name == options.shown for name in groups.names])[groups.of]
    return kept


def _filter_words(options: Options) -> str:
    """What the settings let through, as "not yet stable, of layer 3"."""
    words = [] if options.shown == "all" else [SHOWN_LABELS[options.shown]]
    words += [f"of layer {options.layer}"] if options.layer >= 0 else []
    return ", ".join(words)


def _statement(data: Data) -> str:
    """Say the median of the newest informative recurrence, who differs, and who is stable."""
    values, reference, how = data.values, data.reference_recurrence, data.measure
    n = len(values)
    numbers = np.arange(1, n + 1)
    informative = (reference > 0) & (reference != numbers)
    if not informative.any():
        if not reference.any() and data.reference.startswith("recurrence"):
            return (
                f"There is nothing to compare with: {data.reference} is not among the {n} that "
                "were run."
            )
        return "One recurrence has been run; a second one is needed to compare patterns."
    columns = np.flatnonzero(informative & np.isfinite(values).any((1, 2)))
    if not columns.size:
        return "The attention patterns are not finite, so no two can be compared."
    last = int(columns[-1])
    median = float(np.nanmedian(values[last]))
    text = f"{how.label} to {data.reference}: median {median:.3g} at recurrence {last + 1}"
    consistency = data.consistency
    unlike = np.abs(consistency - how.identical)
    if np.isfinite(unlike).any():
        worst = int(np.nanargmax(unlike))
        name = data.head_names[worst]
        text += f"; head {name} is least consistent (mean {consistency.flat[worst]:.3g})"
    broken = int((~np.isfinite(consistency)).sum())
    if broken:
        text += f"; {broken} of {consistency.size} heads have patterns that are not finite"
    if data.order.size < consistency.size:
        words = _filter_words(data.options)
        text += f"; {data.order.size} of {consistency.size} heads shown ({words})"
    return f"{text}; {_stability_said(data)}."


def _stability_said(data: Data) -> str:
    """How many heads are stable, since when, and whether that goes with settling."""
    s, n_heads = data.stability, data.stability.since.size
    stable = s.since[s.since > 0]
    text = f"{stable.size} of {n_heads} heads stable (change below {data.options.tolerance:g})"
    if stable.size:
        text += f", the last since recurrence {stable.max()}"
    if np.isfinite(s.r):
        text += f"; log change goes with its layer's log step, r = {s.r:.2f} (n = {s.n})"
    if np.isfinite(s.ranks):
        text += (
            f"; stable since with settled since, rank correlation {s.ranks:.2f} (n = {s.n_ranks})"
        )
    return text


def table(data: Data) -> Table:
    """One row for each head and recurrence: the comparison and the statistics."""
    columns = (
        "recurrence",
        "layer",
        "head",
        "compared with recurrence",
        f"{data.measure.label} [{data.measure.formula.unit}]",
        *(f"{s.name} [{s.unit}]" for s in STATISTICS.values()),
        f"stable since, change below {data.options.tolerance:g} [recurrence]",
        f"layer settled since, step below {data.options.step_tolerance:g} [recurrence]",
        "group",
        "r of log change and log step",
        "points of r",
        "rank correlation of since",
        "heads of rank correlation",
    )
    return Table(columns, _table_rows(data))


def _table_rows(data: Data) -> Iterator[tuple[object, ...]]:
    kept, s = [getattr(data.statistics, key) for key in STATISTICS], data.stability
    for r, layer, head in np.ndindex(data.values.shape):
        at = (r, layer, head)
        group = int(data.groups.of[layer * data.values.shape[2] + head])
        yield (
            r + 1,
            layer,
            head,
            int(data.reference_recurrence[r]) or "",
            float(data.values[at]),
            *(float(values[at]) for values in kept),
            int(s.since[layer, head]) or "not yet",
            int(s.layer_since[layer]) or "not yet",
            data.groups.label(group),
            s.r,
            s.n,
            s.ranks,
            s.n_ranks,
        )


def alike(one: Data, other: Data) -> tuple[Data, Data]:
    """Give both the colour scale that holds both, and the order of the run shown."""
    if (scale := scale_of_two(one, other)) is None:
        return one, other
    far, near = scale
    same_heads = one.consistency.shape == other.consistency.shape
    order = one.order if same_heads else other.order
    groups = one.groups if same_heads else other.groups
    return (
        replace(one, far=far, near=near),
        replace(other, far=far, near=near, order=order, groups=groups),
    )


def within(data: Data, shown: RecurrenceRange) -> Data:
    """Only these recurrences; colour scale, order, means and statistics stay those of all."""
    first, last = shown.ends(len(data.values))
    first = max(first, 1)
    part = slice(first - 1, last)
    return replace(
        data, values=data.values[part], reference_recurrence=data.reference_recurrence[part],
        first=first, log_r=shown.log,
    )  # fmt: skip


def difference(one: Data, other: Data, selection: Selection, second: SecondRun) -> Difference:
    """How much more, or less, a head of the run shown changes than that of the second run."""
    there = np.full(one.values.shape, np.nan)
    n, n_layers, n_heads = one.values.shape
    both = min(n_heads, other.values.shape[2])
    places = 0
    for r, layer in np.ndindex(n, n_layers):
        at = goes_with(r + 1, layer, second)
        if at is not None and at[0] <= len(other.values):
            there[r, layer, :both] = other.values[at[0] - 1, at[1], :both]
            places += 1
    words = (
        left_out("layers run", places, n * n_layers, other.values.shape[0] * other.values.shape[1]),
        left_out("heads", both, n_heads, other.values.shape[2]),
    )
    rows = [divmod(int(i), n_heads) for i in one.order]
    head_places = tuple({"layer": layer, "head": head} for layer, head in rows)
    return make_difference(
        one.rows(one.values), one.rows(there), Side("head", one.row_labels, head_places),
        recurrence_side(range(1, n + 1)), difference_formula(one.measure.formula), second, words,
    )  # fmt: skip


VIEW = ViewDefinition(
    Options,
    compute,
    table,
    alike=alike,
    difference=difference,
    within=within,
    compares_patterns=True,
)
