"""At which steps rows and columns are labelled. No Qt, no matplotlib: screen and page share it."""

from __future__ import annotations

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
