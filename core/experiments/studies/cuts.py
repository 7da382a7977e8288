"""Parameters, graph and trajectory kept apart.

*Graph*: a change that lasts: a layer gone for good, the injection gone, layers swapped, the window
of attention narrowed. *The same change made in one pass only* leaves nothing but a state, so it is
followed in three ways: (b) as it is; (c) by the clean run's state, which brings everything back and
is a check, no finding; (d) by the zero state, as if nothing had run yet. What (b) loses more than
(d) is what the state left behind costs. *Parameters*: noise on every matrix of the block, the same
in all passes or drawn anew for each.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from loopscope.core.arrays import F64
from loopscope.core.experiments.hops import HopsBatch
from loopscope.core.experiments.passes import Change
from loopscope.core.experiments.studies.subject import Subject, tokens_of
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.layers import DecoderLayer, LayerEdit
from loopscope.core.model.looped_model import LoopedModel

After = Literal["as it is", "clean state", "zero state"]
# Random directions of the noise: fewer give intervals that cover too little.
DRAWS = 16
WINDOWS = (2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class GraphCut(Change):
    """A change of the wiring in the passes ``first`` to ``last``.

    name : in words.  skipped : layers of the pass that are left out, from 0.
    swapped : whether the pass's first and last layer take each other's place.
    injection : whether the prompt is injected.  window : see `LayerEdit`.
    """

    name: str
    skipped: tuple[int, ...] = ()
    swapped: bool = False
    injection: bool = True
    window: int = 0
    first: int = 1
    last: int = 1 << 30
    per_pass: int = 0

    def acts(self, p: int) -> bool:
        """Whether pass ``p`` is changed."""
        return self.first <= p <= self.last

    @override
    def injected(self, e: Tensor, p: int) -> Tensor:
        """Zeros where the injection is cut."""
        return torch.zeros_like(e) if self.acts(p) and not self.injection else e

    @override
    def run(self, model: LoopedModel, x: Tensor, p: int, layer: int) -> Tensor:
        """Run the layer that stands in this one's place, or none."""
        if not self.acts(p):
            return model.run_layer(x, layer).state
        start, at = layer - layer % self.per_pass, layer % self.per_pass
        if at in self.skipped:
            return x
        if self.swapped and at in (0, self.per_pass - 1):
            at = self.per_pass - 1 - at
        block = model.block[model.arch.weights_of_layer(start + at)]
        edit = LayerEdit(window=self.window) if self.window else None
        out: Tensor = block(x, model.rope(x), edit=edit).state
        return out


def graph_cuts(
    arch: Architecture, per_pass: int, windows: Sequence[int] = WINDOWS
) -> list[GraphCut]:
    """Every lasting cut of a model's graph."""
    cuts = [GraphCut(f"layer {i} gone", skipped=(i,), per_pass=per_pass) for i in range(per_pass)]
    if per_pass > 1:
        cuts.append(GraphCut("layers swapped", swapped=True, per_pass=per_pass))
    if arch.injection != "none":
        cuts.append(GraphCut("injection gone", injection=False, per_pass=per_pass))
    cuts += [GraphCut(f"window of {w}", window=w, per_pass=per_pass) for w in windows]
    return cuts


@torch.inference_mode()
def answered(
    subject: Subject,
    batch: HopsBatch,
    passes: int,
    *,
    change: Change | None = None,
    start: Tensor | None = None,
    done: int = 0,
) -> F64:
    """Share of a prompt's answers that are right after each pass from ``done`` on, ``[n, B]``."""
    states = subject.states(tokens_of(batch), passes - done, start=start, done=done, change=change)
    n_letters = batch.answers.shape[1]
    return np.stack([(subject.answers(s, n_letters) == batch.answers).mean(-1) for s in states[1:]])


@dataclass(frozen=True, slots=True, eq=False)
class Once:
    """A cut made in one pass, followed in three ways; all ``[passes, B]``, scores after each pass.

    uncut : the clean run.  after : by what followed; the passes run up to and including the cut one
        are the same in all.
    """

    uncut: F64
    after: dict[After, F64]


@torch.inference_mode()
def made_once(subject: Subject, batch: HopsBatch, cut: GraphCut, at: int, passes: int) -> Once:
    """Make ``cut`` in pass ``at`` alone and run on to ``passes``."""
    tokens = tokens_of(batch)
    clean = subject.states(tokens, at)
    once = replace(cut, first=at, last=at)
    broken = subject.states(tokens, 1, start=clean[-2], done=at - 1, change=once)[-1]
    starts: dict[After, Tensor] = {
        "as it is": broken, "clean state": clean[-1], "zero state": torch.zeros_like(broken),
    }  # fmt: skip
    before = answered(subject, batch, at, change=once)
    rest = {
        how: np.concatenate([before, answered(subject, batch, passes, start=s, done=at)])
        for how, s in starts.items()
    }
    return Once(answered(subject, batch, passes), rest)


def best_clock(scores: F64, hops: Sequence[int] | np.ndarray, latest: int) -> tuple[float, int]:
    """Accuracy at R = k + δ for the δ from 0 to ``latest`` that serves best, and that δ.

    ``scores`` is ``[passes, B]``, ``hops`` the count k of each prompt. A walker that was set back
    answers later than at R = k, all prompts by the same delay; one that halts answers from then on.
    Passes beyond the run are those at its end.
    """
    counts, rows = np.asarray(hops), np.arange(scores.shape[1])
    means = [
        float(scores[np.minimum(counts + delay, len(scores)) - 1, rows].mean())
        for delay in range(latest + 1)
    ]
    best = int(np.argmax(means))
    return means[best], best


@dataclass(slots=True)
class WeightNoise(Change):
    """Every matrix of the block with noise: ``W + size ‖W‖ G / ‖G‖``, G standard normal.

    anew : whether each pass draws its own G; else all passes share one.
    """

    size: float
    seed: int
    anew: bool
    _kept: dict[tuple[int, int], DecoderLayer] = field(default_factory=dict)

    @override
    def run(self, model: LoopedModel, x: Tensor, p: int, layer: int) -> Tensor:
        """Run the layer with its noisy weights."""
        index, draw = model.arch.weights_of_layer(layer), p if self.anew else 0
        if (index, draw) not in self._kept:
            self._kept[index, draw] = self._noisy(model.block[index], index, draw)
        out: Tensor = self._kept[index, draw](x, model.rope(x)).state
        return out

    def _noisy(self, layer: torch.nn.Module, index: int, draw: int) -> DecoderLayer:
        rng = np.random.default_rng((self.seed, index, draw))
        noisy = copy.deepcopy(layer)
        assert isinstance(noisy, DecoderLayer)
        with torch.no_grad():
            for weight in (p for p in noisy.parameters() if p.ndim == 2):
                g = torch.from_numpy(rng.standard_normal(tuple(weight.shape))).to(weight)
                weight.add_(self.size * weight.norm() * g / g.norm())
        return noisy


@torch.inference_mode()
def noise_scores(
    subject: Subject, batch: HopsBatch, size: float, passes: int, *, anew: bool, draws: int = DRAWS
) -> F64:
    """Scores under noise on the weights after each pass, ``[draws, passes, B]``.

    Shared and anew of one draw have nothing in common: pair them by prompt, not by draw.
    """
    return np.stack(
        [
            answered(subject, batch, passes, change=WeightNoise(size, 2 * seed + anew, anew))
            for seed in range(draws)
        ]
    )
