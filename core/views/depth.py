"""Measures over depth: live measures and lens curves along depth, by recurrence or by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.formula import Formula
from loopscope.core.measures.base import Measure, Measured, averaged, has_run_once, measure
from loopscope.core.measures.heads import even_attention
from loopscope.core.measures.registry import MEASURES
from loopscope.core.measures.stages import Repeat, repeat_correlation
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import RECURRENCE, Lack, Table, ViewDefinition
from loopscope.core.views.curves_data import Curve, Curves, curves_of_two, curves_table
from loopscope.core.views.lens.curves import LACKS, LENS_CURVES, read_curve
from loopscope.core.views.second_run import SecondRun

OFFERED = {**MEASURES, **LENS_CURVES}
if TYPE_CHECKING:
    Key = str
else:
    Key = Literal[tuple(OFFERED)]
Grouping = Literal["layer", "recurrence", "depth"]

REPEAT = Formula(
    "repeat correlation",
    "mean over r of Pearson's r between the curves over layers of recurrences r and r + 1",
    "−1..1",
    "Loopscope; whether the stages repeat, arXiv 2604.11791",
)


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the curves over depth."""

    measure: Key = setting(
        "layer_relative_step",
        "Measure",
        "What is drawn; its formula is under Σ",
        labels={m.key: m.formula.name for m in OFFERED.values()},
        at_hand=True,
    )
    grouping: Grouping = setting(
        "layer",
        "Grouping",
        "One line for each layer over recurrences, one for each recurrence over layers, or one "
        "line along effective depth",
        labels={
            "layer": "by layer: a line for each layer",
            "recurrence": "by recurrence: a line for each recurrence",
            "depth": "none: along effective depth",
        },
    )
    band: bool = setting(
        True, "Interquartile band", "Middle half of the tokens or heads that a point averages"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Data(Curves):
    """The curves, and whether the layers' curves repeat.

    measured : the measure's key.  grouping : the one drawn, which is "layer" where there is no
        layer axis.  repeat : how alike the recurrences are, or None without layers.
    """

    measured: str = ""
    grouping: Grouping = "layer"
    repeat: Repeat | None = None


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Measure the run so far and arrange it as asked."""
    quantity = OFFERED[options.measure]
    read = read_curve if quantity.key in LENS_CURVES else measure
    measured = _of_tokens(read(recording, quantity), selection, recording)
    has_layers = "layer" in quantity.axes
    grouping: Grouping = options.grouping if has_layers else "layer"
    middle = measured.by_depth() if not measured.missing else np.zeros((0, 0))
    low, high = _quartiles(measured) if options.band and not measured.missing else (None, None)
    names = recording.info.architecture.layer_names
    prelude = recording.info.architecture.n_prelude
    curves = _curves(
        grouping, middle, low, high, names if has_layers else (quantity.formula.name,), prelude
    )
    missing, lacks = measured.missing, _lack(measured, recording)
    if not missing and not np.isfinite(middle).any():
        missing = (
            f"{quantity.formula.name.capitalize()} is not a finite number anywhere in this run."
        )
    if quantity.null is not None and not missing:
        curves += _nulls(quantity.null, recording, grouping, curves)
    repeat = repeat_correlation(middle) if has_layers and not missing else None
    data = Data(
        statement=missing,
        formulas=(quantity.formula, *((REPEAT,) if repeat else ())),
        curves=() if missing else curves,
        x_label=_x_label(grouping),
        y_label=axis_label(quantity),
        formula=quantity.formula,
        log_y=quantity.log,
        cursor={"layer": "recurrence", "recurrence": "layer", "depth": ""}[grouping],
        missing=missing,
        lacks=lacks,
        measured=quantity.key,
        grouping=grouping,
        repeat=repeat,
        bands=_middle_half(measured) if any(c.low is not None for c in curves) else "",
    )
    return data if missing else replace(data, statement=_statement(data, quantity, middle, options))


def _lack(measured: Measured, recording: Recording) -> Lack | None:
    """What would give the measure a value; None where nothing would, or it has one."""
    if not measured.missing:
        return None
    if measured.measure.key in LENS_CURVES:
        return LACKS
    n, quantity = recording.n_recurrences, measured.measure
    too_short = n < 1 or (n < quantity.first and not quantity.missing(recording))
    return RECURRENCE if too_short and not has_run_once(recording) else None


def compute_second(
    recording: Recording, second_run: SecondRun, selection: Selection, options: Options
) -> Data:
    """Both runs on one pair of axes; along effective depth two models stand level."""
    first = compute(recording, selection, options)
    second = compute(second_run.recording, second_run.selection, options)
    if first.missing or second.missing:
        why = second.missing if not first.missing else ""
        part = f"; second run, {second_run.name}: {why}" if why else ""
        text = first.statement + part
        return replace(first, statement=text)
    curves = curves_of_two(first, second, second_run.name, second_run.place_back)
    text = f"{first.statement}; second run, {second_run.name}: {second.statement}"
    return replace(first, curves=curves, statement=text)


def _of_tokens(measured: Measured, selection: Selection, recording: Recording) -> Measured:
    """Only the shown tokens, where there is an axis of them."""
    tokens = selection.shown_tokens(recording.n_tokens)
    if (
        measured.missing
        or "token" not in measured.measure.axes
        or len(tokens) == recording.n_tokens
    ):
        return measured
    axis = 1 + measured.measure.axes.index("token")
    return Measured(measured.measure, np.take(measured.values, list(tokens), axis=axis))


def _quartiles(measured: Measured) -> tuple[F64 | None, F64 | None]:
    """Quartiles 1 and 3 over tokens or heads, ``[R, L]``; None where a point is one value."""
    values = measured.values if "layer" in measured.measure.axes else measured.values[:, None]
    axes = tuple(range(2, values.ndim))
    if not axes or np.prod(values.shape[2:]) < 2:
        return None, None
    known = np.asarray(np.isfinite(values).any(axes))
    filled = np.where(np.expand_dims(known, axes), values, 0.0)
    filled = np.where(np.isfinite(filled), filled, np.nan)
    ends = _percentiles(filled.reshape(*values.shape[:2], -1))
    low, high = (np.where(known, end, np.nan) for end in ends)
    return low, high


def _percentiles(values: F64) -> F64:
    """25th and 75th percentile over the last axis, NaN left out, ``[2, R, L]``.

    numpy leaves NaN out in a call for each point: only points that have one take that way.
    """
    ends = np.percentile(values, [25, 75], axis=-1)
    some = np.isnan(values).any(-1)
    if some.any():
        ends[:, some] = np.nanpercentile(values[some], [25, 75], axis=-1)
    return np.asarray(ends)


def _middle_half(measured: Measured) -> str:
    """What a band is: the quartiles over tokens or heads, and how many they are of."""
    sizes = zip(measured.measure.axes, measured.values.shape[1:], strict=True)
    over = " and ".join(f"{n} {axis}s" for axis, n in sizes if axis != "layer")
    return f"middle half of {over}"


def _curves(
    grouping: Grouping, y: F64, low: F64 | None, high: F64 | None, names: tuple[str, ...],
    prelude: int,
) -> tuple[Curve, ...]:  # fmt: skip
    """Arrange ``[R, L]`` values into curves; ``prelude`` layers were run before them."""
    n, layers = y.shape
    recurrences, across = np.arange(1.0, n + 1), np.arange(float(layers))
    ends = low is not None and high is not None

    def cut(part: tuple[slice | int, slice | int]) -> tuple[F64 | None, F64 | None]:
        return (low[part], high[part]) if ends else (None, None)  # type: ignore[index]

    if grouping == "layer":
        return tuple(
            Curve(
                names[i], recurrences, y[:, i], *cut((slice(None), i)), role="layer", index=i,
                count=layers, place={"layer": i} if layers > 1 else {},
                places=tuple({"recurrence": r + 1} for r in range(n)),
            )
            for i in range(layers)
        )  # fmt: skip
    if grouping == "recurrence":
        return tuple(
            Curve(
                f"r = {r + 1}", across, y[r], role="recurrence", index=r, count=n,
                place={"recurrence": r + 1}, places=tuple({"layer": i} for i in range(layers)),
            )
            for r in range(n)
        )  # fmt: skip
    places = tuple({"recurrence": r + 1, "layer": i} for r, i in np.ndindex(n, layers))
    x = np.arange(1.0, n * layers + 1) + prelude
    if low is None or high is None:
        return (Curve("", x, y.ravel(), places=places),)
    return (Curve("", x, y.ravel(), low.ravel(), high.ravel(), places=places),)


def _nulls(
    null: Callable[[F64], float], recording: Recording, grouping: Grouping,
    curves: tuple[Curve, ...],
) -> tuple[Curve, ...]:  # fmt: skip
    """The values of even attention: one line for each window, or one through the layers."""
    arch, t = recording.info.architecture, recording.n_tokens
    causal, windows = arch.layer.causal, tuple(w if w < t else 0 for w in arch.windows)
    value = {w: null(even_attention(t, causal=causal, window=w)) for w in windows}
    name = "uniform causal attention" if causal else "uniform attention"
    if len(value) == 1 or grouping == "layer":
        xs = np.concatenate([c.x for c in curves])
        ends = np.array([xs.min(), xs.max()]) if len(xs) else np.zeros(2)
        lines = [(name + (f", window {w}" if w else ""), ends, np.full(2, y))
                 for w, y in value.items()]  # fmt: skip
    else:
        x = curves[0].x
        lines = [(f"{name}, by window", x, np.resize([value[w] for w in windows], len(x)))]
    return tuple(Curve(*line, role="reference", dashed=True) for line in lines)


def _x_label(grouping: Grouping) -> str:
    return {
        "layer": "recurrence r",
        "recurrence": "layer of the recurrent block",
        "depth": "effective depth (layers run, the prelude included)",
    }[grouping]


def axis_label(quantity: Measure) -> str:
    """Measure, unit and what a point averages, for the vertical axis."""
    over = {"token": "tokens", "head": "heads"}
    axes = [over[a] for a in quantity.axes if a in over]
    unit = quantity.formula.unit.split(",")[0]
    unit_text = "" if unit in ("1", "0..1") else f" [{unit}]"
    average = f", {quantity.average} over {' and '.join(axes)}" if axes else ""
    return f"{quantity.formula.name}{unit_text}{average}"


def _statement(data: Data, quantity: Measure, middle: F64, options: Options) -> str:
    """Say where the measure started and ended, and whether its curve repeats."""
    ends = averaged(middle, (1,), quantity.average)
    known = np.flatnonzero(np.isfinite(ends))
    first, last = int(known[0]), int(known[-1])
    name = quantity.formula.name[0].upper() + quantity.formula.name[1:]
    text = f"{name}: {ends[first]:.3g} at recurrence {first + 1}"
    if last > first:
        text += f", {ends[last]:.3g} at {last + 1}"
    if options.grouping != data.grouping:
        text += "; it has no layers, so it is drawn over recurrences"
    repeat = data.repeat
    if repeat is None:
        return text
    if repeat.missing:
        return f"{text}; no repeat correlation: {repeat.missing}"
    return (
        f"{text}; the curves over {repeat.n_layers} layers repeat with correlation "
        f"{repeat.consecutive:.3f} from one recurrence to the next, {repeat.with_last:.3f} with "
        f"the last"
    )


def table(data: Data) -> Table:
    """One row for each point, with its interquartile band."""
    x = {"layer": "recurrence", "recurrence": "layer", "depth": "effective depth"}[data.grouping]
    return curves_table(data, x=x)


VIEW = ViewDefinition(
    Options, compute, table, reads=frozenset({"tokens"}), compute_second=compute_second
)
