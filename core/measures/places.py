"""Places of a run along its effective depth: each (recurrence, layer), thinned when too many."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Places:
    """The places that a view shows, in the order in which they were run.

    recurrences : the shown ones, ascending.  marks : short name of each layer, ``L`` of them.
    step : 1 when every recurrence is shown, else recurrence 1 and the multiples of this.
    """

    recurrences: tuple[int, ...]
    marks: tuple[str, ...]
    step: int = 1

    def __len__(self) -> int:
        return len(self.recurrences) * len(self.marks)

    @property
    def n_layers(self) -> int:
        """Layers of a recurrence, ``L``."""
        return len(self.marks)

    @property
    def labels(self) -> tuple[str, ...]:
        """``recurrence:layer`` of each place, such as "7:1"; a point would read as a decimal's."""
        return tuple(f"{r}:{mark}" for r in self.recurrences for mark in self.marks)

    @property
    def depths(self) -> tuple[int, ...]:
        """Layers of the recurrent block run at each place, itself included: 1, 2, ..."""
        n = self.n_layers
        return tuple((r - 1) * n + layer + 1 for r in self.recurrences for layer in range(n))

    def at(self, index: int) -> dict[str, int]:
        """Fields of the cursor at a place."""
        row, layer = divmod(index, self.n_layers)
        return {"recurrence": self.recurrences[row], "layer": layer}

    def index(self, recurrence: int | None, layer: int | None) -> int | None:
        """Which place stands for this one: the nearest shown recurrence at or before it."""
        if recurrence is None or layer is None or not 0 <= layer < self.n_layers:
            return None
        before = [i for i, r in enumerate(self.recurrences) if r <= recurrence]
        return before[-1] * self.n_layers + layer if before and recurrence >= 1 else None

    def said(self) -> str:
        """Which recurrences are left out, or ""."""
        if self.step == 1:
            return ""
        return f"recurrence 1 and every {_ordinal(self.step)} are shown"


def shown_places(n_recurrences: int, marks: tuple[str, ...], most: int) -> Places:
    """Places of a run: all of them, or so many that there are ``most`` or fewer.

    The step is a power of two, so that what is shown at one step holds what is shown at the next:
    a run that grows never needs a place again that it has left out. Two recurrences are shown in
    any case.
    """
    step = 1
    while 2 * step <= n_recurrences:
        if len(_shown(n_recurrences, step)) * len(marks) <= most:
            break
        step *= 2
    return Places(_shown(n_recurrences, step), marks, step)


def _shown(n: int, step: int) -> tuple[int, ...]:
    return tuple(dict.fromkeys([*range(1, min(n, 1) + 1), *range(step, n + 1, step)]))


def _ordinal(n: int) -> str:
    last = {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{'th' if n % 100 in (11, 12, 13) else last}"
