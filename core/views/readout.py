"""Readout: the top answer at each token after each recurrence, and where it flips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from typing_extensions import override

from loopscope.core.arrays import F64, Bools
from loopscope.core.formula import Formula
from loopscope.core.measures.base import NO_READOUTS, NO_RUN, RUNS_ONCE
from loopscope.core.measures.exit_gate import (
    EXIT,
    EXIT_AT,
    HAZARD,
    exit_distribution,
    exit_recurrence,
)
from loopscope.core.measures.readout import (
    FLIP,
    NO_ANSWER,
    PROBABILITY,
    UNCHANGED_SINCE,
    Ids,
    flips,
    unchanged_since,
)
from loopscope.core.model.token_layout import TokenLayout
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.selection import RecurrenceRange, Selection
from loopscope.core.views.answers_data import AnswerMap
from loopscope.core.views.answers_difference import answers_difference
from loopscope.core.views.base import RECURRENCE, Table, ViewDefinition
from loopscope.core.views.difference import (
    Difference,
    difference_formula,
    left_out,
    recurrence_pairs,
    recurrence_side,
)
from loopscope.core.views.second_run import SecondRun

Lens = Literal["coda", "logit"]
LENS_LABELS = {"coda": "coda lens", "logit": "logit lens"}


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the readout."""

    lens: Lens = setting(
        "coda",
        "Lens",
        "How a state is read out: head(coda(s_r)), as the model does at its end, or "
        "head(norm(s_r)) without the coda",
        labels={"coda": "coda lens: head(coda(s))", "logit": "logit lens: head(norm(s))"},
    )
    numbers: bool = setting(
        False, "Probabilities as numbers", "Written into the cells that are wide enough"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Data(AnswerMap):
    """Answers by recurrence: column 1 is recurrence 1. ``R`` recurrences, ``n`` shown tokens.

    unchanged_since : int64 ``[n]``, the recurrence of the last flip; 1 without one, 0 for no run.
    hazards : float64 ``[R, n]``, of an exit gate; no rows without one.
    exit_at : int64 ``[n]``, where the model's threshold leaves.
    exit_threshold : of the model.
    lens : "coda" or "logit".  masked : whether an answer is for the token at its own place.
    missing : what is missing when there is nothing to show, or "".
    first : recurrence of column 1.  layout : the grid of the prompt's tokens, None for a line.
    """

    unchanged_since: Ids
    hazards: F64
    exit_at: Ids
    exit_threshold: float
    lens: Lens
    masked: bool
    missing: str = ""
    first: int = 1
    layout: TokenLayout | None = None

    @property
    @override
    def first_number(self) -> int:
        """Recurrence of the first column."""
        return self.first

    @property
    @override
    def lens_label(self) -> str:
        """The lens in words, and which token it is asked for."""
        return LENS_LABELS[self.lens] + (": the token at its place" if self.masked else "")

    @property
    def formula(self) -> Formula:
        """Where the shown probability comes from."""
        return PROBABILITY[self.lens]

    @override
    def notes(self, row: int, column: int) -> tuple[str, ...]:
        """Since when the answer is the same, and where the gate exits."""
        since = f"unchanged since r = {self.unchanged_since[row]}"
        if not self.has_exits:
            return (since,)
        at = column - 1, row
        return (
            since,
            f"hazard {self.hazards[at]:.3f}, exits here {self.exits[at]:.3f}",
            f"exits at r = {self.exit_at[row]} (threshold {self.exit_threshold:g})",
        )


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Gather the answers of the shown tokens and find their flips."""
    tokens = selection.shown_tokens(recording.n_tokens)
    answers = recording.answers(options.lens)
    if answers is None or not len(answers.ids):
        missing = NO_READOUTS if answers is None else NO_RUN
        ids = np.zeros((0, len(tokens), 0), np.int64)
        probabilities = np.zeros((0, len(tokens), 0), np.float32)
        top = np.zeros((0, len(tokens)), np.int64)
    else:
        missing = ""
        ids = answers.ids[:, list(tokens)]
        probabilities = answers.probabilities[:, list(tokens)]
        top = np.where(np.isfinite(probabilities[..., 0]), ids[..., 0], NO_ANSWER)
    arch, hazards = recording.info.architecture, recording.hazards
    gate = np.zeros((0, len(tokens)), np.float32)
    if hazards is not None:
        gate = hazards[: len(top), list(tokens)]
    exit_at = exit_recurrence(gate, arch.exit_threshold, arch.exit_rule)
    exits = exit_distribution(gate)
    flip = flips(top)
    since = unchanged_since(flip)
    return Data(
        statement=missing
        or _statement(top, flip, since, LENS_LABELS[options.lens], arch.runs_once)
        + _exits_said(exits, exit_at, arch.exit_threshold),
        formulas=(
            PROBABILITY[options.lens],
            FLIP,
            UNCHANGED_SINCE,
            *((HAZARD, EXIT, EXIT_AT[arch.exit_rule]) if len(exits) else ()),
        ),
        tokens=tokens,
        labels=recording.info.names_of(tokens),
        token_texts=tuple(recording.info.token_labels[t] for t in tokens),
        ids=ids,
        probabilities=probabilities,
        top=top,
        flip=flip,
        unchanged_since=since,
        texts={i: recording.label(i) for i in np.unique(ids).tolist()},
        hazards=gate.astype(np.float64),
        exits=exits,
        exit_at=exit_at,
        exit_threshold=arch.exit_threshold,
        lens=options.lens,
        masked=arch.masked,
        numbers=options.numbers,
        missing=missing,
        lacks=RECURRENCE if missing == NO_RUN else None,
        layout=arch.layout,
    )


def _statement(top: Ids, flip: Bools, since: Ids, lens: str, runs_once: bool) -> str:
    """Say since when how many answers have not changed."""
    n_recurrences, n = top.shape
    broken = int((top[-1] == NO_ANSWER).sum())
    if broken:
        return (
            f"The readout of {broken} of {_tokens(n)} is not finite at recurrence "
            f"{n_recurrences} ({lens})."
        )
    if n_recurrences == 1 and runs_once:
        return f"{RUNS_ONCE.capitalize()}: these are its answers ({lens})."
    if n_recurrences == 1:
        return "One recurrence has been run; a second one shows whether answers change."
    n_changed = int(flip[-1].sum())
    if n_changed == n:
        every = "The answer" if n == 1 else f"The answers of all {_tokens(n)}"
        return f"{every} changed at recurrence {n_recurrences}, the latest ({lens})."
    last = int(since[~flip[-1]].max())
    have = "has" if n - n_changed == 1 else "have"
    who = f"{n - n_changed} of {_tokens(n)}" if n_changed else _all(n)
    noun = "The answer" if n - n_changed == 1 else "The answers"
    text = f"{noun} of {who} {have} not changed since recurrence {last}"
    if n_changed:
        text += f"; {n_changed} changed at recurrence {n_recurrences}, the latest"
    return f"{text} ({lens})."


def _exits_said(exits: F64, exit_at: Ids, threshold: float) -> str:
    """Say where the exit gate leaves: at the threshold, and on average."""
    if not len(exits):
        return ""
    mean = float((np.arange(1, len(exits) + 1)[:, None] * exits).sum(0).mean())
    text = f" Exit gate: mean exit at recurrence {mean:.2f}"
    if threshold < 1:
        text += f"; at threshold {threshold:g} the median token leaves at {np.median(exit_at):g}"
    return text + "."


def _tokens(n: int) -> str:
    return "1 token" if n == 1 else f"{n} tokens"


def _all(n: int) -> str:
    return "the token shown" if n == 1 else f"all {n} tokens"


def table(data: Data) -> Table:
    """One row for each recurrence, token and kept answer."""
    return Table(
        (
            "recurrence",
            "token index",
            *(("row", "column") if data.layout else ()),
            "token",
            "lens",
            "rank",
            "answer id",
            "answer",
            "probability",
            "flip",
            "unchanged since recurrence",
            *(("hazard [probability]", "exit probability") if data.has_exits else ()),
        ),
        _table_rows(data),
    )


def _table_rows(data: Data) -> Iterator[tuple[object, ...]]:
    for r, i, k in np.ndindex(data.ids.shape):
        answer = int(data.ids[r, i, k])
        yield (
            r + 1,
            data.tokens[i],
            *((data.layout.cell(data.tokens[i]) or ("", "")) if data.layout else ()),
            data.token_texts[i],
            data.lens,
            k + 1,
            answer,
            data.texts[answer],
            float(data.probabilities[r, i, k]),
            int(data.flip[r, i]),
            int(data.unchanged_since[i]),
            *((float(data.hazards[r, i]), float(data.exits[r, i])) if data.has_exits else ()),
        )


def within(data: Data, shown: RecurrenceRange) -> Data:
    """Only these recurrences; the first one shown has no flip, as nothing stands before it."""
    first, last = shown.ends(data.n_columns)
    first = max(first, 1)
    if (first, last) == (1, data.n_columns):
        return data
    part = slice(first - 1, last)
    flip = data.flip[part].copy()
    flip[:1] = False
    return replace(
        data, ids=data.ids[part], probabilities=data.probabilities[part], top=data.top[part],
        flip=flip, first=first, exits=data.exits[part], hazards=data.hazards[part],
    )  # fmt: skip


def difference(one: Data, other: Data, selection: Selection, second: SecondRun) -> Difference:
    """How much surer of its top answer the run shown is than the second one is of its own."""
    recurrences = recurrence_pairs(range(1, one.n_columns + 1), second)
    pairs = [(r - 1, s - 1) for r, s in recurrences if s <= other.n_columns]
    formula = replace(one.formula, name="probability of the top answer")
    return answers_difference(
        one, other, pairs, recurrence_side([a + 1 for a, _ in pairs]), difference_formula(formula),
        second, (left_out("recurrences", len(pairs), one.n_columns, other.n_columns),),
        missing=(one.missing, other.missing),
    )  # fmt: skip


VIEW = ViewDefinition(
    Options,
    compute,
    table,
    reads=frozenset({"tokens"}),
    difference=difference,
    within=within,
)
