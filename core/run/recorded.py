"""A run that is shown from its recording alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loopscope.core.run.recording import Recording

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyRun


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """Stands where a stepper would, without a model: nothing of it can be stepped.

    loaded : None, as a stepper's would be the model.
    """

    recording: Recording
    loaded: None = None


def stepped(run: AnyRun | Recorded | None) -> AnyRun | None:
    """Return the run, where there is a model to step it."""
    return None if isinstance(run, Recorded) else run
