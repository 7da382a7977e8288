"""What a finished run must not be silent about: states that overflow, and idle interventions."""

from __future__ import annotations

import numpy as np

from loopscope.core.run.effects import idle
from loopscope.core.run.recording import Recording

# What to do about states that overflow, by the dtype of the run.
REMEDY = {
    "float16": "float16 holds no more than 65504; run it in float32 or bfloat16",
    "bfloat16": "the run diverges",
    "float32": "the run diverges",
}


def first_not_finite(recording: Recording) -> tuple[int, int | None] | None:
    """Return (recurrence, layer) of the first state that is not finite; None when all are.

    The layer is None for the initial state, which is recurrence 0.
    """
    if not np.isfinite(recording.state(0)).all():
        return 0, None
    for r in range(1, recording.n_recurrences + 1):
        layers = recording.layer_states_of(r, r)[0]
        if not np.isfinite(layers).all():
            return r, int(np.flatnonzero(~np.isfinite(layers).all((1, 2)))[0])
        if not np.isfinite(recording.state(r)).all():  # closing the recurrence overflows
            return r, recording.n_layers - 1
    return None


def overflow(recording: Recording) -> str:
    """Say where a run's states cease to be finite and what to do, on one line; "" when none do."""
    place = first_not_finite(recording)
    if place is None:
        return ""
    recurrence, layer = place
    where = f"recurrence {recurrence}"
    if layer is not None:
        where += f", {recording.info.architecture.layer_name(layer)}"
    return f"states are not finite from {where} on: {REMEDY[recording.info.dtype]}"


def run_warnings(recording: Recording) -> list[str]:
    """One line for states that overflow, and one for each intervention that changes nothing."""
    line = overflow(recording)
    return [*([line] if line else []), *idle(recording)]


class WarningsOverRuns:
    """Warnings over several runs of one model with the same interventions; `see` each as it ends.

    Overflow is said of any run, with the number of runs; an intervention that changes
    nothing only where it does so in all runs.
    """

    def __init__(self) -> None:
        self._runs = 0
        self._overflowing = 0
        self._first_overflow = ""
        self._idle: dict[str, int] = {}

    def see(self, recording: Recording) -> None:
        """Count one run."""
        self._runs += 1
        if line := overflow(recording):
            self._overflowing += 1
            self._first_overflow = self._first_overflow or line
        for line in idle(recording):
            self._idle[line] = self._idle.get(line, 0) + 1

    def lines(self) -> list[str]:
        """One line for each warning."""
        lines = []
        if self._overflowing:
            n = f"{self._overflowing} of {self._runs} prompts"
            lines.append(f"in {n}, {self._first_overflow} (of the first of them)")
        return lines + self.idle_lines()

    def idle_lines(self) -> list[str]:
        """One line for each intervention that changes nothing in all runs."""
        return [f"{line} (all prompts)" for line, n in self._idle.items() if n == self._runs]
