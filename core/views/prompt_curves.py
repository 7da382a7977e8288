"""Curves over a prompt set that can be opened to its prompts: what such views share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.prompts.prompt_set import PromptSet
from loopscope.core.run.recording import Recording
from loopscope.core.views.base import PROMPTS, RECURRENCE, Lack
from loopscope.core.views.curves_data import Curves

NO_PROMPTS = "No prompt file is open."
NO_RUN = "Run a recurrence first: every prompt is run as far as the run in the bench has gone."


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One number of every prompt.

    name, help : of its heading.  values : float64 ``[P, R]`` or ``[P, R, L]``, shown at the
        cursor's recurrence and layer, or ``[P]``; NaN where a prompt has none.
    """

    name: str
    help: str
    values: F64

    def at(self, recurrence: int, layer: int) -> F64:
        """Values at a place of the cursor, ``[P]``; at the nearest place that was measured."""
        values = self.values
        if values.ndim > 1:
            values = values[:, self.recurrence(recurrence) - 1]
        if values.ndim > 1:
            values = values[:, min(max(layer, 0), values.shape[1] - 1)]
        return values

    def recurrence(self, wanted: int) -> int:
        """The nearest recurrence that was measured; 0 where there is no such axis."""
        return min(max(wanted, 1), self.values.shape[1]) if self.values.ndim > 1 else 0

    def heading(self, recurrence: int) -> str:
        """Name and the recurrence it is shown at."""
        at = self.recurrence(recurrence)
        return f"{self.name}, r = {at}" if at else self.name


@dataclass(frozen=True, slots=True, eq=False)
class PromptRows:
    """The prompts behind an aggregate, each with its own numbers.

    opens : text that runs a prompt in the bench as it was run here.
    missing : why a prompt has no number, or "".  current : the run's own prompt, -1 for none.
    """

    prompts: PromptSet
    how: HowRun
    columns: tuple[Column, ...]
    opens: tuple[str, ...]
    missing: tuple[str, ...]
    current: int = -1

    def run_of(self, row: int) -> dict[str, Any]:
        """Fields of the `RunRequest` that runs this prompt in the bench."""
        return self.how.run_of(self.opens[row])


@dataclass(frozen=True, slots=True, eq=False)
class PromptCurves(Curves):
    """Means over a prompt set as curves, and the prompts behind them.

    rows : None while nothing was measured.
    bundled : whether the bundled prompts are of the task of this model.
    """

    rows: PromptRows | None = None
    bundled: bool = False


def lack(recording: Recording) -> tuple[Lack | None, str]:
    """What a measurement over the prompt set still lacks, and that in words; (None, "") if not."""
    if recording.shared.prompts is None:
        return PROMPTS, NO_PROMPTS
    if recording.n_recurrences < 1:
        return RECURRENCE, NO_RUN
    return None, ""


def why_not(recording: Recording) -> str:
    """Why the prompt set cannot be measured, or ""."""
    return lack(recording)[1]


def of_uncut(recording: Recording, how: HowRun) -> str:
    """What a statement adds where the run shown is cut and the prompts' runs were not."""
    return "; of the uncut model" if recording.info.interventions and not how.interventions else ""


def takes_bundled(recording: Recording) -> bool:
    """Whether this model was trained on the task of the bundled prompts."""
    return recording.info.architecture.task == "hops"


def index_of(prompt: str, opens: tuple[str, ...]) -> int:
    """Which of the prompts is the run's own, -1 for none."""
    return opens.index(prompt) if prompt in opens else -1


def prompt_rows(rows: PromptRows) -> Iterator[tuple[object, ...]]:
    """For a table: line, prompt, recurrence, layer and the columns, a row for each number."""
    shape = max((c.values.shape[1:] for c in rows.columns), key=len)
    for p, item in enumerate(rows.prompts.items):
        for place in np.ndindex(shape):
            recurrence, layer = (*place, 0, 0)[:2]
            values = [float(c.at(recurrence + 1, layer)[p]) for c in rows.columns]
            yield item.line, item.text, recurrence + 1, layer, *values
