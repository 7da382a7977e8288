"""Trajectories whose settling is known in closed form; recurrence 0 is their first row."""

from __future__ import annotations

import numpy as np

R = 40


def contraction(rate: float, n: int = R) -> np.ndarray:
    """States ``[n + 1, 3]`` that come closer to a point by the factor ``rate``."""
    steps = np.arange(n + 1)[:, None]
    return np.array([3.0, -1.0, 2.0]) + rate**steps * np.array([1.0, 2.0, -1.0])


def rotation(period: float, rate: float = 1.0, n: int = R) -> np.ndarray:
    """States ``[n + 1, 3]`` on a circle, closed after ``period``; its radius by the factor ``rate``."""
    steps = np.arange(n + 1)
    angle = 2 * np.pi * steps / period
    turn = rate**steps * np.stack([np.cos(angle), np.sin(angle), 0 * angle])
    return np.array([1.0, 1.0, 2.0]) + turn.T
