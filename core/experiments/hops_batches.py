"""The batches of a training on pointer chasing."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.batches import Curriculum, TrainingBatch, generator
from loopscope.core.experiments.hops import HopsBatch, make_batch
from loopscope.core.experiments.training_plan import HopsData, TrainingPlan

# Share of batches with fewer letters than all, and of graphs that are one cycle.
SMALLER, CYCLES = 0.25, 0.5
LEAST_LETTERS = 3


class HopsTask:
    """Draws one hop count, one number of letters and fresh graphs for each batch."""

    def __init__(self, plan: TrainingPlan) -> None:
        assert isinstance(plan.data, HopsData)
        self.plan, self.data = plan, plan.data
        if plan.data.examples % plan.batch_size:
            raise LoopscopeError(
                f"a set of {plan.data.examples} examples is not made of whole batches of "
                f"{plan.batch_size}"
            )

    def batch(self, curriculum: Curriculum) -> TrainingBatch:
        """Return the batch of the next step."""
        hops = self.hop_count(curriculum)
        examples, n_letters = self.examples(curriculum.step, hops)
        rng = generator(self.plan.seed, "recurrences", curriculum.step)
        r = self.plan.recurrences.draw(
            rng, curriculum.step, curriculum.finishing, hops, self.data.max_hops
        )
        counts = hops == curriculum.hops and n_letters == self.data.n_letters

        def target(recurrence: int | None) -> Tensor:
            if recurrence is None:
                return torch.from_numpy(examples.answers)
            return torch.from_numpy(examples.target(recurrence))

        return TrainingBatch(torch.from_numpy(examples.tokens), r, target, counts)

    def hop_count(self, curriculum: Curriculum) -> int:
        """Half of the batches ask for the newest count, the others for those below it alike.

        Without a curriculum, and in the finishing phase, all counts are drawn alike.
        """
        rng = generator(self.plan.seed, "hop count", curriculum.step)
        newest, share = rng.random(2)
        if curriculum.finishing or not self.data.promote_at:
            return 1 + int(share * self.data.max_hops)
        if newest < 0.5 or curriculum.hops == 1:
            return curriculum.hops
        return 1 + int(share * (curriculum.hops - 1))

    def examples(self, step: int, hops: int) -> tuple[HopsBatch, int]:
        """Graphs and queries of ``step``, asked for ``hops`` hops, and how many letters they have.

        Only the answers depend on ``hops``.
        """
        b = self.plan.batch_size
        index = step % (self.data.examples // b) if self.data.examples else step
        rng = generator(self.plan.seed, "examples", index)
        n = self.data.n_letters
        smaller, cycle = rng.random(), rng.random(b) < CYCLES
        fewer = int(rng.integers(LEAST_LETTERS, n + 1))
        n = fewer if smaller < SMALLER else n
        return make_batch(rng, np.full(b, hops), n_letters=n, cycle=cycle), n
