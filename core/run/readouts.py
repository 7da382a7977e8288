"""The readouts that a recording keeps: their rows, and what makes those that wait."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from loopscope.core.arrays import F32
from loopscope.core.run.rows import Rows
from loopscope.core.run.states import ReadOut, TopAnswers


class Reading(Protocol):
    """Makes readouts of a run when they are asked for; see `reading_out.ReadingOut`."""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held while readouts are taken and appended."""
        ...

    def take(self) -> ReadOut | None:
        """What is not read out yet, once; ``lock`` is held by who appends it."""
        ...


class Readouts:
    """Answers of both lenses by recurrence, and how far each is from the one before.

    Parameters
    ----------
    rows
        Of the recording, by the names of `kept_rows`; without "spread" nothing is kept.

    reading : makes readouts that were left for later; None where each comes with its recurrence.
    """

    def __init__(self, rows: Mapping[str, Rows]) -> None:
        self._rows = rows
        self.kept = "spread" in rows
        self.reading: Reading | None = None

    @property
    def n(self) -> int:
        """Recurrences whose readout is there; 0 where none are kept."""
        return len(self._rows["spread"]) if self.kept else 0

    def append(self, made: ReadOut | None) -> None:
        """Append those of the next recurrences; one thread at a time."""
        if made is None or not self.kept:
            return
        for lens, answers in (("coda", made.coda), ("logit", made.logit)):
            self._rows[f"{lens}_ids"].append_all(answers.ids)
            self._rows[f"{lens}_probabilities"].append_all(answers.probabilities)
        self._rows["spread"].append_all(made.spread)

    def make(self) -> None:
        """Make those that wait, if any do."""
        if (reading := self.reading) is not None:
            with reading.lock:
                self.append(reading.take())

    def check(self, recurrence: int) -> None:
        """Raise `ValueError` for a recurrence whose readout is to be kept and never comes."""
        if self.kept and self.reading is None and self.n < recurrence:
            raise ValueError("both lenses are captured and must be given")

    def answers(self, lens: str, n: int) -> TopAnswers | None:
        """Answers of ``lens``, the first ``n`` recurrences, ``[n, T, k]``; None for none kept."""
        if not self.kept:
            return None
        self.make()
        ids, probabilities = self._rows[f"{lens}_ids"], self._rows[f"{lens}_probabilities"]
        return TopAnswers(ids.first(n), probabilities.first(n))

    def answers_at(self, lens: str, recurrence: int) -> TopAnswers | None:
        """Answers of ``lens`` after one recurrence, ``[T, k]``; None for none kept."""
        if not self.kept:
            return None
        self.make()
        ids, probabilities = self._rows[f"{lens}_ids"], self._rows[f"{lens}_probabilities"]
        return TopAnswers(ids[recurrence - 1], probabilities[recurrence - 1])

    def of(self, name: str, first: int, last: int) -> F32:
        """Rows ``name`` of recurrences ``first ... last``, both included, ``[n, T, ...]``.

        "spread", "coda_probabilities" or "logit_probabilities", or "hazards" of an exit gate.
        Raises `KeyError` where none are kept.
        """
        self.make()
        return self._rows[name].rows(first - 1, last)

    def spread(self, which: int, n: int) -> F32 | None:
        """Column ``which`` of `ReadOut.spread`, ``[n, T]`` of the first ``n`` recurrences."""
        if not self.kept:
            return None
        self.make()
        spread: F32 = self._rows["spread"].first(n)[..., which]
        return spread


def of_one(coda: TopAnswers, logit: TopAnswers, spread: F32 | None) -> ReadOut:
    """The readout of one recurrence; ``spread`` is ``[T, 2]``, None where it was not measured."""
    unknown = np.full((len(coda.ids), 2), np.nan, np.float32)
    return ReadOut(
        TopAnswers(coda.ids[None], coda.probabilities[None]),
        TopAnswers(logit.ids[None], logit.probabilities[None]),
        (unknown if spread is None else spread)[None],
    )
