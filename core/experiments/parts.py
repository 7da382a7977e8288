"""Parameters, graph and trajectory of one trained model of pointer chasing: a row of the results.

Every number is a share of the queries of prompts that ask for 1 to 6 hops in turn. An answer is
read after pass k + δ, with one delay δ for all prompts, the one from 0 to `DELAY` that serves best:
a walker that was set back answers later, and not being in time is not what is asked here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.hops import HopsBatch
from loopscope.core.experiments.studies.cuts import (
    DRAWS,
    After,
    GraphCut,
    answered,
    best_clock,
    graph_cuts,
    made_once,
    noise_scores,
)
from loopscope.core.experiments.studies.interchange import interchange, overwriting
from loopscope.core.experiments.studies.pointer_probe import pointer_probe
from loopscope.core.experiments.studies.subject import Subject, prompts
from loopscope.core.files import read_text

HOPS = (1, 2, 3, 4, 5, 6)
# Sizes of the noise on the weights, relative to each matrix's norm.
NOISE = (0.3, 0.5)
# The pass in which a cut is made once, and after which a state is overwritten.
AT = 2
# The longest delay that is allowed for: what it takes to begin again after `AT`.
DELAY = AT
AFTER: tuple[After, ...] = ("as it is", "clean state", "zero state")
OVERWRITTEN = ("zero", "random", "other prompt")
MOST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Amounts:
    """Prompts of the cuts, of an interchange, of fitting and of testing a probe; noise draws."""

    prompts: int = 96
    interchange: int = 200
    fitted: int = 600
    tested: int = 200
    draws: int = DRAWS


@dataclass(frozen=True, slots=True)
class Parts:
    """What one model loses by what is taken from it; shares of answers.

    model : its name.  kind : the arm that it is of.  seed : of its training.
    uncut : right answers of the model as it is.
    shared, anew : lost to noise on the weights of each size of `NOISE`, the same in all passes or
        drawn for each; means over the draws.
    lasting : lost to each lasting cut of the graph, by name.
    once : lost to the same made in pass `AT` alone, in the order of `AFTER`; on prompts of more
        hops than that, whose answers are still to come.
    overwritten : lost when the whole state after pass `AT` becomes each of `OVERWRITTEN`; on
        prompts of 6 hops.
    exchanged : of queries given another one's state after pass 1 .. 6, those that answer as it.
    edges_kept : answers as before with the states of another prompt's edges after pass 1 .. 6.
    probe : hop h read by a linear map from the query's state after pass r, ``[7][7]``.
    """

    model: str
    kind: str
    seed: int
    uncut: float
    shared: tuple[float, ...]
    anew: tuple[float, ...]
    lasting: dict[str, float]
    once: dict[str, tuple[float, ...]]
    overwritten: tuple[float, ...]
    exchanged: tuple[float, ...]
    edges_kept: tuple[float, ...]
    probe: tuple[tuple[float, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values, shares to four digits."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(v) for key, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_rounded(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value


def measure_parts(
    subject: Subject,
    name: str,
    kind: str,
    seed: int,
    amounts: Amounts | None = None,
    report: Callable[[float], None] = lambda share: None,
) -> Parts:
    """Measure one model; see `Parts`."""
    amounts = amounts or Amounts()
    batch, last = prompts(amounts.prompts, HOPS), max(HOPS) + DELAY
    uncut = _score(answered(subject, batch, last), batch)

    def lost(scores: F64) -> float:
        return uncut - _score(scores, batch)

    noise = {
        anew: tuple(
            float(np.mean([lost(s) for s in _noisy(subject, batch, size, anew, amounts.draws)]))
            for size in NOISE
        )
        for anew in (False, True)
    }
    report(0.5)
    cuts = graph_cuts(subject.model.arch, subject.per_pass)
    lasting = {cut.name: lost(answered(subject, batch, last, change=cut)) for cut in cuts}
    late = prompts(amounts.prompts, HOPS[AT:])
    once = {cut.name: _once(subject, late, cut) for cut in cuts}
    report(0.7)
    pointer, edges = (
        interchange(subject, part, n=amounts.interchange) for part in ("pointer", "edges")
    )
    report(0.9)
    return Parts(
        name, kind, seed, uncut, noise[False], noise[True], lasting, once,
        overwritten=tuple(_overwritten(subject, how, amounts.prompts) for how in OVERWRITTEN),
        exchanged=_means(pointer.exchanged), edges_kept=_means(edges.kept),
        probe=tuple(
            tuple(map(float, row))
            for row in pointer_probe(subject, fitted_on=amounts.fitted, tested_on=amounts.tested)
        ),
    )  # fmt: skip


def _score(scores: F64, batch: HopsBatch) -> float:
    return best_clock(scores, batch.hops, DELAY)[0]


def _noisy(subject: Subject, batch: HopsBatch, size: float, anew: bool, draws: int) -> F64:
    return noise_scores(subject, batch, size, max(HOPS) + DELAY, anew=anew, draws=draws)


def _once(subject: Subject, batch: HopsBatch, cut: GraphCut) -> tuple[float, ...]:
    once = made_once(subject, batch, cut, AT, max(HOPS) + DELAY)
    uncut = _score(once.uncut, batch)
    return tuple(uncut - _score(once.after[how], batch) for how in AFTER)


def _overwritten(subject: Subject, how: Any, n: int) -> float:
    """Lost on prompts of the largest hop count, whose answer is not there yet."""
    hops = np.full(n, max(HOPS) - AT)  # passes are counted from the overwriting on
    clean = answered(subject, prompts(n, max(HOPS)), max(HOPS) + DELAY)[AT:]
    after = overwriting(subject, how, after=AT, passes=max(HOPS) + DELAY - AT, n=n)
    return best_clock(clean, hops, DELAY)[0] - best_clock(after, hops, DELAY)[0]


def _means(values: F64) -> tuple[float, ...]:
    return tuple(map(float, np.nanmean(values, axis=1)))


def read_parts(file: Path) -> list[Parts]:
    """Read a JSON list of `Parts.as_json`; raises `LoopscopeError` for what is no such file."""
    try:
        return [_parts(row) for row in json.loads(read_text(file, MOST_BYTES))]
    except (ValueError, TypeError, AttributeError) as error:
        raise LoopscopeError(f"{file} holds no measured parts: {error}") from None


def _parts(row: dict[str, Any]) -> Parts:
    return Parts(**{name: _as_tuples(value) for name, value in row.items()})


def _as_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_tuples(v) for key, v in value.items()}
    return tuple(_as_tuples(v) for v in value) if isinstance(value, list) else value
