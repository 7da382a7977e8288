"""Interventions on the trajectory: the state is moved, set or exchanged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from loopscope.core.formula import Formula
from loopscope.core.interventions.base import END, Intervention, RunContext, Source, at_tokens
from loopscope.core.model.architecture import Architecture
from loopscope.core.options import setting

if TYPE_CHECKING:
    from torch import Tensor

_SITES = frozenset({"layer", "end", "tokens"})
_OURS = "Loopscope"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise(Intervention):
    """Add seeded Gaussian noise whose norm is ``size`` times that of each token's state.

    The draw depends on the seed and the place alone, on every device alike.
    """

    kind = "noise"
    title = "Add noise"
    help = "A seeded random direction, as long as this share of the state"
    formula = Formula(
        "noise", "x ← x + ε ‖x‖ g / ‖g‖, g ~ N(0, I) of the seed", "ε, relative", _OURS
    )
    sites = _SITES
    size: float = setting(0.1, "Size", "Norm of the noise over the norm of the state")
    seed: int = setting(0, "Seed", "Of the noise; recurrences after the first draw anew")

    @override
    def state(self, x: Tensor, run: RunContext, recurrence: int, layer: int) -> Tensor:
        place = ((self.seed * 1_000_003 + recurrence) * 1_000_003 + layer + 1) % (1 << 63)
        # The first of a batch gets what it would get alone.
        drawn = np.random.default_rng(place).standard_normal(tuple(x.shape), dtype=np.float32)
        g = x.new_tensor(drawn, dtype=x.float().dtype)
        unit = g / g.norm(dim=-1, keepdim=True)
        moved = x.float() + self.size * x.float().norm(dim=-1, keepdim=True) * unit
        return at_tokens(x, moved.to(x.dtype), self.tokens)

    @override
    def action(self) -> str:
        return f"noise of {self.size:g} (seed {self.seed})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Zero(Intervention):
    """Set the state to zero."""

    kind = "zero"
    title = "Set to zero"
    help = "The state is forgotten; what is injected remains"
    formula = Formula("zero", "x ← 0", "state units", _OURS)
    sites = _SITES

    @override
    def state(self, x: Tensor, run: RunContext, recurrence: int, layer: int) -> Tensor:
        return at_tokens(x, x.new_zeros(x.shape), self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean(Intervention):
    """Set the state of each token to the mean over all tokens of the prompt at this place."""

    kind = "mean"
    title = "Set to the mean"
    help = "Every chosen token gets the mean state over the prompt's tokens"
    formula = Formula("mean", "x_t ← (1/T) Σ_u x_u", "state units", _OURS)
    sites = _SITES

    @override
    def state(self, x: Tensor, run: RunContext, recurrence: int, layer: int) -> Tensor:
        mean = x.float().mean(1, keepdim=True).to(x.dtype)
        return at_tokens(x, mean.expand_as(x), self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace(Intervention):
    """Set the state to that of another run: another prompt, recurrence, seed, or intervention."""

    kind = "replace"
    title = "Set to another run's state"
    help = "The state of another prompt, recurrence or seed, position by position"
    formula = Formula("replaced", "x_t ← x′_t of the source run", "state units", _OURS)
    sites = _SITES
    source: Source = field(default_factory=lambda: Source(token_ids=(0,)))

    @property
    @override
    def source_depth(self) -> int:
        return self.source.depth

    @override
    def misused(self) -> str:
        return Intervention.misused(self) or self.source.misused()

    @override
    def check(self, arch: Architecture, n_tokens: int) -> None:
        Intervention.check(self, arch, n_tokens)
        r, layer = self.source.recurrence, self.source.layer
        if r < (0 if layer == END else 1):
            raise self.error(f"there is no recurrence {r} of a run to take its state from")
        if layer != END and not 0 <= layer < arch.n_block:
            raise self.error(
                f"there is no layer {layer} to take its state from; 0 to {arch.n_block - 1} are "
                "there"
            )

    @override
    def state(self, x: Tensor, run: RunContext, recurrence: int, layer: int) -> Tensor:
        other = run.source_state(self.source).to(x)
        wanted = max(self.tokens, default=x.shape[1] - 1) + 1
        too_short = other.shape[1] < wanted
        if too_short or (not self.tokens and other.shape[1] != x.shape[1]):
            raise self.error(
                f"the source has {other.shape[1]} tokens and this prompt {x.shape[1]}; choose a "
                "prompt of the same length, or tokens that both have"
            )
        if not self.tokens:
            return other.expand_as(x)
        out = x.clone()
        out[:, list(self.tokens)] = other[:, list(self.tokens)]
        return out

    @override
    def action(self) -> str:
        return f"state of {self.source.describe()}"
