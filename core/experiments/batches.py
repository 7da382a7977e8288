"""What one training step is made of, whatever the task, and where its randomness comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from torch import Tensor

# Every draw of step i comes from a generator of its own, seeded by (seed, stream, i): arms of one
# seed see the same examples in the same order whatever else they draw, and a training that is
# stopped needs no generator's state to go on.
Stream = Literal["examples", "hop count", "recurrences"]
_STREAMS: tuple[Stream, ...] = ("examples", "hop count", "recurrences")


def generator(seed: int, stream: Stream, index: int) -> np.random.Generator:
    """Return the generator of one stream at one step."""
    return np.random.default_rng((seed, _STREAMS.index(stream), index))


@dataclass(slots=True)
class Curriculum:
    """Where the curriculum stands.

    step : steps made.  hops : the newest hop count.
    accuracy : running share of right answers on it (weight 0.03).
    finishing_since : the step at which the finishing phase began, -1 before it.
    learnt : steps at which hop count 1, 2, ... was learnt.
    """

    step: int
    hops: int
    accuracy: float
    finishing_since: int
    learnt: list[int]

    @property
    def finishing(self) -> bool:
        """Whether the finishing phase has begun."""
        return self.finishing_since >= 0


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """One batch.

    tokens : int64 ``[B, T]``.
    n_recurrences : R.
    target : of a recurrence r, or of None for the final answer: int64 ``[B, n]``, asked for at the
        last n positions.
    counts : whether its accuracy is that of the newest hop count, asked of full graphs.
    """

    tokens: Tensor
    n_recurrences: int
    target: Callable[[int | None], Tensor]
    counts: bool


class Task(Protocol):
    """What is trained on."""

    def batch(self, curriculum: Curriculum) -> TrainingBatch:
        """Return the batch of the next step; the same for the same step, seed and curriculum."""
        ...
