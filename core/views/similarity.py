"""Similarity between all places of a run: the cycle shows as diagonals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from loopscope.core.arrays import F64
from loopscope.core.labels import name_tokens
from loopscope.core.measures.base import NO_RUN
from loopscope.core.measures.massive import OVER_FIRST, massive_in
from loopscope.core.measures.places import Places
from loopscope.core.measures.similarity import (
    CONTRAST,
    PLACE_MEASURES,
    Cycle,
    Key,
    PlaceMeasure,
    cycle,
)
from loopscope.core.measures.similarity_map import missing_reason, places_of, similarity_map
from loopscope.core.measures.state_forms import NORM_RATIO, READ_LABELS, Read, form_formulas
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.selection import RecurrenceRange, Selection
from loopscope.core.views.base import RECURRENCE, Table, ViewData, ViewDefinition
from loopscope.core.views.difference import (
    Difference,
    Side,
    difference_formula,
    goes_with,
    left_out,
    make_difference,
)
from loopscope.core.views.heads_data import (
    COLOUR_SCALES,
    SCALE_LABELS,
    ColourScale,
    Scale,
    near_of,
    scale_of_two,
)
from loopscope.core.views.second_run import SecondRun

Order = Literal["depth", "layer"]
Massive = Literal["kept", "left out"]
# A contrast below this share of the measure's range is none. Layers as near to one another may have
# ended at one point, which is no cycle.
LEAST_CONTRAST = 0.01


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the similarity map."""

    measure: Key = setting(
        "cka_debiased",
        "Measure",
        "How two places are compared",
        labels={
            "cka_debiased": "CKA, debiased: states up to rotation",
            "cka": "CKA: reads high when tokens are few",
            "cosine": "mean cosine of states",
            "attention": "attention distance: Frobenius, mean over heads",
        },
        at_hand=True,
    )
    form: Read = setting(
        "raw",
        "Form of the states",
        "One token of massive norm decides what raw states are like; attention has no states",
        labels=READ_LABELS,
    )
    massive: Massive = setting(
        "kept",
        "Tokens of massive norm",
        "One of them, such as an attention sink, decides what raw states are like; which they are "
        f"is asked over the first {OVER_FIRST} recurrences",
        idle=lambda o: "attention has no states" if o.measure == "attention" else "",
    )
    order: Order = setting(
        "depth",
        "Order",
        "Along effective depth a cycle shows as diagonals, by layer as blocks",
        labels={"depth": "by recurrence: along effective depth", "layer": "by layer"},
    )
    scale: Scale = setting("data", "Darkest", "Which value is drawn darkest", labels=SCALE_LABELS)
    colours: ColourScale = setting(
        "auto", "Colour scale", "How differences become colours", labels=COLOUR_SCALES
    )


@dataclass(frozen=True, slots=True, eq=False)
class Data(ViewData):
    """The map. ``N`` places.

    values : float64 ``[N, N]`` along effective depth, symmetric, in the unit of `measure`; NaN
        where a number does not exist.
    order : int64 ``[N]``, the place of each row and column as drawn.
    measure : how `values` are measured.  far : the value drawn darkest.
    cycle : whether equal layers are alike.
    layer_names : of the block.  by : "depth" or "layer".
    missing : what is missing when there is nothing to show, or "".
    near : the difference drawn brightest on a log colour scale, 0 for a linear one.
    log_r : whether effective depth stands on log axes.
    """

    values: F64
    places: Places
    order: npt.NDArray[np.intp]
    measure: PlaceMeasure
    far: float
    cycle: Cycle
    layer_names: tuple[str, ...]
    by: Order
    missing: str = ""
    near: float = 0.0
    log_r: bool = False

    @property
    @override
    def drawn_words(self) -> str:
        """What cells, shades and marks are."""
        return (
            "Rows and columns: every layer of every recurrence. Shade: how alike the states (or "
            f"attention) at the two are, {self.measure.identical:g} where they are the same."
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Label of each row and column as drawn."""
        labels = self.places.labels
        return tuple(labels[i] for i in self.order)

    @property
    def group(self) -> int:
        """Rows that belong together: layers of a recurrence, or recurrences of a layer."""
        layers = self.places.n_layers
        return layers if self.by == "depth" else len(self.places.recurrences)

    def drawn(self) -> F64:
        """`values` in the order in which they are drawn, float64 ``[N, N]``."""
        return self.values[np.ix_(self.order, self.order)]

    def name(self, row: int) -> str:
        """A place in words, such as "recurrence 7, layer 1"."""
        at = self.places.at(int(self.order[row]))
        return f"recurrence {at['recurrence']}, {self.layer_names[at['layer']]}"


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Compare all places of the run so far, over the shown tokens."""
    measure = PLACE_MEASURES[options.measure]
    tokens = selection.shown_tokens(recording.n_tokens)
    massive: tuple[int, ...] = ()
    if options.measure != "attention":
        massive = tuple(t for t in massive_in(recording) if t in tokens)
    if options.massive == "left out" and len(massive) < len(tokens):
        tokens = tuple(t for t in tokens if t not in massive)
    missing = NO_RUN if not recording.n_recurrences else ""
    missing = missing or missing_reason(recording, options.measure, tokens)
    places = places_of(recording, options.measure, tokens)
    if missing:
        places = Places((), places.marks)
        values = np.zeros((0, 0))
    else:
        values = similarity_map(recording, options.measure, tokens, places, options.form)
    n_tokens = recording.n_tokens if options.measure == "attention" else len(tokens)
    repetition = cycle(values, places.n_layers, measure.is_distance)
    if not missing and not np.isfinite(values).any():
        missing = f"No two places can be compared: {_absent(options.measure)}."
    order = np.arange(len(places))
    if options.order == "layer":
        order = order.reshape(-1, places.n_layers).T.ravel()
    bound = options.scale == "bound"
    far = measure.bound(n_tokens) if bound else measure.least_alike(values, n_tokens)
    said = _statement(recording, values, measure, repetition, places, n_tokens, options)
    told = massive if options.form == "raw" or options.massive == "left out" else ()
    return Data(
        statement=missing or said + _massive_words(told, tokens),
        formulas=(
            measure.formula,
            CONTRAST,
            *((NORM_RATIO,) if told else ()),
            *(
                form_formulas(recording.info.architecture, options.form)
                if options.measure != "attention"
                else ()
            ),
        ),
        values=values,
        places=places,
        order=order,
        measure=measure,
        far=far,
        near=near_of(values, measure, far, options.colours),
        cycle=repetition,
        layer_names=recording.info.architecture.layer_names,
        by=options.order,
        missing=missing,
        lacks=RECURRENCE if missing == NO_RUN else None,
    )


def _absent(key: Key) -> str:
    """Why a place has no number."""
    return {
        "cka": "their states are not finite or the same at every token",
        "cka_debiased": "their states are not finite, the same at every token, or have nothing "
        "left when the bias is taken off",
        "cosine": "their states are not finite or 0 at some token",
        "attention": "their attention patterns are not finite",
    }[key]


def _statement(
    recording: Recording, values: F64, measure: PlaceMeasure, repetition: Cycle, places: Places,
    n_tokens: int, options: Options,
) -> str:  # fmt: skip
    """Say whether the cycle shows, with its numbers."""
    key = options.measure
    over = f"{measure.label.lower().replace('cka', 'CKA')} over {_tokens(n_tokens)}"
    if options.form == "normalised" and key != "attention":
        over += ", states as the next norm reads them"
    if recording.info.architecture.deep and len(places.recurrences) == 1:
        text = f"A deep model, run once: {_next(values):.3g} between a layer and the next ({over})"
    else:
        text = f"{_cycle_statement(repetition, measure, n_tokens)} ({over})"
    if places.step > 1:
        text += f"; {places.said()}"
    bad = ~np.isfinite(np.diagonal(values))
    if bad.any():
        text += f"; {bad.sum()} of {len(bad)} places have no number: {_absent(key)}"
    elif key == "cka" and n_tokens < recording.state(0).shape[-1]:
        text += f"; with {recording.state(0).shape[-1]} dimensions plain CKA reads high"
    return text


def _massive_words(massive: tuple[int, ...], tokens: tuple[int, ...]) -> str:
    """Say which tokens are of massive norm, and whether they count; "" for none."""
    if not massive:
        return ""
    have = "is" if len(massive) == 1 else "are"
    left_out = " and left out" if massive[0] not in tokens else ""
    return f"; {name_tokens(massive)} {have} of massive norm{left_out}"


def _tokens(n: int) -> str:
    return f"{n} token{'s' * (n > 1)}"


def _next(values: F64) -> float:
    """Mean over places that follow one another; NaN without any."""
    neighbours = np.diagonal(values, 1)
    neighbours = neighbours[np.isfinite(neighbours)]
    return float(neighbours.mean()) if neighbours.size else float("nan")


def _cycle_statement(repetition: Cycle, measure: PlaceMeasure, n_tokens: int) -> str:
    """Say whether the cycle shows, then the numbers."""
    layers = len(repetition.by_layer)
    if repetition.missing and np.isfinite(repetition.same):
        return f"{repetition.missing}; {repetition.same:.3g} between recurrences"
    if repetition.missing:
        return repetition.missing
    if not np.isfinite(repetition.contrast):
        return "Too few places have a number to see a cycle"
    span = abs(measure.identical - measure.bound(n_tokens))
    least = LEAST_CONTRAST * span
    if abs(measure.identical - repetition.different) < least:
        text = "All layers are alike: no cycle is seen"
    elif repetition.contrast < least or 2 * repetition.own <= layers:
        text = f"No cycle shows ({repetition.own} of {layers} layers are most like themselves)"
    elif repetition.own == layers:
        text = "The cycle shows"
    else:
        text = f"The cycle shows in {repetition.own} of {layers} layers"
    return (
        f"{text}: equal layers of different recurrences {repetition.same:.3g}, different layers "
        f"{repetition.different:.3g}, contrast {repetition.contrast:.3g}"
    )


def table(data: Data) -> Table:
    """One row for each pair of places, each pair once."""
    f = data.measure.formula
    columns = (
        "recurrence",
        "layer",
        "other recurrence",
        "other layer",
        f"{f.name} [{f.unit}]",
    )
    return Table(columns, _table_rows(data))


def _table_rows(data: Data) -> Iterator[tuple[object, ...]]:
    places = [tuple(data.places.at(i).values()) for i in range(len(data.places))]
    for i, j in zip(*np.tril_indices(len(data.values)), strict=True):
        yield *places[i], *places[j], float(data.values[i, j])


def alike(one: Data, other: Data) -> tuple[Data, Data]:
    """Give both the colour scale that holds both."""
    if (scale := scale_of_two(one, other)) is None:
        return one, other
    far, near = scale
    return replace(one, far=far, near=near), replace(other, far=far, near=near)


def within(data: Data, shown: RecurrenceRange) -> Data:
    """Only places of these recurrences; colour scale and contrast stay those of all."""
    places = data.places
    if data.missing or not places.recurrences:
        return data
    first, last = shown.ends(max(places.recurrences))
    kept = tuple(r for r in places.recurrences if first <= r <= last)
    layers = places.n_layers
    a = places.recurrences.index(kept[0]) * layers if kept else 0
    part = slice(a, a + len(kept) * layers)
    order = np.arange(len(kept) * layers)
    if data.by == "layer":
        order = order.reshape(-1, layers).T.ravel()
    return replace(
        data, values=data.values[part, part], places=replace(places, recurrences=kept),
        order=order, log_r=shown.log and data.by == "depth",
    )  # fmt: skip


def difference(one: Data, other: Data, selection: Selection, second: SecondRun) -> Difference:
    """How much more, or less, alike two places of the run shown are than those of the second."""
    pairs = []
    shown = {tuple(other.places.at(i).values()): i for i in range(len(other.values))}
    for i in map(int, one.order if len(one.values) else ()):
        place = one.places.at(i)
        at = goes_with(place["recurrence"], place["layer"], second)
        if at in shown:
            pairs.append((i, shown[at]))
    here, there = [i for i, _ in pairs], [j for _, j in pairs]
    side = Side(
        "recurrence:layer",
        tuple(one.places.labels[i] for i in here),
        tuple(one.places.at(i) for i in here),
        first=0 if one.places.step > 1 else one.group if one.by == "depth" else 1,
        group=one.group if len(here) == len(one.values) else 0,
    )
    words = (left_out("places", len(pairs), len(one.values), len(other.values)),)
    return make_difference(
        one.values[np.ix_(here, here)], other.values[np.ix_(there, there)], side,
        replace(side, title="recurrence′:layer′"), difference_formula(one.measure.formula),
        second, words, symmetric=True,
    )  # fmt: skip


VIEW = ViewDefinition(
    Options,
    compute,
    table,
    reads=frozenset({"tokens"}),
    alike=alike,
    difference=difference,
    within=within,
)
