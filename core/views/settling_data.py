"""What the settling view shows: its settings, its data, and how numbers are written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from loopscope.core.arrays import F64
from loopscope.core.formula import Formula
from loopscope.core.labels import at_position
from loopscope.core.measures.limiting_behaviour import LEAST_RECURRENCES, PAPER_RECURRENCES
from loopscope.core.options import setting
from loopscope.core.views.base import ViewData

Measure = Literal["relative", "absolute"]
Rules = Literal["loopscope", "cosine", "distance"]

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
    "the step is not; nearing an orbit: s_r + q/(1−q) (s_r − s_{r−p}) comes back; "
    "diverged: norm and step grow and the relative step does not fall, or NaN; "
    "wandering: relative step ≥ 0.1 goes on",
    "class",
    "Loopscope; kinds after " + _CYCLE,
)
_THEN = (
    "; fixed point: ρ n of its n values ≥ 1 − τ; orbit: A = 4 max |RFFT(Hann · detrended)| / n "
    "≥ τ/2 at 2 cycles or more; slider: its slope > τ/n; else unknown"
)
LIMITS = {
    "cosine": Formula(
        "limiting behaviour", "of cos(s_r, s_R)" + _THEN, "class", "Algorithm 1, " + _CYCLE
    ),
    "distance": Formula(
        "limiting behaviour",
        "of 1 − ‖s_r − s_R‖ / ‖s_R‖" + _THEN,
        "class",
        f"Algorithm 1 on norms, {_CYCLE}; written as nearness",
    ),
}
FLOOR = Formula("rounding floor", "√d · rms · 2^−m / √12", "state units", "uniform rounding error")


def _own_rules(options: Options) -> str:
    return "classes are Loopscope's own" if options.rules == "loopscope" else ""


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the settling plot."""

    measure: Measure = setting(
        "relative",
        "Step",
        "How far the state moved, over its own norm or as it is",
        labels={"relative": "relative: ‖Δs‖/‖s‖", "absolute": "absolute: ‖Δs‖"},
    )
    per_layer: bool = setting(
        False, "Per layer", "One curve for each layer of the cycle, the median over the tokens"
    )
    tolerance: float = setting(
        1e-2, "Tolerance", "A token has settled when its relative step stays below", low=0, high=1
    )
    window: int = setting(
        3,
        "Recurrences in a row",
        "For which the relative step has to stay below the tolerance",
        low=1,
        high=100,
    )
    rules: Rules = setting(
        "loopscope",
        "Classes",
        "What a token's settling class is judged by",
        labels={
            "loopscope": "Loopscope's",
            "cosine": "Algorithm 1, cosine to the end",
            "distance": "Algorithm 1, distance to the end",
        },
    )
    tau: float = setting(
        0.05, "Algorithm 1: τ", "How near to the end is at a fixed point; half of it is an orbit",
        low=0, high=1, idle=_own_rules,
    )  # fmt: skip
    rho: float = setting(
        0.9,
        "Algorithm 1: ρ",
        "Share of the recurrences that must be so near",
        low=0,
        high=1,
        idle=_own_rules,
    )
    last: int = setting(
        PAPER_RECURRENCES,
        "Algorithm 1: recurrences",
        f"How many of the last are looked at; the paper has {PAPER_RECURRENCES}",
        low=LEAST_RECURRENCES,
        high=4096,
        idle=_own_rules,
    )
    counts: bool = setting(
        True, "Table of classes", "Tokens in each class, at the end and after each layer"
    )


class Judged(Protocol):
    """A settling class with its evidence, by whatever rules."""

    @property
    def kind(self) -> Enum:
        """The class; its value is the word."""

    @property
    def unsettled(self) -> bool:
        """Whether it is known not to settle."""

    def describe(self) -> str:
        """The class in words, such as "orbit of period 5"."""


@dataclass(frozen=True, slots=True)
class Classes:
    """Classes of the shown tokens at one place of the cycle.

    where : its name.  layer : of the cycle, or -1 for the end of a recurrence.  of : each token's.
    unsettled : tokens known not to settle.
    """

    where: str
    layer: int
    of: tuple[Judged, ...]
    unsettled: tuple[int, ...] = field(init=False)
    _labels: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Worked out by who computes them: the screen asks again and again, of thousands of tokens.
        put = partial(object.__setattr__, self)
        put("_labels", tuple(str(j.kind.value) for j in self.of))
        put("unsettled", tuple(i for i, j in enumerate(self.of) if j.unsettled))

    def labels(self) -> tuple[str, ...]:
        """Each token's class in a word, without the period of an orbit."""
        return self._labels

    def counts(self) -> dict[str, int]:
        """Tokens in each class, the most frequent first."""
        return dict(Counter(self._labels).most_common())


@dataclass(frozen=True, slots=True, eq=False)
class Data(ViewData):
    """Step sizes by recurrence. ``n`` recurrences, ``C`` curves, ``t`` shown tokens.

    recurrences : int64 ``[n]``, 1 to R (per layer: 2 to R).
    values : float64 ``[n, C]``, one curve per shown token or per layer, in `formula`'s unit.
    median : float64 ``[n]``, over the shown tokens; empty per layer.
    rate : fitted factor of the median relative step per recurrence; NaN without a fit.
    layer_rates : the same for each layer's curve; empty unless per layer.
    token_rates, last_step : float64 ``[t]``, the same for each shown token, and its last relative
        step; NaN where there is none.
    classes : of the shown tokens, at the end of a recurrence and then after each layer.
    judged : in words, what the classes were judged by, such as "Algorithm 1 on 40 recurrences".
    tolerance_line, floor_line : float64 ``[n]``, tolerance and rounding floor in `values`' unit.
    error_line : float64 ``[n]``, median error against float32 in `values`' unit; NaN where it was
        not measured, which is everywhere in float32 and per layer.
    tokens, labels, token_texts : index, readable and exact text of each shown token.
    trained : recurrences the model was trained with.  dtype : what the model ran in.
    layer_names : of the layers of a recurrence.
    sampled : where in the recurrence the state is taken.
    x_shown : the recurrences that are shown, or None for all.  log_r : whether on a log axis.
    second, second_name : the same of the second run, where both are drawn, and what it is called.
    missing : what is missing when there is nothing to show, or "".
    """

    recurrences: npt.NDArray[np.int64]
    values: F64
    median: F64
    rate: float
    layer_rates: tuple[float, ...]
    token_rates: F64
    last_step: F64
    classes: tuple[Classes, ...]
    judged: str
    tolerance_line: F64
    floor_line: F64
    error_line: F64
    tokens: tuple[int, ...]
    labels: tuple[str, ...]
    token_texts: tuple[str, ...]
    trained: int
    dtype: str
    sampled: str
    layer_names: tuple[str, ...]
    options: Options
    missing: str = ""
    x_shown: tuple[float, float] | None = None
    log_r: bool = False
    second: Data | None = None
    second_name: str = ""

    @property
    @override
    def briefs(self) -> tuple[str, ...]:
        """How many have settled, of how many."""
        settled = ("settled", "fixed point")
        done, n = sum(j.kind.value in settled for j in self.settling), len(self.tokens)
        return (f"{done} of {n} settled", f"{done} of {n}")

    @property
    @override
    def drawn_words(self) -> str:
        """What the lines are."""
        n = f"n = {len(self.tokens)} token{'s' * (len(self.tokens) != 1)}"
        lines = (
            f"A line for each layer: the median over {n}."
            if self.per_layer
            else "A thin line for each token, heavy where it does not settle; black: their "
            f"median, {n}."
        )
        trained = (
            f" Upright line: the {self.trained} recurrences of training." if self.trained else ""
        )
        return f"{lines} Dashed: the tolerance.{trained} Logarithmic vertical axis."

    @property
    def settling(self) -> tuple[Judged, ...]:
        """Class of each shown token at the end of a recurrence."""
        return self.classes[0].of

    @property
    def measure(self) -> Measure:
        """Relative or absolute steps."""
        return self.options.measure

    @property
    def per_layer(self) -> bool:
        """Whether a curve is a layer, not a token."""
        return self.options.per_layer

    @property
    def tolerance(self) -> float:
        """Relative step below which a token has settled."""
        return self.options.tolerance

    @property
    def formula(self) -> Formula:
        """Where the curves come from."""
        return STEP_FORMULAS[self.measure, self.per_layer]

    @property
    def class_formula(self) -> Formula:
        """Where the classes come from."""
        return LIMITS.get(self.options.rules, CLASS)

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
            else at_position(self.tokens[curve], self.labels[curve])
        )

    def unsettled(self) -> list[int]:
        """Shown tokens known not to settle (drift, orbit, divergence), the farthest first."""
        steps = np.where(np.isfinite(self.last_step), self.last_step, np.inf)
        return sorted(self.classes[0].unsettled, key=lambda i: -steps[i])

    def class_words(self) -> tuple[str, ...]:
        """Every class that some token has somewhere, the most frequent first."""
        total: Counter[str] = Counter()
        for place in self.classes:
            total.update(place.counts())
        return tuple(total)


def short_number(value: float) -> str:
    """Write a small number as a power: 1e-2, 2.5e-3, but 0.5."""
    if not np.isfinite(value) or not 0 < abs(value) < 0.1:
        return f"{value:.3g}"
    mantissa, power = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}"


def rate_text(rate: float) -> str:
    """Write a rate as "×0.71 per recurrence"; empty without one."""
    return f"×{rate:.3g} per recurrence" if np.isfinite(rate) else ""


def share_text(count: int, n: int) -> str:
    """Write a count with its share: "25 (93 %)"."""
    return f"{count} ({100 * count / n:.3g} %)" if n else f"{count}"
