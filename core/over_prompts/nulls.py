"""Run prompts on a model and on the same with its weights shuffled; hold the one to the other."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from loopscope.core.arrays import F64
from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError
from loopscope.core.measures.base import Measure, measure
from loopscope.core.measures.intervals import bootstrap_mean
from loopscope.core.measures.nulls import HeldToNulls, Repetition, Stage, cycle_spread, repetition
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.model.float64 import float64
from loopscope.core.model.layers import DecoderLayer
from loopscope.core.model.looped_model import LoopedModel
from loopscope.core.over_prompts.going_on import GoingOn
from loopscope.core.over_prompts.head_bound import head_bound, why_no_bound
from loopscope.core.over_prompts.measuring import run_each
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.requests import check_recurrences

Report = Callable[[float], None]


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One model's numbers: ``change`` and ``bound`` ``[P, R - 1]``, ``steps`` ``[R]``."""

    change: F64
    bound: F64
    tightest: float
    steps: F64
    cycle: float
    curves: dict[str, F64]


def held_to_nulls(
    loaded: Loaded,
    prompts: Sequence[Prompt],
    recurrences: int,
    stages: Sequence[Measure],
    words: str,
    *,
    tolerance: float = 0.01,
    seed: int = 0,
    report: Report = lambda share: None,
) -> HeldToNulls:
    """Measure heads, stages and the cycle of a model and of its shuffled copy.

    Raises `LoopscopeError` for fewer than two recurrences.
    """
    check_recurrences(recurrences)
    if recurrences < 2:
        raise LoopscopeError("a change needs two recurrences to be seen; run one more")
    arch = loaded.architecture
    why = (why_no_bound(_layer(loaded.model, i)) for i in range(arch.n_block))
    no_bound = next(filter(None, why), "")
    few = "" if arch.n_block > 2 else f"a block of {arch.n_block} layers has no curve over layers"
    wanted = [] if few else list(stages)
    own = _side(loaded, prompts, recurrences, wanted, not no_bound, lambda s: report(0.5 * s))
    other = replace(loaded, model=shuffled(loaded, seed))
    null = _side(other, prompts, recurrences, wanted, not no_bound, lambda s: report(0.5 + 0.5 * s))
    moving = np.flatnonzero(own.steps >= tolerance)
    until = int(moving[-1]) + 1 if len(moving) else 0
    no_cycle = "" if np.isfinite(own.cycle) else _no_cycle(arch.n_block)
    return HeldToNulls(
        model=loaded.checkpoint.name, recurrences=recurrences, n_prompts=len(prompts),
        prompts=words, change=bootstrap_mean(own.change), bound=own.bound.mean(0),
        tightest=own.tightest, change_shuffled=null.change.mean(0), no_bound=no_bound,
        until=until,
        stages=tuple(
            _stage(key, repetition(curves, until=until, seed=seed),
                   repetition(null.curves[key], until=until, shuffles=0))
            for key, curves in own.curves.items()
        ),
        no_stages=few or ("" if until > 1 else "the state settles at once"),
        cycle=own.cycle, cycle_shuffled=null.cycle, no_cycle=no_cycle,
    )  # fmt: skip


def _no_cycle(n_block: int) -> str:
    if n_block < 2:
        return "a block of one layer has one point"
    return "no two prompts have the same length"


def _stage(key: str, found: Repetition, weights: Repetition) -> Stage:
    high = float(np.percentile(found.shuffled, 95)) if len(found.shuffled) else float("nan")
    return Stage(key, found.value, high, found.p, weights.value)


def _layer(model: LoopedModel, index: int) -> DecoderLayer:
    """The weights that run as a layer of the block."""
    layer = model.block[model.arch.weights_of_layer(index)]
    assert isinstance(layer, DecoderLayer)
    return layer


def shuffled(loaded: Loaded, seed: int) -> LoopedModel:
    """A copy of the model with the entries of each matrix of its block in a random order."""
    made = copy.deepcopy(loaded.model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in made.block.parameters():
            if weight.ndim > 1:
                order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
                weight.copy_(weight.flatten()[order].reshape(weight.shape))
    return made


@torch.no_grad()
def _side(
    loaded: Loaded, prompts: Sequence[Prompt], recurrences: int, stages: Sequence[Measure],
    bounded: bool, report: Report,
) -> _Side:  # fmt: skip
    n = len(prompts)
    change, bound = (np.full((n, recurrences - 1), np.nan) for _ in range(2))
    steps, tightest = np.zeros((n, recurrences)), 0.0
    ends: dict[int, list[F64]] = {}
    for p, prompt in enumerate(prompts):
        run = _Inputs(loaded, prompt, recurrences)
        steps[p] = run.steps
        ends.setdefault(len(prompt.token_ids), []).append(run.ends)
        for r in range(recurrences - 1 if bounded else 0):
            found = [
                head_bound(_layer(loaded.model, i), before, after)
                for i, (before, after) in enumerate(
                    zip(run.inputs[r], run.inputs[r + 1], strict=True)
                )
            ]
            moved, most = (
                np.stack([getattr(f, name) for f in found]) for name in ("change", "bound")
            )
            change[p, r], bound[p, r] = moved.mean(), most.mean()
            tightest = max(tightest, float((moved / np.maximum(most, 1e-300)).max()))
        report((p + 1) / n * 0.8)
    longest = max(ends.values(), key=len)
    cycle = float("nan")
    if len(longest) > 1 and longest[0].shape[0] > 1:
        cycle = cycle_spread(np.stack(longest)).ratio
    curves = _curves(loaded, prompts, recurrences, stages) if stages else {}
    report(1.0)
    return _Side(change, bound, tightest, np.median(steps, axis=0), cycle, curves)


class _Inputs:
    """One prompt's run: what each layer read and, at the end, put out.

    inputs : by recurrence and layer, ``[T, d]``.  ends : float64 ``[L, T, d]`` of the last one.
    steps : float64 ``[R]``, median relative step over tokens.
    """

    def __init__(self, loaded: Loaded, prompt: Prompt, recurrences: int) -> None:
        run = GoingOn(loaded, [prompt])
        model, recurrent = run.model, run.start
        self.inputs: list[list[Tensor]] = []
        steps = []
        for r in range(1, recurrences + 1):
            x, before = recurrent.state, recurrent.state
            read, put = [], []
            for layer in range(model.arch.n_block):
                x = model.open_layer(x, recurrent, run.e, layer, r == 1)
                read.append(x[0])
                x = model.run_layer(x, layer, recurrence=r).state
                put.append(float64(x[0]).cpu().numpy())
                recurrent = model.close_layer(x, recurrent, layer)
            self.inputs.append(read)
            size = recurrent.state.norm(dim=-1)
            steps.append(float(((recurrent.state - before).norm(dim=-1) / size).median()))
        self.ends, self.steps = np.stack(put), np.array(steps)


def _curves(
    loaded: Loaded, prompts: Sequence[Prompt], recurrences: int, stages: Sequence[Measure]
) -> dict[str, F64]:
    """Mean curves over prompts, ``[R, L]`` by measure."""
    capture = Capture(writes=False, readout=False)
    total: dict[str, list[F64]] = {m.key: [] for m in stages}
    for _, recording in run_each(loaded, prompts, HowRun(recurrences), capture):
        for m in stages:
            measured = measure(recording, m)
            if not measured.missing:
                total[m.key].append(measured.by_depth())
    return {key: np.nanmean(rows, axis=0) for key, rows in total.items() if rows}
