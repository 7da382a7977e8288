"""Interventions at work: what a layer does when something was cut there.

`Stepper` and the probe step a model through `AppliedInterventions.step`, which is the model's own
three calls (`open_layer`, `run_layer`, `close_layer`) where nothing acts. Each intervention's
effect is measured by running the layer without it as well, so that one that did nothing can say
so; only the layers that are acted on cost more.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from loopscope.core.interventions.base import END, Intervention
from loopscope.core.interventions.states import Source
from loopscope.core.model.layers import DecoderLayer, LayerEdit, LayerOutput
from loopscope.core.model.looped_model import LoopedModel, RecurrentState


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """How one layer is run.

    layer : the weights.  edit : what is done to its heads and branches.
    times : how often in a row; 0 skips it.  factor : of its whole write.
    """

    layer: DecoderLayer
    edit: LayerEdit = field(default_factory=LayerEdit)
    times: int = 1
    factor: float = 1.0


# Of a copy with noise: what it was made of, size, seed, draw and layer.
_Draw = tuple[int, float, int, int, int]


@dataclass(slots=True)
class AppliedInterventions:
    """The interventions of one run, resolved against its model.

    interventions : in the order they act where several act at one place.
    source_state : makes the state of a `Source`, ``[B or 1, T', d]``.
    pattern : patterns of the run's own earlier recurrence, ``(recurrence, layer) -> [H, T, T]``.
    measuring : whether effects are measured.
    effects : (index of an intervention, recurrence) to the relative change it made there,
        ``||x' - x|| / ||x||`` of what it acts on, NaN where that is not finite; missing until it
        has acted.
    """

    model: LoopedModel
    interventions: tuple[Intervention, ...] = ()
    source_state: Callable[[Source], Tensor] = field(default=lambda source: _absent("source"))
    pattern: Callable[[int, int], Tensor] = field(default=lambda r, layer: _absent("pattern"))
    measuring: bool = True
    effects: dict[tuple[int, int], float] = field(default_factory=dict)
    # Weights with noise in them, each with the weights it was made of: an id stands for an object
    # only as long as that is held.
    _copies: dict[_Draw, tuple[DecoderLayer, DecoderLayer]] = field(default_factory=dict)

    def layer(self, index: int) -> DecoderLayer:
        """Weights that run as layer ``index`` of the block."""
        found = self.model.block[self.model.arch.weights_of_layer(index)]
        assert isinstance(found, DecoderLayer)
        return found

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

        ``x`` is what the layer before put out. Returns what this one did, and what is carried on.
        """
        model, first = self.model, recurrence == 1
        here = self._at(recurrence, layer)
        if not here:
            x = model.open_layer(x, recurrent, e, layer, first)
            out = model.run_layer(x, layer, want_pattern, want_writes)
        else:
            x = self._opened(x, recurrent, e, recurrence, layer, here)
            out = self._run(x, recurrence, layer, here, want_pattern, want_writes)
            out = out._replace(state=self._states(out.state, recurrence, layer))
        recurrent = model.close_layer(out.state, recurrent, layer)
        if layer == model.arch.n_block - 1 and self.interventions:
            recurrent = recurrent._replace(state=self._states(recurrent.state, recurrence, END))
        return out, recurrent

    def recur(self, recurrent: RecurrentState, e: Tensor, recurrence: int) -> RecurrentState:
        """One whole recurrence, nothing captured."""
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
        """Let go of what was drawn for other recurrences alone, and of copies made of that."""
        gone: set[int] = set()
        for key, (made_of, noisy) in list(self._copies.items()):
            if key[3] not in (0, draw) or id(made_of) in gone:
                gone.add(id(noisy))
                del self._copies[key]

    # ---- one layer ----
    def _at(self, recurrence: int, layer: int) -> list[int]:
        """Interventions that act on or in this layer."""
        first = layer % max(self.model.arch.n_stack, 1) == 0
        return [
            i
            for i, cut in enumerate(self.interventions)
            if cut.acts_at(recurrence) and (cut.layer == layer or (first and not cut.sites))
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
        """What enters the layer, where the injection may be cut."""
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
        applied: int | None = None
        for i in here:
            changed = self.interventions[i].plan(plan, self, recurrence, layer)
            if changed is plan:
                continue
            if self.measuring:
                state = self._planned(x, plan, want_pattern, False).state
                self._note(applied, recurrence, before, state)
                before = state
            applied, plan = i, changed
        out = self._planned(x, plan, want_pattern, want_writes)
        self._note(applied, recurrence, before, out.state)
        return out

    def _planned(
        self, x: Tensor, plan: LayerPlan, want_pattern: bool, want_writes: bool
    ) -> LayerOutput:
        if plan.times == 0:
            return _skipped(x, plan, want_pattern, want_writes)
        state = x
        for _ in range(plan.times):
            out = plan.layer(state, self.model.rope(x), want_pattern, want_writes, plan.edit)
            state = out.state
        if plan.factor == 1.0:
            return LayerOutput(state, out.pattern, out.writes)
        state = (x.float() + plan.factor * (state.float() - x.float())).to(x.dtype)
        writes = None if out.writes is None else out.writes * abs(plan.factor)
        return LayerOutput(state, out.pattern, writes)

    def _states(self, x: Tensor, recurrence: int, layer: int) -> Tensor:
        """The state at a place with what acts on states there."""
        for i, cut in enumerate(self.interventions):
            if cut.acts_at(recurrence) and cut.layer == layer and "tokens" in cut.sites:
                before, x = x, cut.state(x, self, recurrence, layer)
                self._note(i, recurrence, before, x)
        return x

    def _note(self, i: int | None, recurrence: int, before: Tensor | None, after: Tensor) -> None:
        if not self.measuring or i is None or before is None:
            return
        at = i, recurrence
        self.effects[at] = _largest(self.effects.get(at, 0.0), _change(before, after))


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


def _largest(*changes: float) -> float:
    """The largest change; NaN when one of them has no size."""
    return math.nan if any(map(math.isnan, changes)) else max(changes)


def _skipped(x: Tensor, plan: LayerPlan, want_pattern: bool, want_writes: bool) -> LayerOutput:
    """What a layer that is not run leaves: its pattern does not exist, it writes nothing."""
    b, t, _ = x.shape
    pattern = x.new_full((b, plan.layer.shape.n_heads, t, t), torch.nan) if want_pattern else None
    writes = torch.zeros((b, t, 2), device=x.device) if want_writes else None
    return LayerOutput(x, pattern, writes)


def _absent(what: str) -> Tensor:
    raise ValueError(f"no {what} was provided for this intervention")
