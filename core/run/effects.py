"""What interventions did to a run: how much they changed, or that they changed nothing."""

from __future__ import annotations

import math

from loopscope.core.formula import Formula
from loopscope.core.run.recording import Recording

EFFECT = Formula(
    "effect",
    "‖x′ − x‖ / ‖x‖ of what it acts on (the state, what enters the layer, or what leaves it), "
    "all tokens together, largest over recurrences",
    "relative",
    "Loopscope; measured by running the layer without it as well",
)


def effect(recording: Recording, index: int) -> float | None:
    """Largest relative change that an intervention made so far; None before it has acted.

    NaN when the state before or after it is not finite.
    """
    changes = [change for (i, _), change in recording.effects.items() if i == index]
    return math.nan if any(map(math.isnan, changes)) else max(changes, default=None)


def effect_words(recording: Recording, index: int) -> str:
    """Describe what it did: how much, nothing, or that the run has not come to it."""
    change = effect(recording, index)
    if change is None:
        first = recording.info.interventions[index].recurrence
        return f"not reached yet: it acts at recurrence {first}"
    if change == 0:
        return "did nothing: what it acts on is the same with and without it"
    if math.isnan(change):
        return "changed what it acts on, to or from what is not finite: that has no size"
    if math.isinf(change):
        return "changed what was zero"
    return f"changed what it acts on by {change:.3g} (relative)"


def effect_short(recording: Recording) -> str:
    """The effect of a run's last intervention in a word or a number; "" without interventions."""
    last = len(recording.info.interventions) - 1
    if last < 0:
        return ""
    change = effect(recording, last)
    if change is None:
        return "not yet"
    if math.isnan(change):
        return "not finite"
    return "nothing" if change == 0 else "from 0" if math.isinf(change) else f"{change:.2g}"


def idle(recording: Recording) -> list[str]:
    """One line for each intervention that has changed nothing in this run."""
    lines = []
    for i, intervention in enumerate(recording.info.interventions):
        if not effect(recording, i):
            name = recording.info.architecture.layer_name
            lines.append(f"{intervention.describe(name)}: {effect_words(recording, i)}")
    return lines
