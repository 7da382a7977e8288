"""The interventions of a run, applied: what a layer does where something acts on it.

`Stepper` and the probe step a model through `AppliedInterventions.step`, which is the model's own
three calls (`open_layer`, `run_layer`, `close_layer`) where nothing acts. Each intervention's
effect is measured by running the layer without it as well, so that one that does nothing can say
so; only the layers that are acted on cost more.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from loopscope.core.interventions.base import END, Intervention, Source
from loopscope.core.interventions.plan import LayerPlan
from loopscope.core.model.layers import DecoderLayer, LayerOutput
from loopscope.core.model.looped_model import LoopedModel, RecurrentState

# Of a copy with noise: what it is made of, size, seed, draw and layer.
_Draw = tuple[int, float, int, int, int]


@dataclass(slots=True)
class AppliedInterventions:
    """The interventions of one run, resolved against its model; their `RunContext`.

    interventions : in the order they act where several act at one place. They compose: factors
        multiply, heads add up, a second noise falls on the first.
    source_state : makes the state of a `Source`, ``[B or 1, T', d]``.
    pattern : patterns of the run's own earlier recurrence, ``(recurrence, layer) -> [H, T, T]``.
    measuring : whether effects are measured.
    effects : (index of an intervention, recurrence) to the relative change it made there,
        ``||x' - x|| / ||x||`` of what it acts on, NaN where that is not finite; missing until it
        has acted. In one recurrence an intervention acts once.
    """

    model: LoopedModel
    interventions: tuple[Intervention, ...] = ()
    source_state: Callable[[Source], Tensor] = field(default=lambda source: _missing("source"))
    pattern: Callable[[int, int], Tensor] = field(default=lambda r, layer: _missing("pattern"))
    measuring: bool = True
    effects: dict[tuple[int, int], float] = field(default_factory=dict)
    # Weights with noise in them, each with the weights it is made of: an id stands for an object
    # only as long as that is held.
    _copies: dict[_Draw, tuple[DecoderLayer, DecoderLayer]] = field(default_factory=dict)

    def layer(self, index: int) -> DecoderLayer:
        """Weights that run as layer ``index`` of the block."""
        layer = self.model.block[self.model.arch.weights_of_layer(index)]
        assert isinstance(layer, DecoderLayer)
        return layer

    def start(self, state: Tensor) -> Tensor:
        """The initial state, ``[B, T, d]``, with what acts on it."""
        return self._states(state, 0, END)

    def step(
        self,
        x: Tensor,
        recurrent: RecurrentState,
        e: Tensor,
        recurrence: int,
        layer: int,
        want_pattern: bool = False,
        want_writes: bool = False,
    ) -> tuple[LayerOutput, RecurrentState]:
        """Run layer ``layer`` (from 0) of recurrence ``recurrence`` (from 1).

        ``x`` ``[B, T, d]`` is the output of the layer before, ``e`` ``[B, T, d]`` what is injected.
        Returns what this one did and what is carried on.
        Raises `LoopscopeError` for an intervention that cannot be made, such as a frozen head
        whose pattern was not kept.
        """
        model, first = self.model, recurrence == 1
        here = self._at(recurrence, layer) if self.interventions else None
        if not here:
            x = model.open_layer(x, recurrent, e, layer, first)
            out = model.run_layer(x, layer, want_pattern, want_writes, recurrence)
        else:
            x = self._opened(x, recurrent, e, recurrence, layer, here)
            out = self._run(x, recurrence, layer, here, want_pattern, want_writes)
            out = out._replace(state=self._states(out.state, recurrence, layer))
        recurrent = model.close_layer(out.state, recurrent, layer)
        if layer == model.arch.n_block - 1 and self.interventions:
            recurrent = recurrent._replace(state=self._states(recurrent.state, recurrence, END))
        return out, recurrent

    def recur(self, recurrent: RecurrentState, e: Tensor, recurrence: int) -> RecurrentState:
        """One whole recurrence, nothing captured; ``e`` ``[B, T, d]`` is what is injected.

        Raises as `step` does.
        """
        x = recurrent.state
        for layer in range(self.model.arch.n_block):
            out, recurrent = self.step(x, recurrent, e, recurrence, layer)
            x = out.state
        return recurrent

    def perturbed(
        self, layer: DecoderLayer, size: float, seed: int, draw: int, index: int
    ) -> DecoderLayer:
        """A copy of ``layer`` with noise of relative size ``size`` in each of its matrices.

        ``index`` is the layer of the block it runs as; where weights run as several layers
        (a nested loop), all of these get the same noise.
        """
        index = self.model.arch.weights_of_layer(index)
        key = (id(layer), size, seed, draw, index)
        if key not in self._copies:
            if draw:
                self._forget_draws(draw)
            place = ((seed * 1_000_003 + draw) * 1_000_003 + index) % (1 << 63)
            generator = torch.Generator().manual_seed(place)
            noisy = copy.deepcopy(layer)
            with torch.no_grad():
                for p in noisy.parameters():
                    if p.ndim == 2:
                        g = torch.randn(p.shape, generator=generator).to(p.device)
                        w = p.float()
                        p.copy_((w + size * w.norm() * g / g.norm()).to(p.dtype))
            self._copies[key] = layer, noisy
        return self._copies[key][1]

    def _forget_draws(self, draw: int) -> None:
        """Drop the copies drawn for other recurrences alone, and copies made of those."""
        dropped: set[int] = set()
        for key, (made_of, noisy) in list(self._copies.items()):
            if key[3] not in (0, draw) or id(made_of) in dropped:
                dropped.add(id(noisy))
                del self._copies[key]

    # ---- one layer ----
    def _at(self, recurrence: int, layer: int) -> list[int]:
        """Interventions that act on or in this layer."""
        first = layer % max(self.model.arch.n_stack, 1) == 0
        return [
            i
            for i, own in enumerate(self.interventions)
            if own.acts_at(recurrence) and (own.layer == layer or (first and not own.sites))
        ]

    def _opened(
        self,
        x: Tensor,
        recurrent: RecurrentState,
        e: Tensor,
        recurrence: int,
        layer: int,
        here: list[int],
    ) -> Tensor:
        """What enters the layer, with what acts on the injection."""
        model, first = self.model, recurrence == 1
        opened = model.open_layer(x, recurrent, e, layer, first)
        for i in here:
            given = self.interventions[i].injected(e)
            if given is not e:
                before, e = opened, given
                opened = model.open_layer(x, recurrent, e, layer, first)
                self._note(i, recurrence, before, opened)
        return opened

    def _run(
        self,
        x: Tensor,
        recurrence: int,
        layer: int,
        here: list[int],
        want_pattern: bool,
        want_writes: bool,
    ) -> LayerOutput:
        """The layer as the interventions together plan it."""
        plan = LayerPlan(self.layer(layer))
        before: Tensor | None = None
        last: int | None = None
        for i in here:
            changed = self.interventions[i].plan(plan, self, recurrence, layer)
            if changed is plan:
                continue
            if self.measuring:
                state = self._planned(x, plan, recurrence, want_pattern, False).state
                self._note(last, recurrence, before, state)
                before = state
            last, plan = i, changed
        out = self._planned(x, plan, recurrence, want_pattern, want_writes)
        self._note(last, recurrence, before, out.state)
        return out

    def _planned(
        self, x: Tensor, plan: LayerPlan, recurrence: int, want_pattern: bool, want_writes: bool
    ) -> LayerOutput:
        if plan.times == 0:
            return _skipped(x, plan, want_pattern, want_writes)
        state, context = x, self.model.context("block", recurrence)
        for _ in range(plan.times):
            out = plan.layer(
                state, self.model.rope(x), want_pattern, want_writes, plan.edit, context
            )
            state = out.state
        if plan.factor == 1.0:
            return LayerOutput(state, out.pattern, out.writes)
        state = (x.float() + plan.factor * (state.float() - x.float())).to(x.dtype)
        writes = None if out.writes is None else out.writes * abs(plan.factor)
        return LayerOutput(state, out.pattern, writes)

    def _states(self, x: Tensor, recurrence: int, layer: int) -> Tensor:
        """The state at a place with what acts on states there."""
        for i, own in enumerate(self.interventions):
            if own.acts_at(recurrence) and own.layer == layer and "tokens" in own.sites:
                before, x = x, own.state(x, self, recurrence, layer)
                self._note(i, recurrence, before, x)
        return x

    def _note(self, i: int | None, recurrence: int, before: Tensor | None, after: Tensor) -> None:
        if self.measuring and i is not None and before is not None:
            self.effects[i, recurrence] = _change(before, after)


def _change(before: Tensor, after: Tensor) -> float:
    """``||x' - x|| / ||x||``; 0 only where nothing changed, NaN where that has no size."""
    # In float64 the squares of what float32 holds neither overflow nor vanish.
    a, b = (x.float().cpu().double() for x in (before, after))
    if bool(((a == b) | (a.isnan() & b.isnan())).all()):
        return 0.0
    size, norm = float((b - a).norm()), float(a.norm())
    if not (math.isfinite(size) and math.isfinite(norm)):
        return math.nan
    # From zero to anything is a change without a size of its own.
    return size / norm if norm > 0 else math.inf


def _skipped(x: Tensor, plan: LayerPlan, want_pattern: bool, want_writes: bool) -> LayerOutput:
    """What a layer that is not run leaves: its pattern does not exist, it writes nothing."""
    b, t, _ = x.shape
    pattern = x.new_full((b, plan.layer.shape.n_heads, t, t), torch.nan) if want_pattern else None
    writes = torch.zeros((b, t, 2), device=x.device) if want_writes else None
    return LayerOutput(x, pattern, writes)


def _missing(name: str) -> Tensor:
    raise ValueError(f"no {name} was provided for this intervention")
