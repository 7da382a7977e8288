"""How far the states of a half-precision run are from the same run in float32."""

from __future__ import annotations

import numpy as np

from loopscope.core.arrays import F32
from loopscope.core.formula import Formula

FLOAT32_ERROR = Formula(
    "state error",
    "‖s_r − s_r(float32)‖ / ‖s_r(float32)‖",
    "1 (relative)",
    "the same run from the same s₀ with float32 weights and arithmetic",
)
# A model whose float32 twin takes at most this many bytes is compared without being asked.
SMALL = 512 << 20


def error_line(errors: F32, dtype: str) -> str:
    """Say errors ``[R, T]`` in one line: median over tokens at the end, and the largest."""
    end, worst = np.nanmedian(errors[-1]), np.nanmax(errors)
    return (
        f"{dtype} states are {end:.2g} (relative, median over tokens) from the same run in "
        f"float32 from the same s_0 at recurrence {len(errors)}, at most {worst:.2g}"
    )
