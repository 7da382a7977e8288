"""What is measured of one trained arm of pointer chasing: a row of the experiments' results."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.native_folder import RECORD_FILE
from loopscope.core.experiments.small_models import SmallModel, folder_of
from loopscope.core.experiments.studies.interchange import interchange
from loopscope.core.experiments.studies.subject import Subject
from loopscope.core.experiments.studies.walk import LETTERS, far_hops, walk
from loopscope.core.experiments.training_plan import HopsData
from loopscope.core.files import read_text

# Hop counts and passes of a long run, and the pass at which a settled model's step is looked at.
MAX_HOPS, LAST, SETTLED = 6, 64, 20
# The hop that is asked of graphs of other numbers of letters.
LETTERS_AT = 16
# Of a training's record and of the results.
MOST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Sizes:
    """Prompts of each hop count: for the accuracy, for long runs, for interchanges."""

    accuracy: int = 2000
    long: int = 400
    interchange: int = 200


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One trained model, all shares over the queries of `Sizes` prompts.

    arm, seed : which.  steps, cpu_minutes : of its training, without what it started from.
    at_k : accuracy of k = 1 .. 6 hops after pass k.
    after_all : the same after the sixth pass.
    lowest : the lowest accuracy of each hop count from pass k to pass `LAST`.
    held : accuracy of each hop count after pass `LAST`.
    walked : on 6-hop prompts, hop r read out after pass r = 1 .. 5.
    far : the r-th hop read out after pass r, r = 6, 16, 32, 64.
    letters : the `LETTERS_AT`-th hop after as many passes, for graphs of `LETTERS` letters.
    step : the largest over hop counts of the median relative step at pass `SETTLED`.
    exchanged : share of queries that answer as another one whose state they are given after pass
        1 .. 6.
    edges_kept : share of answers as before with another prompt's edges after pass 1 .. 6.
    """

    arm: str
    seed: int
    steps: int
    cpu_minutes: float
    at_k: tuple[float, ...]
    after_all: tuple[float, ...]
    lowest: tuple[float, ...]
    held: tuple[float, ...]
    walked: tuple[float, ...]
    far: tuple[float, ...]
    letters: tuple[float, ...]
    step: float
    exchanged: tuple[float, ...]
    edges_kept: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values, shares to four digits."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [round(v, 4) for v in value]
    return float(f"{value:.3g}") if isinstance(value, float) else value


def measure_arm(
    model: SmallModel,
    seed: int,
    root: Path,
    sizes: Sizes | None = None,
    report: Callable[[float], None] = lambda share: None,
) -> ArmResult:
    """Measure one trained arm below ``root``.

    A deep or untied model repeats its last pass beyond those it has. Raises `LoopscopeError` for an
    arm of text and where the training or its record is missing.
    """
    sizes, data = sizes or Sizes(), model.plan.data
    if not isinstance(data, HopsData):
        raise LoopscopeError(f"{model.key} is an arm of text")
    folder = folder_of(model, seed, root)
    record = json.loads(read_text(folder / RECORD_FILE, MOST_BYTES))
    loaded = load(str(folder), "cpu")
    separate = model.arch.deep or model.arch.untied_passes
    subject = Subject(loaded.model, model.arch.n_block // (model.plan.passes if separate else 1))
    n, hops = data.n_letters, tuple(range(1, MAX_HOPS + 1))
    near = walk(subject, hops=hops, passes=MAX_HOPS, n=sizes.accuracy, n_letters=n)
    report(0.3)
    long = walk(subject, hops=hops, passes=LAST, n=sizes.long, n_letters=n)
    report(0.7)
    far = far_hops(subject, n=sizes.long, n_letters=n)
    others = [
        far_hops(subject, at=(LETTERS_AT,), n=sizes.long // 2, n_letters=m)[0] for m in LETTERS
    ]
    pointer, edges = (
        interchange(subject, part, n=sizes.interchange, n_letters=n)
        for part in ("pointer", "edges")
    )
    report(1.0)
    return ArmResult(
        arm=model.key,
        seed=seed,
        steps=int(record["steps"]),
        cpu_minutes=float(record["cpu_minutes"]),
        at_k=_shares(near.at_k),
        after_all=_shares(near.accuracy[:, -1]),
        lowest=_shares([long.accuracy[i, k - 1 :].min() for i, k in enumerate(hops)]),
        held=_shares(long.accuracy[:, -1]),
        walked=_shares(near.walked),
        far=_shares(far),
        letters=_shares(others),
        step=float(long.step[:, SETTLED - 1].max()),
        exchanged=_shares(np.nanmean(pointer.exchanged, axis=1)),
        edges_kept=_shares(np.nanmean(edges.kept, axis=1)),
    )


def _shares(values: Any) -> tuple[float, ...]:
    return tuple(map(float, values))


def read_results(file: Path) -> list[ArmResult]:
    """Read a JSON list of `ArmResult.as_json`; raises `LoopscopeError` for what is no such file."""
    try:
        return [_result(row) for row in json.loads(read_text(file, MOST_BYTES))]
    except (ValueError, TypeError, AttributeError) as error:
        raise LoopscopeError(f"{file} holds no results of arms: {error}") from None


def _result(row: dict[str, Any]) -> ArmResult:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}
    return ArmResult(**values)
