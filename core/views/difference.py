"""The difference of two runs, cell by cell: what a heat map of one is less that of the other.

Places go together as the `Pairing` of the two runs says: recurrences and layers by it, tokens by
position and heads by number. What has no counterpart is left out and said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from loopscope.core.arrays import F64, Bools
from loopscope.core.formula import Formula
from loopscope.core.run.pairing import STEP_PAIRINGS
from loopscope.core.selection import RecurrenceRange
from loopscope.core.views.base import Table, ViewData
from loopscope.core.views.second_run import SecondRun

Texts = npt.NDArray[np.str_]

# What the run shown is called beside the second one, which has a name.
SHOWN = "this run"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a difference map.

    title : what is along it.  labels : of each row or column.
    places : fields of the cursor at each, in the run shown.
    first : the first number, where labels are numbers; None where they are words.
    group : how many belong together, with a line after each group; 0 for none.
    """

    title: str
    labels: tuple[str, ...]
    places: tuple[dict[str, int], ...]
    first: int | None = None
    group: int = 0

    @property
    def recurrences(self) -> tuple[int, ...]:
        """The recurrence of each row or column; () where they are something else."""
        if any(place.keys() != {"recurrence"} for place in self.places):
            return ()
        return tuple(place["recurrence"] for place in self.places)


@dataclass(frozen=True, slots=True, eq=False)
class Difference(ViewData):
    """A difference map.

    values : float64 ``[rows, columns]``, signed, in `formula`'s unit; NaN where one of the two has
        no number, or none that can be compared.
    rows, columns : its sides.
    formula : what is subtracted from what.
    symmetric : whether rows are columns.
    second : the second run's name.
    uncompared : what has no counterpart, in words, or "".
    missing : what is missing when there is nothing to show, or "".
    scale : `far` of the whole map, where only a part of it is shown.
    log_r : whether recurrences stand on a log axis.
    answers : texts ``[rows, columns]`` that the run shown and the second one answer at each cell,
        "–" for none; None where cells have no answers.
    """

    values: F64
    rows: Side
    columns: Side
    formula: Formula
    second: str
    symmetric: bool = False
    uncompared: str = ""
    missing: str = ""
    scale: float = 0.0
    log_r: bool = False
    answers: tuple[Texts, Texts] | None = None

    @property
    def apart(self) -> Bools:
        """Where the two answer differently, ``[rows, columns]``; nowhere without answers."""
        if self.answers is None:
            return np.zeros(self.values.shape, np.bool_)
        return np.asarray(self.answers[0] != self.answers[1], dtype=np.bool_)

    def spans_apart(self) -> list[tuple[int, int, int]]:
        """Row, first and last column of cells side by side at which the two answer differently."""
        edges = np.diff(np.pad(self.apart, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        starts, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)
        return [
            (int(row), int(a), int(b) - 1) for (row, a), (_, b) in zip(starts, ends, strict=True)
        ]

    @property
    def far(self) -> float:
        """Where the colours end: the largest size of a finite value; 0 where all are equal."""
        if self.scale:
            return self.scale
        sizes = np.abs(self.values[np.isfinite(self.values)])
        return float(sizes.max()) if sizes.size else 0.0

    @property
    @override
    def drawn_words(self) -> str:
        """What the colours are."""
        words = f"Brown: more in {SHOWN}. Blue: more in {self.second}. White: no difference."
        if self.answers is not None:
            words += " Line at the foot of a cell: the two runs answer differently."
        return f"{words} Hatched: nothing to compare."

    def levels(self) -> F64:
        """Place of each value on the colour scale, its shape kept: −far is 0, none 0.5, far 1."""
        far = self.far or 1.0
        return np.where(np.isfinite(self.values), 0.5 + self.values / (2 * far), np.nan)

    def at(self, row: int, column: int) -> dict[str, int]:
        """Fields of the cursor at a cell; the column's go first where both have one."""
        return self.rows.places[row] | self.columns.places[column]


def within(data: Difference, shown: RecurrenceRange) -> Difference:
    """Only these recurrences; the colour scale stays that of all."""
    latest = max((p.get("recurrence", 0) for p in data.columns.places), default=0)
    if not latest:
        return data
    first, last = shown.ends(latest)

    def kept(side: Side) -> tuple[list[int], Side]:
        at = [i for i, p in enumerate(side.places) if first <= p.get("recurrence", first) <= last]
        number = side.first
        if number is not None and at and side.places[at[0]].keys() == {"recurrence"}:
            number = side.places[at[0]]["recurrence"]
        labels, places = tuple(side.labels[i] for i in at), tuple(side.places[i] for i in at)
        return at, replace(side, labels=labels, places=places, first=number)

    (rows, row_side), (columns, column_side) = kept(data.rows), kept(data.columns)
    answers = data.answers
    if answers is not None:
        answers = answers[0][np.ix_(rows, columns)], answers[1][np.ix_(rows, columns)]
    return replace(
        data, values=data.values[np.ix_(rows, columns)], rows=row_side, columns=column_side,
        scale=data.far, log_r=shown.log, answers=answers,
    )  # fmt: skip


def make_difference(
    one: F64, other: F64, rows: Side, columns: Side, formula: Formula, second: SecondRun,
    uncompared: Sequence[str] = (), *, symmetric: bool = False, log: bool = False,
    answers: tuple[Texts, Texts] | None = None,
) -> Difference:  # fmt: skip
    """Subtract two maps ``[rows, columns]``; with ``log`` their log10, so that 1 is a decade.

    ``log`` has no number where either is 0 or below. ``answers`` as in `Difference`.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if log:
            one, other = (np.log10(np.where(m > 0, m, np.nan)) for m in (one, other))
        values = one - other
    values = np.where(np.isfinite(values), values, np.nan)
    missing = "" if values.size else "No place of the two runs goes together."
    if not missing and not np.isfinite(values).any():
        missing = "The two runs have no two numbers to compare."
    text = "; ".join(part for part in uncompared if part)
    data = Difference(
        statement="", formulas=(formula,), values=values, rows=rows, columns=columns,
        formula=formula, second=second.name, symmetric=symmetric, uncompared=text,
        missing=missing, answers=answers,
    )  # fmt: skip
    return replace(data, statement=_statement(data, second))


def _statement(data: Difference, second: SecondRun) -> str:
    """Say where the two differ most, how they go together, and what has no counterpart."""
    how = STEP_PAIRINGS[second.pairing.step_pairing]
    parts = [f"{how}"] + ([data.uncompared] if data.uncompared else [])
    if data.missing:
        return f"{data.missing.rstrip('.')} ({'; '.join(parts)})"
    known = np.isfinite(data.values)
    n = int(known.sum())
    if not data.far:
        return (
            f"{SHOWN.capitalize()} and {data.second} are equal in {n} places ({'; '.join(parts)})"
        )
    row, column = np.unravel_index(np.nanargmax(np.abs(data.values)), data.values.shape)
    value = float(data.values[row, column])
    median = float(np.median(np.abs(data.values[known])))
    where = f"{data.rows.title} {data.rows.labels[row]}, {data.columns.title} "
    where += data.columns.labels[column]
    name = data.formula.name[0].upper() + data.formula.name[1:]
    return (
        f"{name}, {SHOWN} − {data.second}: largest {value:+.3g} at {where}, "
        f"median size {median:.3g} (n = {n}; {'; '.join(parts)})"
    )


def difference_formula(formula: Formula, *, log: bool = False) -> Formula:
    """The formula of a difference of a measure, or of the log of its ratio."""
    if log:
        return Formula(
            f"log ratio of {formula.name}", f"log10(m / m′), m = {formula.formula}", "decades",
            formula.source,
        )  # fmt: skip
    return Formula(
        f"difference of {formula.name}", f"m − m′, m = {formula.formula}", _unit(formula.unit),
        formula.source,
    )  # fmt: skip


def _unit(unit: str) -> str:
    """The unit of a difference, without what the bounds of the measure mean."""
    head = unit.split(",")[0].strip()
    return "1" if "=" in head or ".." in head else head


def goes_with(recurrence: int, layer: int, second: SecondRun) -> tuple[int, int] | None:
    """The second run's (recurrence, layer) for one of the run shown; None without a counterpart.

    Each has at most one: of several that would go with one, that which it goes back to.
    """
    pairing = second.pairing
    there = pairing.place(recurrence, layer)
    if there[0] > second.recording.n_recurrences or there[0] < 1:
        return None
    return there if pairing.back(*there) == (recurrence, layer) else None


def recurrence_pairs(
    recurrences: Sequence[int], second: SecondRun, layers: tuple[int, int] | None = None
) -> list[tuple[int, int]]:
    """Recurrences of the run shown, each with that of the second run which it goes with.

    Taken at the end of the block, or at these ``layers`` of the one and the other. The initial
    states, 0, go together.
    """
    last = second.pairing.shown.n_block - 1, second.pairing.second.n_block - 1
    here, there = layers or last
    pairs = [(0, 0)] if 0 in recurrences else []
    for r in recurrences:
        other = goes_with(r, here, second) if r else None
        if other is not None and other[1] == there:
            pairs.append((r, other[0]))
    return pairs


def recurrence_side(recurrences: Sequence[int], title: str = "recurrence r") -> Side:
    """The side of a map that counts recurrences."""
    places = tuple({"recurrence": r} for r in recurrences)
    first = recurrences[0] if recurrences else 1
    return Side(title, tuple(map(str, recurrences)), places, first)


def left_out(what: str, compared: int, one: int, other: int) -> str:
    """Say that the two have unequal numbers of something, or ""."""
    if compared == one == other:
        return ""
    return f"{compared} {what} of {one} and {other} go together"


def paired_labels(one: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
    """Labels of what goes together: the one label, or both where they differ."""
    return tuple(a if a == b else f"{a} | {b}" for a, b in zip(one, other, strict=True))


def table(data: Difference) -> Table:
    """One row for each cell."""
    columns = (
        data.rows.title,
        data.columns.title,
        f"{data.formula.name} [{data.formula.unit}]",
        *(() if data.answers is None else (f"answer of {SHOWN}", f"answer of {data.second}")),
    )
    return Table(columns, _table_rows(data))


def _table_rows(data: Difference) -> Iterator[tuple[object, ...]]:
    answers = data.answers or ()
    for i, j in np.ndindex(data.values.shape):
        if not data.symmetric or j <= i:
            value = float(data.values[i, j])
            yield (
                data.rows.labels[i], data.columns.labels[j], value,
                *(str(a[i, j]) for a in answers),
            )  # fmt: skip
