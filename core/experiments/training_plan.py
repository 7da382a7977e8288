"""What a training is asked to do, as one frozen value, and the recipes that have a name. No torch.

A recipe says what the loss asks for, how many recurrences a batch gets, which examples are drawn
and how the learning rate goes. Which model is trained is another matter
(`loopscope.core.experiments.architectures`): any recipe trains any of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

Target = Literal["final", "anytime"]
# Which models there are to train; `architectures` says what they are.
ModelKind = Literal["looped", "untied", "deep", "deep-narrow", "shallow", "shallow-wide"]
MODEL_NAMES: tuple[ModelKind, ...] = (
    "looped", "untied", "deep", "deep-narrow", "shallow", "shallow-wide",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recurrences:
    """How many recurrences a batch gets, R.

    rule : "hops" is R = k + u, with k the batch's hop count; "fixed" is R = ``most``, or without
        it the largest hop count, whatever k is; "drawn" is R uniform in 1 .. ``most``.
    most : see ``rule``.  finishing : what takes its place in the finishing phase; 0 for the same.
    slack : u is uniform in 0 .. ``slack``; with a ``pace`` in 0 .. min(slack, step // pace), so
        that it widens step by step.
    kept : share of the batches whose u is 0 whatever is drawn for the others, so that a walk that
        is widened goes on being asked for its pace.
    """

    rule: Literal["hops", "fixed", "drawn"] = "hops"
    most: int = 0
    finishing: int = 0
    slack: int = 0
    pace: int = 0
    kept: float = 0.0

    def draw(
        self, rng: np.random.Generator, step: int, finishing: bool, hops: int, max_hops: int
    ) -> int:
        """R of the batch of ``step`` (from 0), which asks for ``hops`` of at most ``max_hops``."""
        if self.rule == "fixed":
            return self.most or max_hops
        if self.rule == "drawn":
            most = self.finishing if finishing and self.finishing else self.most
            return int(rng.integers(1, most + 1))
        if self.kept and rng.random() < self.kept:
            return hops
        widest = min(self.slack, step // self.pace) if self.pace else self.slack
        return hops + int(rng.integers(0, widest + 1))

    def longest(self, max_hops: int) -> int:
        """The largest R that is drawn."""
        if self.rule == "hops":
            return max_hops + self.slack
        return max(self.most, self.finishing) or max_hops


@dataclass(frozen=True, slots=True)
class HopsData:
    """Examples of pointer chasing; `hops_batches` draws them.

    max_hops, n_letters : hop counts 1 to this, and letters of a full graph.
    promote_at : running accuracy on the newest hop count at which the next one is added; 0 draws
        all hop counts from the first step.
    examples : size of the finite set of graphs with their queries that is gone through again and
        again, in whole batches; 0 draws new ones for ever. Which hop count is asked of a graph is
        drawn anew each time.
    """

    max_hops: int = 6
    n_letters: int = 8
    promote_at: float = 0.93
    examples: int = 0


@dataclass(frozen=True, slots=True)
class TextData:
    """Text that is trained on; `text` reads it.

    corpus : SHA-256 of the file.  vocabulary : tokens of the byte-pair encoding trained on it.
    context : tokens of a sequence.
    """

    corpus: str = ""
    vocabulary: int = 1024
    context: int = 128


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """One training, all but its model.

    seed : of the weights and of all that is drawn; step i of one seed sees the same examples
        whatever the model and the recipe, as far as they ask for the same.
    steps : length in optimiser steps; fewer where ``finish_when_learnt``.
    target : "final" asks for the answer after the last recurrence alone; "anytime" after each of
        the last two recurrences r for the pointer min(r, k) hops on.
    passes : the most passes that the model has, 0 without a limit: more recurrences are drawn as
        that many, and the last of them is asked for the final answer.
    finishing_steps : the last steps, over which the learning rate falls to 0 in a line and all hop
        counts are drawn alike.
    finish_when_learnt : whether these begin as soon as the largest hop count is learnt.
    weights : SHA-256 of the weights it starts from; "" for random ones.
    """

    data: HopsData | TextData = field(default_factory=HopsData)
    seed: int = 0
    steps: int = 4000
    target: Target = "final"
    recurrences: Recurrences = Recurrences()
    passes: int = 0
    batch_size: int = 64
    learning_rate: float = 2e-3
    finishing_steps: int = 500
    finish_when_learnt: bool = False
    weights: str = ""

    @property
    def longest(self) -> int:
        """The largest R that is drawn, ``trained_recurrences`` of a looped model."""
        max_hops = self.data.max_hops if isinstance(self.data, HopsData) else 0
        return self.recurrences.longest(max_hops)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def differences(one: dict[str, Any], other: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield (name, value, other value) where two plans as JSON differ; names are dotted."""
    for name in dict.fromkeys((*one, *other)):
        a, b = one.get(name), other.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from ((f"{name}.{inner}", x, y) for inner, x, y in differences(a, b))
        elif a != b:
            yield name, a, b


@dataclass(frozen=True, slots=True)
class Recipe:
    """A plan with a name.

    words : what it does, in one line.  start : the recipe whose model it goes on from, if any.
    """

    words: str
    plan: TrainingPlan
    start: str = ""


_ALL_HOPS = HopsData(promote_at=0.0)
RECIPES: dict[str, Recipe] = {
    "walker": Recipe(
        "final answer alone, R = k: hop counts are added as they are learnt; finds the walk, does "
        "not stop",
        TrainingPlan(),
    ),
    "halting": Recipe(
        "goes on from a walker: final answer alone, R = k + u, u up to 6 step by step; finds to "
        "stop",
        TrainingPlan(
            data=_ALL_HOPS, steps=7600, learning_rate=1e-3,
            recurrences=Recurrences("hops", slack=6, pace=800),
        ),
        start="walker",
    ),
    "settling": Recipe(
        "goes on from a halting one: the same with u up to 26; keeps its answers and settles",
        TrainingPlan(
            data=_ALL_HOPS, steps=4100, learning_rate=7e-4,
            recurrences=Recurrences("hops", slack=26, pace=60),
        ),
        start="halting",
    ),
    "slack": Recipe(
        "final answer alone, R uniform in k .. k + 3",
        TrainingPlan(recurrences=Recurrences("hops", slack=3)),
    ),
    "fixed": Recipe(
        "final answer alone, R = the largest hop count whatever is asked",
        TrainingPlan(recurrences=Recurrences("fixed")),
    ),
    "anytime": Recipe(
        "after r recurrences the pointer min(r, k) hops on, R uniform in 1 .. 12 and in 1 .. 20 at "
        "the end: the walk is taught",
        TrainingPlan(
            steps=22_000, target="anytime", learning_rate=1e-3, finishing_steps=7700,
            finish_when_learnt=True, recurrences=Recurrences("drawn", most=12, finishing=20),
        ),
    ),
    "text": Recipe(
        "next token, R uniform in 1 .. 6",
        TrainingPlan(
            data=TextData(), steps=2500, batch_size=16, finishing_steps=800,
            recurrences=Recurrences("drawn", most=6),
        ),
    ),
}  # fmt: skip


def plan_of(recipe: str, **changes: Any) -> TrainingPlan:
    """Return the plan of a named recipe with some of its fields changed."""
    return replace(RECIPES[recipe].plan, **changes)
