"""Find nodes of the computation graph by label, part, weights or recurrence."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass

from loopscope.core.model.graph import REPEATED, Node, runs_at
from loopscope.core.views.graph.data import Data

_RECURRENCE = re.compile(r"\b(?:r|recurrence)\s*=?\s*(\d+)\b")


@dataclass(frozen=True, slots=True)
class Match:
    """One node: of the first model (0) or the second (1), at a recurrence if it repeats."""

    model: int
    node: Node
    recurrence: int | None

    @property
    def description(self) -> str:
        """Its label and, where it repeats, its recurrence."""
        at = "" if self.recurrence is None else f" at recurrence {self.recurrence}"
        return f"{self.node.label}{at}"


class Matches:
    """What a search found, in the order the nodes run."""

    def __init__(self, matches: list[Match]) -> None:
        self.nodes = matches
        self._at: dict[tuple[int, str], list[int]] = {}
        for match in matches:
            self._at.setdefault((match.model, match.node.key), []).append(match.recurrence or 0)

    def __len__(self) -> int:
        return len(self.nodes)

    def has(self, model: int, node: Node, recurrence: int | None, times: int = 1) -> bool:
        """Whether a copy is among them, or one of the ``times`` it stands for; None: any copy."""
        at = self._at.get((model, node.key), [])
        if recurrence is None:
            return bool(at)
        i = bisect_left(at, recurrence)
        return i < len(at) and at[i] < recurrence + times

    def runs(self, model: int) -> list[tuple[str, int, int]]:
        """Key, first and last recurrence of neighbours that all match; 0 without any."""
        runs: list[tuple[str, int, int]] = []
        for (of, key), at in self._at.items():
            if of != model:
                continue
            first = 0
            for i in range(1, len(at) + 1):
                if i == len(at) or at[i] != at[i - 1] + 1:
                    runs.append((key, at[first], at[i - 1]))
                    first = i
        return runs


def find(data: Data, text: str) -> Matches:
    """Find nodes whose label, part, kind or key of weights has ``text``, or whose digest begins so.

    "r 500" finds what runs at recurrence 500 and goes with other words: "layer 1 r 500". A number
    at the end is a whole one: "layer 1" does not find layer 10.
    """
    words = text.strip().lower()
    if not words:
        return Matches([])
    wanted: int | None = None
    if (at := _RECURRENCE.search(words)) is not None:
        wanted = int(at[1])
        words = f"{words[: at.start()]} {words[at.end() :]}".strip()
    words = " ".join(words.split())
    models = [data] if data.contrast is None else [data, data.contrast.data]
    return Matches([f for i, of in enumerate(models) for f in _in(i, of, words, wanted)])


def _in(model: int, data: Data, words: str, wanted: int | None) -> list[Match]:
    nodes = [n for n in data.nodes if _matches(data, n, words)]
    repeated = [n for n in nodes if n.part in REPEATED]
    first = nodes.index(repeated[0]) if repeated else len(nodes)
    once = [Match(model, n, None) for n in nodes if n.part not in REPEATED and wanted is None]
    before = [f for f in once if nodes.index(f.node) < first]
    recurrences = range(1, data.n_copies + 1) if wanted is None else (wanted,)
    copies = [
        Match(model, n, r)
        for r in recurrences
        for n in repeated
        if 1 <= r <= data.n_copies and runs_at(data.architecture, n, r)
    ]
    return [*before, *copies, *once[len(before) :]]


def _matches(data: Data, node: Node, words: str) -> bool:
    if not words:
        return True
    pattern = re.escape(words) + (r"(?!\d)" if words[-1].isdigit() else "")
    fields = (node.label, node.part, node.kind, node.weights)
    digest = data.digests.get(node.weights, "")
    return any(re.search(pattern, field.lower()) for field in fields) or (
        len(words) >= 4 and digest.removeprefix("sampled:").startswith(words)
    )
