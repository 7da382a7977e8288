"""Stitch two models over prompts: fit maps on one half, let the second model go on on the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from loopscope.core.arrays import F32, F64, I64
from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError
from loopscope.core.measures.intervals import bootstrap_mean, wilson_share
from loopscope.core.measures.linear_maps import LinearMap, mean_map, ridge_map
from loopscope.core.measures.stitching import Metric, Side, Stitching
from loopscope.core.model.float64 import float64
from loopscope.core.over_prompts.batches import batches
from loopscope.core.over_prompts.going_on import Entry, GoingOn, by_layer, entries_of
from loopscope.core.prompts.answers import Asked
from loopscope.core.run.requests import check_recurrences

Report = Callable[[float], None]
# Tokens that a map is fitted on at most; bytes of their states; prompts that the best place is
# chosen on.
MOST_TOKENS, MOST_BYTES, CHOOSING = 1 << 13, 1 << 30, 64
BATCH, RATE = 32, 2e-3


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """A model, how far it is run, and what is asked of it; one question for each prompt."""

    loaded: Loaded
    recurrences: int
    asked: Sequence[Asked]

    @property
    def places(self) -> tuple[Entry, ...]:
        """Where its runs can be entered."""
        return entries_of(self.loaded.architecture, self.recurrences)

    @property
    def width(self) -> int:
        """Numbers of a state."""
        arch = self.loaded.architecture
        return arch.d_model * (2 if arch.inner_cycles else 1)

    def of(self, which: Sequence[int]) -> Questions:
        """The same of some prompts."""
        return Questions(self.loaded, self.recurrences, [self.asked[i] for i in which])

    def side(self) -> Side:
        """Its name and places."""
        layers = by_layer(self.loaded.architecture)
        at = [place.layer if layers else place.recurrence for place in self.places]
        return Side(self.loaded.checkpoint.name, np.array(at, np.int64), layers)


class _Runs:
    """The prompts of several models in the same batches: rows of one are rows of all."""

    def __init__(self, *models: Questions) -> None:
        self.models = models
        lengths = [len(one.prompt.token_ids) for one in models[0].asked]
        if any([len(one.prompt.token_ids) for one in m.asked] != lengths for m in models):
            raise LoopscopeError(
                "the two models read the prompts as other tokens; states can be mapped only where "
                "the tokens are the same"
            )
        loaded = [m.loaded for m in models]
        size = sum(len(m.places) * m.width + m.loaded.architecture.vocab_size for m in models)
        self.batches = batches(loaded, lengths, lambda n: 8 * n * size)
        self._going: dict[tuple[int, int], GoingOn] = {}

    def going(self, side: int, batch: int) -> GoingOn:
        """One model's run of one batch."""
        if (side, batch) not in self._going:
            model = self.models[side]
            prompts = [model.asked[i].prompt for i in self.batches[batch]]
            self._going[side, batch] = GoingOn(model.loaded, prompts)
        return self._going[side, batch]

    def asked(self, side: int, batch: int) -> list[Asked]:
        """What is asked of it."""
        return [self.models[side].asked[i] for i in self.batches[batch]]

    def states(self, side: int, batch: int) -> list[Tensor]:
        """States at every place, ``[B, T, w]`` each."""
        return self.going(side, batch).states(self.models[side].recurrences)


def _logits(run: GoingOn, state: Tensor, asked: Sequence[Asked]) -> tuple[Tensor, Tensor, Tensor]:
    """Readouts where something is asked, what is right there, and of which prompt each is."""
    sizes = torch.tensor([len(one.positions) for one in asked])
    rows = torch.arange(len(asked)).repeat_interleave(sizes)
    positions = torch.tensor([at for one in asked for at in one.positions])
    targets = torch.tensor([t for one in asked for t in one.targets])
    logits = run.model.head(run.model.coda(state)[rows, positions])
    return logits, targets.to(logits.device), rows


def _scores(run: GoingOn, state: Tensor, asked: Sequence[Asked], metric: Metric) -> F64:
    """Score of each prompt, ``[B]``."""
    with torch.no_grad():
        logits, targets, rows = _logits(run, state, asked)
        if metric == "nats":
            wide = float64(logits)
            each = F.cross_entropy(wide, targets.to(wide.device), reduction="none")
        else:
            right = (logits.argmax(-1) == targets) & logits.isfinite().all(-1)
            each = float64(right)
    values, which = each.cpu().numpy(), rows.numpy()
    n = len(asked)
    return np.asarray(np.bincount(which, values, minlength=n) / np.bincount(which, minlength=n))


class _Map(nn.Module):
    """A `LinearMap` on states ``[B, T, d1]``."""

    def __init__(self, found: LinearMap, like: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(found.weight).to(like))
        self.bias = nn.Parameter(torch.from_numpy(found.bias).to(like))

    @override
    def forward(self, x: Tensor) -> Tensor:
        at = torch.arange(x.shape[1]).clamp(max=len(self.bias) - 1)
        return x @ self.weight.T + self.bias[at]


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """States that maps are fitted on: by model and place ``[n, w]``, and positions ``[n]``."""

    states: list[list[F32]]
    positions: I64


def stitching(
    first: Questions,
    second: Questions,
    metric: Metric,
    words: str,
    *,
    other: Questions | None = None,
    steps: int = 0,
    seed: int = 0,
    report: Report = lambda share: None,
) -> Stitching:
    """Map states of ``first`` to those of ``second`` at every pair of places, and score.

    Parameters
    ----------
    first, second
        The same prompts, asked of each.
    other
        A model of the second's kind and another training seed.
    steps
        Of training the map at the best place on the task; 0 for none.

    Raises `LoopscopeError` with fewer than two prompts that ask something.
    """
    models = [first, second, *([other] if other else [])]
    for one in models:
        check_recurrences(one.recurrences)
    if other and len(other.places) != len(second.places):
        raise LoopscopeError(f"{other.loaded.checkpoint.name} is not of the second model's kind")
    rng = np.random.default_rng(seed)
    usable = [i for i, one in enumerate(second.asked) if one.positions]
    if len(usable) < 2:
        raise LoopscopeError(
            "maps are fitted on some prompts and tested on others: two have to ask something"
        )
    order = rng.permutation(usable).tolist()
    half = (len(order) + 1) // 2
    fit, test, choose = (
        _Runs(*(m.of(which) for m in models))
        for which in (order[:half], order[half:], order[: min(half, CHOOSING)])
    )
    fitted = _fitted(fit, rng, lambda share: report(0.2 * share))
    xs, ys = fitted.states[:2]
    maps = [[ridge_map(x, y, fitted.positions) for y in ys] for x in xs]
    report(0.25)
    chosen = np.nanmean(_grid(choose, maps, metric, lambda s: report(0.25 + 0.1 * s)), axis=0)
    best = (chosen if metric == "accuracy" else -chosen).argmax(1)
    scores = _grid(test, maps, metric, lambda share: report(0.35 + 0.25 * share))
    into = [mean_map(y, y, fitted.positions) for y in ys]
    same = [ridge_map(y, y, fitted.positions) for y in ys]
    null, itself = (_diagonal(test, 1, own, metric) for own in (into, same))
    if other:
        both = zip(fitted.states[2], ys, strict=True)
        seeds = [ridge_map(z, y, fitted.positions) for z, y in both]
        beside = _diagonal(test, 2, seeds, metric)
    else:
        beside = np.full(null.shape, np.nan)
    report(0.65)
    trained = np.full((len(test.models[1].asked), len(xs)), np.nan)
    for i in range(len(xs) if steps else 0):
        made = train(fit, i, int(best[i]), maps[i][best[i]], steps, rng)
        trained[:, i] = _score_all(test, 0, i, int(best[i]), made, metric)
        report(0.65 + 0.35 * (i + 1) / len(xs))
    mean = wilson_share if metric == "accuracy" else bootstrap_mean
    return Stitching(
        first=first.side(), second=second.side(), metric=metric, ridge=mean(scores), best=best,
        trained=mean(trained), steps=steps, null=mean(null), itself=mean(itself),
        seed=mean(beside), seed_name=other.loaded.checkpoint.name if other else "",
        uncut=_uncut(test, metric), fitted=half, tested=len(order) - half,
        n_tokens=len(fitted.positions), prompts=words,
    )  # fmt: skip


def _fitted(runs: _Runs, rng: np.random.Generator, report: Report) -> _Fitted:
    """States of tokens of the fitting prompts at every place of every model."""
    n = len(runs.models[0].asked)
    numbers = sum(len(m.places) * m.width for m in runs.models)
    room = max(4, max(64, min(MOST_TOKENS, MOST_BYTES // (4 * numbers))) // n)
    kept: list[list[list[F32]]] = [[[] for _ in m.places] for m in runs.models]
    positions = []
    for b, batch in enumerate(runs.batches):
        at = []
        for row, i in enumerate(batch):
            length = len(runs.models[0].asked[i].prompt.token_ids)
            drawn = rng.choice(length, min(room, length), replace=False)
            at += [(row, int(t)) for t in np.sort(drawn)]
        rows, where = (torch.tensor(part) for part in zip(*at, strict=True))
        positions.append(where.numpy())
        for side, into in enumerate(kept):
            for place, state in enumerate(runs.states(side, b)):
                into[place].append(state[rows, where].float().cpu().numpy())
        report((b + 1) / len(runs.batches))
    states = [[np.concatenate(parts) for parts in side] for side in kept]
    return _Fitted(states, np.concatenate(positions))


def _mapped(found: LinearMap, state: Tensor) -> Tensor:
    with torch.no_grad():
        mapped: Tensor = _Map(found, state)(state)
    return mapped


@torch.no_grad()
def _grid(runs: _Runs, maps: list[list[LinearMap]], metric: Metric, report: Report) -> F64:
    """Scores of every pair of places, ``[P, I, J]``."""
    second = runs.models[1]
    scores = np.full((len(second.asked), len(maps), len(maps[0])), np.nan)
    for b, batch in enumerate(runs.batches):
        run, asked = runs.going(1, b), runs.asked(1, b)
        for i, state in enumerate(runs.states(0, b)):
            for j, place in enumerate(second.places):
                end = run.end(_mapped(maps[i][j], state), place, second.recurrences)
                scores[batch, i, j] = _scores(run, end, asked, metric)
            report((b + (i + 1) / len(maps)) / len(runs.batches))
    return scores


@torch.no_grad()
def _diagonal(runs: _Runs, side: int, maps: Sequence[LinearMap], metric: Metric) -> F64:
    """Scores of a model's state mapped into the second's at the same place, ``[P, J]``."""
    second = runs.models[1]
    scores = np.full((len(second.asked), len(maps)), np.nan)
    for b, batch in enumerate(runs.batches):
        run, asked = runs.going(1, b), runs.asked(1, b)
        for j, (place, state) in enumerate(zip(second.places, runs.states(side, b), strict=True)):
            end = run.end(_mapped(maps[j], state), place, second.recurrences)
            scores[batch, j] = _scores(run, end, asked, metric)
    return scores


@torch.no_grad()
def _score_all(runs: _Runs, side: int, i: int, j: int, found: nn.Module, metric: Metric) -> F64:
    """Scores of one map from place ``i`` into ``j``, ``[P]``."""
    second = runs.models[1]
    scores = np.full(len(second.asked), np.nan)
    for b, batch in enumerate(runs.batches):
        run = runs.going(1, b)
        end = run.end(found(runs.states(side, b)[i]), second.places[j], second.recurrences)
        scores[batch] = _scores(run, end, runs.asked(1, b), metric)
    return scores


@torch.no_grad()
def _uncut(runs: _Runs, metric: Metric) -> float:
    """The second model's own score."""
    second, scores = runs.models[1], []
    for b in range(len(runs.batches)):
        run = runs.going(1, b)
        end = run.end(runs.states(1, b)[-1], second.places[-1], second.recurrences)
        scores.append(_scores(run, end, runs.asked(1, b), metric))
    return float(np.concatenate(scores).mean())


def train(
    runs: _Runs, i: int, j: int, start: LinearMap, steps: int, rng: np.random.Generator
) -> nn.Module:
    """Train a map from place ``i`` into ``j`` on the right answers, both models held fixed.

    AdamW from ``start`` on, the rate falling to 0 in a line.
    """
    second = runs.models[1]
    sources: dict[int, Tensor] = {}
    for b, batch in enumerate(runs.batches):
        sources |= dict(zip(batch, runs.states(0, b)[i], strict=True))
    made = _Map(start, sources[0])
    optimizer = torch.optim.AdamW(made.parameters(), lr=RATE, weight_decay=0.0)
    share = np.array([len(batch) for batch in runs.batches]) / len(sources)
    for step in range(steps):
        batch = runs.batches[int(rng.choice(len(share), p=share))]
        drawn = rng.choice(batch, min(BATCH, len(batch)), replace=False).tolist()
        asked = [second.asked[k] for k in drawn]
        run = GoingOn(second.loaded, [one.prompt for one in asked])
        state = torch.stack([sources[k][: run.e.shape[1]] for k in drawn])
        end = run.end(made(state), second.places[j], second.recurrences)
        logits, targets, _ = _logits(run, end, asked)
        loss = F.cross_entropy(logits.float(), targets)
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 - step / steps)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss, inputs=list(made.parameters()))
        optimizer.step()
    return made
