"""How a run begins, and how many recurrences it may have."""

from __future__ import annotations

from dataclasses import dataclass

from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import MOST_RECURRENCES, Intervention
from loopscope.core.run.recording import Recording


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run to begin: prompt text (or ``#ids``), seed, start state, recurrences to make at once.

    interventions : act as the run comes to them.  patterns : whether attention patterns are kept;
        without them the layers run torch's fused attention.
    """

    prompt: str
    seed: int = 0
    start: str = "default"
    start_scale: float = 1.0
    recurrences: int = 0
    interventions: tuple[Intervention, ...] = ()
    patterns: bool = True


def request_of(recording: Recording) -> RunRequest:
    """Return what begins a recorded run anew, its interventions left out."""
    info = recording.info
    start = info.start if info.start in ("zeros", "random") else "default"
    prefix = info.architecture.prefix
    own = "#" + ",".join(map(str, info.token_ids[prefix:]))
    kept = recording.capture.patterns
    return RunRequest(info.prompt or own, info.seed, start, info.start_scale, patterns=kept)


def check_recurrences(n: int) -> int:
    """Return ``n``; raises `LoopscopeError` when so many recurrences cannot be run."""
    if not 1 <= n <= MOST_RECURRENCES:
        raise LoopscopeError(f"{n} recurrences cannot be run; ask for 1 to {MOST_RECURRENCES:,}")
    return n


def too_many(recording: Recording) -> str | None:
    """Why a run is not stepped further, or None while it may be."""
    if recording.n_recurrences < MOST_RECURRENCES:
        return None
    return f"paused: {MOST_RECURRENCES:,} recurrences were made"
