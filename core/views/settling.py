"""Settling: how much each token's state still moves at each recurrence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from loopscope.core.architecture import Architecture
from loopscope.core.labels import visible
from loopscope.core.measures.precision import FLOAT32_ERROR
from loopscope.core.measures.settling import (
    F64,
    Settling,
    SettlingClass,
    fitted_rate,
    ratio,
    relative_floor,
    settling_class,
    state_norm,
    step_size,
)
from loopscope.core.recording import F32, Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import Formula, Table, ViewData, option

Measure = Literal["relative", "absolute"]

NO_RUN = "No recurrence has been run. Press Space to run one."
ONE_PER_LAYER = "A layer's step needs two recurrences. Press Space to run another one."

_SOURCE = "arXiv 2502.05171, 2509.23314"
_CYCLE = "arXiv 2604.11791"
STEP_FORMULAS = {
    ("relative", False): Formula("relative step", "‖s_r − s_{r−1}‖ / ‖s_r‖", "1", _SOURCE),
    ("absolute", False): Formula("step size", "‖s_r − s_{r−1}‖", "state units", _SOURCE),
    ("relative", True): Formula(
        "relative step of layer l, median over tokens",
        "‖x[r,l] − x[r−1,l]‖ / ‖x[r,l]‖",
        "1",
        _CYCLE,
    ),
    ("absolute", True): Formula(
        "step size of layer l, median over tokens", "‖x[r,l] − x[r−1,l]‖", "state units", _CYCLE
    ),
}
RATE = Formula(
    "rate",
    "exp(slope of log relative step over r), least squares over the last max(2k, 6) steps above "
    "32 × the rounding floor (above the floor where there are not 3)",
    "per recurrence",
    "Loopscope",
)
CLASS = Formula(
    "settling class",
    "settled: relative step < tolerance k times running; orbit: ‖s_r − s_{r−p}‖ is small while "
    "the step is not; diverged: norm and step grow, or NaN; wandering: relative step ≥ 0.1 goes on",
    "class",
    "Loopscope; kinds after " + _CYCLE,
)
FLOOR = Formula("rounding floor", "√d · rms · 2^−m / √12", "state units", "uniform rounding error")


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the settling plot."""

    measure: Measure = option(
        "relative",
        "Step",
        "How far the state moved, over its own norm or as it is",
        labels={"relative": "relative: ‖Δs‖/‖s‖", "absolute": "absolute: ‖Δs‖"},
    )
    per_layer: bool = option(
        False, "Per layer", "One curve for each layer of the cycle, the median over the tokens"
    )
    tolerance: float = option(
        1e-2, "Tolerance", "A token has settled when its relative step stays below", low=0, high=1
    )
    window: int = option(3, "Recurrences running", "How often running it must", low=1, high=100)


@dataclass(frozen=True, slots=True, eq=False)
class Data(ViewData):
    """Step sizes by recurrence. ``n`` recurrences, ``C`` curves, ``t`` shown tokens.

    recurrences : int64 ``[n]``, 1 to R (per layer: 2 to R).
    values : float64 ``[n, C]``, one curve per shown token or per layer, in `formula`'s unit.
    median : float64 ``[n]``, over the shown tokens; empty per layer.
    rate : fitted factor of the median relative step per recurrence; NaN without a fit.
    layer_rates : the same for each layer's curve; empty unless per layer.
    settling : class and evidence of each shown token, always from the recurrence ends.
    tolerance_line, floor_line : float64 ``[n]``, tolerance and rounding floor in `values`' unit.
    error_line : float64 ``[n]``, median error against float32 in `values`' unit; NaN where it was
        not measured, which is everywhere in float32 and per layer.
    tokens, labels, token_texts : index, readable and exact text of each shown token.
    trained : recurrences the model was trained with.  dtype : what the model ran in.
    layer_names : of the layers of a recurrence.
    sampled : where in the recurrence the state is taken.
    missing : what is missing when there is nothing to show, or "".
    """

    recurrences: npt.NDArray[np.int64]
    values: F64
    median: F64
    rate: float
    layer_rates: tuple[float, ...]
    settling: tuple[Settling, ...]
    tolerance_line: F64
    floor_line: F64
    error_line: F64
    tokens: tuple[int, ...]
    labels: tuple[str, ...]
    token_texts: tuple[str, ...]
    measure: Measure
    per_layer: bool
    tolerance: float
    window: int
    trained: int
    dtype: str
    sampled: str
    layer_names: tuple[str, ...]
    missing: str = ""

    @property
    def formula(self) -> Formula:
        """Where the curves come from."""
        return STEP_FORMULAS[self.measure, self.per_layer]

    @property
    def axis_label(self) -> str:
        """What, measure and unit, for the vertical axis."""
        s = "x" if self.per_layer else "s"
        return f"relative step ‖Δ{s}‖/‖{s}‖" if self.measure == "relative" else f"step size ‖Δ{s}‖"

    @property
    def axis_symbol(self) -> str:
        """The measure in symbols alone, for a short axis."""
        return self.axis_label.rsplit(" ", 1)[-1]

    def curve_name(self, curve: int) -> str:
        """Name of one curve, such as "10 a" or "layer 1"."""
        return (
            self.layer_names[curve]
            if self.per_layer
            else f"{self.tokens[curve]} {self.labels[curve]}"
        )

    def unsettled(self) -> list[int]:
        """Shown tokens known not to settle (drift, orbit, divergence), the farthest first."""
        calm = (SettlingClass.CONVERGED, SettlingClass.TOO_FEW_STEPS)
        found = [i for i, s in enumerate(self.settling) if s.kind not in calm]
        return sorted(found, key=lambda i: -_finite_or_inf(self.settling[i].relative_step))


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Measure the steps of the shown tokens and class each token."""
    info = recording.info
    tokens = selection.shown_tokens(recording.n_tokens)
    states = recording.states
    # The writer may have gone on since: no more layers than states.
    layers = recording.layer_states[: len(states) - 1]
    if len(tokens) < recording.n_tokens:
        states, layers = states[:, list(tokens)], layers[:, :, list(tokens)]
    settling = settling_class(states, options.tolerance, options.window, info.dtype)
    relative = options.measure == "relative"
    steps, norms = step_size(states), state_norm(states[1:])
    ends = steps if not relative else ratio(steps, norms)
    recurrences = np.arange(1, len(states))
    missing = "" if len(recurrences) else NO_RUN
    values, median = ends, _median(ends)
    layer_rates: tuple[float, ...] = ()
    rate = fitted_rate(_median(ratio(steps, norms)), relative_floor(info.dtype), _points(options))
    if options.per_layer:
        values, norms, layer_rates = _layer_curves(layers, options, info.dtype)
        recurrences, median = recurrences[1:], np.zeros(0)
        missing = missing or ("" if len(recurrences) else ONE_PER_LAYER)
    scale = np.ones(len(values)) if relative else _median(norms)
    return Data(
        statement=missing or _statement(settling, rate, options),
        formulas=(
            STEP_FORMULAS[options.measure, options.per_layer],
            RATE,
            CLASS,
            FLOOR,
            *((FLOAT32_ERROR,) if info.dtype != "float32" else ()),
        ),
        recurrences=recurrences,
        values=values,
        median=median,
        rate=rate,
        layer_rates=layer_rates,
        settling=settling,
        tolerance_line=options.tolerance * scale,
        floor_line=relative_floor(info.dtype) * scale,
        error_line=_error_line(recording, tokens, len(values), options) * scale,
        tokens=tokens,
        labels=tuple(visible(info.token_labels[t]) for t in tokens),
        token_texts=tuple(info.token_labels[t] for t in tokens),
        measure=options.measure,
        per_layer=options.per_layer,
        tolerance=options.tolerance,
        window=options.window,
        trained=info.architecture.trained_recurrences,
        dtype=info.dtype,
        sampled=_sampled(options.per_layer, info.architecture),
        layer_names=info.architecture.layer_names,
        missing=missing,
    )


def _error_line(recording: Recording, tokens: tuple[int, ...], n: int, options: Options) -> F64:
    """Median over the tokens of the relative error against float32, by recurrence."""
    errors = recording.float32_error
    if errors is None or options.per_layer:
        return np.full(n, np.nan)
    line = np.full(n, np.nan)
    known = min(n, len(errors))
    line[:known] = _median(errors[:known, list(tokens)].astype(np.float64))
    return line


def _layer_curves(layers: F32, options: Options, dtype: str) -> tuple[F64, F64, tuple[float, ...]]:
    """Median step over the tokens ``[R - 1, L]``, norms ``[R - 1, L T]`` and each layer's rate."""
    steps, norms = step_size(layers), state_norm(layers[1:])
    relative = _median(ratio(steps, norms))
    floor = relative_floor(dtype)
    rates = tuple(fitted_rate(curve, floor, _points(options)) for curve in relative.T)
    values = relative if options.measure == "relative" else _median(steps)
    return values, norms.reshape(len(norms), math.prod(norms.shape[1:])), rates


def _points(options: Options) -> int:
    return max(2 * options.window, 6)


def _median(values: F64) -> F64:
    """Median over the last axis, NaN left out; NaN where nothing else is."""
    known = np.isfinite(values).any(-1)
    out = np.full(values.shape[:-1], np.nan)
    if known.any():
        out[known] = np.nanmedian(np.where(np.isfinite(values), values, np.nan)[known], axis=-1)
    return out


def _finite_or_inf(value: float) -> float:
    return value if np.isfinite(value) else float("inf")


def _sampled(per_layer: bool, arch: Architecture) -> str:
    if per_layer:
        return "x after each layer"
    if arch.damping != 1:
        return f"s after the damped step, β = {arch.damping:g}"
    return "s after the closing norm" if arch.closing_norm else "s after the last layer"


def short_number(value: float) -> str:
    """Write a small number as a power: 1e-2, 2.5e-3, but 0.5."""
    if not np.isfinite(value) or not 0 < abs(value) < 0.1:
        return f"{value:.3g}"
    mantissa, power = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}"


def rate_text(rate: float) -> str:
    """Write a rate as "×0.71 per recurrence"; empty without one."""
    return f"×{rate:.3g} per recurrence" if np.isfinite(rate) else ""


def _statement(settling: tuple[Settling, ...], rate: float, options: Options) -> str:
    """Say how many tokens have settled, at which tolerance, and what the others do."""
    n = len(settling)
    how = f"{options.window} recurrences running" if options.window > 1 else "1 recurrence"
    counts = Counter(s.words() for s in settling)
    done = counts.pop(SettlingClass.CONVERGED.value, 0)
    noun, verb = ("token", "has") if n == 1 else ("tokens", "have")
    text = (
        f"{done} of {n} {noun} {verb} settled at tolerance {short_number(options.tolerance)} "
        f"(relative step, {how})"
    )
    others = [f"{count} {word}" for word, count in counts.most_common()]
    parts = [text, *([", ".join(others)] if others else [])]
    if rate_text(rate):
        parts.append(f"median {rate_text(rate)}")
    return "; ".join(parts)


def table(data: Data) -> Table:
    """One row for each recurrence and curve; without layers also the median."""
    value = f"{data.formula.name} [{data.formula.unit}]"
    if data.per_layer:
        return Table(("recurrence", "layer", value, "rate per recurrence"), _layer_rows(data))
    columns = (
        "recurrence",
        "token index",
        "token",
        value,
        "settling class",
        "orbit period",
        "rate per recurrence",
        "tolerance",
        "recurrences running",
    )
    return Table(columns, _token_rows(data))


def _layer_rows(data: Data) -> Iterator[tuple[object, ...]]:
    for i, layer in np.ndindex(data.values.shape):
        yield (
            int(data.recurrences[i]),
            layer,
            float(data.values[i, layer]),
            data.layer_rates[layer],
        )


def _token_rows(data: Data) -> Iterator[tuple[object, ...]]:
    asked = (data.tolerance, data.window)
    for i, r in enumerate(data.recurrences.tolist()):
        for c, (token, text) in enumerate(zip(data.tokens, data.token_texts, strict=True)):
            s = data.settling[c]
            kind = (s.kind.value, s.period or "", s.rate)
            yield r, token, text, float(data.values[i, c]), *kind, *asked
        yield r, "median", "", float(data.median[i]), "", "", data.rate, *asked
