"""Cuts into the trajectory: the state is moved, set or exchanged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from loopscope.core.formula import Formula
from loopscope.core.interventions.base import END, Intervention, at_tokens
from loopscope.core.model.architecture import Architecture
from loopscope.core.options import setting

if TYPE_CHECKING:
    from torch import Tensor

    from loopscope.core.interventions.applied import AppliedInterventions

_SITES = frozenset({"layer", "end", "tokens"})
_OURS = "Loopscope"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise(Intervention):
    """Add seeded Gaussian noise whose norm is ``size`` times that of each token's state."""

    kind: ClassVar[str] = "noise"
    title: ClassVar[str] = "Add noise"
    help: ClassVar[str] = "A seeded random direction, as long as this share of the state"
    formula: ClassVar[Formula] = Formula(
        "noise", "x ← x + ε ‖x‖ g / ‖g‖, g ~ N(0, I) of the seed", "ε, relative", _OURS
    )
    sites: ClassVar[frozenset[str]] = _SITES
    size: float = setting(0.1, "Size", "Norm of the noise over the norm of the state")
    seed: int = setting(0, "Seed", "Of the noise; recurrences after the first draw anew")

    def state(
        self, x: Tensor, applied: AppliedInterventions, recurrence: int, layer: int
    ) -> Tensor:
        """Add it; the draw depends on the seed and the place alone, on every device alike."""
        place = ((self.seed * 1_000_003 + recurrence) * 1_000_003 + layer + 1) % (1 << 63)
        # The first of a batch gets what it would get alone.
        drawn = np.random.default_rng(place).standard_normal(tuple(x.shape), dtype=np.float32)
        g = x.new_tensor(drawn, dtype=x.float().dtype)
        unit = g / g.norm(dim=-1, keepdim=True)
        moved = x.float() + self.size * x.float().norm(dim=-1, keepdim=True) * unit
        return at_tokens(x, moved.to(x.dtype), self.tokens)

    def what(self) -> str:
        """Size and seed."""
        return f"noise of {self.size:g} (seed {self.seed})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Zero(Intervention):
    """Set the state to zero."""

    kind: ClassVar[str] = "zero"
    title: ClassVar[str] = "Set to zero"
    help: ClassVar[str] = "The state is forgotten; what is injected remains"
    formula: ClassVar[Formula] = Formula("zero", "x ← 0", "state units", _OURS)
    sites: ClassVar[frozenset[str]] = _SITES

    def state(
        self, x: Tensor, applied: AppliedInterventions, recurrence: int, layer: int
    ) -> Tensor:
        """Zero."""
        return at_tokens(x, x.new_zeros(x.shape), self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean(Intervention):
    """Set the state of each token to the mean over all tokens of the prompt at this place."""

    kind: ClassVar[str] = "mean"
    title: ClassVar[str] = "Set to the mean"
    help: ClassVar[str] = "Every chosen token gets the mean state over the prompt's tokens"
    formula: ClassVar[Formula] = Formula("mean", "x_t ← (1/T) Σ_u x_u", "state units", _OURS)
    sites: ClassVar[frozenset[str]] = _SITES

    def state(
        self, x: Tensor, applied: AppliedInterventions, recurrence: int, layer: int
    ) -> Tensor:
        """The mean over tokens, accumulated in float32."""
        mean = x.float().mean(1, keepdim=True).to(x.dtype)
        return at_tokens(x, mean.expand_as(x), self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A state of a run that can be made again: of which prompt, from which start, and where.

    token_ids : of the prompt.  prompt : its text, for people.
    recurrence, layer : where its state is taken; layer `END` for the recurrence's end.
    interventions : cuts that had been made into that run.
    """

    token_ids: tuple[int, ...]
    prompt: str = ""
    seed: int = 0
    start: str = "default"
    start_scale: float = 1.0
    recurrence: int = 1
    layer: int = END
    interventions: tuple[Intervention, ...] = ()

    def words(self) -> str:
        """Which run and where, in one line."""
        where = f"recurrence {self.recurrence}"
        where += "" if self.layer == END else f", layer {self.layer}"
        seed = f", seed {self.seed}" if self.start == "random" else ""
        text = self.prompt if len(self.prompt) <= 40 else self.prompt[:39] + "…"
        cut = f", {len(self.interventions)} cuts" if self.interventions else ""
        return f"{where} of “{text}”{seed}{cut}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace(Intervention):
    """Set the state to that of another run: another prompt, recurrence, seed, or cut."""

    kind: ClassVar[str] = "replace"
    title: ClassVar[str] = "Set to another run's state"
    help: ClassVar[str] = "The state of another prompt, recurrence or seed, position by position"
    formula: ClassVar[Formula] = Formula(
        "replaced", "x_t ← x′_t of the source run", "state units", _OURS
    )
    sites: ClassVar[frozenset[str]] = _SITES
    source: Source = field(default_factory=lambda: Source(token_ids=(0,)))

    def check(self, arch: Architecture, n_tokens: int) -> None:
        """Refuse places of the source that do not exist."""
        Intervention.check(self, arch, n_tokens)
        r, layer = self.source.recurrence, self.source.layer
        if r < (0 if layer == END else 1):
            raise self.error(f"there is no recurrence {r} of a run to take its state from")
        if layer != END and not 0 <= layer < arch.n_block:
            raise self.error(
                f"there is no layer {layer} to take its state from; 0 to {arch.n_block - 1} are "
                "there"
            )

    def state(
        self, x: Tensor, applied: AppliedInterventions, recurrence: int, layer: int
    ) -> Tensor:
        """The source's state at the same positions."""
        other = applied.source_state(self.source).to(x)
        wanted = max(self.tokens, default=x.shape[1] - 1) + 1
        short = other.shape[1] < wanted
        if short or (not self.tokens and other.shape[1] != x.shape[1]):
            raise self.error(
                f"the source has {other.shape[1]} tokens and this prompt {x.shape[1]}; choose a "
                "prompt of the same length, or tokens that both have"
            )
        if self.tokens:
            out = x.clone()
            out[:, list(self.tokens)] = other[:, list(self.tokens)]
            return out
        return other.expand_as(x)

    def what(self) -> str:
        """Name the source."""
        return f"state of {self.source.words()}"
