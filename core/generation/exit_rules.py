"""When a token that is generated leaves the loop: what `--exit` names.

Axis names: ``B`` batch, ``d`` d_model, ``V`` vocab.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from torch import Tensor

from loopscope.core.errors import LoopscopeError
from loopscope.core.formula import Formula
from loopscope.core.measures.exit_gate import EXIT_AT, left_by
from loopscope.core.model.architecture import Architecture
from loopscope.core.run.readout import entropy_and_change

RuleName = Literal["step", "kl", "gate"]
RULES: dict[RuleName, tuple[Formula, float]] = {
    "step": (
        Formula("relative step", "‖s_r − s_{r−1}‖ / ‖s_r‖ < threshold", "1", "arXiv 2502.05171"),
        1e-2,
    ),
    "kl": (
        Formula("KL of readouts", "KL(p_r ‖ p_{r−1}) < threshold", "nats", "arXiv 2502.05171"),
        5e-4,
    ),
    "gate": (EXIT_AT["distribution"], float("nan")),
}


@dataclass(frozen=True, slots=True)
class ExitRule:
    """When a token leaves. threshold : NaN for the gate's own, from the config."""

    name: RuleName
    threshold: float

    def check(self, arch: Architecture) -> None:
        """Raise `LoopscopeError` where the model lacks what the rule reads."""
        if self.name == "gate" and not arch.exit_gate:
            raise LoopscopeError("this model has no exit gate; use step or kl")

    def text(self) -> str:
        """As it is written on the command line, such as ``kl:0.0005``."""
        return self.name if np.isnan(self.threshold) else f"{self.name}:{self.threshold:g}"


def parse_rule(text: str) -> ExitRule:
    """Read ``NAME[:THRESHOLD]``; raises `LoopscopeError` for what is no rule."""
    name, colon, number = text.partition(":")
    if name not in RULES:
        raise LoopscopeError(f"there is no exit rule '{name}'; there are {', '.join(RULES)}")
    threshold = RULES[name][1]
    if colon:
        try:
            threshold = float(number)
        except ValueError:
            threshold = float("nan")
        if not 0 < threshold < float("inf"):
            raise LoopscopeError(f"the threshold of '{text}' is not a number above 0")
    return ExitRule(name, threshold)


@dataclass(slots=True)
class Leaving:
    """Watches one token on its way through the loop.

    hazard, logits : what to ask of the model where the rule reads it, ``[B]`` and ``[B, V]``.
    read : the logits that the rule read last, or None: nobody has to ask for them again.
    """

    rule: ExitRule
    arch: Architecture
    hazard: Callable[[], Tensor]
    logits: Callable[[], Tensor]
    read: Tensor | None = None
    _hazards: list[float] = field(default_factory=list)

    def leaves(self, state: Tensor, before: Tensor) -> bool:
        """Whether the token leaves with ``state``, ``[B, 1, d]``; ``before`` is what it came from.

        A state that is not finite never leaves: it goes on to the last recurrence.
        """
        if self.rule.name == "gate":
            self._hazards.append(float(self.hazard()))
            threshold = self.rule.threshold
            own = self.arch.exit_threshold if np.isnan(threshold) else threshold
            left = left_by(np.array(self._hazards)[:, None], self.arch.exit_rule)
            return bool(left[-1, 0] >= own)
        if self.rule.name == "step":
            after = state.float()
            step = (after - before.float()).norm() / after.norm()
            return bool(step < self.rule.threshold)
        last, self.read = self.read, self.logits()
        before_it = None if last is None else last[:, None]
        change = entropy_and_change(self.read[:, None], before_it)[0, 1]
        return bool(change < self.rule.threshold)
