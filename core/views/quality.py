"""Quality against recurrences: accuracy and perplexity over a prompt file after each recurrence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from loopscope.core.measures.intervals import MEAN_KIND, SHARE_KIND, Estimate, with_n
from loopscope.core.measures.quality import ACCURACY, PERPLEXITY, QUALITY, Metric, Quality
from loopscope.core.options import setting
from loopscope.core.prompts.answers import Convention, Joining, convention_of
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import Lack, Request, Table, ViewDefinition
from loopscope.core.views.curves_data import Curve
from loopscope.core.views.prompt_curves import (
    Column,
    PromptCurves,
    PromptRows,
    index_of,
    lack,
    of_uncut,
    prompt_rows,
    takes_bundled,
    why_not,
)

METRICS: tuple[Metric, ...] = ("accuracy", "perplexity")
LABEL = "Score the prompt set"
IN_WORDS = {"in place": "answers in place", "next": "answers as next tokens"}


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the quality curve."""

    metric: Literal["auto", "accuracy", "perplexity"] = setting(
        "auto",
        "Quality",
        "Both are measured in the same pass",
        labels={
            "auto": "accuracy where there are answers, else perplexity",
            "accuracy": "accuracy",
            "perplexity": "perplexity",
        },
    )
    answers: Literal["auto", "in place", "next"] = setting(
        "auto",
        "Answers stand",
        "In place: at mask tokens of the prompt or at its last positions. Next: after the prompt, "
        "each read out from the tokens before it",
        labels={
            "auto": "as the model gives them",
            "in place": "in place",
            "next": "as next tokens",
        },
    )
    joining: Joining = setting(
        "space",
        "Between prompt and answer",
        "Of answers as next tokens; what ends or begins with white space is left as it is",
        labels={"space": "a space", "nothing": "nothing"},
        idle=lambda o: "answers stand in place" if o.answers == "in place" else "",
    )
    recurrences: int = setting(
        0,
        "Recurrences",
        "Of every prompt, or as far as the run in the bench has gone",
        low=0,
        high=100_000,
        lowest="as the run in the bench",
    )


@dataclass(frozen=True, slots=True, eq=False)
class Data(PromptCurves):
    """The curve by recurrence with its interval.

    result : what was measured, or None.  metric : which of the two is drawn.
    """

    result: Quality | None = None
    metric: Metric = "accuracy"


REQUEST = Request(
    LABEL,
    "Runs every prompt of the file once and reads it out after every recurrence",
    QUALITY,
    why_not,
)


def wanted_convention(recording: Recording, options: Options) -> Convention:
    """How answers are to be read: as the settings say, or as the model gives them."""
    if options.answers != "auto":
        return options.answers
    return convention_of(recording.info.architecture)


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Draw what was found over the prompt set in use."""
    convention = wanted_convention(recording, options)
    result = recording.result(QUALITY)
    lacks, missing = lack(recording)
    prompts = recording.shared.prompts
    stale = result is not None and (
        (prompts is not None and result.prompts != prompts)
        or result.convention != convention
        or (convention == "next" and result.joining != options.joining)
    )
    if result is None or stale:
        if not missing:
            assert prompts is not None
            lacks = Lack("measurement", LABEL)
            how = f" with {IN_WORDS[convention]}" if prompts.has_answers else ""
            missing = f"{prompts.name} ({len(prompts)} prompts) has not been scored{how}."
        formulas = (ACCURACY[convention], PERPLEXITY[convention])
        return Data(
            missing, formulas, (), "recurrence r", "accuracy", formulas[0], missing=missing,
            lacks=lacks, bundled=takes_bundled(recording),
        )  # fmt: skip
    metric: Metric = "accuracy" if result.scored == "answers" else "perplexity"
    if options.metric != "auto":
        metric = options.metric
    return _data(result, metric, recording)


def _data(result: Quality, metric: Metric, recording: Recording) -> Data:
    formula, estimate = result.formula(metric), _estimate(result, metric)
    missing = result.why_no_accuracy if metric == "accuracy" else result.why_nothing
    trained = recording.info.architecture.trained_recurrences
    marks = ((float(trained), f"trained R = {trained}"),) if trained <= len(estimate.value) else ()
    return Data(
        statement=missing or _statement(result, metric, trained) + of_uncut(recording, result.how),
        formulas=(formula, *(result.formula(m) for m in METRICS if m != metric)),
        curves=() if missing else (_curve(estimate),),
        x_label="recurrences R",
        y_label=f"{formula.name}, {_prompts(int(estimate.n.max(initial=0)))}",
        formula=formula,
        log_y=metric == "perplexity",
        cursor="recurrence",
        missing=missing,
        marks=marks,
        bands=_interval(estimate, metric),
        rows=PromptRows(
            result.prompts,
            result.how,
            (Column(_heading(metric), formula.text(), result.of_prompts(metric)),),
            result.opens,
            result.missing,
            index_of(recording.info.prompt, result.opens),
        ),
        result=result,
        metric=metric,
    )


def _estimate(result: Quality, metric: Metric) -> Estimate:
    return result.accuracy if metric == "accuracy" else result.perplexity


def _heading(metric: Metric) -> str:
    return "right" if metric == "accuracy" else "perplexity"


def _curve(estimate: Estimate) -> Curve:
    r = np.arange(1.0, len(estimate.value) + 1)
    ends = bool(np.isfinite(estimate.low).any())
    return Curve(
        "", r, estimate.value, estimate.low if ends else None, estimate.high if ends else None,
        places=tuple({"recurrence": int(at)} for at in r),
    )  # fmt: skip


def _interval(estimate: Estimate, metric: Metric) -> str:
    kind = SHARE_KIND if metric == "accuracy" else MEAN_KIND
    known = bool(np.isfinite(estimate.low).any())
    return with_n(kind, int(estimate.n.max(initial=0))) if known else ""


def _prompts(n: int) -> str:
    return "1 prompt" if n == 1 else f"{n} prompts"


def _statement(result: Quality, metric: Metric, trained: int) -> str:
    """Say the best and the last value with intervals, over how many prompts and how asked."""
    estimate = _estimate(result, metric)
    value, n = estimate.value, int(estimate.n.max())
    name = result.formula(metric).name
    text = f"{name[0].upper()}{name[1:]} over {_prompts(n)} of {result.prompts.name}"
    if result.scored == "answers":
        text += f" ({IN_WORDS[result.convention]})"
    best = int(np.nanargmax(value) if metric == "accuracy" else np.nanargmin(value))
    last = len(value) - 1
    text += f": {_said(estimate, last)} at R = {last + 1}"
    if value[best] != value[last]:
        text += f", best {_said(estimate, best)} at R = {best + 1}"
    elif best < last:
        text += f", first reached at R = {best + 1}"
    if trained <= last and trained - 1 not in (best, last):
        text += f"; {value[trained - 1]:.3g} at the trained {trained}"
    left = len(result.prompts) - int((result.tokens > 0).sum())
    if left:
        text += f"; {left} of {len(result.prompts)} prompts have nothing to score"
    text += _diverged(result, metric)
    return text + ("; one prompt has no interval" if n == 1 else "")


def _diverged(result: Quality, metric: Metric) -> str:
    """How many prompts have no finite readout at the last recurrence, and how they count."""
    n, scored = int(result.diverged[-1]), int((result.tokens > 0).sum())
    if not n:
        return ""
    counted = "counts as wrong" if metric == "accuracy" else "left out"
    return f"; the readout of {n} of {scored} prompts is not finite at the end ({counted})"


def _said(estimate: Estimate, r: int) -> str:
    low, high = float(estimate.low[r]), float(estimate.high[r])
    interval = f" (95 % {low:.3g} to {high:.3g}, n = {estimate.n[r]})" if np.isfinite(low) else ""
    return f"{estimate.value[r]:.3g}{interval}"


def table(data: Data) -> Table:
    """Both curves with their intervals, then the drawn one of every prompt."""
    columns = (
        "line", "prompt", "quality", "R", "value", "low", "high", "prompts", "not finite",
        "interval",
    )  # fmt: skip
    return Table(columns, _rows(data))


def _rows(data: Data) -> Iterator[tuple[object, ...]]:
    result = data.result
    if result is None:
        return
    for metric in METRICS:
        estimate = _estimate(result, metric)
        for r, value in enumerate(estimate.value):
            if np.isfinite(value):
                numbers = float(value), float(estimate.low[r]), float(estimate.high[r])
                counts = int(estimate.n[r]), int(result.diverged[r])
                yield "", "all", metric, r + 1, *numbers, *counts, _interval(estimate, metric)
    if data.rows is not None:
        for line, text, recurrence, _, value in prompt_rows(data.rows):
            yield line, text, data.metric, recurrence, value, "", "", "", "", ""


VIEW = ViewDefinition(Options, compute, table, request=REQUEST)
