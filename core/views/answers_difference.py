"""The difference of two maps of answers: a number of each cell, and where the answers differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from loopscope.core.formula import Formula
from loopscope.core.labels import at_position
from loopscope.core.views.answers_data import AnswerMap
from loopscope.core.views.difference import (
    Difference,
    Side,
    Texts,
    left_out,
    make_difference,
    paired_labels,
)
from loopscope.core.views.second_run import SecondRun


def answers_difference(
    one: AnswerMap, other: AnswerMap, pairs: Sequence[tuple[int, int]], columns: Side,
    formula: Formula, second: SecondRun, uncompared: Sequence[str] = (), *, least: float = 0.0,
    missing: tuple[str, str] = ("", ""),
) -> Difference:  # fmt: skip
    """Subtract what is shaded in two maps; tokens go together by position.

    Parameters
    ----------
    one, other
        Of the run shown and of the second one.
    pairs
        Columns that go together, from 0.
    columns
        Their side of the map.
    formula
        Of what is shaded.
    least
        Where it is above 0 logarithms are subtracted, of values raised to it.
    missing
        What is missing in each of the two, or "".
    """
    if any(missing):
        none, text = np.zeros((0, 0)), missing[0] or f"{second.name}: {missing[1]}"
        made = make_difference(none, none, Side("token", (), ()), columns, formula, second)
        return replace(made, missing=text, statement=text, lacks=one.lacks or other.lacks)
    tokens = [t for t in one.tokens if t in other.tokens]
    rows = [one.tokens.index(t) for t in tokens], [other.tokens.index(t) for t in tokens]
    at = [a for a, _ in pairs], [b for _, b in pairs]
    labels = paired_labels([one.labels[i] for i in rows[0]], [other.labels[i] for i in rows[1]])
    side = Side(
        "token", tuple(map(at_position, tokens, labels)), tuple({"token": t} for t in tokens)
    )
    here, there = one.values[np.ix_(at[0], rows[0])].T, other.values[np.ix_(at[1], rows[1])].T
    if least:
        here, there = np.maximum(here, least), np.maximum(there, least)
    made = make_difference(
        here, there, side, columns, formula, second,
        (*uncompared, left_out("tokens", len(tokens), len(one.tokens), len(other.tokens))),
        log=least > 0, answers=(_texts(one, at[0], rows[0]), _texts(other, at[1], rows[1])),
    )  # fmt: skip
    said = _said(made, columns)
    return replace(made, statement=f"{said}; {made.statement}") if said else made


def _texts(data: AnswerMap, columns: list[int], rows: list[int]) -> Texts:
    """The top answers as text, ``[rows, columns]``: two models may number their tokens apart."""
    ids, inverse = np.unique(data.top[np.ix_(columns, rows)].T, return_inverse=True)
    texts = np.array([data.text(int(i)) for i in ids] or [""])
    return texts[inverse.reshape(len(rows), len(columns))]


def _said(data: Difference, columns: Side) -> str:
    """At how many tokens the answers differ, and how long; "" where nothing is compared."""
    apart = data.apart
    if not apart.size:
        return ""
    if not apart.any():
        return "The answers are the same everywhere"
    last = int(apart[:, -1].sum())
    ever, n = int(apart.any(1).sum()), len(apart)
    return (
        f"Answers differ at {ever} of {n} {'token' if n == 1 else 'tokens'}, at {last} of them "
        f"still at {columns.title.split(',')[0].removesuffix(' r')} {columns.labels[-1]}"
    )
