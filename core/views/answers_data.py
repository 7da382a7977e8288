"""Maps of top answers as plain data: the readout by recurrence, and the lens by layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from typing_extensions import override

from loopscope.core.arrays import F32, F64, Bools
from loopscope.core.labels import visible
from loopscope.core.measures.readout import NO_ANSWER, Ids
from loopscope.core.views.base import ViewData


@dataclass(frozen=True, slots=True)
class Span:
    """Columns ``first`` to ``last``, from 1, at which one row's top answer is the same."""

    row: int
    first: int
    last: int
    answer: int


@dataclass(frozen=True, slots=True)
class Shade:
    """What the shade of a cell means.

    label, short, whole : the quantity with its unit, its symbol, and in full for paper.
    low, high : ends of the scale.
    log : whether it is logarithmic.  low_is_bright : whether ``low`` is the bright end.
    colours : "similarity" for what is sure or alike, "distance" for what is far.
    digits : how a value is written into a cell, as a format.
    """

    label: str
    short: str
    whole: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    low_is_bright: bool = False
    colours: Literal["similarity", "distance"] = "similarity"
    digits: str = ".2f"

    def levels(self, values: F64) -> F64:
        """Place of each value on the scale, float64 of the same shape: 0 (dark) to 1; NaN stays."""
        v, low, high = values, self.low, self.high
        if self.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                v, low, high = np.log(v), np.log(low), np.log(high)
        level = (v - low) / (high - low) if high > low else np.where(v > low, 1.0, 0.0)
        level = np.clip(1 - level if self.low_is_bright else level, 0, 1)
        return np.where(np.isnan(values), np.nan, level)

    def text(self, value: float) -> str:
        """A value as it is written into a cell."""
        return "–" if value != value else format(value, self.digits)

    @property
    def ends(self) -> tuple[str, str]:
        """Texts of the dark and of the bright end."""
        low, high = f"{self.low:.3g}", f"{self.high:.3g}"
        return (high, low) if self.low_is_bright else (low, high)


@dataclass(frozen=True, slots=True, eq=False)
class AnswerMap(ViewData):
    """Answers of ``n`` shown tokens at ``N`` columns; ``k`` answers of each are kept.

    tokens : index of each shown token.
    labels, token_texts : its text with spaces made visible, and exactly.
    ids : int64 ``[N, n, k]``, most probable first.
    probabilities : float32 ``[N, n, k]``, 0..1; NaN where the readout is not finite.
    top : int64 ``[N, n]``, ``ids[..., 0]``, or -1 where the readout is not finite.
    flip : bool ``[N, n]``, whether `top` differs from the previous column's.
    texts : the exact text of every id in `ids`.
    numbers : whether the shaded values are written into the cells.
    exits : float64 ``[N, n]``, exit probability of an exit gate; no rows without one.
    """

    tokens: tuple[int, ...]
    labels: tuple[str, ...]
    token_texts: tuple[str, ...]
    ids: Ids
    probabilities: F32
    top: Ids
    flip: Bools
    texts: dict[int, str]
    numbers: bool
    exits: F64

    @property
    @override
    def drawn_words(self) -> str:
        """What cells, shades and marks are."""
        exits = (
            " Line at the foot of a cell: its exit probability, the whole width being 1."
            if self.exits.size
            else ""
        )
        return (
            "A row for each token, a column for each place. The text is the most probable answer, "
            f"written where it fits; shade: {self.shade.whole}. Bar: the answer changes.{exits}"
        )

    @property
    def n_columns(self) -> int:
        """Columns shown, ``N``."""
        return len(self.ids)

    # ---- what a subclass may draw otherwise ----
    @property
    def values(self) -> F64:
        """What is shaded, float64 ``[N, n]``."""
        return np.asarray(self.probabilities[..., 0], dtype=np.float64)

    @property
    def shade(self) -> Shade:
        """What the shade means."""
        return Shade("probability", "p", "top answer's probability")

    @property
    def lens_label(self) -> str:
        """How the answers were read."""
        return ""

    @property
    def marked(self) -> Bools:
        """Cells with a bar at their left edge, bool ``[N, n]``."""
        return self.flip

    @property
    def mark_label(self) -> str:
        """What the bar means."""
        return "answer flips"

    @property
    def column_labels(self) -> tuple[str, ...]:
        """Label of each column."""
        return tuple(map(str, range(self.first_number, self.first_number + self.n_columns)))

    @property
    def column_title(self) -> str:
        """What the columns are."""
        return "recurrence r"

    @property
    def first_number(self) -> int:
        """Number that labels are thinned by, of the first column."""
        return 1

    @property
    def group(self) -> int:
        """Columns that belong together; 0 for none."""
        return 0

    def place_text(self, row: int, column: int) -> str:
        """A cell in a few words; columns count from 1."""
        return (
            f"r = {column + self.first_number - 1}, token {self.tokens[row]} '{self.labels[row]}'"
        )

    def notes(self, row: int, column: int) -> tuple[str, ...]:
        """What else there is to say of a cell, one line each."""
        return ()

    # ---- what follows ----
    @property
    def has_exits(self) -> bool:
        """Whether there are exit probabilities, drawn at the foot of the cells."""
        return len(self.exits) > 0

    def text(self, answer: int) -> str:
        """Readable text of an answer; "–" for none."""
        return "–" if answer == NO_ANSWER else visible(self.texts[answer])

    def spans(self) -> Iterator[Span]:
        """Runs of columns with one answer, row by row, from left to right."""
        n = self.n_columns
        for row in range(len(self.tokens) if n else 0):
            starts = [0, *np.flatnonzero(self.flip[:, row]).tolist()]
            for first, after in zip(starts, [*starts[1:], n], strict=True):
                yield Span(row, first + 1, after, int(self.top[first, row]))
