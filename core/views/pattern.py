"""The attention pattern of the selected head, by recurrence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
from typing_extensions import override

from loopscope.core.arrays import F32, F64
from loopscope.core.formula import Formula
from loopscope.core.measures.base import NO_RUN
from loopscope.core.model.architecture import Architecture
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import RECURRENCE, Table, ViewData, ViewDefinition
from loopscope.core.views.difference import (
    Difference,
    Side,
    difference_formula,
    left_out,
    make_difference,
    paired_labels,
)
from loopscope.core.views.heads import without_patterns
from loopscope.core.views.second_run import SecondRun

ATTENTION = Formula(
    "attention A[query, key]",
    "softmax over keys of q·k / √d_head",
    "probability, each row sums to 1",
    "Vaswani 2017",
)


PatternScale = Literal["one", "own", "log"]
# Decades of a log scale.
LOG_DECADES = 4


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the pattern."""

    scale: PatternScale = setting(
        "one",
        "Colour scale",
        "What is drawn brightest; a broad head is seen on a log scale",
        labels={
            "one": "0 to 1",
            "own": "0 to the head's largest",
            "log": "log, 10⁻⁴ to 1",
        },
        at_hand=True,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Data(ViewData):
    """The patterns of one head.

    patterns : by recurrence float32 ``[T, T]`` (query, key), probabilities, out of the recording.
    layer, head : which head.  labels, token_texts : readable and exact text of each token.
    causal : entries above the diagonal cannot be other than 0.
    missing : what is missing when there is nothing to show, or "".
    scale : of the colours.  far : the attention drawn brightest: 1, or the head's largest at any
        recurrence, the first query of a causal head left out, which can attend to itself alone.
    """

    patterns: Sequence[F32]
    layer: int
    head: int
    name: str
    labels: tuple[str, ...]
    token_texts: tuple[str, ...]
    causal: bool
    missing: str = ""
    scale: PatternScale = "one"
    far: float = 1.0

    @property
    @override
    def drawn_words(self) -> str:
        """What cells, shades and marks are."""
        above = " Above the diagonal nothing can be attended to." if self.causal else ""
        return f"A row for each query, a column for each key. Shade: attention probability.{above}"

    def title(self, recurrence: int) -> str:
        """Say which pattern is shown when the cursor is at ``recurrence``."""
        drawn = self.shown_recurrence(recurrence)
        if recurrence < 1:
            return f"Recurrence 0 has no pattern (dimmed: {self.name} at {drawn})"
        return f"Head {self.name} at recurrence {drawn}"

    def levels(self, pattern: F32) -> F64:
        """Place of each entry of a pattern ``[T, T]`` on the scale, 0 to 1; NaN stays NaN."""
        values = np.array(pattern, np.float64)
        if self.scale != "log":
            values /= self.far
            return np.clip(values, 0, 1, out=values)
        with np.errstate(divide="ignore"):
            return np.clip(1 + np.log10(values) / LOG_DECADES, 0, 1)

    def shown_recurrence(self, recurrence: int) -> int:
        """Return the recurrence whose pattern stands for ``recurrence``: 1 to R."""
        return min(max(recurrence, 1), max(len(self.patterns), 1))


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Take the selected head's patterns out of the recording."""
    missing, arch = without_patterns(recording), recording.info.architecture
    layer, head = clamp_head(selection, arch)
    name = arch.head_name(layer, head)
    kept = recording.head_patterns(layer, head)
    looked = _looked_at(recording, layer, head, kept)
    return Data(
        statement=missing or _statement(len(kept), looked.broken, name),
        formulas=(ATTENTION,),
        patterns=kept,
        layer=layer,
        head=head,
        name=name,
        labels=recording.info.token_names,
        token_texts=recording.info.token_labels,
        causal=arch.layer.causal,
        missing=missing,
        lacks=RECURRENCE if missing == NO_RUN else None,
        scale=options.scale,
        far=looked.largest if options.scale == "own" and 0 < looked.largest < 1 else 1.0,
    )


@dataclass(frozen=True, slots=True)
class _LookedAt:
    """What is known of the first ``n`` patterns of a head.

    broken : the first recurrence that is not finite, 0 for none.  largest : the largest entry,
        without the first query of causal patterns.
    """

    n: int = 0
    broken: int = 0
    largest: float = 0.0


# By run and head: patterns once kept do not change, so only new ones are looked at.
_looked: WeakKeyDictionary[Recording, dict[tuple[int, int], _LookedAt]] = WeakKeyDictionary()


def _looked_at(recording: Recording, layer: int, head: int, patterns: Sequence[F32]) -> _LookedAt:
    """Look at the patterns of a head that came since it was asked last."""
    of_run, causal = _looked.setdefault(recording, {}), recording.info.architecture.layer.causal
    known = of_run.get((layer, head), _LookedAt())
    for r in range(known.n + 1, len(patterns) + 1):
        pattern = patterns[r - 1]
        rows = pattern[1:] if causal and len(pattern) > 1 else pattern
        known = _LookedAt(
            r,
            known.broken or (0 if np.isfinite(pattern).all() else r),
            max(known.largest, float(np.nanmax(rows, initial=0.0))),
        )
    of_run[layer, head] = known
    return known


def alike(one: Data, other: Data) -> tuple[Data, Data]:
    """Give both the colour scale that holds both."""
    far = max(one.far, other.far)
    return replace(one, far=far), replace(other, far=far)


def _statement(n: int, broken: int, name: str) -> str:
    """Say what there is to scrub through, and from where on it is broken."""
    if broken:
        return f"Attention of head {name} is not finite at recurrence {broken}."
    return f"Attention of head {name} in {n} recurrence{'s' * (n > 1)}: each row sums to 1."


def clamp_head(selection: Selection, arch: Architecture) -> tuple[int, int]:
    """Return the selected (layer, head), moved to one that the recurrent block has."""
    return min(selection.layer, arch.n_block - 1), min(selection.head, arch.layer.n_heads - 1)


def table(data: Data) -> Table:
    """One row for each entry that can be other than 0, of every recurrence."""
    columns = (
        "recurrence",
        "layer",
        "head",
        "query",
        "query token",
        "key",
        "key token",
        "attention [probability]",
    )
    return Table(columns, _table_rows(data))


def _table_rows(data: Data) -> Iterator[tuple[object, ...]]:
    labels = data.token_texts
    for r, pattern in enumerate(data.patterns, 1):
        for q, row in enumerate(pattern):
            for k in range(q + 1 if data.causal else len(row)):
                yield r, data.layer, data.head, q, labels[q], k, labels[k], float(row[k])


def difference(one: Data, other: Data, selection: Selection, second: SecondRun) -> Difference:
    """How much more, or less, each query of the run shown attends to each key."""
    n = 0 if one.missing or other.missing else min(len(one.labels), len(other.labels))
    r = one.shown_recurrence(selection.recurrence)
    s = other.shown_recurrence(second.selection.recurrence)
    here, there = np.zeros((0, 0)), np.zeros((0, 0))
    if n:
        here = one.patterns[r - 1][:n, :n].astype(np.float64)
        there = other.patterns[s - 1][:n, :n].astype(np.float64)
    if one.causal and other.causal:
        here = np.where(np.triu(np.ones((n, n), bool), 1), np.nan, here)
    labels = paired_labels(one.labels[:n], other.labels[:n])
    places = tuple({"token": t} for t in range(n))
    names = f"head {one.name} at r = {r}"
    if (one.name, r) != (other.name, s):
        names += f" and head {other.name} at r = {s}"
    words = (names, left_out("tokens", n, len(one.labels), len(other.labels)))
    return make_difference(
        here, there, Side("query token", labels, places),
        Side("key token", labels, tuple({} for _ in range(n))), difference_formula(ATTENTION),
        second, words,
    )  # fmt: skip


VIEW = ViewDefinition(
    Options,
    compute,
    table,
    reads=frozenset({"layer", "head"}),
    alike=alike,
    difference=difference,
    difference_reads=frozenset({"recurrence"}),
)
