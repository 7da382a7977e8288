"""The one cursor that every view shares, and the recurrences that they show."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

# How views show two runs: both, one of the two alone, or what is different between them.
TwoRuns = Literal["both", "first", "second", "difference"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Where the user is: a place in the run, and the tokens that drive the views.

    recurrence : 0 (the initial state) to the last; layer, head, token : from 0.
    tokens : the selected tokens, sorted; empty means all of them.
    """

    recurrence: int = 0
    layer: int = 0
    head: int = 0
    token: int = 0
    tokens: tuple[int, ...] = ()

    def shown_tokens(self, n_tokens: int) -> tuple[int, ...]:
        """Tokens to show of ``n_tokens``: the selected ones, or all when none is selected."""
        kept = tuple(t for t in self.tokens if t < n_tokens)
        return kept or tuple(range(n_tokens))


# A range is never zoomed below so many recurrences.
LEAST_RECURRENCES = 4


@dataclass(frozen=True, slots=True)
class RecurrenceRange:
    """The recurrences that heat maps and curves show.

    first : from 0, the initial state.  last : None for the latest, as the run goes on.
    log : whether the axis of r is logarithmic.
    """

    first: int = 0
    last: int | None = None
    log: bool = False

    def misused(self) -> str:
        """What of its fields no run could have, or ""."""
        if self.first < 0 or (self.last is not None and self.last <= self.first):
            return f"'range': {self.first} to {self.last} are no recurrences"
        return ""

    @property
    def whole(self) -> bool:
        """Whether every recurrence is shown."""
        return self.first == 0 and self.last is None

    def ends(self, latest: int) -> tuple[int, int]:
        """First and last recurrence shown of a run that has come to ``latest``.

        A range that the run has not reached yet shows all of it.
        """
        last = latest if self.last is None else min(self.last, latest)
        return (self.first, last) if self.first < last else (0, latest)

    def said(self, latest: int) -> str:
        """Which are shown, in words; "" for all of them."""
        first, last = self.ends(latest)
        return "" if (first, last) == (0, latest) else f"r = {first} to {last} of {latest}"

    def between(self, one: float, other: float, latest: int) -> RecurrenceRange:
        """The range between two places, at least `LEAST_RECURRENCES` wide; whole where it is all.

        One that reaches the latest recurrence goes on with the run.
        """
        low, high = sorted((one, other))
        first, last = max(0, round(low)), min(latest, round(high))
        if last - first < LEAST_RECURRENCES:
            first = max(0, min(first, latest - LEAST_RECURRENCES))
            last = min(latest, first + LEAST_RECURRENCES)
        return replace(self, first=first, last=None if last >= latest else last)

    def zoomed(self, about: float, factor: float, latest: int) -> RecurrenceRange:
        """The range made wider or, with a ``factor`` below 1, narrower about a place in it.

        On a log axis about the same place of that axis.
        """
        first, last = self.ends(latest)
        if not self.log:
            low, high = (about + factor * (r - about) for r in (first, last))
            return self.between(low, high, latest)
        start, end, middle = (math.log(max(r, 0.5)) for r in (first, last, about))
        low, high = (math.exp(middle + factor * (r - middle)) for r in (start, end))
        return self.between(0 if low < 0.75 else low, high, latest)
