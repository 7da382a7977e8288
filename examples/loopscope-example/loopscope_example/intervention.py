"""An intervention: the state is made longer or shorter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from loopscope.core.formula import Formula
from loopscope.core.interventions.base import Intervention, RunContext, at_tokens
from loopscope.core.options import setting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleState(Intervention):
    """Multiply the state by ``factor``."""

    kind = "scale_state"
    title = "Scale the state"
    help = "The state keeps its direction and changes its length"
    formula = Formula("scaled", "x ← c x", "c, a factor", "example")
    sites = frozenset({"layer", "end", "tokens"})
    factor: float = setting(0.5, "Factor", "1 changes nothing", low=-100, high=100)

    @override
    def state(self, x: Tensor, run: RunContext, recurrence: int, layer: int) -> Tensor:
        return at_tokens(x, x * self.factor, self.tokens)

    @override
    def action(self) -> str:
        return f"state × {self.factor:g}"
