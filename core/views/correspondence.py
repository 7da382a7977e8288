"""Correspondence: which layer of the second model does the work of which place of this one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from loopscope.core.arrays import F64
from loopscope.core.experiments.hops import VOCABULARY
from loopscope.core.measures.correspondence import (
    ALIGNED,
    ALIGNMENT,
    BASELINE,
    CORRESPONDENCE,
    HEAD_BASELINE,
    HEAD_DISTANCE,
    LEAST_MEAN,
    MEANS_OUT,
    REFERENCE,
    Correspondence,
    ModelCorrespondence,
)
from loopscope.core.measures.places import Places
from loopscope.core.measures.similarity import PLACE_MEASURES, PlaceMeasure
from loopscope.core.options import setting
from loopscope.core.run.pairing import Pairing
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import (
    PROMPTS,
    SECOND_MODEL,
    Lack,
    Request,
    Table,
    ViewData,
    ViewDefinition,
)
from loopscope.core.views.second_run import SecondRun

StateKey = Literal["cka_debiased", "cka", "cosine"]
STATE_KEYS: tuple[StateKey, ...] = ("cka_debiased", "cka", "cosine")

LABEL = "Compare the two models"
NO_MODEL = "There is no second model to compare with."
# A head is closer on the same prompts than on others when its distance is at most this share: heads
# whose patterns are those of any prompt differ by chance alone.
CLOSER = 0.95
ALONE = (
    "Which layer of a second model does what each layer of this one does, recurrence by "
    f"recurrence? {NO_MODEL}"
)
NO_PROMPTS = "Models are compared over a prompt file, and none is open."
NOT_YET = "The two models have not been compared."
LACKS = Lack("measurement", LABEL)


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the correspondence matrix."""

    compared: Literal["states", "heads"] = setting(
        "states",
        "Compare",
        "States of every place, or heads of the cursor's recurrence with all of the second run",
        labels={"states": "states at every place", "heads": "heads of the cursor's recurrence"},
        at_hand=True,
    )
    means: Literal["out", "kept"] = setting(
        "out",
        "Position means",
        "What all prompts have in common at a position is alike in any two models and drowns the "
        "rest",
        labels={"out": "taken out: what the prompt changes", "kept": "kept"},
        at_hand=True,
        idle=lambda o: "heads have none" if o.compared == "heads" else "",
    )
    measure: StateKey = setting(
        "cka_debiased",
        "Measure of states",
        "How two places are compared",
        labels={
            "cka_debiased": "CKA, debiased: states up to rotation",
            "cka": "CKA: reads high when tokens are few",
            "cosine": "mean cosine (same width only)",
        },
        at_hand=True,
    )
    path: bool = setting(True, "Best monotone alignment", "Drawn on the matrix of states")
    hatch: bool = setting(
        True,
        "Hatch what does not beat the baseline",
        "Where permuted prompts give as much: a bright cell alone means nothing",
    )
    above: bool = setting(
        False,
        "Only what beats the baseline",
        "Blank where permuted prompts give as much: a bright matrix alone means nothing",
        at_hand=True,
    )
    prompts: int = setting(
        256, "Prompts", "Of the prompt set, or generated for the task hops", low=1, high=10_000
    )
    tokens: Literal["drawn", "answers"] = setting(
        "drawn",
        "Tokens",
        "Of each prompt; of the next comparison",
        labels={"drawn": "drawn from the whole prompt", "answers": "where answers are read out"},
    )
    reference: str = setting(
        "",
        "Another seed",
        "Checkpoint of the kind of one of the two models and another training seed, or several "
        "with commas: how alike two of a kind are",
    )
    permutations: int = setting(20, "Permutations", "Of the baseline", low=0, high=1000)
    seed: int = setting(0, "Seed", "Of the generated prompts, the tokens and the permutations")


@dataclass(frozen=True, slots=True, eq=False)
class Data(ViewData):
    """The matrix. Rows are of the model shown, columns of the second one.

    values : float64 ``[n, m]`` in the unit of `measure`; drawn : the same with what does not beat
        the baseline left out, if that is asked for.
    measure : how they are measured.  far, near : the values drawn darkest and brightest.
    level : float64 ``[n, m]``: what each value has to beat, of permuted prompts; None without them.
    hatched : whether what does not beat it is hatched.
    best : for heads, the closest column of each row; -1 where other prompts bring it as close.
    pairing : how the second run goes with the one shown; None without a second run.
    path : column of each row of the best alignment; empty for heads or when not asked for.
    rows, columns : labels.  row_group, column_group : labels that belong together.
    comparison : the result of the measurement, or None.
    compared : "states" or "heads".  recurrence : that of the heads.
    missing : what is missing when there is nothing to show, or "".
    """

    values: F64
    drawn: F64
    measure: PlaceMeasure
    far: float
    path: tuple[int, ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_group: int
    column_group: int
    comparison: ModelCorrespondence | None
    compared: str = "states"
    recurrence: int = 0
    missing: str = ""
    near: float = 1.0
    level: F64 | None = None
    hatched: bool = False
    best: tuple[int, ...] = ()
    pairing: Pairing | None = None

    @property
    @override
    def drawn_words(self) -> str:
        """What cells, shades and marks are."""
        hatched = (
            " Hatched: not above what permuted prompts give (the level of the test is in the "
            "settings)."
            if self.hatched
            else ""
        )
        line = " Line: the best alignment in order." if self.path else ""
        return (
            "Rows: places of the model shown; columns: of the second one. Shade: "
            f"{self.measure.label}, {self.measure.identical:g} where they are the same."
            f"{hatched}{line}"
        )

    @property
    def brightness(self) -> F64:
        """What is shown as 0 (`far`) to 1 (`near`), of the shape of `drawn`."""
        span = (self.near - self.far) or 1.0
        level: F64 = np.clip((self.drawn - self.far) / span, 0, 1)
        return np.where(np.isfinite(self.drawn), level, np.nan)

    @property
    def beats(self) -> npt.NDArray[np.bool_]:
        """Which cells beat the baseline, ``[n, m]``; all of them where there is none."""
        return _beats(self.values, self.level, self.measure)

    @property
    def weak(self) -> npt.NDArray[np.bool_] | None:
        """Cells that are hatched, bool ``[rows, columns]``, or None."""
        return ~self.beats & np.isfinite(self.values) if self.hatched else None

    def column(self, recurrence: int, layer: int) -> int | None:
        """Column of the place that goes with one of this run; None where the pairing gives none."""
        if self.pairing is None or self.pairing.step_pairing == "own" or self.compared != "states":
            return None
        assert self.comparison is not None
        return self.comparison.second_places.index(*self.pairing.place(recurrence, layer))

    def place_of_column(self, column: int) -> dict[str, int]:
        """Fields of the cursor for a column: the place that goes with it by the pairing."""
        if self.pairing is None:
            return {}
        there = self.second_place(column)
        recurrence, layer = self.pairing.back(there["recurrence"], there["layer"])
        return {"recurrence": recurrence, "layer": layer} if recurrence else {"recurrence": 0}

    def place(self, row: int) -> dict[str, int]:
        """Fields of the cursor at a row."""
        comparison = self.comparison
        if comparison is None:
            return {}
        if self.compared == "states":
            return comparison.places.at(row)
        layer, head = divmod(row, len(self.rows) // comparison.places.n_layers)
        return {"recurrence": self.recurrence, "layer": layer, "head": head}

    def second_place(self, column: int) -> dict[str, int]:
        """Recurrence, layer and, for heads, head of the second model at a column."""
        comparison = self.comparison
        if comparison is None:
            return {}
        if self.compared == "states":
            return comparison.second_places.at(column)
        place, head = divmod(column, len(self.columns) // len(comparison.second_places))
        return comparison.second_places.at(place) | {"head": head}


def why_not(recording: Recording) -> str:
    """Why this run cannot be compared with another model's, or ""."""
    if recording.n_recurrences < 1:
        return "Run a recurrence first: as many as have been run are compared."
    hops = recording.info.architecture.vocab_size == len(VOCABULARY)
    if recording.shared.prompts is None and not hops:
        return NO_PROMPTS
    return ""


REQUEST = Request(
    LABEL,
    "Runs a prompt set through both models and compares every place of the one with every place of "
    "the other, with a permutation baseline",
    CORRESPONDENCE,
    why_not,
    second_run=NO_MODEL,
)


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Arrange the result for one measure of states, or for the heads of one recurrence."""
    comparison = recording.result(CORRESPONDENCE)
    if comparison is None:
        why = why_not(recording)
        lacks = SECOND_MODEL if not why else PROMPTS if why == NO_PROMPTS else None
        return _empty(why or ALONE, lacks=lacks)
    if options.compared == "heads":
        return _heads(comparison, selection, options)
    measure = PLACE_MEASURES[options.measure]
    out = options.means == "out"
    result = (comparison.without_means if out else comparison.states).get(options.measure)
    if result is None:
        return _empty(_why_none(comparison, options), comparison)
    level = None
    if np.isfinite(result.level).any():
        level = np.broadcast_to(result.level, result.values.shape)
    drawn = result.values
    if options.above:
        drawn = np.where(_beats(drawn, level, measure), drawn, np.nan)
    return Data(
        statement=_statement(comparison, result, measure, out),
        formulas=(
            measure.formula,
            *([MEANS_OUT] if out else []),
            ALIGNMENT,
            ALIGNED,
            BASELINE,
            *([REFERENCE] if comparison.references else []),
        ),
        values=result.values,
        drawn=drawn,
        measure=measure,
        far=min(0.0, float(np.nanmin(result.values)) if np.isfinite(result.values).any() else 0.0),
        near=measure.identical,
        level=level,
        hatched=options.hatch and level is not None,
        path=tuple(result.path.tolist()) if options.path else (),
        rows=_labels(comparison.places),
        columns=_labels(comparison.second_places),
        row_group=_group(comparison.places),
        column_group=_group(comparison.second_places),
        comparison=comparison,
    )


def compute_second(
    recording: Recording, second_run: SecondRun, selection: Selection, options: Options
) -> Data:
    """The same with a second run, the cursor of which is marked as well."""
    data = compute(recording, selection, options)
    if data.lacks == SECOND_MODEL:
        return replace(data, statement=NOT_YET, missing=NOT_YET, lacks=LACKS)
    if data.comparison is None or data.missing:
        return data
    there = second_run.recording.info.checkpoint
    if there != data.comparison.second:
        text = f"Compared with {data.comparison.second}, not with {there}: compare again. "
        return replace(data, statement=text + data.statement)
    cut = recording.info.interventions or second_run.recording.info.interventions
    statement = f"{data.statement}; of the models uncut" if cut else data.statement
    return replace(data, pairing=second_run.pairing, statement=statement)


def _empty(
    text: str, comparison: ModelCorrespondence | None = None, lacks: Lack | None = None
) -> Data:
    nothing = np.zeros((0, 0))
    measure = PLACE_MEASURES["cka_debiased"]
    return Data(
        text, (measure.formula, ALIGNMENT, ALIGNED, BASELINE), nothing, nothing, measure, 0.0, (),
        (), (), 0, 0, comparison, missing=text, lacks=lacks,
    )  # fmt: skip


def _why_none(comparison: ModelCorrespondence, options: Options) -> str:
    """Why a measure was not taken."""
    if why := comparison.why.get(options.measure):
        return why
    if options.means == "out" and not comparison.without_means:
        return (
            f"Position means are taken over {LEAST_MEAN} prompts or more that are compared at the "
            "same positions; these are fewer."
        )
    return "This measure was not taken."


def _beats(values: F64, level: F64 | None, measure: PlaceMeasure) -> npt.NDArray[np.bool_]:
    """Which values are more alike than their baseline."""
    if level is None:
        return np.ones(values.shape, bool)
    return values <= level if measure.is_distance else values > level


def _labels(places: Places) -> tuple[str, ...]:
    """Short names of places; a model that runs once has layers alone."""
    return places.marks if len(places.recurrences) == 1 else places.labels


def _group(places: Places) -> int:
    """Places of one recurrence, which lines keep together; 0 when there is only one."""
    return places.n_layers if len(places.recurrences) > 1 else 0


def _heads(comparison: ModelCorrespondence, selection: Selection, options: Options) -> Data:
    """Heads of the cursor's recurrence against every head of the other model."""
    if comparison.heads is None:
        return _empty("Heads were not compared.", comparison)
    # Of one pair of heads: the measure of places is a mean over heads.
    measure = replace(PLACE_MEASURES["attention"], label="Head distance", formula=HEAD_DISTANCE)
    shown_r = [r for r in comparison.places.recurrences if r <= max(selection.recurrence, 1)]
    r = shown_r[-1] if shown_r else comparison.places.recurrences[0]
    layers, h, h_other = (
        comparison.places.n_layers,
        comparison.heads.shape[1],
        comparison.heads.shape[3],
    )
    first = comparison.places.recurrences.index(r) * layers
    values = comparison.heads[first : first + layers].reshape(layers * h, -1)
    rows = tuple(f"{mark}.{i}" for mark in comparison.places.marks for i in range(h))
    columns = tuple(f"{at}.{i}" for at in _labels(comparison.second_places) for i in range(h_other))
    level = None
    if comparison.heads_null is not None and np.isfinite(comparison.heads_null).any():
        level = CLOSER * comparison.heads_null[first : first + layers].reshape(layers * h, -1)
    beats = _beats(values, level, measure)
    known = np.isfinite(values).any()
    best = _partners(values, level)
    return Data(
        statement=_heads_statement(
            comparison, values, best if level is not None else (), rows, columns, r
        ),
        formulas=(HEAD_DISTANCE, HEAD_BASELINE),
        values=values,
        drawn=np.where(beats, values, np.nan) if options.above else values,
        measure=measure,
        far=float(np.nanmax(values)) if known else 1.0,
        # The closest is drawn brightest: no two heads of two models are the same.
        near=float(np.nanmin(values)) if known else 0.0,
        level=level,
        hatched=options.hatch and level is not None,
        best=best,
        path=(),
        rows=rows,
        columns=columns,
        row_group=h,
        column_group=h_other,
        comparison=comparison,
        compared="heads",
        recurrence=r,
    )


def _partners(values: F64, level: F64 | None) -> tuple[int, ...]:
    """The closest column of each row; -1 where other prompts bring a head about as close.

    Each head is held to its own nearest on other prompts: one that attends alike on any prompt has
    no partner.
    """
    near = np.where(np.isfinite(values), values, np.inf)
    least = near.min(1)
    has = np.isfinite(least)
    if level is not None:
        has &= least <= np.where(np.isfinite(level), level, np.inf).min(1)
    return tuple(int(j) if ok else -1 for j, ok in zip(near.argmin(1), has, strict=True))


def _statement(
    comparison: ModelCorrespondence, result: Correspondence, measure: PlaceMeasure, out: bool
) -> str:
    """Say how alike the two are, beside the references, and whether equal depth goes together."""
    name = measure.label.lower().replace("cka", "CKA")
    tokens = "answer tokens" if comparison.tokens == "answers" else "tokens"
    over = f"{comparison.n_tokens:,} {tokens} of {comparison.n_prompts} {comparison.prompts}"
    if comparison.n_diverged:
        over += f" ({comparison.n_diverged} more left out: their states are not finite)"
    pair = f"{comparison.first} against {comparison.second}"
    text = f"{pair}: aligned {name} {result.aligned:.3g} over {over}"
    text += ", position means taken out" if out else ""
    if len(result.baseline):
        high = float(np.percentile(result.baseline, 95))
        beats = "above" if result.above else "not above"
        text += f", {beats} permuted prompts ({high:.3g})"
    else:
        text += "; one prompt has no baseline"
    for reference in comparison.references:
        kept = (reference.without_means if out else reference.states).get(measure.key)
        if kept is not None:
            text += f"; two of a kind, {reference.first} and {reference.second}, {kept.aligned:.3g}"
    apart = comparison.second_depths[result.path] - comparison.depths
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


def _heads_statement(
    comparison: ModelCorrespondence, values: F64, best: tuple[int, ...], rows: tuple[str, ...],
    columns: tuple[str, ...], recurrence: int,
) -> str:  # fmt: skip
    """Name the closest pair and how many heads have a partner (``best``: () without a baseline)."""
    if not np.isfinite(values).any():
        return "The attention patterns are not finite, so no two heads can be compared."
    row, column = np.unravel_index(int(np.nanargmin(values)), values.shape)
    text = (
        f"Heads of {comparison.first} at recurrence {recurrence} against {comparison.second}: "
        f"closest head {rows[row]} and {columns[column]}, distance {values[row, column]:.3g}"
    )
    if best:
        n = sum(j >= 0 for j in best)
        text += (
            f"; {n} of {len(rows)} have a head in the second run that is at least "
            f"{100 * (1 - CLOSER):.0f} % closer than any is on other prompts"
        )
    return text


def table(data: Data) -> Table:
    """One row for each pair."""
    f, of_heads = data.measure.formula, data.compared == "heads"
    columns = (
        "recurrence", "layer", "head", "second recurrence", "second layer", "second head",
        f"{f.name} [{f.unit}]", "closest" if of_heads else "aligned",
        f"to beat ({CLOSER:g} × on other prompts)" if of_heads else "baseline (95th percentile)",
    )  # fmt: skip
    return Table(columns, _table_rows(data))


def _table_rows(data: Data) -> Iterator[tuple[object, ...]]:
    for i, j in np.ndindex(data.values.shape):
        own, second_run = data.place(i), data.second_place(j)
        partner = data.path if data.compared == "states" else data.best
        yield (
            own["recurrence"], own["layer"], own.get("head", ""),
            second_run["recurrence"], second_run["layer"], second_run.get("head", ""),
            float(data.values[i, j]), int(partner[i] == j) if partner else "",
            "" if data.level is None else float(data.level[i, j]),
        )  # fmt: skip


VIEW = ViewDefinition(
    Options,
    compute,
    table,
    reads=frozenset({"recurrence"}),
    request=REQUEST,
    compute_second=compute_second,
)
