"""Distance to the end: how far each token's state still is from its last one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from typing_extensions import override

from loopscope.core.arrays import F64
from loopscope.core.formula import Formula
from loopscope.core.labels import at_position
from loopscope.core.measures.base import NO_RUN, RUNS_ONCE, has_run_once
from loopscope.core.measures.settling import distance_to_end, relative_floor
from loopscope.core.measures.state_forms import (
    READ_LABELS,
    Read,
    States,
    as_read,
    form_formulas,
)
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.run.steps import state_norm
from loopscope.core.selection import RecurrenceRange, Selection
from loopscope.core.views.base import RECURRENCE, Table, ViewData, ViewDefinition
from loopscope.core.views.difference import (
    Difference,
    Side,
    difference_formula,
    left_out,
    make_difference,
    paired_labels,
    recurrence_pairs,
    recurrence_side,
)
from loopscope.core.views.second_run import SecondRun

Scale = Literal["absolute", "relative"]
ENDS = -1

ONE_PER_LAYER = "A layer's distance needs two recurrences."

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_SOURCE = "arXiv 2502.05171"
_CYCLE = "arXiv 2604.11791"
FORMULAS = {
    ("absolute", False): Formula("distance to the end", "‖s_r − s_R‖", "state units", _SOURCE),
    ("relative", False): Formula(
        "relative distance to the end", "‖s_r − s_R‖ / ‖s_R‖", "1", _SOURCE
    ),
    ("absolute", True): Formula("distance to the end", "‖x[r,l] − x[R,l]‖", "state units", _CYCLE),
    ("relative", True): Formula(
        "relative distance to the end", "‖x[r,l] − x[R,l]‖ / ‖x[R,l]‖", "1", _CYCLE
    ),
}


def formula_of(distance: Scale, layered: bool, form: Read) -> Formula:
    """Formula of a distance; ŝ and x̂ are states as the next norm reads them."""
    formula = FORMULAS[distance, layered]
    if form == "raw":
        return formula
    text = formula.formula.replace("s_", "ŝ_").replace("x[", "x̂[")
    return replace(formula, name=f"{formula.name} of normalised states", formula=text, unit="1")


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the distance map."""

    distance: Scale = setting(
        "absolute",
        "Distance",
        "As it is, or over the norm of the last state",
        labels={"absolute": "absolute: ‖s − s_R‖", "relative": "relative: ‖s − s_R‖/‖s_R‖"},
    )
    form: Read = setting(
        "raw",
        "Form of the states",
        "A token of massive norm is far from its end by its length alone; a norm takes that away",
        labels=READ_LABELS,
    )
    layer: int = setting(
        ENDS, "Measured from layer", "A layer of the cycle, from 0, or the ends of recurrences",
        low=ENDS, high=1000, lowest="recurrence ends",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Data(ViewData):
    """Distances by recurrence. ``R`` recurrences, ``n`` columns, ``t`` shown tokens.

    distances : float64 ``[t, n]``, in `formula`'s unit; the end itself, 0, is left out.
    first : recurrence of column 0: 0, the initial state, for recurrence ends; 1 for a layer.
    last : R, the recurrence that is measured from.
    low, high : ends of the colour scale: the smallest distance above 0 and above the rounding
        floor, and the largest; NaN without.
    layer : the layer measured, or -1 for the recurrence ends.
    tokens, labels, token_texts : index, readable and exact text of each shown token.
    missing : what is missing when there is nothing to show, or "".
    log_r : whether the recurrences stand on a log axis.
    """

    distances: F64
    first: int
    last: int
    low: float
    high: float
    distance: Scale
    layer: int
    layer_name: str
    tokens: tuple[int, ...]
    labels: tuple[str, ...]
    token_texts: tuple[str, ...]
    missing: str = ""
    form: Read = "raw"
    log_r: bool = False

    @property
    @override
    def drawn_words(self) -> str:
        """What cells, shades and marks are."""
        return (
            "A row for each token, a column for each recurrence. Shade: "
            f"{self.symbol}, logarithmic. The end itself, at distance 0, has no column."
        )

    @property
    def formula(self) -> Formula:
        """Where the numbers come from."""
        return formula_of(self.distance, self.layer != ENDS, self.form)

    @property
    def symbol(self) -> str:
        """The measure in symbols with the numbers put in, such as "‖sᵣ − s₁₂‖"."""
        return (
            self.formula.formula.replace("_R", str(self.last).translate(_SUBSCRIPTS))
            .replace("_r", "ᵣ")
            .replace("[R,", f"[{self.last},")
            .replace("l]", f"{self.layer}]")
        )

    @property
    def unit(self) -> str:
        """Unit of the shown distance; empty for a ratio."""
        return "" if self.formula.unit == "1" else self.formula.unit

    def levels(self) -> F64:
        """Place of each distance on the log colour scale, 0 (near) to 1 (far); NaN stays NaN.

        Float64, of the shape of `distances`. A distance of exactly 0 (the state has stopped
        changing) has level 0, infinity level 1.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            logarithms = np.log(self.distances / self.low)
            span = np.log(self.high / self.low)
            level = logarithms / span if span > 0 else np.where(self.distances > 0, 1.0, 0.0)
        level = np.where(self.distances == 0, 0.0, level)
        return np.where(np.isnan(self.distances), np.nan, np.clip(level, 0, 1))


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Measure every state of the shown tokens against the last one."""
    info = recording.info
    tokens = selection.shown_tokens(recording.n_tokens)
    layer = min(max(int(options.layer), ENDS), recording.n_layers - 1)
    path, first = _path(recording, layer)
    last = first + len(path) - 1
    if len(tokens) < recording.n_tokens:
        path = path[:, list(tokens)]
    path = as_read(info.architecture, path, options.form)
    missing = "" if last >= 1 else NO_RUN
    if last == 1 and layer != ENDS:
        missing = ONE_PER_LAYER
        if has_run_once(recording):
            missing = f"{ONE_PER_LAYER.rstrip('.')}; {RUNS_ONCE}."
    relative = options.distance == "relative"
    # Without the last row: the end is at distance 0 of itself.
    distances = np.ascontiguousarray(distance_to_end(path, relative)[:-1].T)
    distances = distances if not missing else np.zeros((len(tokens), 0))
    floor = relative_floor(info.dtype) * (1.0 if relative else _typical_norm(path))
    low, high = _scale(distances, floor)
    data = Data(
        statement=missing,
        formulas=(
            formula_of(options.distance, layer != ENDS, options.form),
            *form_formulas(info.architecture, options.form),
        ),
        distances=distances,
        first=first,
        last=max(last, 0),
        low=low,
        high=high,
        distance=options.distance,
        layer=layer,
        layer_name="" if layer == ENDS else info.architecture.layer_name(layer),
        tokens=tokens,
        labels=info.names_of(tokens),
        token_texts=tuple(info.token_labels[t] for t in tokens),
        missing=missing,
        form=options.form,
        lacks=RECURRENCE if missing and not has_run_once(recording) else None,
    )
    return data if missing else replace(data, statement=_statement(data))


def _path(recording: Recording, layer: int) -> tuple[States, int]:
    """States by recurrence ``[n, T, d]`` and the recurrence of the first row."""
    if layer == ENDS:
        return recording.states, 0
    return recording.layer_states[:, layer], 1


def _typical_norm(path: States) -> float:
    norms = state_norm(path[-1:])
    norms = norms[np.isfinite(norms)]
    return float(np.median(norms)) if norms.size else 0.0


def _scale(distances: F64, floor: float) -> tuple[float, float]:
    """Ends of the colour scale; rounding noise gets no colours of its own."""
    known = distances[np.isfinite(distances) & (distances > 0)]
    if not known.size:
        return float("nan"), float("nan")
    clear = known[known >= floor]
    return float((clear if clear.size else known).min()), float(known.max())


def _statement(data: Data) -> str:
    """Say how far the states have come, and who is farthest."""
    label = "Relative distance" if data.distance == "relative" else "Distance"
    of = "" if data.layer == ENDS else f" of {data.layer_name}"
    text = f"{label}{of} to the state after recurrence {data.last}"
    finite = np.where(np.isfinite(data.distances), data.distances, np.nan)
    if not np.isfinite(finite[:, [0, -1]]).any(0).all():
        return f"{text} is not a finite number for any token shown"
    start, end = np.nanmedian(finite[:, 0]), np.nanmedian(finite[:, -1])
    farthest = int(np.nanargmax(finite[:, -1]))
    many = len(data.tokens) > 1
    text += f": {'median ' if many else ''}{start:.3g} at recurrence {data.first}"
    if finite.shape[1] > 1:
        text += f", {end:.3g} at {data.last - 1}"
    if many:
        name = f"token {data.tokens[farthest]} '{data.labels[farthest]}'"
        text += f"; farthest then: {name}, {finite[farthest, -1]:.3g}"
    return text


def table(data: Data) -> Table:
    """One row for each recurrence and token."""
    columns = (
        "recurrence",
        "layer",
        "token index",
        "token",
        f"{data.formula.name} [{data.formula.unit}]",
        "reference recurrence",
    )
    return Table(columns, _table_rows(data))


def _table_rows(data: Data) -> Iterator[tuple[object, ...]]:
    where = "end" if data.layer == ENDS else data.layer
    for column in range(data.distances.shape[1]):
        for row, (token, text) in enumerate(zip(data.tokens, data.token_texts, strict=True)):
            value = float(data.distances[row, column])
            yield data.first + column, where, token, text, value, data.last


def alike(one: Data, other: Data) -> tuple[Data, Data]:
    """Give both the colour scale that holds both."""
    ends = [(d.low, d.high) for d in (one, other) if np.isfinite(d.low) and not d.missing]
    if len(ends) < 2 or one.distance != other.distance:
        return one, other
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    return replace(one, low=low, high=high), replace(other, low=low, high=high)


def within(data: Data, shown: RecurrenceRange) -> Data:
    """Only these recurrences; the colour scale stays that of all."""
    first, last = shown.ends(data.last)
    a = max(first - data.first, 0)
    cut = data.distances[:, a : last - data.first + 1]
    return replace(data, distances=cut, first=data.first + a, log_r=shown.log)


def difference(one: Data, other: Data, selection: Selection, second: SecondRun) -> Difference:
    """How much farther from its end the run shown is than the second one from its own."""
    tokens = [t for t in one.tokens if t in other.tokens]
    rows = [one.tokens.index(t) for t in tokens], [other.tokens.index(t) for t in tokens]
    layers = None if one.layer == ENDS else (one.layer, other.layer)
    width, there = one.distances.shape[1], other.distances.shape[1]
    pairs = [
        (r - one.first, s - other.first)
        for r, s in recurrence_pairs(range(one.first, one.first + width), second, layers)
        if s - other.first < there
    ]
    columns = [a for a, _ in pairs], [b for _, b in pairs]
    recurrences = [one.first + a for a in columns[0]]
    words = (
        left_out("recurrences", len(pairs), width, there),
        left_out("tokens", len(tokens), len(one.tokens), len(other.tokens)),
        "" if one.last == other.last else f"each to its own last, {one.last} and {other.last}",
    )
    labels = paired_labels([one.labels[i] for i in rows[0]], [other.labels[i] for i in rows[1]])
    return make_difference(
        one.distances[np.ix_(rows[0], columns[0])],
        other.distances[np.ix_(rows[1], columns[1])],
        Side("token", tuple(map(at_position, tokens, labels)), tuple({"token": t} for t in tokens)),
        recurrence_side(recurrences),
        difference_formula(one.formula, log=True),
        second,
        words,
        log=True,
    )


VIEW = ViewDefinition(
    Options,
    compute,
    table,
    reads=frozenset({"tokens"}),
    alike=alike,
    difference=difference,
    within=within,
)
