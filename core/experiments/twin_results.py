"""A looped model and its twins: what they are called, and what was found of them. No torch."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["looped", "deep", "shallow"]
KINDS: tuple[Kind, ...] = ("looped", "deep", "shallow")
NAMES: dict[Kind, str] = {
    "looped": "looped",
    "deep": "deep, as many layers",
    "shallow": "shallow, one pass",
}
# What is claimed: the looped model is within this of the deep one where the shallow one is this far
# below the looped one.
NEAR, FAR = 0.03, 0.25


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy on one hop count with its 95 % Wilson interval over examples."""

    hops: int
    value: float
    low: float
    high: float
    chance: float


@dataclass(frozen=True, slots=True)
class TwinResult:
    """One model, evaluated.

    kind, seed : which of the twins.  recurrences : at which it was read out.
    accuracy : by hop count.
    parameters, effective_depth : of the model, and of what runs.
    flops : per token and readout, `flops_per_token`.
    weights_bytes : float32.  states_bytes : of a recording of states and patterns of one prompt.
    learnt_at : training step at which every hop count was learnt; None for not before the
        finishing phase, or not known.
    """

    kind: Kind
    seed: int
    recurrences: int
    accuracy: tuple[Accuracy, ...]
    parameters: int
    effective_depth: int
    flops: int
    weights_bytes: int
    states_bytes: int
    learnt_at: int | None = None

    def at(self, hops: int) -> Accuracy:
        """Accuracy on one hop count; raises KeyError when it was not measured."""
        for cell in self.accuracy:
            if cell.hops == hops:
                return cell
        raise KeyError(hops)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the claim holds for one set of three models.

    hardest : the hop count on which the shallow model is worst, the one that the claim is asked of.
    looped, deep, shallow : accuracy there.
    near : looped within `NEAR` of deep on every hop count.  far : shallow `FAR` below looped there.
    worst_gap : the least of looped − deep over hop counts.
    """

    hardest: int
    looped: float
    deep: float
    shallow: float
    near: bool
    far: bool
    worst_gap: float

    @property
    def holds(self) -> bool:
        """Both parts of the claim."""
        return self.near and self.far


def verdict(results: dict[Kind, TwinResult]) -> Verdict:
    """Ask the claim of one model of each kind."""
    looped, deep, shallow = (results[kind] for kind in KINDS)
    hops = [cell.hops for cell in looped.accuracy]
    hardest = min(hops, key=lambda k: shallow.at(k).value)
    gaps = [looped.at(k).value - deep.at(k).value for k in hops]
    worst = min(gaps, default=math.nan)
    lost = looped.at(hardest).value - shallow.at(hardest).value
    return Verdict(
        hardest, looped.at(hardest).value, deep.at(hardest).value, shallow.at(hardest).value,
        near=worst >= -NEAR, far=lost >= FAR, worst_gap=worst,
    )  # fmt: skip
