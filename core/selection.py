"""The one cursor that every view shares."""

from __future__ import annotations

from dataclasses import dataclass


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
