"""The axes of a study's grid, as its rows have them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loopscope.core.arrays import F64, I64, Bools
from loopscope.core.sweeps.following import NOWHERE, Rows

# What each axis is called, in the order in which they are offered.
AXES: dict[str, str] = {
    "R": "length R",
    "step": "training step",
    "checkpoint": "checkpoint",
    "intervention": "intervention",
    "prompts": "prompt file",
    "prompt": "prompt",
    "start": "start",
    "seed": "seed",
    "layer": "layer",
    "head": "head",
    "token": "token",
}
# Those that a row may be of no place of.
PLACES = frozenset({"step", "layer", "head", "token"})
# Those whose places are numbers, with distances between them that mean something.
NUMBERS = frozenset({"R", "step", "layer", "head", "token"})


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """One axis of a grid.

    names : of its places, in order.
    at : float64 ``[n]``, where they stand: the numbers themselves, else 0, 1, ...
    codes : int64 ``[N]``, the place of each row.
    """

    key: str
    names: tuple[str, ...]
    at: F64
    codes: I64

    def __len__(self) -> int:
        return len(self.names)

    @property
    def label(self) -> str:
        """What it is called."""
        return AXES[self.key]


def axis_of(rows: Rows, key: str) -> Axis:
    """One axis of `AXES`; rows that are of no place on it are on one called "none"."""
    if key == "prompt":
        return _prompts(rows)
    words = rows.words.get(key)
    found, codes = np.unique(rows.codes[key], return_inverse=True)
    if words is not None:
        names = tuple(words[i] for i in found.tolist())
    else:
        names = tuple("none" if i == NOWHERE else str(i) for i in found.tolist())
    at = found.astype(np.float64) if key in NUMBERS else np.arange(len(found), dtype=np.float64)
    return Axis(key, names, at, codes)


def _prompts(rows: Rows) -> Axis:
    """Prompts by file and line; the file is named where there are several."""
    both = np.stack([rows.codes["prompts"], rows.codes["line"]], axis=1)
    found, codes = np.unique(both, axis=0, return_inverse=True)
    files, several = rows.words["prompts"], len(np.unique(both[:, 0])) > 1
    names = tuple(
        f"{files[file]} {line}" if several else str(line) for file, line in found.tolist()
    )
    return Axis("prompt", names, np.arange(len(found), dtype=np.float64), codes.ravel())


def of_measure(rows: Rows, measure: str) -> Rows:
    """The rows of one measure."""
    places = rows.words["measure"]
    code = places.index(measure) if measure in places else NOWHERE
    return chosen(rows, rows.codes["measure"] == code)


def chosen(rows: Rows, which: Bools | I64) -> Rows:
    """Some of the rows: those that are true, or in this order."""
    return Rows(
        rows.words, {name: own[which] for name, own in rows.codes.items()}, rows.value[which]
    )
