"""The attention pattern of the selected head, by recurrence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from loopscope.core.arrays import F32
from loopscope.core.formula import Formula
from loopscope.core.labels import visible
from loopscope.core.measures.base import NO_RUN
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import RECURRENCE, Table, ViewData, ViewDefinition
from loopscope.core.views.heads import patterns_of

ATTENTION = Formula(
    "attention A[query, key]",
    "softmax over keys of q·k / √d_head",
    "probability, each row sums to 1",
    "Vaswani 2017",
)


@dataclass(frozen=True, slots=True)
class Options:
    """The pattern has no settings: it is drawn as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Data(ViewData):
    """The patterns of one head.

    patterns : float32 ``[R, T, T]`` (query, key), probabilities; a view on the recording.
    layer, head : which head.  labels, token_texts : readable and exact text of each token.
    causal : entries above the diagonal cannot be other than 0.
    missing : what is missing when there is nothing to show, or "".
    """

    patterns: F32
    layer: int
    head: int
    name: str
    labels: tuple[str, ...]
    token_texts: tuple[str, ...]
    causal: bool
    missing: str = ""

    def title(self, recurrence: int) -> str:
        """Say which pattern is shown when the cursor is at ``recurrence``."""
        drawn = self.shown_recurrence(recurrence)
        if recurrence < 1:
            return f"Recurrence 0 has no pattern (dimmed: {self.name} at {drawn})"
        return f"Head {self.name} at recurrence {drawn}"

    def shown_recurrence(self, recurrence: int) -> int:
        """Return the recurrence whose pattern stands for ``recurrence``: 1 to R."""
        return min(max(recurrence, 1), max(len(self.patterns), 1))


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Take the selected head's patterns out of the recording."""
    patterns, missing = patterns_of(recording)
    layer, head = clamp_head(selection, patterns)
    name = recording.info.architecture.head_name(layer, head)
    kept = patterns[:, layer, head]
    return Data(
        statement=missing or _statement(kept, name),
        formulas=(ATTENTION,),
        patterns=kept,
        layer=layer,
        head=head,
        name=name,
        labels=tuple(map(visible, recording.info.token_labels)),
        token_texts=recording.info.token_labels,
        causal=recording.info.architecture.layer.causal,
        missing=missing,
        lacks=RECURRENCE if missing == NO_RUN else None,
    )


def _statement(patterns: F32, name: str) -> str:
    """Say what there is to scrub through, and from where on it is broken."""
    bad = np.flatnonzero(~np.isfinite(patterns).all((1, 2))) + 1
    if bad.size:
        return f"Attention of head {name} is not finite at recurrence {bad[0]}."
    n = len(patterns)
    return f"Attention of head {name} in {n} recurrence{'s' * (n > 1)}: each row sums to 1."


def clamp_head(selection: Selection, patterns: F32) -> tuple[int, int]:
    """Return the selected (layer, head), moved inside ``[R, L, H, T, T]``."""
    _, n_layers, n_heads, *_ = patterns.shape
    return min(selection.layer, n_layers - 1), min(selection.head, n_heads - 1)


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


VIEW = ViewDefinition(Options, compute, table, reads=frozenset({"layer", "head"}))
