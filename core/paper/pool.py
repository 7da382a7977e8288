"""Prompts put together: means over them with intervals, a file at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loopscope.core.arrays import F64
from loopscope.core.measures.intervals import Estimate, bootstrap_mean
from loopscope.core.paper.folder import Get

# Entries that are resampled at once: a few megabytes, however long the run.
_COLUMNS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The finished prompts of a folder, by their keys, in the order of the prompt file.

    drawn : key of the prompt whose floorplan was kept, where it is finished.
    """

    get: Get
    keys: tuple[str, ...]
    drawn: str = ""

    def __len__(self) -> int:
        return len(self.keys)

    def stacked(self, name: str) -> F64:
        """One array of every prompt, ``[P, ...]``."""
        return np.stack([self.get(key, name) for key in self.keys])

    def mean(self, name: str) -> Estimate:
        """Mean over prompts of a small array, with its 95 % bootstrap-t interval."""
        return mean_over(self.stacked(name))

    def mean_map(self, name: str) -> F64:
        """Mean over prompts of a large array of any shape, which all of them have.

        Of what is finite. One prompt is held at a time.
        """
        total, n = np.zeros(()), np.zeros(())
        for key in self.keys:
            values = self.get(key, name).astype(np.float64)
            known = np.isfinite(values)
            total, n = total + np.where(known, values, 0.0), n + known
        return np.asarray(np.where(n > 0, total / np.maximum(n, 1), np.nan))


def mean_over(values: F64) -> Estimate:
    """`bootstrap_mean` of ``[P, ...]``, some entries at a time; each sees the same resamples."""
    flat = np.asarray(values, np.float64).reshape(len(values), -1)
    parts = [
        bootstrap_mean(flat[:, first : first + _COLUMNS])
        for first in range(0, flat.shape[1], _COLUMNS)
    ] or [bootstrap_mean(flat)]
    joined = (
        np.concatenate([getattr(part, name) for part in parts]).reshape(values.shape[1:])
        for name in ("value", "low", "high", "n")
    )
    return Estimate(*joined)
