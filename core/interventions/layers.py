"""Interventions on the computation graph: layers, heads and the input injection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from typing_extensions import override

from loopscope.core.formula import Formula
from loopscope.core.interventions.base import Intervention, RunContext
from loopscope.core.model.architecture import Architecture
from loopscope.core.options import setting

if TYPE_CHECKING:
    from torch import Tensor

    from loopscope.core.interventions.plan import LayerPlan

_OURS = "Loopscope"


@dataclass(frozen=True, slots=True, kw_only=True)
class DropInjection(Intervention):
    """Inject nothing: the block sees only its own state."""

    kind = "drop injection"
    title = "Drop the input injection"
    help = "The recurrence sees only the state, not the prompt"
    formula = Formula("injection", "e ← 0", "state units", _OURS)

    @override
    def injected(self, e: Tensor) -> Tensor:
        return e.new_zeros(e.shape)

    @override
    def check(self, arch: Architecture, n_tokens: int) -> None:
        Intervention.check(self, arch, n_tokens)
        if arch.injection == "none":
            raise self.error("this model has no input injection")


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipLayer(Intervention):
    """Leave a layer out: the residual stream passes it by."""

    kind = "skip"
    title = "Skip the layer"
    help = "The residual stream passes the layer by"
    formula = Formula("skipped", "x[r,l] ← x[r,l−1]", "state units", _OURS)
    sites = frozenset({"layer"})

    @override
    def plan(self, plan: LayerPlan, run: RunContext, recurrence: int, layer: int) -> LayerPlan:
        return replace(plan, times=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatLayer(Intervention):
    """Run a layer several times in a row."""

    kind = "repeat"
    title = "Repeat the layer"
    help = "The layer is run on its own output again"
    formula = Formula("repeated", "x ← layer(…layer(x))", "state units", _OURS)
    sites = frozenset({"layer"})
    times: int = setting(2, "Times", "How often the layer runs in all", low=1, high=64)

    @override
    def plan(self, plan: LayerPlan, run: RunContext, recurrence: int, layer: int) -> LayerPlan:
        return replace(plan, times=plan.times * self.times)

    @override
    def action(self) -> str:
        return f"layer run {self.times} times"


Part = Literal["layer", "attention", "mlp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleWrite(Intervention):
    """Scale what a layer, its attention or its MLP writes into the residual stream."""

    kind = "scale"
    title = "Scale the write"
    help = "0 removes what is written, 1 leaves it, −1 turns it round"
    formula = Formula(
        "scaled write",
        "x + c (layer(x) − x); of a branch: c times what it adds",
        "factor",
        "Loopscope; zeroing an MLP as in arXiv 2604.11791, Fig. 41",
    )
    sites = frozenset({"layer"})
    factor: float = setting(0.0, "Factor", "Of what is written", low=-1e3, high=1e3)
    part: Part = setting(
        "layer",
        "Of",
        "The whole layer, or one of its branches",
        labels={"layer": "the whole layer", "attention": "its attention", "mlp": "its MLP"},
    )

    @override
    def plan(self, plan: LayerPlan, run: RunContext, recurrence: int, layer: int) -> LayerPlan:
        if self.part == "layer":
            return replace(plan, factor=plan.factor * self.factor)
        edit = plan.edit
        if self.part == "attention":
            return replace(plan, edit=replace(edit, attention=edit.attention * self.factor))
        return replace(plan, edit=replace(edit, mlp=edit.mlp * self.factor))

    @override
    def action(self) -> str:
        names = {"layer": "layer's write", "attention": "attention's write", "mlp": "MLP's write"}
        return f"{names[self.part]} × {self.factor:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BorrowLayer(Intervention):
    """Run a layer with the weights of another layer of the block."""

    kind = "borrow"
    title = "Borrow another layer's weights"
    help = "Two of these swap two layers"
    formula = Formula("borrowed", "x ← layer_m(x)", "state units", _OURS)
    sites = frozenset({"layer"})
    of: int = setting(0, "Weights of layer", "Of the block, from 0", low=0, high=1000)

    @override
    def plan(self, plan: LayerPlan, run: RunContext, recurrence: int, layer: int) -> LayerPlan:
        return replace(plan, layer=run.layer(self.of))

    @override
    def check(self, arch: Architecture, n_tokens: int) -> None:
        Intervention.check(self, arch, n_tokens)
        if not 0 <= self.of < arch.n_block:
            raise self.error(
                f"there is no layer {self.of} to borrow from; 0 to {arch.n_block - 1} are there"
            )

    @override
    def action(self) -> str:
        return f"weights of layer {self.of}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PerturbWeights(Intervention):
    """Add noise to a layer's matrices, the same at every recurrence or drawn anew at each."""

    kind = "perturb"
    title = "Perturb the weights"
    help = "Noise on the layer's matrices; drawn anew it is no longer shared"
    formula = Formula(
        "perturbed", "W ← W + ε ‖W‖_F G / ‖G‖_F for every matrix W of the layer", "ε, relative",
        _OURS,
    )  # fmt: skip
    sites = frozenset({"layer"})
    size: float = setting(0.1, "Size", "Norm of the noise over the norm of the matrix")
    seed: int = setting(0, "Seed", "Of the noise")
    anew: bool = setting(
        False, "Anew at each recurrence", "Each recurrence then has weights of its own"
    )

    @override
    def plan(self, plan: LayerPlan, run: RunContext, recurrence: int, layer: int) -> LayerPlan:
        draw = recurrence if self.anew else 0
        return replace(plan, layer=run.perturbed(plan.layer, self.size, self.seed, draw, layer))

    @override
    def action(self) -> str:
        how = "drawn anew at each recurrence" if self.anew else "the same at each recurrence"
        return f"weights + {self.size:g} noise, {how} (seed {self.seed})"


@dataclass(frozen=True, slots=True, kw_only=True)
class AblateHead(Intervention):
    """Remove what a head writes."""

    kind = "ablate head"
    title = "Ablate the head"
    help = "What the head mixed is set to zero before the output matrix"
    formula = Formula("ablated", "A_h V_h ← 0", "state units", _OURS)
    sites = frozenset({"layer"})
    head: int = setting(0, "Head", "From 0", low=0, high=10_000)

    @override
    def plan(self, plan: LayerPlan, run: RunContext, recurrence: int, layer: int) -> LayerPlan:
        edit = plan.edit
        return replace(plan, edit=replace(edit, ablated=(*edit.ablated, self.head)))

    @override
    def check(self, arch: Architecture, n_tokens: int) -> None:
        Intervention.check(self, arch, n_tokens)
        _check_head(self, self.head, arch)

    @override
    def action(self) -> str:
        return f"head {self.head} ablated"


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeHead(Intervention):
    """Hold a head's pattern as it was at an earlier recurrence; its values stay live."""

    kind = "freeze head"
    title = "Freeze the head's pattern"
    help = "The pattern is held; what the attended tokens hold is not"
    formula = Formula(
        "frozen", "A[r,l,h] ← A[q,l,h], q an earlier recurrence", "probability", _OURS
    )
    sites = frozenset({"layer"})
    head: int = setting(0, "Head", "From 0", low=0, high=10_000)
    held: int = setting(1, "Pattern of recurrence", "An earlier one", low=1, high=1e6)

    @override
    def plan(self, plan: LayerPlan, run: RunContext, recurrence: int, layer: int) -> LayerPlan:
        pattern = run.pattern(self.held, layer)[self.head]
        edit = plan.edit
        return replace(plan, edit=replace(edit, frozen=(*edit.frozen, (self.head, pattern))))

    @override
    def check(self, arch: Architecture, n_tokens: int) -> None:
        Intervention.check(self, arch, n_tokens)
        _check_head(self, self.head, arch)
        if not 1 <= self.held < self.recurrence:
            raise self.error(
                f"the pattern of recurrence {self.held} is not an earlier one; choose 1 to "
                f"{self.recurrence - 1}"
            )

    @override
    def action(self) -> str:
        return f"head {self.head} held at recurrence {self.held}"


def _check_head(intervention: Intervention, head: int, arch: Architecture) -> None:
    if not 0 <= head < arch.layer.n_heads:
        raise intervention.error(
            f"there is no head {head}; there are heads 0 to {arch.layer.n_heads - 1}"
        )
