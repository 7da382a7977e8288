"""Intervals for what was counted or averaged."""

from __future__ import annotations

import math

# Two-sided 95 % of the normal distribution.
Z_95 = 1.959963984540054


def wilson_interval(right: float, n: int, z: float = Z_95) -> tuple[float, float]:
    """Wilson score interval of a proportion ``right / n`` (Wilson 1927); (nan, nan) for n = 0.

    Unlike the normal interval it stays inside 0..1 and keeps a width at 0 % and 100 %.
    """
    if n == 0:
        return math.nan, math.nan
    p = right / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
