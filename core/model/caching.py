"""Keys and values kept while a text is continued: of every layer, at every recurrence.

A looped model runs one layer many times, and at each recurrence its keys and values differ: they
are kept by (recurrence, layer). A token that left the loop early has none at later recurrences;
there it lends those of its last one, as Huginn's published cache does ("latest-m4": the latest
step of the same core layer, arXiv 2502.05171).

Axis names: ``B`` batch, ``K`` key/value heads, ``T`` tokens kept, ``n`` tokens run now, ``hd``
d_head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

Part = Literal["prelude", "block", "coda"]


@dataclass(slots=True, eq=False)
class KeysValues:
    """Keys and values of one layer at one recurrence, each ``[B, K, T, hd]``; None for no token.

    What the tokens under way add is not kept until `keep` says so: a layer may run again for them.
    """

    kept: tuple[Tensor, Tensor] | None = None
    latest: tuple[Tensor, Tensor] | None = None

    def extended(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Those kept, followed by these of the tokens under way, each ``[B, K, n, hd]``."""
        if self.kept is not None:
            keys = torch.cat([self.kept[0], keys], dim=2)
            values = torch.cat([self.kept[1], values], dim=2)
        self.latest = keys, values
        return self.latest

    def keep(self) -> None:
        """Keep what the tokens under way added last."""
        if self.latest is not None:
            self.kept, self.latest = self.latest, None

    def lend(self, other: KeysValues, n: int) -> None:
        """Keep for the last ``n`` tokens what ``other`` keeps of them."""
        assert other.kept is not None
        keys, values = (x[:, :, -n:] for x in other.kept)
        self.extended(keys, values)
        self.keep()


@dataclass(slots=True, eq=False)
class Cache:
    """Keys and values of one text that is continued.

    length : tokens that the text has at most; rotary tables are made for it.
    n_kept : tokens kept so far.
    """

    length: int
    n_kept: int = 0
    _places: dict[tuple[Part, int, int], KeysValues] = field(default_factory=dict)

    def at(self, part: Part, recurrence: int, layer: int) -> KeysValues:
        """Those of a layer; ``recurrence`` counts from 1 in the block and is 0 outside it."""
        place = (part, recurrence, layer)
        if place not in self._places:
            self._places[place] = self._new(recurrence, layer)
        return self._places[place]

    def _new(self, recurrence: int, layer: int) -> KeysValues:
        """At a recurrence that no token has reached, all lend their last one's."""
        before = self._places.get(("block", recurrence - 1, layer))
        return KeysValues() if before is None else KeysValues(before.kept)

    def keep(self, n: int, recurrences: int) -> None:
        """Keep the ``n`` tokens under way, which left after ``recurrences``."""
        for place in self._places.values():
            place.keep()
        for recurrence, layer in self._after(recurrences):
            last = self._places["block", recurrences, layer]
            self._places["block", recurrence, layer].lend(last, n)
        self.n_kept += n

    def _after(self, recurrences: int) -> Iterator[tuple[int, int]]:
        """Places of the block beyond a recurrence that tokens before went to."""
        for part, recurrence, layer in list(self._places):
            if part == "block" and recurrence > recurrences:
                yield recurrence, layer
