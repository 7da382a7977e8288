"""Stitching: one model is run to a place, its state is mapped linearly, another model goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loopscope.core.arrays import F64, I64
from loopscope.core.formula import Formula
from loopscope.core.measures.intervals import Estimate
from loopscope.core.measures.linear_maps import RIDGE
from loopscope.core.results import ResultKey

# What a stitched run is scored by: answers that are right, or the surprise of the right ones.
Metric = Literal["accuracy", "nats"]

ACCURACY = Formula(
    "right after stitching",
    "share of a prompt's answers that are right when the second model goes on from W x[t] + b_t, x "
    "the first one's state; mean over prompts that the map was not fitted on",
    "share of answers",
    "model stitching, Lenc & Vedaldi arXiv 1411.5908; Bansal et al. arXiv 2106.07682",
)
NATS = Formula(
    "surprise after stitching",
    "mean −log p of a prompt's right tokens when the second model goes on from W x[t] + b_t; mean "
    "over prompts that the map was not fitted on",
    "nats a token",
    ACCURACY.source,
)
BY_RIDGE = Formula(
    "map by ridge",
    "W, b_t = argmin Σ ‖W x[t] + b_t − y[t]‖² + λ ‖W‖², y the second model's own state there, λ = "
    f"{RIDGE:g} of the mean square of a source direction; a bias for each position",
    "state units",
    "ridge regression",
)
TRAINED = Formula(
    "map trained on the task",
    "the same W, b_t, trained further on −log p of the right answers, both models held fixed",
    "state units",
    "Bansal et al. arXiv 2106.07682",
)
NULL = Formula(
    "position means alone",
    "the same with W = 0: the second model goes on from its own mean state at each position",
    "as above",
    "null: what is right without anything of the first model",
)
CEILING = Formula(
    "the second model into itself",
    "the same map from the second model's own state at the same place; of another seed: from the "
    "state of a model of its kind there",
    "as above",
    "ceiling of the method",
)


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """A model on one side: its name and its ``E`` places, int64, recurrence from 1 or layer from 0.

    after_layers : whether they are after layers.
    """

    name: str
    places: I64
    after_layers: bool

    def label(self, i: int) -> str:
        """Where a place is: "layer 3", "recurrence 2"."""
        return f"{'layer' if self.after_layers else 'recurrence'} {self.places[i]}"


@dataclass(frozen=True, slots=True, eq=False)
class Stitching:
    """From ``I`` places of one model into ``J`` of another.

    first, second : whose state is taken, and who goes on.  metric : what the scores are.
    ridge : ``[I, J]`` with intervals over the tested prompts.
    best : int64 ``[I]``, the place of the second model that serves each of the first best, chosen
        on prompts that the map was fitted on.
    trained : ``[I]``, trained on the task at `best`; NaN where it was not.  steps : of training.
    null, itself : ``[J]``.
    seed : ``[J]``, of another seed, NaN without.  seed_name : its name or "".
    uncut : float64, the second model by itself.
    fitted, tested : prompts.  n_tokens : the map was fitted on.  prompts : what they are.
    """

    first: Side
    second: Side
    metric: Metric
    ridge: Estimate
    best: I64
    trained: Estimate
    steps: int
    null: Estimate
    itself: Estimate
    seed: Estimate
    seed_name: str
    uncut: float
    fitted: int
    tested: int
    n_tokens: int
    prompts: str

    def of_best(self, values: F64) -> F64:
        """Values ``[J]`` or ``[I, J]`` at the best place of the second model, ``[I]``."""
        if values.ndim == 1:
            return values[self.best]
        at: F64 = values[range(len(self.best)), self.best]
        return at


STITCHING = ResultKey("stitching", Stitching, "model")
