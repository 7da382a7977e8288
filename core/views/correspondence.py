"""Correspondence: which layer of the model beside does the work of which place of this one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from loopscope.core.measures.correspondence import (
    ALIGNED,
    ALIGNMENT,
    BASELINE,
    HEAD_BASELINE,
    HEAD_DISTANCE,
    Correspondence,
)
from loopscope.core.measures.similarity import PLACE_MEASURES, PlaceMeasure
from loopscope.core.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.tasks.hops import VOCABULARY
from loopscope.core.views.base import Request, Table, ViewData, option
from loopscope.core.views.places import Places

F64 = npt.NDArray[np.float64]
StateKey = Literal["cka_debiased", "cka", "cosine"]
STATE_KEYS: tuple[StateKey, ...] = ("cka_debiased", "cka", "cosine")

LABEL = "Compare the two models"
NO_MODEL = "Put a second model beside first: File > Open beside… (Ctrl+Shift+O)."
# A head is closer on the same prompts than on others when its distance is at most this share: heads
# whose patterns are those of any prompt differ by chance alone.
CLOSER = 0.95
NOT_YET = f"The two models have not been compared. Press “{LABEL}”."


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the correspondence matrix."""

    what: Literal["states", "heads"] = option(
        "states",
        "Compare",
        "States of every place, or the heads of the cursor's recurrence with every head beside",
        labels={"states": "states at every place", "heads": "heads of the cursor's recurrence"},
    )
    measure: StateKey = option(
        "cka_debiased",
        "Measure of states",
        "How two places are compared; formulas are under Σ",
        labels={
            "cka_debiased": "CKA, debiased: states up to rotation",
            "cka": "CKA: reads high when tokens are few",
            "cosine": "mean cosine (same width only)",
        },
    )
    path: bool = option(True, "Best monotone alignment", "Drawn on the matrix of states")
    above: bool = option(
        False,
        "Only what beats the baseline",
        "Blank where permuted prompts give as much: a bright matrix alone means nothing",
    )
    prompts: int = option(
        256, "Prompts", "Of the prompt set, or generated for the task hops", low=1, high=10_000
    )
    permutations: int = option(20, "Permutations", "Of the baseline", low=0, high=1000)
    seed: int = option(0, "Seed", "Of the generated prompts, the tokens and the permutations")


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What was compared.

    one, other : names of the two models.  places, places_other : theirs, along effective depth.
    depths, depths_other : int64 ``[N]``, ``[M]``: effective depth, prelude included.
    n_prompts, n_tokens : compared over; prompts : what they are, in words.
    states : by measure; a measure that cannot be taken is missing, `why` says why.
    heads, heads_null : float64 ``[N, H, M, H']`` distances, and of permuted prompts; or None.
    """

    one: str
    other: str
    places: Places
    places_other: Places
    depths: npt.NDArray[np.int64]
    depths_other: npt.NDArray[np.int64]
    n_prompts: int
    n_tokens: int
    prompts: str
    states: dict[str, Correspondence]
    why: dict[str, str] = field(default_factory=dict)
    heads: F64 | None = None
    heads_null: F64 | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Data(ViewData):
    """The matrix. Rows are of the model shown, columns of the one beside.

    values : float64 ``[n, m]`` in the unit of `measure`; shown : the same with what does not beat
        the baseline left out, if that is asked for.
    measure : how they are measured.  far : the value drawn darkest.
    path : column of each row of the best alignment; empty for heads or when not asked for.
    rows, columns : labels.  row_group, column_group : labels that belong together.
    found : everything, or None.
    what : "states" or "heads".  recurrence : whose heads.
    missing : what is missing when there is nothing to show, or "".
    """

    values: F64
    shown: F64
    measure: PlaceMeasure
    far: float
    path: tuple[int, ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_group: int
    column_group: int
    found: Found | None
    what: str = "states"
    recurrence: int = 0
    missing: str = ""

    def place(self, row: int) -> dict[str, int]:
        """Fields of the cursor at a row."""
        found = self.found
        if found is None:
            return {}
        if self.what == "states":
            return found.places.at(row)
        layer, head = divmod(row, len(self.rows) // found.places.n_layers)
        return {"recurrence": self.recurrence, "layer": layer, "head": head}

    def place_beside(self, column: int) -> dict[str, int]:
        """The place of the model beside at a column."""
        found = self.found
        if found is None:
            return {}
        if self.what == "states":
            return found.places_other.at(column)
        place, head = divmod(column, len(self.columns) // len(found.places_other))
        return found.places_other.at(place) | {"head": head}


def why_not(recording: Recording) -> str:
    """Why this run cannot be compared with another model's, or ""."""
    if recording.n_recurrences < 1:
        return "Run a recurrence first: as many as have been run are compared."
    hops = recording.info.architecture.vocab_size == len(VOCABULARY)
    if recording.shared.prompts is None and not hops:
        return "Open a prompt file first (File > Open prompt file…): models are compared over it."
    return ""


REQUEST = Request(
    LABEL,
    "Runs a prompt set through both models and compares every place of the one with every place of "
    "the other, with a permutation baseline",
    why_not,
    whose="model",
    beside=NO_MODEL,
)


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Arrange what was found as asked."""
    found = recording.shared.findings.get("correspondence")
    if not isinstance(found, Found):
        return _empty(why_not(recording) or f"{NOT_YET} {NO_MODEL}")
    if options.what == "heads":
        return _heads(found, selection, options)
    measure = PLACE_MEASURES[options.measure]
    result = found.states.get(options.measure)
    if result is None:
        return _empty(found.why.get(options.measure, "This measure was not taken."), found)
    shown = result.values
    if options.above and np.isfinite(result.level).any():
        shown = np.where(shown > result.level, shown, np.nan)
    return Data(
        statement=_statement(found, result, measure),
        formulas=(measure.formula, ALIGNMENT, ALIGNED, BASELINE),
        values=result.values,
        shown=shown,
        measure=measure,
        far=min(0.0, float(np.nanmin(result.values)) if np.isfinite(result.values).any() else 0.0),
        path=tuple(result.path.tolist()) if options.path else (),
        rows=found.places.labels,
        columns=found.places_other.labels,
        row_group=found.places.n_layers,
        column_group=found.places_other.n_layers,
        found=found,
    )


def _empty(text: str, found: Found | None = None) -> Data:
    nothing = np.zeros((0, 0))
    measure = PLACE_MEASURES["cka_debiased"]
    return Data(
        text, (measure.formula, ALIGNMENT, ALIGNED, BASELINE), nothing, nothing, measure, 0.0, (),
        (), (), 0, 0, found, missing=text,
    )  # fmt: skip


def _heads(found: Found, selection: Selection, options: Options) -> Data:
    """Heads of the cursor's recurrence against every head of the other model."""
    if found.heads is None:
        return _empty("Heads were not compared.", found)
    # Of one pair of heads: the measure of places is a mean over heads.
    measure = replace(PLACE_MEASURES["attention"], label="Head distance", formula=HEAD_DISTANCE)
    shown_r = [r for r in found.places.recurrences if r <= max(selection.recurrence, 1)]
    r = shown_r[-1] if shown_r else found.places.recurrences[0]
    layers, h = found.places.n_layers, found.heads.shape[1]
    first = found.places.recurrences.index(r) * layers
    values = found.heads[first : first + layers].reshape(layers * h, -1)
    rows = tuple(f"{mark}.{i}" for mark in found.places.marks for i in range(h))
    columns = tuple(
        f"{label}.{i}" for label in found.places_other.labels for i in range(found.heads.shape[3])
    )
    null = None
    if found.heads_null is not None:
        null = found.heads_null[first : first + layers].reshape(layers * h, -1)
    shown = values
    if options.above and null is not None:
        shown = np.where(values <= CLOSER * null, values, np.nan)
    return Data(
        statement=_heads_said(found, values, null, rows, columns, r),
        formulas=(HEAD_DISTANCE, HEAD_BASELINE),
        values=values,
        shown=shown,
        measure=measure,
        far=float(np.nanmax(values)) if np.isfinite(values).any() else 1.0,
        path=(),
        rows=rows,
        columns=columns,
        row_group=h,
        column_group=found.heads.shape[3],
        found=found,
        what="heads",
        recurrence=r,
    )


def _statement(found: Found, result: Correspondence, measure: PlaceMeasure) -> str:
    """Say how alike the two are, against the baseline, and whether equal depth goes together."""
    name = measure.label.lower().replace("cka", "CKA")
    over = f"{found.n_tokens:,} tokens of {found.n_prompts} {found.prompts}"
    text = f"{found.one} against {found.other}: aligned {name} {result.aligned:.3g} over {over}"
    if len(result.baseline):
        high = float(np.percentile(result.baseline, 95))
        beats = "above" if result.above else "not above"
        text += f", {beats} permuted prompts ({high:.3g})"
    else:
        text += "; one prompt has no baseline"
    apart = found.depths_other[result.path] - found.depths
    text += f"; best alignment {_depths(apart)}"
    return text


def _depths(apart: npt.NDArray[np.int64]) -> str:
    """How far the aligned places are from equal effective depth."""
    mean = float(apart.mean())
    if not apart.any():
        return "at equal effective depth throughout"
    way = "deeper" if mean > 0 else "shallower"
    return (
        f"{abs(mean):.1f} layers {way} on average, at most {int(np.abs(apart).max())} from equal "
        "effective depth"
    )


def _heads_said(
    found: Found, values: F64, null: F64 | None, rows: tuple[str, ...], columns: tuple[str, ...],
    recurrence: int,
) -> str:  # fmt: skip
    """Name the closest pair and how many heads have a partner."""
    if not np.isfinite(values).any():
        return "The attention patterns are not finite, so no two heads can be compared."
    row, column = np.unravel_index(int(np.nanargmin(values)), values.shape)
    text = (
        f"Heads of {found.one} at recurrence {recurrence} against {found.other}: closest head "
        f"{rows[row]} and {columns[column]}, distance {values[row, column]:.3g}"
    )
    if null is not None:
        # Each head's nearest, so that one that attends alike on any prompt counts for nothing.
        nearest, by_chance = (np.where(np.isfinite(x), x, np.inf).min(1) for x in (values, null))
        n = int((nearest <= CLOSER * by_chance)[np.isfinite(nearest)].sum())
        text += (
            f"; {n} of {len(rows)} have a head beside that is at least "
            f"{100 * (1 - CLOSER):.0f} % closer than any is on other prompts"
        )
    return text


def table(data: Data) -> Table:
    """One row for each pair."""
    f = data.measure.formula
    columns = (
        "recurrence", "layer", "head", "recurrence beside", "layer beside", "head beside",
        f"{f.name} [{f.unit}]", "aligned", "baseline (95th percentile)",
    )  # fmt: skip
    return Table(columns, _table_rows(data))


def _table_rows(data: Data) -> Iterator[tuple[object, ...]]:
    level = _level(data)
    for i, j in np.ndindex(data.values.shape):
        own, beside = data.place(i), data.place_beside(j)
        aligned = int(bool(data.path) and data.path[i] == j)
        yield (
            own["recurrence"], own["layer"], own.get("head", ""),
            beside["recurrence"], beside["layer"], beside.get("head", ""),
            float(data.values[i, j]), aligned if data.path else "",
            "" if level is None else float(level[j]),
        )  # fmt: skip


def _level(data: Data) -> F64 | None:
    if data.found is None or data.what != "states":
        return None
    for result in data.found.states.values():
        if result.values is data.values:
            return result.level
    return None
