"""Which columns of an unrolling the page has room for, and which it leaves out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from loopscope.core.views.graph.columns import columns


@dataclass(frozen=True, slots=True)
class Slot:
    """A column that is drawn (``first`` is ``last``), or those left out in one place."""

    first: int
    last: int

    @property
    def drawn(self) -> bool:
        """Whether it is a column and not a gap."""
        return self.first == self.last

    @property
    def n(self) -> int:
        """How many columns it stands for."""
        return self.last - self.first + 1


def choose_slots(
    n: int, breaks: Iterable[int], room: int, most: int, ends: Iterable[int]
) -> list[Slot]:
    """Columns 1 to ``n`` in about ``room`` slots and at most ``most``.

    Columns that are alike are left out first, see `columns`; if that is not enough, all but the
    first and ``ends``, which are drawn in any case, those that come first before the others.
    """
    kept = list(dict.fromkeys((1, *(e for e in ends if 1 <= e <= n))))
    folded = columns(n, breaks, "auto", room, kept).columns
    if len(folded) <= most:
        return [Slot(c.first, c.last) for c in folded]
    recurrences: set[int] = set()
    for r in (*kept, *range(2, n + 1)):
        if len(_with_gaps(recurrences | {r}, n)) <= most:
            recurrences.add(r)
    return _with_gaps(recurrences, n)


def _with_gaps(recurrences: set[int], n: int) -> list[Slot]:
    """Drawn columns with what is between them; a single one between is drawn as well."""
    slots: list[Slot] = []
    for r in (*sorted(recurrences), n + 1):
        before = slots[-1].last if slots else 0
        if r - before - 1:
            slots.append(Slot(before + 1, r - 1))
        if r <= n:
            slots.append(Slot(r, r))
    return slots
