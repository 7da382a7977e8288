"""What a lens read at every layer, and the map of it that is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from loopscope.core.arrays import F32, F64, Bools
from loopscope.core.formula import Formula
from loopscope.core.measures.lens import Lens
from loopscope.core.measures.places import Places
from loopscope.core.measures.readout import NO_ANSWER, Ids
from loopscope.core.views.answers_data import AnswerMap, Shade

Order = Literal["depth", "layer"]


@dataclass(frozen=True, slots=True, eq=False)
class Data(AnswerMap):
    """Answers by place along effective depth: column 1 is the first one drawn. ``N`` places.

    places : the places.  order : int64 ``[N]``, the place of each column.  by : "depth" or "layer".
    shaded, scale : float64 ``[N, n]``, the quantity that is shaded, and what its shade means.
    formula : of that quantity.
    mark : bool ``[N, n]``, where the answer becomes the final one.
    entropy, divergence, chance, rank : float32 ``[N, n]``, of every cell.
    chosen : int64 ``[n]``, the token whose chance and rank they are, -1 for none.
    final : int64 ``[n]``, top answers of the last readout, -1 for none.
    final_since : int64 ``[n]``, place number from 1 from which the answer stays the final one.
    final_recurrence : the same over recurrence ends only.  0 where there is no final answer.
    lens, masked : how it was read; whether an answer is for the token at its own place.
    layer_names : of the block.  n_recurrences : how far the run had gone when it was read.
    missing : what is missing when there is nothing to show, or "".
    """

    places: Places
    order: npt.NDArray[np.intp]
    by: Order
    shaded: F64
    scale: Shade
    formula: Formula
    mark: Bools
    entropy: F32
    divergence: F32
    chance: F32
    rank: F32
    chosen: Ids
    final: Ids
    final_since: Ids
    final_recurrence: Ids
    lens: Lens
    masked: bool
    layer_names: tuple[str, ...]
    n_recurrences: int
    missing: str = ""

    @property
    @override
    def values(self) -> F64:
        """What is shaded."""
        return self.shaded

    @property
    @override
    def shade(self) -> Shade:
        """What the shade means."""
        return self.scale

    @property
    @override
    def lens_label(self) -> str:
        """The lens in words, and which token it is asked for."""
        return f"{self.lens} lens" + (": the token at its place" if self.masked else "")

    @property
    @override
    def marked(self) -> Bools:
        """Where the answer becomes the final one."""
        return self.mark

    @property
    @override
    def mark_label(self) -> str:
        """What the bar means."""
        return "final from here"

    @property
    @override
    def column_labels(self) -> tuple[str, ...]:
        """``recurrence:layer`` of each column."""
        labels = self.places.labels
        return tuple(labels[i] for i in self.order)

    @property
    @override
    def column_title(self) -> str:
        """What the columns are."""
        way = "along effective depth" if self.by == "depth" else "layer by layer"
        return f"recurrence:layer, {way}"

    @property
    @override
    def first_number(self) -> int:
        """Number of the first column that makes thinned labels round recurrences."""
        if self.places.step > 1:
            return 0
        return self.group if self.by == "depth" else 1

    @property
    @override
    def group(self) -> int:
        """Columns that belong together: layers of a recurrence, or recurrences of a layer."""
        layers = self.places.n_layers
        return layers if self.by == "depth" else len(self.places.recurrences)

    @override
    def place_text(self, row: int, column: int) -> str:
        """A cell in a few words; columns count from 1."""
        return f"{self.column_labels[column - 1]}, token {self.tokens[row]} '{self.labels[row]}'"

    @override
    def notes(self, row: int, column: int) -> tuple[str, ...]:
        """Entropy, divergence and the chosen token, one line each."""
        at = column - 1, row
        lines = [
            f"entropy {self.entropy[at]:.3g} nats",
            f"KL to the last {self.divergence[at]:.3g} nats",
        ]
        if self.chosen[row] != NO_ANSWER:
            lines.append(
                f"'{self.text(int(self.chosen[row]))}': p {self.chance[at]:.3g}, "
                f"rank {self.rank[at]:.0f}"
            )
        return (*lines, f"final since {self.since(row)}")

    def since(self, row: int) -> str:
        """The place from which a row's answer is the final one, "–" for none."""
        number = int(self.final_since[row])
        if not number:
            return "–"
        recurrence, layer = divmod(number - 1, self.places.n_layers)
        return f"{recurrence + 1}:{self.places.marks[layer]}"

    def name(self, column: int) -> str:
        """A column in words, such as "recurrence 7, layer 1"; columns count from 1."""
        at = self.places.at(int(self.order[column - 1]))
        return f"recurrence {at['recurrence']}, {self.layer_names[at['layer']]}"
