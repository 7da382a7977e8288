"""Path independence: the same prompt run from other start states, and how far apart they end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.formula import Formula
from loopscope.core.labels import at_position
from loopscope.core.measures.path_independence import (
    FROM_RUN,
    PATHS,
    SPREAD,
    Paths,
    spread_by_recurrence,
)
from loopscope.core.options import setting
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import Lack, Request, Table, ViewDefinition
from loopscope.core.views.curves_data import Curve, Curves, curves_table

LABEL = "Run from other starts"
# What the name of a start from another prompt's end begins with.
OTHER_PROMPT = "the end of "
NOT_YET = "Other start states have not been run."
LACKS = Lack("measurement", LABEL)


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the other starts."""

    random_starts: int = setting(
        3, "Random starts", "Besides the run's own start and zeros", low=1, high=64
    )
    scale: float = setting(
        1.0, "Scale", "Of a random start, over the root mean square of the run's last state", low=0
    )
    seed: int = setting(1, "Seed", "Of the first random start; the others follow")
    prompt: str = setting(
        "",
        "Another prompt",
        "The state in which this prompt ends after as many recurrences is one more start; its "
        "tokens are matched by position, so it must have as many",
    )
    curves: Literal["token", "start"] = setting(
        "token",
        "Curves",
        "The spread between all starts for each token, or each start's distance to the run",
        labels={"token": "spread of each token", "start": "distance of each start to the run"},
    )


@dataclass(frozen=True, slots=True, eq=False)
class Data(Curves):
    """Spread by recurrence, a curve for each shown token and their median; or one for each start.

    names : of the starts.  end : float64 ``[tokens]``, spread after the last recurrence.
    from_run : float64 ``[starts]``, how far each start's end is from the run's, median over the
        shown tokens; 0 for the run itself.
    """

    names: tuple[str, ...] = ()
    end: F64 | None = None
    from_run: F64 | None = None


def why_not(recording: Recording) -> str:
    """Why there is nothing to run again yet, or ""."""
    return "" if recording.n_recurrences else "Run a recurrence first: its end is the reference."


REQUEST = Request(
    LABEL,
    "Runs the same prompt from zeros, random start states and another prompt's end (settings), as "
    "far as this run has gone",
    PATHS,
    why_not,
)


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Measure how far apart the paths are at each recurrence."""
    result = recording.result(PATHS)
    if result is None:
        return _empty(NOT_YET)
    tokens = selection.shown_tokens(recording.n_tokens)
    states = result.states[:, :, list(tokens)]
    apart = spread_by_recurrence(states)
    others = [spread_by_recurrence(states[[0, i]]) for i in range(len(states))]
    from_run = np.stack([_median(own) for own in others])
    by_start = options.curves == "start"
    formula = FROM_RUN if by_start else SPREAD
    labels = list(recording.info.names_of(tokens))
    return Data(
        statement=_statement(result, apart[-1], from_run[:, -1], tokens, labels, recording),
        formulas=(SPREAD, FROM_RUN),
        curves=_of_starts(result, from_run) if by_start else _of_tokens(apart, tokens, labels),
        x_label="recurrence r",
        y_label="distance to the run, median over tokens" if by_start else "spread between starts",
        formula=formula,
        log_y=True,
        cursor="recurrence",
        names=result.names,
        end=apart[-1],
        from_run=from_run[:, -1],
    )


def _of_tokens(apart: F64, tokens: tuple[int, ...], labels: list[str]) -> tuple[Curve, ...]:
    """A curve for each token and their median, from spreads ``[R + 1, tokens]``."""
    x = np.arange(float(len(apart)))
    curves = [
        Curve(at_position(t, labels[i]), x, apart[:, i], role="token", index=i, count=len(tokens),
              place={"token": t}, places=tuple({"recurrence": int(r)} for r in x))
        for i, t in enumerate(tokens)
    ]  # fmt: skip
    if len(tokens) > 1:
        curves.append(Curve("median", x, _median(apart)))
    return tuple(curves)


def _of_starts(result: Paths, from_run: F64) -> tuple[Curve, ...]:
    """A curve for each other start, from distances ``[starts, R + 1]``."""
    x = np.arange(float(from_run.shape[1]))
    return tuple(
        Curve(name, x, from_run[i], role="token", index=i - 1, count=len(result.names) - 1,
              places=tuple({"recurrence": int(r)} for r in x))
        for i, name in enumerate(result.names)
        if i
    )  # fmt: skip


def _median(values: F64) -> F64:
    """Median over the last axis, NaN left out; NaN where nothing else is."""
    known = np.isfinite(values).any(-1)
    out = np.full(values.shape[:-1], np.nan)
    out[known] = np.nanmedian(values[known], axis=-1)
    return out


def _empty(text: str) -> Data:
    nothing: Formula = SPREAD
    return Data(text, (SPREAD,), (), "recurrence r", "spread", nothing, missing=text, lacks=LACKS)


def _statement(
    result: Paths, end: F64, from_run: F64, tokens: tuple[int, ...], labels: list[str],
    recording: Recording,
) -> str:  # fmt: skip
    """Say how far apart the ends are and who is farthest."""
    n, last = f"{len(result.names)} starts ({_listed(result.names)})", result.states.shape[1] - 1
    if not np.isfinite(end).any():
        return f"The ends of {n} cannot be compared: their states are not finite or all 0."
    text = f"After recurrence {last} the ends of {n} are {np.nanmedian(end):.3g} apart"
    if len(tokens) > 1:
        far = int(np.nanargmax(end))
        text += (
            f" (median over tokens); farthest: token {tokens[far]} '{labels[far]}', {end[far]:.3g}"
        )
    for name, away in zip(result.names, from_run, strict=True):
        if name.startswith(OTHER_PROMPT):
            text += f"; from {name} it ends {away:.3g} from the run"
    if recording.n_recurrences > last:
        text += f"; the run has gone on to {recording.n_recurrences} since"
    if recording.info.architecture.injection == "none":
        text += "; without injection a start state replaces the prompt"
    return text


def _listed(names: tuple[str, ...]) -> str:
    """The starts in few words: "the run (zeros), 3 random, the end of 'ab bc'"."""
    random = sum(name.startswith("random") for name in names)
    words = [name for name in names if not name.startswith("random")]
    if random:
        words.insert(1 + ("zeros" in words), f"{random} random")
    return ", ".join(words)


def table(data: Data) -> Table:
    """One row for each token (or start) and recurrence, and the median over tokens."""
    curve = "start" if data.formula is FROM_RUN else "token"
    return curves_table(data, x="recurrence", curve=curve)


VIEW = ViewDefinition(Options, compute, table, reads=frozenset({"tokens"}), request=REQUEST)
