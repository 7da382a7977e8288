"""What `loopscope reproduce` measures of one model; `core.experiments.reproduction` measures it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

Interval = tuple[float, float]
STAGES = ("entropy", "matrix_entropy", "column_concentration", "residual_norm")
SETTLED = 1e-3


@dataclass(frozen=True, slots=True)
class Study:
    """One model over a prompt set. Lists are by recurrence 1..R (``R = recurrences``).

    accuracy : share of right answers, hardest hop count, over ``n_examples`` examples; its
        interval is Wilson's.  chance : of guessing a letter.
    relative_step : median over tokens of the recurrence ends, mean over prompts.
    layer_relative_step : ``[R][L]``, the same after each layer; NaN at r = 1.
    head_change : Frobenius distance to the recurrence before, mean over heads, layers, prompts.
    head_settling : Pearson's r of log head change and log relative step over (layer, recurrence).
    head_settling_n : points it is over.
    separation : mean relative distance between the ends of different layers of the cycle, over
        tokens and prompts; 0 would be one point for all layers. NaN with one layer.
    settled, classes : share of tokens settled at `SETTLED`, and of every class.
    radius : spectral radius at the end, one for each of a few prompts.
    repeats : measure to (consecutive, with last) correlation; empty with fewer than 3 layers.
    stages : measure to its curve over layers at each recurrence ``[R][L]``.

    Every ``NAME_interval`` holds the 95 % interval (low, high) of NAME, entry by entry. But for
    accuracy they are over the prompts: bootstrap-t of a mean, Wilson's of the settled share.
    """

    name: str
    seed: int
    n_prompts: int
    hops: int
    n_letters: int
    recurrences: int
    trained: int
    n_layers: int
    accuracy: list[float]
    chance: float
    relative_step: list[float]
    layer_relative_step: list[list[float]]
    head_change: list[float]
    head_settling: float
    head_settling_n: int
    separation: float
    settled: float
    classes: dict[str, float]
    radius: list[float]
    repeats: dict[str, tuple[float, float]]
    stages: dict[str, list[list[float]]]
    n_examples: int
    accuracy_interval: list[Interval]
    relative_step_interval: list[Interval]
    layer_relative_step_interval: list[list[Interval]]
    head_change_interval: list[Interval]
    separation_interval: Interval
    settled_interval: Interval

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
