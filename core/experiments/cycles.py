"""Heads and the last cycle of one trained model of pointer chasing: a row of the results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.passes import Change
from loopscope.core.experiments.studies.subject import Subject, prompts, tokens_of
from loopscope.core.files import read_text
from loopscope.core.measures.nulls import cycle_spread
from loopscope.core.model.layers import DecoderLayer
from loopscope.core.model.looped_model import LoopedModel
from loopscope.core.over_prompts.head_bound import head_bound

# Passes that are run: the last is that of a state that has settled, if it does.
PASSES = 20
HOPS = 6
PROMPTS = 16
MOST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class CycleRow:
    """How one model's heads change beside their bound, and how wide its last cycle is.

    model : its name.  changes : of a head's pattern from one pass to the next that were compared.
    within : share of them that the bound holds for.
    bound : the bound over the change, smallest and median of all changes above rounding.
    between_layers, between_prompts : root mean square distances in the last pass, state units.
    """

    model: str
    changes: int
    within: float
    bound: tuple[float, float]
    between_layers: float
    between_prompts: float


@dataclass(slots=True)
class _Watched(Change):
    """What every layer was given and what it put out, by pass from 1 and layer of the pass."""

    per_pass: int
    given: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    made: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    @override
    def run(self, model: LoopedModel, x: Tensor, p: int, layer: int) -> Tensor:
        """Run the layer and keep both."""
        at = p, layer % self.per_pass
        self.given[at] = x
        self.made[at] = model.run_layer(x, layer).state
        return self.made[at]


@torch.inference_mode()
def measure_cycle(subject: Subject, name: str, n_prompts: int = PROMPTS) -> CycleRow:
    """Measure a looped model on ``n_prompts`` prompts of `HOPS` hops.

    Raises ValueError for one with other weights in each pass, whose heads do not recur, and for
    heads that the bound is not of.
    """
    if subject.passes != 1:
        raise ValueError("only a looped model runs the same head again")
    watched = _Watched(subject.per_pass)
    subject.states(tokens_of(prompts(n_prompts, HOPS)), PASSES, change=watched)
    change, bound = (np.concatenate(rows) for rows in zip(*_heads(subject, watched), strict=True))
    above = change > np.finfo(np.float32).eps * np.sqrt(len(watched.given[1, 0][0]))
    times = bound[above] / change[above]
    ends = [watched.made[PASSES, layer].cpu().numpy() for layer in range(subject.per_pass)]
    spread = cycle_spread(np.stack(ends, 1))
    return CycleRow(
        name,
        len(change),
        float((change <= bound).mean()),
        (float(times.min()), float(np.median(times))),
        spread.between_layers,
        spread.between_prompts,
    )


def _heads(subject: Subject, watched: _Watched) -> Iterator[tuple[Any, Any]]:
    """Change and bound of every head, ``[H]`` each, over passes, layers and prompts."""
    for p in range(1, PASSES):
        for layer in range(subject.per_pass):
            block = subject.model.block[layer]
            assert isinstance(block, DecoderLayer)
            for before, after in zip(
                watched.given[p, layer], watched.given[p + 1, layer], strict=True
            ):
                found = head_bound(block, before, after)
                yield found.change, found.bound


def as_json(row: CycleRow) -> dict[str, Any]:
    """Plain values, to four significant digits."""
    values = asdict(row)
    return {key: json.loads(json.dumps(value), parse_float=_short) for key, value in values.items()}


def _short(text: str) -> float:
    return float(f"{float(text):.4g}")


def read_cycles(file: Path) -> list[CycleRow]:
    """Read a JSON list of `as_json`; raises `LoopscopeError` for what is no such file."""
    try:
        return [
            CycleRow(**{**row, "bound": tuple(row["bound"])})
            for row in json.loads(read_text(file, MOST_BYTES))
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise LoopscopeError(f"{file} holds no measured cycles: {error}") from None
