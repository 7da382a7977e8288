"""Settling: how much each token's state still moves at each recurrence, and how it ends."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from loopscope.core.arrays import F32, F64
from loopscope.core.measures.base import NO_RUN, RUNS_ONCE, has_run_once, measure
from loopscope.core.measures.limiting_behaviour import (
    PAPER_RECURRENCES,
    cosine_series,
    distance_series,
    limiting_behaviour,
    noise_of,
)
from loopscope.core.measures.precision import FLOAT32_ERROR
from loopscope.core.measures.settling import fitted_rate, fitted_rates, is_settled, relative_floor
from loopscope.core.measures.settling_classes import (
    Settling,
    SettlingClass,
    classes_of,
    longest_periods,
    tail_length,
)
from loopscope.core.measures.settling_rows import (
    LAYER_STEP_SIZE,
    STATE_NORM,
    STEP_SIZE,
)
from loopscope.core.measures.stages import RESIDUAL_NORM
from loopscope.core.model.architecture import Architecture
from loopscope.core.run.recording import Recording
from loopscope.core.run.steps import ratio, relative_step, state_norm
from loopscope.core.selection import RecurrenceRange, Selection
from loopscope.core.views.base import RECURRENCE, Table, ViewDefinition
from loopscope.core.views.second_run import SecondRun
from loopscope.core.views.settling_data import (
    FLOOR,
    RATE,
    Classes,
    Data,
    Judged,
    Options,
    Rules,
    rate_text,
    short_number,
)

__all__ = [
    "VIEW",
    "ONE_PER_LAYER",
    "Data",
    "Options",
    "compute",
    "rate_text",
    "short_number",
]

ONE_PER_LAYER = "A layer's step needs two recurrences."
ONCE = f"{RUNS_ONCE.capitalize()}: its one step tells nothing of settling."
# Layers whose settled tokens are named one by one.
MOST_LAYERS = 6


def stop_reason(recording: Recording, options: Options) -> str | None:
    """Why playing may end: every token has settled as the options say; None while it has not.

    A token whose steps are within the rounding noise will not be seen to settle: it ends too.
    """
    tolerance, window, n = options.tolerance, int(options.window), recording.n_recurrences
    if not is_settled(relative_step(recording.states_of(max(n - window, 0), n)), tolerance, window):
        return None
    measured = _Measured(recording, tuple(range(recording.n_tokens)))
    ends = recording.states_of(max(measured.n + 1 - tail_length(window), 0), measured.n)
    judged = classes_of(
        ends, measured.steps, measured.norms, tolerance, window, recording.info.dtype
    )
    rest = {s.kind for s in judged} - {SettlingClass.SETTLED}
    if rest - {SettlingClass.UNRESOLVED}:
        return None
    small = f"every token's relative step was below {tolerance:g} for {window} recurrences"
    if rest:
        return (
            f"stopped at recurrence {recording.n_recurrences}: {small}, and whether it goes on is "
            f"below what {recording.info.dtype} resolves"
        )
    return f"settled at recurrence {recording.n_recurrences}: {small} and so is what is left"


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Measure the steps of the shown tokens and class each token."""
    info = recording.info
    tokens = selection.shown_tokens(recording.n_tokens)
    measured = _Measured(recording, tokens)
    relative = options.measure == "relative"
    relative_steps = ratio(measured.steps, measured.norms[1:])
    values = relative_steps if relative else measured.steps
    norms, median = measured.norms[1:], _median(values)
    layer_rates: tuple[float, ...] = ()
    recurrences = np.arange(1, len(measured.norms))
    missing = "" if len(recurrences) else NO_RUN
    floor, points = relative_floor(info.dtype), _points(options)
    if options.per_layer:
        values, norms, layer_rates = _layer_curves(measured, options, floor)
        recurrences, median = recurrences[1:], np.zeros(0)
        missing = missing or ("" if len(recurrences) else ONE_PER_LAYER)
        missing = ONCE if missing and has_run_once(recording) else missing
    scale = np.ones(len(values)) if relative else _median(norms)
    data = Data(
        statement=missing,
        formulas=(),
        recurrences=recurrences,
        values=values,
        median=median,
        rate=fitted_rate(_median(relative_steps), floor, points),
        layer_rates=layer_rates,
        token_rates=fitted_rates(relative_steps, floor, points),
        last_step=relative_steps[-1] if len(relative_steps) else np.full(len(tokens), np.nan),
        classes=_classes(recording, measured, options),
        judged=_judged(measured.n, options),
        tolerance_line=options.tolerance * scale,
        floor_line=floor * scale,
        error_line=_error_line(recording, tokens, len(values), options) * scale,
        tokens=tokens,
        labels=info.names_of(tokens),
        token_texts=tuple(info.token_labels[t] for t in tokens),
        trained=info.architecture.trained_recurrences,
        dtype=info.dtype,
        sampled=_sampled(options.per_layer, info.architecture),
        layer_names=info.architecture.layer_names,
        options=options,
        missing=missing,
        lacks=RECURRENCE if missing and not has_run_once(recording) else None,
    )
    unresolved = info.dtype != "float32" and SettlingClass.UNRESOLVED.value in data.class_words()
    data = replace(data, unresolved=unresolved)
    errors = (FLOAT32_ERROR,) if info.dtype != "float32" else ()
    return replace(
        data,
        formulas=(data.formula, RATE, data.class_formula, FLOOR, *errors),
        statement=missing or (ONCE if has_run_once(recording) else _statement(data)),
    )


def compute_second(
    recording: Recording, second_run: SecondRun, selection: Selection, options: Options
) -> Data:
    """Both runs on one pair of axes; the lines and classes are those of the run shown."""
    first = compute(recording, selection, options)
    second = compute(second_run.recording, second_run.selection, options)
    text = f"{first.statement}; second run, {second_run.name}: {second.statement}"
    shown = None if first.missing or second.missing else second
    return replace(first, statement=text, second=shown, second_name=second_run.name)


class _Measured:
    """Steps and norms of the shown tokens; rows come from the live measures, which keep them.

    Ends ``[n, t]`` and ``[n + 1, t]``, layers ``[n - 1, L, t]`` and ``[n, L, t]``.
    """

    def __init__(self, recording: Recording, tokens: tuple[int, ...]) -> None:
        columns, n_layers = list(tokens), recording.n_layers
        kept = [measure(recording, m).values
                for m in (STEP_SIZE, STATE_NORM, LAYER_STEP_SIZE, RESIDUAL_NORM)]  # fmt: skip
        # The writer may have gone on between two of them.
        self.n = n = min(len(kept[0]), len(kept[1]), len(kept[3]))
        self.tokens = tokens
        start = state_norm(recording.state(0)[None, columns])
        self.steps = kept[0][:n, columns] if n else np.zeros((0, len(columns)))
        self.norms = np.concatenate([start, kept[1][:n, columns]]) if n else start
        none = np.zeros((0, n_layers, len(columns)))
        self.layer_steps = kept[2][1:n][:, :, columns] if n > 1 else none
        self.layer_norms = kept[3][:n][:, :, columns] if n else none


def _classes(recording: Recording, measured: _Measured, options: Options) -> tuple[Classes, ...]:
    """Class the shown tokens at the end of a recurrence and after each layer."""
    tokens, n = list(measured.tokens), measured.n
    names = recording.info.architecture.layer_names
    if options.rules == "loopscope":
        size = tail_length(options.window)
        ends = recording.states_of(max(n + 1 - size, 0), n)
        layers = recording.layer_states_of(max(n - size, 0) + 1, n)
    else:
        # As in the paper, the initial state is no recurrence.
        ends = recording.states_of(max(n + 1 - options.last, 1), n)
        layers = recording.layer_states_of(max(n - options.last, 0) + 1, n)
    if len(tokens) < recording.n_tokens:
        ends, layers = ends[:, tokens], layers[:, :, tokens]
    dtype = recording.info.dtype
    of = [
        Classes("recurrence end", -1, _judge(ends, measured.steps, measured.norms, options, dtype))
    ]
    if n:
        t = len(tokens)
        columns = len(names) * t
        flat = layers.reshape(len(layers), columns, layers.shape[-1])
        steps, norms = measured.layer_steps.reshape(n - 1, columns), measured.layer_norms
        judged = _judge(flat, steps, norms.reshape(n, columns), options, dtype)
        of += [Classes(name, i, judged[i * t : (i + 1) * t]) for i, name in enumerate(names)]
    return tuple(of)


def _judge(
    states: F32, steps: F64, norms: F64, options: Options, dtype: str
) -> tuple[Judged, ...]:  # fmt: skip
    """Class columns of the last states ``[n, t, d]``."""
    if options.rules == "loopscope":
        return classes_of(states, steps, norms, options.tolerance, options.window, dtype)
    if not len(states):
        states = np.zeros((1, *states.shape[1:]), np.float32)
    series = cosine_series(states) if options.rules == "cosine" else distance_series(states)
    return limiting_behaviour(series, options.tau, options.rho, noise_of(options.rules, dtype))


def _judged(n: int, options: Options) -> str:
    """By what the classes were judged, with its numbers."""
    if options.rules == "loopscope":
        return f"tolerance {short_number(options.tolerance)} (relative step, {_how(options)})"
    used = min(n, options.last)
    series = "cosine" if options.rules == "cosine" else "distance"
    fewer = "" if used >= PAPER_RECURRENCES else f"; the paper uses {PAPER_RECURRENCES}"
    return (
        f"Algorithm 1 ({series} to the end, τ {options.tau:g}, ρ {options.rho:g}, "
        f"last {used} recurrences{fewer})"
    )


def _how(options: Options) -> str:
    return f"{options.window} recurrences running" if options.window > 1 else "1 recurrence"


def _error_line(recording: Recording, tokens: tuple[int, ...], n: int, options: Options) -> F64:
    """Median over the tokens of the relative error against float32, by recurrence."""
    errors = recording.float32_error
    if errors is None or options.per_layer:
        return np.full(n, np.nan)
    line = np.full(n, np.nan)
    known = min(n, len(errors))
    line[:known] = _median(errors[:known, list(tokens)].astype(np.float64))
    return line


def _layer_curves(
    measured: _Measured, options: Options, floor: float
) -> tuple[F64, F64, tuple[float, ...]]:
    """Median step over the tokens ``[R - 1, L]``, norms ``[R - 1, L T]`` and each layer's rate."""
    steps, norms = measured.layer_steps, measured.layer_norms[1:]
    relative = _median(ratio(steps, norms))
    rates = tuple(fitted_rates(relative, floor, _points(options)).tolist())
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


def _sampled(per_layer: bool, arch: Architecture) -> str:
    if per_layer:
        return "x after each layer"
    if arch.damping != 1:
        return f"s after the damped step, β = {arch.damping:g}"
    return "s after the closing norm" if arch.closing_norm else "s after the last layer"


def _statement(data: Data) -> str:
    """Say how many tokens have settled, by which rules, what the others do, and how fast."""
    n, ours = len(data.tokens), data.options.rules == "loopscope"
    counts = Counter(s.describe() for s in data.settling)
    done = counts.pop("settled" if ours else "fixed point", 0)
    who = f"{done} of {n} token" if n == 1 else f"{done} of {n} tokens ({100 * done / n:.3g} %)"
    if ours:
        parts = [f"{who} {'has' if n == 1 else 'have'} settled at {data.judged}"]
    else:
        parts = [f"{who} end{'s' if n == 1 else ''} in a fixed point by {data.judged}"]
    if counts:
        parts.append(", ".join(f"{n} {w}{_note(w, data)}" for w, n in counts.most_common()))
    if (layers := _layers_said(data, done)) != "":
        parts.append(layers)
    if rate_text(data.rate):
        parts.append(f"median {rate_text(data.rate)}")
    return "; ".join(parts)


def _note(word: str, data: Data) -> str:
    """What a class does not rule out."""
    if word == SettlingClass.WANDERING.value:
        longest, near = longest_periods(len(data.recurrences), data.options.window)
        neared = f", none neared up to {near}" if near > 1 else ""
        return f" (no orbit of a period up to {longest}{neared})" if longest > 1 else ""
    if word.startswith(SettlingClass.NEARING_ORBIT.value):
        return f" ({_left_said(word, data)} of its norm left)"
    if word == SettlingClass.UNRESOLVED.value:
        hint = "" if data.dtype == "float32" else "; float32 would show it"
        return (
            f" (steps within the rounding of {data.dtype}, which could hide a slow approach{hint})"
        )
    return ""


def _left_said(word: str, data: Data) -> str:
    """How far the tokens of a class are from what they near: "0.13" or "0.02 to 0.13"."""
    left = [
        short_number(s.distance_left)
        for s in sorted(
            (s for s in data.settling if isinstance(s, Settling) and s.describe() == word),
            key=lambda s: s.distance_left,
        )
    ]
    return left[0] if left[0] == left[-1] else f"{left[0]} to {left[-1]}"


def _layers_said(data: Data, done: int) -> str:
    """How many have settled after each layer, where it is not as many as at the end."""
    word = "settled" if data.options.rules == "loopscope" else "fixed point"
    counts = [place.counts().get(word, 0) for place in data.classes[1:]]
    if not counts or set(counts) == {done}:
        return ""
    if len(counts) > MOST_LAYERS:
        return f"{min(counts)} to {max(counts)} after each layer"
    return f"after each layer {', '.join(map(str, counts))}"


def within(data: Data, shown: RecurrenceRange) -> Data:
    """The same curves, of which only these recurrences are shown."""
    if not len(data.recurrences):
        return data
    first, last = shown.ends(int(data.recurrences[-1]))
    x_shown = None if shown.whole else (max(float(first), float(data.recurrences[0])), float(last))
    return replace(data, x_shown=x_shown, log_r=shown.log)


def table(data: Data) -> Table:
    """One row for each recurrence and curve; without layers also the median.

    A token's row has its class at the end and after each layer; the median's and a layer's row
    have the share of tokens in each class. With a second run its rows come after, and the first
    column names the run.
    """
    if data.second is not None:
        one, other = table(replace(data, second=None)), table(data.second)
        # Classes that only one of them has have no column in the other.
        columns = tuple(dict.fromkeys((*one.columns, *other.columns)))
        return Table(
            ("run", *columns), _rows_of_two(columns, (("this run", one), (data.second_name, other)))
        )
    value = f"{data.formula.name} [{data.formula.unit}]"
    shares = tuple(f"{word} [share of tokens]" for word in data.class_words())
    if data.per_layer:
        columns = ("recurrence", "layer", value, "rate [per recurrence]", "judged by", *shares)
        return Table(columns, _layer_rows(data))
    columns = (
        "recurrence", "token index", "token", value, "class", "period [recurrences]",
        "rate [per recurrence]", "distance left [1]", "judged by",
        *(f"class after {place.where}" for place in data.classes[1:]), *shares,
    )  # fmt: skip
    return Table(columns, _token_rows(data))


def _rows_of_two(
    columns: tuple[str, ...], tables: tuple[tuple[str, Table], ...]
) -> Iterator[tuple[object, ...]]:
    for name, own in tables:
        for row in own.rows:
            values = dict(zip(own.columns, row, strict=True))
            yield name, *(values.get(column, "") for column in columns)


def _shares(data: Data, place: Classes) -> tuple[float, ...]:
    counts = place.counts()
    return tuple(counts.get(word, 0) / max(len(place.of), 1) for word in data.class_words())


def _layer_rows(data: Data) -> Iterator[tuple[object, ...]]:
    shares = [_shares(data, place) for place in data.classes[1:]]
    for i, layer in np.ndindex(data.values.shape):
        yield (
            int(data.recurrences[i]),
            layer,
            float(data.values[i, layer]),
            data.layer_rates[layer],
            data.judged,
            *shares[layer],
        )


def _token_rows(data: Data) -> Iterator[tuple[object, ...]]:
    layers, words = data.classes[1:], data.class_words()
    shares, none = _shares(data, data.classes[0]), ("",) * len(words)
    by_layer = [tuple(place.of[c].describe() for place in layers) for c in range(len(data.tokens))]
    for i, r in enumerate(data.recurrences.tolist()):
        for c, (token, text) in enumerate(zip(data.tokens, data.token_texts, strict=True)):
            s = data.settling[c]
            kind = (s.kind.value, period_of(s), float(data.token_rates[c]), left_of(s), data.judged)
            yield r, token, text, float(data.values[i, c]), *kind, *by_layer[c], *none
        kind = ("", "", data.rate, "", data.judged)
        yield r, "median", "", float(data.median[i]), *kind, *("",) * len(layers), *shares


def left_of(judged: Judged) -> float | str:
    """Relative distance to where the last steps lead, or "" by other rules."""
    return judged.distance_left if isinstance(judged, Settling) else ""


def period_of(judged: Judged) -> float | str:
    """Recurrences of one round of an orbit, or ""."""
    if isinstance(judged, Settling):
        return judged.period or ""
    frequency = getattr(judged, "frequency", float("nan"))
    return 1 / frequency if judged.kind.value == "orbit" else ""


def as_json(recording: Recording, options: Options | None = None) -> dict[str, Any]:
    """Classes of all tokens by all rules: for the command line and notebooks."""
    options = options or Options()
    rules: tuple[Rules, ...] = get_args(Rules)
    return {
        name: _rules_json(compute(recording, Selection(), replace(options, rules=name)))
        for name in rules
    }


def _rules_json(data: Data) -> dict[str, Any]:
    formula = data.class_formula
    return {
        "name": formula.name,
        "formula": formula.formula,
        "source": formula.source,
        "judged by": data.judged,
        "missing": data.missing or None,
        "places": [
            {
                "where": place.where,
                "share": {word: n / len(place.of) for word, n in place.counts().items()},
                "classes": [judged.describe() for judged in place.of],
            }
            for place in data.classes
        ],
    }


VIEW = ViewDefinition(
    Options,
    compute,
    table,
    reads=frozenset({"tokens"}),
    stop_reason=stop_reason,
    compute_second=compute_second,
    within=within,
)
