"""The rows of a study as columns of codes, read as they come. No torch.

Who runs the study does not matter: a part appears whole, and is read when it is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from loopscope.core.arrays import F64, I64
from loopscope.core.sweeps.parts import check_extra, parts_of, read_part

# Columns of words, and of whole numbers.
WORDS = ("run", "checkpoint", "prompts", "start", "intervention", "measure", "unit")
WHOLE = ("line", "seed", "R", "layer", "head", "token", "step")
# Of a row that is of no such place, or of no training step.
NOWHERE = -1


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Every row that there is, ``N`` of them.

    words : by column of `WORDS`, what its codes stand for.
    codes : int64 ``[N]`` by column: of `WORDS` a place in ``words``, of `WHOLE` the number itself,
        `NOWHERE` where there is none.
    value : float64 ``[N]``, NaN where there is no number.
    """

    words: dict[str, tuple[str, ...]]
    codes: dict[str, I64]
    value: F64

    def __len__(self) -> int:
        return len(self.value)

    def cells(self) -> I64:
        """Run, measure and R of every cell that has rows, each once: int64 ``[n, 3]``."""
        if not len(self):
            return np.zeros((0, 3), np.int64)
        three = np.stack([self.codes[name] for name in ("run", "measure", "R")], axis=1)
        # Rows of a cell lie together: most are left out before they are sorted.
        first = np.append(True, (three[1:] != three[:-1]).any(1))
        return np.unique(three[first], axis=0)


def no_rows() -> Rows:
    """What there is before anything was run."""
    none = np.zeros(0, np.int64)
    return Rows(dict.fromkeys(WORDS, ()), dict.fromkeys((*WORDS, *WHOLE), none), np.zeros(0))


@dataclass(slots=True)
class Following:
    """Reads what was added to a folder since the last look; not for two threads at a time.

    order : of columns of words, what comes first, in the order that axes have.
    """

    folder: Path
    order: Mapping[str, Sequence[str]] = field(default_factory=dict)
    _seen: set[Path] = field(default_factory=set)
    _places: dict[str, dict[str, int]] = field(default_factory=dict)
    _codes: dict[str, list[I64]] = field(default_factory=dict)
    _values: list[F64] = field(default_factory=list)

    def look(self) -> Rows | None:
        """Return all rows; None where nothing was added since the last look.

        Raises `LoopscopeError` where the extra is not installed and for a part that is damaged.
        """
        check_extra()
        parts = parts_of(self.folder)
        begun = bool(self._places)
        if not begun or not self._seen <= set(parts):  # a part that was deleted is made anew
            self._begin()
        new = [part for part in parts if part not in self._seen]
        if begun and not new:
            return None
        for part in new:
            self._take(read_part(part, (*WORDS, *WHOLE, "value")))
            self._seen.add(part)
        codes = {name: _joined(own) for name, own in self._codes.items()}
        self._codes = {name: [own] for name, own in codes.items()}
        value = np.concatenate([np.zeros(0), *self._values])
        self._values = [value]
        words = {name: tuple(places) for name, places in self._places.items()}
        return Rows(words, codes, value)

    def _begin(self) -> None:
        self._seen = set()
        self._places = {
            name: {word: i for i, word in enumerate(self.order.get(name, ()))} for name in WORDS
        }
        self._codes = {name: [] for name in (*WORDS, *WHOLE)}
        self._values = []

    def _take(self, table: Any) -> None:
        for name in WORDS:
            column = table.column(name).combine_chunks().dictionary_encode()
            places = self._places[name]
            own = [places.setdefault(word, len(places)) for word in column.dictionary.to_pylist()]
            codes = np.array(own, np.int64)[column.indices.to_numpy(zero_copy_only=False)]
            self._codes[name].append(codes)
        for name in WHOLE:
            column = table.column(name).fill_null(NOWHERE).to_numpy()
            self._codes[name].append(column.astype(np.int64))
        self._values.append(table.column("value").fill_null(np.nan).to_numpy().astype(np.float64))


def _joined(parts: list[I64]) -> I64:
    return np.concatenate([np.zeros(0, np.int64), *parts])
