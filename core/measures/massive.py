"""Tokens of massive norm in a run, by its first recurrences: they stay the same as it goes on."""

from __future__ import annotations

from loopscope.core.measures.state_forms import massive_tokens
from loopscope.core.run.recording import Recording

# Recurrences whose states are asked, after each layer.
OVER_FIRST = 8


def massive_in(recording: Recording) -> tuple[int, ...]:
    """Tokens of massive norm after some layer of the first `OVER_FIRST` recurrences run."""
    last = min(recording.n_recurrences, OVER_FIRST)
    if last < 1:
        return ()
    states = recording.layer_states_of(1, last)
    return massive_tokens(states.reshape(-1, *states.shape[2:]))
