"""Attention heads as live measures: what each pattern does, and how much it changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.formula import Formula
from loopscope.core.measures.base import NO_PATTERNS, Measure
from loopscope.core.measures.heads import (
    MEASURES,
    STATISTICS,
    HeadStatistics,
    MeasureKey,
    Patterns,
    compare,
    head_statistics,
    joined,
)
from loopscope.core.run.recording import Recording

# The statistics of the rows last asked for: six measures share one pass over the patterns.
_last: WeakKeyDictionary[Recording, tuple[int, int, HeadStatistics]] = WeakKeyDictionary()


def needs_patterns(recording: Recording) -> str:
    """Why there are no patterns, or ""."""
    return "" if recording.capture.patterns else NO_PATTERNS


def statistics_of(recording: Recording, first: int, last: int) -> HeadStatistics:
    """`head_statistics` of recurrences ``first .. last``, each ``[rows, L, H]``."""
    kept = _last.get(recording)
    if kept is not None and kept[:2] == (first, last):
        return kept[2]
    parts = recording.pattern_parts(first, last)
    statistics = joined([_by_layer(recording, recording.patterns_of(a, b)) for a, b in parts], 0)
    _last[recording] = (first, last, statistics)
    return statistics


def _by_layer(recording: Recording, rows: Patterns) -> HeadStatistics:
    """`head_statistics` of patterns ``[rows, L, H, T, T]``, of each layer by its own window."""
    arch, ids = recording.info.architecture, recording.info.token_ids
    windows, causal = arch.windows, arch.layer.causal
    if len(set(windows)) == 1:
        return head_statistics(rows, ids, causal=causal, window=windows[0])
    by_layer = [
        head_statistics(rows[:, i], ids, causal=causal, window=window)
        for i, window in enumerate(windows)
    ]
    return joined(by_layer, 1, new=True)


def _statistic(name: str) -> Callable[[Recording, int, int], F64]:
    def rows(recording: Recording, first: int, last: int) -> F64:
        values: F64 = getattr(statistics_of(recording, first, last), name)
        return values

    return rows


def _change(key: MeasureKey) -> Callable[[Recording, int, int], F64]:
    """How far each pattern is from the same head's at the recurrence before."""

    def rows(recording: Recording, first: int, last: int) -> F64:
        layer = recording.info.architecture.layer
        out = np.full((last - first + 1, recording.n_layers, layer.n_heads), np.nan)
        for a, b in recording.pattern_parts(max(first, 2), last):
            here, before = recording.patterns_of(a, b), recording.patterns_of(a - 1, b - 1)
            out[a - first : b + 1 - first] = compare(here, before, key, causal=layer.causal)
        return out

    return rows


def pattern_entropy(pattern: F64) -> float:
    """Entropy of one pattern ``[T, T]``, mean over its rows, nats."""
    return -float((pattern * np.log(np.where(pattern > 0, pattern, 1.0))).sum(-1).mean())


def _sink(pattern: F64) -> float:
    return float(pattern[:, 0].mean())


def _own(pattern: F64) -> float:
    return float(pattern.diagonal().mean())


def _fully_mixed(even: F64) -> float:
    """Normalised entropy of even attention: 1 where some query has two keys."""
    return 1.0 if even.min(initial=1.0, where=even > 0) < 1 else math.nan


def _needs_repeats(recording: Recording) -> str:
    why = needs_patterns(recording)
    if why or len(set(recording.info.token_ids)) < recording.n_tokens:
        return why
    return "Induction needs a token that occurs twice; this prompt has none."


def _changed(key: MeasureKey, name: str) -> Measure:
    f = MEASURES[key].formula
    where = f"of A[r,l,h] and A[r−1,l,h]: {f.formula}"
    formula = Formula(f"{f.name} to the recurrence before", where, f.unit, f.source)
    log = key != "cosine"
    return Measure(
        name, formula, ("layer", "head"), _change(key), first=2, missing=needs_patterns, log=log
    )


# fmt: off
ENTROPY = Measure("entropy", STATISTICS["entropy"], ("layer", "head"), _statistic("entropy"), missing=needs_patterns, null=pattern_entropy)
NORMALISED_ENTROPY = Measure("normalised_entropy", STATISTICS["normalised_entropy"], ("layer", "head"), _statistic("normalised_entropy"), missing=needs_patterns, null=_fully_mixed)
SINK = Measure("sink", STATISTICS["sink"], ("layer", "head"), _statistic("sink"), missing=needs_patterns, null=_sink)
PREVIOUS = Measure("previous", STATISTICS["previous"], ("layer", "head"), _statistic("previous"), missing=needs_patterns)
OWN = Measure("own", STATISTICS["own"], ("layer", "head"), _statistic("own"), missing=needs_patterns, null=_own)
INDUCTION = Measure("induction", STATISTICS["induction"], ("layer", "head"), _statistic("induction"), missing=_needs_repeats)
HEAD_CHANGE = _changed("frobenius", "head_change")
HEAD_COSINE = _changed("cosine", "head_cosine")
HEAD_DIVERGENCE = _changed("jensen_shannon", "head_divergence")
HEAD_VARIATION = _changed("total_variation", "head_variation")
# fmt: on
CHANGES: dict[MeasureKey, Measure] = {
    "frobenius": HEAD_CHANGE,
    "cosine": HEAD_COSINE,
    "jensen_shannon": HEAD_DIVERGENCE,
    "total_variation": HEAD_VARIATION,
}
STATISTIC_ROWS: dict[str, Measure] = {
    m.key: m for m in (ENTROPY, NORMALISED_ENTROPY, SINK, PREVIOUS, OWN, INDUCTION)
}
