"""Round ticks that screen and page share, and what is written on a shade."""

from __future__ import annotations

import numpy as np
import pytest

from loopscope.widgets.palette import black_is_legible
from loopscope.widgets.plots.ticks import count_ticks, whole_step


@pytest.mark.parametrize(
    ("least", "step"), [(0.1, 1), (1.0, 1), (1.4, 2), (2.0, 2), (2.1, 5), (70.0, 100), (420.0, 500)]
)
def test_steps_of_counts_are_whole_and_round(least: float, step: int) -> None:
    assert whole_step(least) == step


@pytest.mark.parametrize(
    ("n", "ticks"),
    [
        (1, [1]), (5, [1, 2, 3, 4, 5]), (16, list(range(1, 17))),
        (20, [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]), (40, [1, 5, 10, 15, 20, 25, 30, 35, 40]),
        (2462, [1, 200, *range(400, 2462, 200)]),
    ],
)  # fmt: skip
def test_a_count_is_labelled_at_one_and_at_round_numbers(n: int, ticks: list[int]) -> None:
    assert count_ticks(n) == ticks


def test_black_on_light_and_white_on_dark() -> None:
    """Grey of luminance 0.179 is as far from black as from white: WCAG's contrast is 4.58 to both."""
    grey = np.array([[0.0] * 3, [0.45] * 3, [0.47] * 3, [1.0] * 3])
    assert black_is_legible(grey).tolist() == [False, False, True, True]
    yellow, blue = np.array([1.0, 0.9, 0.2]), np.array([0.1, 0.1, 0.6])
    assert black_is_legible(yellow)
    assert not black_is_legible(blue)
