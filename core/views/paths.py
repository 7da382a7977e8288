"""Path independence: the same prompt run from other start states, and how far apart they end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loopscope.core.labels import visible
from loopscope.core.measures.path_independence import SPREAD, spread
from loopscope.core.recording import F32, Recording
from loopscope.core.selection import Selection
from loopscope.core.views.base import Formula, Request, Table, option
from loopscope.core.views.curves_data import Curve, Curves, curves_table

LABEL = "Run from other starts"
NOT_YET = f"Other start states have not been run. Press “{LABEL}”."


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of the other starts."""

    random_starts: int = option(
        3, "Random starts", "Besides the run's own start and zeros", low=1, high=64
    )
    scale: float = option(
        1.0, "Scale", "Of a random start, over the root mean square of the run's last state", low=0
    )
    seed: int = option(1, "Seed", "Of the first random start; the others follow")


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """What was run: float32 ``[n, R + 1, T, d]`` and a name for each start."""

    states: F32
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Data(Curves):
    """Spread by recurrence, a curve for each shown token and their median.

    names : of the starts.  end : float64 ``[tokens]``, spread after the last recurrence.
    """

    names: tuple[str, ...] = ()
    end: npt.NDArray[np.float64] | None = None


def why_not(recording: Recording) -> str:
    """Why there is nothing to run again yet, or ""."""
    return "" if recording.n_recurrences else "Run a recurrence first: its end is the reference."


REQUEST = Request(
    LABEL,
    "Runs the same prompt from zeros and from random start states to the recurrence of this run",
    why_not,
)


def compute(recording: Recording, selection: Selection, options: Options) -> Data:
    """Measure how far apart the paths are at each recurrence."""
    found = recording.findings.get("paths")
    if not isinstance(found, Paths):
        return _empty(NOT_YET)
    tokens = selection.shown_tokens(recording.n_tokens)
    apart = np.stack([spread(found.states[:, r]) for r in range(found.states.shape[1])])
    apart = apart[:, list(tokens)]
    x = np.arange(float(len(apart)))
    labels = [visible(recording.info.token_labels[t]) for t in tokens]
    curves = [
        Curve(f"{t} {labels[i]}", x, apart[:, i], role="token", index=i, count=len(tokens),
              place={"token": t}, places=tuple({"recurrence": int(r)} for r in x))
        for i, t in enumerate(tokens)
    ]  # fmt: skip
    if len(tokens) > 1:
        known = np.isfinite(apart).any(1)
        middle = np.full(len(apart), np.nan)
        middle[known] = np.nanmedian(apart[known], axis=1)
        curves.append(Curve("median", x, middle))
    return Data(
        statement=_statement(found, apart[-1], tokens, labels, recording),
        formulas=(SPREAD,),
        curves=tuple(curves),
        x_label="recurrence r",
        y_label="spread between starts",
        formula=SPREAD,
        log_y=True,
        cursor="recurrence",
        names=found.names,
        end=apart[-1],
    )


def _empty(text: str) -> Data:
    nothing: Formula = SPREAD
    return Data(text, (SPREAD,), (), "recurrence r", "spread", nothing, missing=text)


def _statement(
    found: Paths, end: npt.NDArray[np.float64], tokens: tuple[int, ...], labels: list[str],
    recording: Recording,
) -> str:  # fmt: skip
    """Say how far apart the ends are and who is farthest."""
    n, last = len(found.names), found.states.shape[1] - 1
    if not np.isfinite(end).any():
        return f"The ends of {n} starts cannot be compared: their states are not finite or all 0."
    text = f"After recurrence {last} the ends of {n} starts are {np.nanmedian(end):.3g} apart"
    if len(tokens) > 1:
        far = int(np.nanargmax(end))
        text += (
            f" (median over tokens); farthest: token {tokens[far]} '{labels[far]}', {end[far]:.3g}"
        )
    if recording.n_recurrences > last:
        text += f"; the run has gone on to {recording.n_recurrences} since"
    if recording.info.architecture.injection == "none":
        text += "; without injection a start state replaces the prompt"
    return text


def table(data: Data) -> Table:
    """One row for each token and recurrence, and the median."""
    return curves_table(data, x="recurrence", curve="token")
