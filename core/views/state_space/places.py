"""The states of a run along its path: at the ends of recurrences, or after every layer."""

from __future__ import annotations

import numpy as np

from loopscope.core.arrays import F32, I64
from loopscope.core.run.recording import Recording


def stations(recording: Recording, by_layer: bool) -> tuple[F32, I64, I64]:
    """States ``[S, T, d]`` along the path, with the recurrence and layer of each, int64 ``[S]``.

    The layer of the end of a recurrence is -1. Nothing is there before the first is over.
    """
    n_layers = recording.n_layers
    done = recording.layers_done  # read first: the worker may append meanwhile
    if by_layer:
        whole = recording.layer_states  # the path is drawn whole
        flat = whole.reshape(-1, *whole.shape[2:])[:done]
        rest = [recording.layer(i // n_layers + 1, i % n_layers) for i in range(len(flat), done)]
        if rest:
            flat = np.concatenate([flat, np.stack([step.state for step in rest])])
        index = np.arange(len(flat))
        return flat, index // n_layers + 1, index % n_layers
    ends = recording.states
    if len(ends) < 2:
        ends = ends[:0]
    return ends, np.arange(len(ends)), np.full(len(ends), -1)
