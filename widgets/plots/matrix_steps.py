"""At which steps rows and columns are labelled. No Qt, no matplotlib: screen and page share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from loopscope.core.arrays import F64

# Pixels of a group of rows or columns that has a line after it.
LEAST_GROUP = 12.0

STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def head_steps(n_heads: int) -> tuple[int, ...]:
    """Steps of head labels that stay in step with the layers: divisors of H, multiples of H."""
    inside = [s for s in range(1, n_heads + 1) if n_heads % s == 0]
    return tuple(inside + [n_heads * s for s in STEPS[1:]])


def labelled(n: int, stride: int, numbers: bool, first: int = 1) -> list[int]:
    """Which of ``n`` rows or columns get a label; numbers keep ``first`` and the multiples."""
    if not numbers or stride == 1:
        return list(range(0, n, stride))
    start = -first % stride
    multiples = list(range(start, n, stride))
    return [0, *multiples] if start > max(1, 0.6 * stride) else multiples


def log_edges(at: Sequence[int], room: float) -> F64:
    """Where cells that stand ``at`` rising numbers begin on a log axis, and where the last ends.

    ``[n + 1]``, in units of which the axis has ``room``. A cell reaches half way to its neighbours,
    so that number k takes log(k + ½) − log(k − ½); 0, the initial state, takes as much as 1.
    """
    number = np.asarray(at, float)
    between = (number[1:] + number[:-1]) / 2
    ends = np.concatenate([[number[0] - 0.5], between, [number[-1] + 0.5]])
    edges: F64 = np.log(np.where(ends > 0, ends, 0.5 / 3))
    scaled: F64 = (edges - edges[0]) / (edges[-1] - edges[0]) * room
    return scaled


def on_log_axis(
    edges: F64, numbers: Sequence[int], cursor: int | None, needed: Callable[[int], float]
) -> list[int]:
    """Which cells of a log axis are labelled: the cursor's, the first, then round numbers.

    ``edges`` are those of `log_edges`, ``[n + 1]``; ``numbers`` are the recurrences that the cells
    stand for; ``needed`` is the room that a label takes.
    """
    last = numbers[-1]
    tens = [10**e for e in range(len(str(last)))]
    wanted = [numbers[0], *tens, *(m * ten for ten in tens for m in (2, 5)), last]
    first = {number: i for i, number in reversed(list(enumerate(numbers)))}
    indices = [*([] if cursor is None else [cursor]), *(first[k] for k in wanted if k in first)]
    middles = (edges[:-1] + edges[1:]) / 2
    taken: list[int] = []
    for i in dict.fromkeys(indices):
        if all(abs(middles[i] - middles[j]) >= (needed(i) + needed(j)) / 2 for j in taken):
            taken.append(i)
    return taken
