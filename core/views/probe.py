"""Where does it live: what is lost when parameters, graph or trajectory are cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from loopscope.core.experiments.hops import VOCABULARY
from loopscope.core.experiments.probe.conditions import RUNS_ONCE, plan_for, too_few
from loopscope.core.formula import Formula
from loopscope.core.measures.intervals import TWO_WAY_KIND, with_n
from loopscope.core.measures.probe import (
    DISPLACEMENT,
    LOST,
    PROBE,
    RECOVERY,
    Lives,
    Outcome,
    Probe,
)
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import Lack, Request, Table, ViewDefinition
from loopscope.core.views.curves_data import Curve, Curves

LABEL = "Cut and see what is lost"
NOT_YET = "Nothing has been cut yet."
LACKS = Lack("measurement", LABEL)
LIVES: tuple[Lives, ...] = ("parameters", "graph", "trajectory")
ACCURACY = Formula(
    "accuracy", "share of answers that are right after recurrence r", "share of answers", "task"
)
# Below this much accuracy lost a cut has taken nothing.
NOTHING_LOST = 0.02
# Colours of curves, by index, in an order in which neighbours are unlike each other; what is of
# parameters, graph and trajectory has one of the first three.
COLOURS = (0, 3, 2, 7, 4, 1, 6, 5)
Picture = Literal["sizes", "displacement", "recovery"]
Cut = Literal["early", "late", "both"]


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the probe."""

    picture: Picture = setting(
        "sizes",
        "Picture",
        "What is lost against the size of the cut, against how far it moves the state, or how "
        "accuracy comes back after a cut",
        labels={
            "sizes": "lost against relative size",
            "displacement": "lost against displacement",
            "recovery": "recovery after a cut",
        },
        at_hand=True,
    )
    cut: Cut = setting(
        "early",
        "Recovery after",
        "Which cuts of the trajectory the recovery is drawn of; the recurrences are settings below",
        labels={"early": "the early cut", "late": "the late cut", "both": "both cuts"},
        at_hand=True,
        idle=lambda o: "" if o.picture == "recovery" else "it is of the picture “recovery”",
    )
    prompts: int = setting(48, "Prompts", "Fresh ones of the task, 1 to 6 hops", low=2, high=5000)
    draws: int = setting(2, "Draws", "Of what is random", low=1, high=100)
    recurrences: int = setting(
        0, "Recurrences", "Of every run", high=1000, lowest="as the model was trained to"
    )
    mid: int = setting(
        0, "Cut early after", "While answers are still found", high=1000, lowest="recurrence 3"
    )
    late: int = setting(
        0,
        "Cut late after",
        "When they have been found",
        high=1000,
        lowest="3/5 of the recurrences",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Data(Curves):
    """The picture asked for, and everything that was found."""

    result: Probe | None = None
    picture: Picture = "sizes"


def why_not(recording: Recording) -> str:
    """Why this model cannot be probed, or "".

    How many recurrences are enough is a matter of the settings (`_too_few`).
    """
    arch = recording.info.architecture
    if arch.vocab_size != len(VOCABULARY):
        return (
            "The probe asks the task hops, which this model was not trained on; cut into a run by "
            "hand in Runs and cuts."
        )
    if arch.runs_once:
        return f"{RUNS_ONCE[0].upper()}{RUNS_ONCE[1:]}."
    return ""


def _too_few(recording: Recording, options: Options) -> str:
    """Why the settings ask for too few recurrences of this model, or ""."""
    trained = recording.info.architecture.trained_recurrences
    problem = too_few(plan_for(trained, recurrences=int(options.recurrences)).recurrences, trained)
    return f"{problem[0].upper()}{problem[1:]}." if problem else ""


REQUEST = Request(
    LABEL,
    "Runs a batch of prompts under some sixty cuts of the parameters, the graph and the trajectory",
    PROBE,
    why_not,
)


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Draw what was found as asked."""
    result = recording.result(PROBE)
    formulas = (LOST, DISPLACEMENT, RECOVERY, ACCURACY)
    if result is None:
        text = why_not(recording) or _too_few(recording, options) or NOT_YET
        lacks = LACKS if text == NOT_YET else None
        return Data(text, formulas, (), "", LOST.name, LOST, missing=text, lacks=lacks)
    return picture(result, options.picture, options.cut)


def picture(result: Probe, which: Picture, cut: Cut = "both") -> Data:
    """One of the pictures of a probe; ``cut`` says which cuts the recovery is of."""
    recovery = which == "recovery"
    marks: tuple[tuple[float, str], ...] = ()
    if recovery:
        curves, x_label, formula = _recovery(result, cut)
        at = dict.fromkeys(_cut_at(result, cut))
        marks = tuple((float(r), f"cut after {r}") for r in at)
    else:
        curves, x_label, formula = (_sizes if which == "sizes" else _displacement)(result)
    return Data(
        statement=statement(result),
        formulas=(LOST, DISPLACEMENT, RECOVERY, ACCURACY),
        curves=curves,
        x_label=x_label,
        y_label=f"{formula.name} [{formula.unit}]",
        formula=formula,
        cursor="recurrence" if recovery else "",
        whole_x=recovery,
        log_x=not recovery,
        marks=marks,
        bands="" if which == "recovery" else with_n(TWO_WAY_KIND, result.n_prompts),
        result=result,
        picture=which,
    )


def _sizes(result: Probe) -> tuple[tuple[Curve, ...], str, Formula]:
    """A curve for each cut that has a size of its own."""
    curves: list[Curve] = []
    for group in result.groups:
        outcomes = [o for o in result.of(group) if np.isfinite(o.condition.size)]
        if len(outcomes) > 1:
            xs = [o.condition.size for o in outcomes]
            curves.append(_curve(outcomes, xs, group, len(curves)))
    return tuple(curves), "relative size (noise over norm; share of recurrences)", LOST


def _displacement(result: Probe) -> tuple[tuple[Curve, ...], str, Formula]:
    """Every cut on one axis, coloured by what it cuts."""
    curves = []
    for group in result.groups:
        # A cut that could be made on no prompt has no place on this axis.
        made = [o for o in result.of(group) if np.isfinite(o.moved)]
        if not made:
            continue
        outcomes = sorted(made, key=lambda o: o.moved)
        xs = [o.moved for o in outcomes]
        lives = outcomes[0].condition.lives
        curves.append(_curve(outcomes, xs, lives, LIVES.index(lives)))
    return tuple(curves), "displacement ‖s′ − s‖ / ‖s‖ where the cut first acts", LOST


def _curve(outcomes: list[Outcome], xs: list[float], name: str, index: int) -> Curve:
    lost = [o.lost for o in outcomes]
    y, low, high = (np.array([getattr(i, k) for i in lost]) for k in ("mean", "low", "high"))
    notes = tuple(o.condition.name for o in outcomes)
    colour, again = COLOURS[index % len(COLOURS)], index >= len(COLOURS)
    return Curve(
        name, np.array(xs), y, low, high, role="token", index=colour, count=8, notes=notes,
        dashed=again,
    )  # fmt: skip


def _cut_at(result: Probe, cut: Cut) -> tuple[int, ...]:
    return {"early": (result.mid,), "late": (result.late,), "both": (result.mid, result.late)}[cut]


def _without_place(name: str, recurrence: int) -> str:
    """The name of a cut among others that were all made after this recurrence."""
    for words in (" put in after recurrence {}", " after recurrence {}", " at {}"):
        name = re.sub(words.format(recurrence) + r"\b", "", name)
    return name


def _recovery(result: Probe, cut: Cut) -> tuple[tuple[Curve, ...], str, Formula]:
    """Accuracy by recurrence of the uncut runs, and of each that was cut once from there on.

    Until it is cut a run is an uncut one: nothing is drawn, least of all where only some of the
    prompts were cut, which are not as hard as all of them.
    """
    r = np.arange(1.0, result.recurrences + 1)
    curves = [Curve("uncut", r, result.baseline.mean(1))]
    at = _cut_at(result, cut)
    outcomes = [o for o in result.outcomes if _is_shown(o) and o.condition.recurrence in at]
    kinds: dict[str, int] = {}
    for o in outcomes:
        c, n = o.condition, int(o.scored.sum())
        kind = _without_place(c.name, c.recurrence)
        name = f"{kind}, after {c.recurrence}" if cut == "both" else kind
        # One colour for a cut wherever it is made; the late one of two is dashed.
        colour = COLOURS[kinds.setdefault(kind, len(kinds)) % len(COLOURS)]
        late = cut == "both" and c.recurrence == result.late != result.mid
        some = f" ({n} of {result.n_prompts} prompts)" if n < result.n_prompts else ""
        after = slice(c.recurrence - 1, None)
        own = Curve(
            name + some, r[after], result.accuracy(o)[after], role="token", index=colour, count=8,
            dashed=late,
        )  # fmt: skip
        curves.append(own)
        if o.donor is not None:
            answers = np.asarray(o.donor.mean((0, 2)))[after]
            words = f"{name}: the other prompt's answers"
            curves.append(replace(own, name=words, y=answers, dashed=False, dotted=True))
    if np.isfinite(result.chance):
        level = np.full(2, result.chance)
        ends = np.array([1.0, result.recurrences])
        curves.append(Curve("guessing", ends, level, role="reference", dashed=True))
    return tuple(curves), "recurrence r", ACCURACY


def _is_shown(outcome: Outcome) -> bool:
    """Cuts without a dose, and the strongest noise."""
    c = outcome.condition
    single = not np.isfinite(c.size) and not c.lasting
    return single or (c.group.startswith("noise on the state") and c.size >= 1)


def statement(result: Probe) -> str:
    """Say of each of the three which cut moved the state farthest without loss, and the worst."""
    parts = [f"{result.n_prompts} prompts of {result.task}"]
    for lives in LIVES:
        kept = _largest_kept(result, lives)
        parts.append(f"{lives}: {kept}")
    return "; ".join(parts)


def _largest_kept(result: Probe, lives: Lives) -> str:
    outcomes = [
        o for o in result.outcomes if o.condition.lives == lives and np.isfinite(o.lost.mean)
    ]
    if not outcomes:
        return "not cut"
    harmless = [o for o in outcomes if o.lost.mean < NOTHING_LOST]
    worst = max(outcomes, key=lambda o: o.lost.mean)
    text = f"worst, {worst.condition.name}, loses {worst.lost.mean:.2f}"
    if harmless:
        far = max(harmless, key=lambda o: o.moved)
        text = f"{far.condition.name} moves it by {far.moved:.2g} and loses nothing, {text}"
    return text


def table(data: Data) -> Table:
    """One row for each condition, whatever picture is drawn."""
    return Table(
        (
            "lives in", "cut", "size", "unit of size", "first at recurrence", "lasting", "draws",
            "displacement [relative]", "accuracy lost", "low", "high", "prompts", "interval",
            "recovers in [recurrences]",
        ),
        _rows(data.result),
    )  # fmt: skip


def _rows(result: Probe | None) -> Iterator[tuple[object, ...]]:
    for o in () if result is None else result.outcomes:
        c, lost, back = o.condition, o.lost, result.recovery(o)  # type: ignore[union-attr]
        yield (
            c.lives, c.name, c.size if np.isfinite(c.size) else "", c.unit, c.recurrence,
            int(c.lasting), len(o.scores), o.moved, lost.mean, lost.low,
            lost.high, lost.n_prompts, TWO_WAY_KIND if np.isfinite(lost.low) else "",
            "never" if np.isinf(back) else "" if np.isnan(back) else int(back),
        )  # fmt: skip


VIEW = ViewDefinition(Options, compute, table, request=REQUEST)
