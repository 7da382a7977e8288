"""Columns of an unrolling: one for each recurrence, or one for many that are alike.

Recurrences are numbered from 1. Alike are neighbours between two *breaks*, where a break is a
recurrence that differs from the one before: a cut begins there, the run has got so far, a layer
of a deep model stands beside it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from loopscope.core.views.graph.data import Fold

# Fewer than these are drawn rather than folded into one column.
LEAST_FOLDED = 3


@dataclass(frozen=True, slots=True)
class Column:
    """Recurrences ``first`` to ``last``, drawn once."""

    first: int
    last: int

    @property
    def times(self) -> int:
        """How many recurrences it stands for."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns from left to right; their places count from 1."""

    columns: tuple[Column, ...]
    _firsts: list[int] = field(default_factory=list)

    @staticmethod
    def of(columns: Iterable[Column]) -> Columns:
        """Make it of columns in order, without gaps."""
        every = tuple(columns)
        return Columns(every, [c.first for c in every])

    def __len__(self) -> int:
        return len(self.columns)

    def at(self, place: int) -> Column:
        """Return the column at a place, 1 to ``len``."""
        return self.columns[place - 1]

    def place(self, recurrence: int) -> int:
        """Return the place where a recurrence is drawn; 0 before the first."""
        return bisect_right(self._firsts, recurrence)

    @property
    def folded(self) -> bool:
        """Whether a column stands for more than one recurrence."""
        return any(c.times > 1 for c in self.columns)


def columns(
    n: int, breaks: Iterable[int], fold: Fold, room: int, kept: Iterable[int] = ()
) -> Columns:
    """Choose the columns of ``n`` recurrences.

    Parameters
    ----------
    breaks
        Recurrences that differ from the one before.
    fold
        "auto" folds when more than ``room`` columns would be needed, and then as little as fits;
        "always" leaves one of its kind at each side; "never" draws every recurrence.
    kept
        Recurrences that are never folded.
    """
    if fold == "never" or (fold == "auto" and n <= room):
        return Columns.of(Column(r, r) for r in range(1, n + 1))
    edges = sorted({1, n + 1, *(b for b in breaks if 1 < b <= n)})
    stretches = list(zip(edges, (e - 1 for e in edges[1:]), strict=False))
    kept_shown = sorted({r for r in kept if 1 <= r <= n})
    best: list[Column] = []
    for margin in (1,) if fold == "always" else range(1, room // 2 + 1):
        folded = _folded(stretches, kept_shown, margin)
        if best and len(folded) > room:
            break
        best = folded
    return Columns.of(best or _folded(stretches, kept_shown, 1))


def _folded(stretches: list[tuple[int, int]], kept: list[int], margin: int) -> list[Column]:
    """Fold the middle of each stretch, but for ``margin`` columns at both its ends."""
    columns: list[Column] = []

    def hide(first: int, last: int) -> None:
        if last - first + 1 >= LEAST_FOLDED:
            columns.append(Column(first, last))
        else:
            columns.extend(Column(r, r) for r in range(first, last + 1))

    for first, last in stretches:
        begin, end = first + margin, last - margin
        if end - begin + 1 < LEAST_FOLDED:
            columns.extend(Column(r, r) for r in range(first, last + 1))
            continue
        columns.extend(Column(r, r) for r in range(first, begin))
        for r in kept:
            if begin <= r <= end:
                hide(begin, r - 1)
                columns.append(Column(r, r))
                begin = r + 1
        hide(begin, end)
        columns.extend(Column(r, r) for r in range(end + 1, last + 1))
    return columns
