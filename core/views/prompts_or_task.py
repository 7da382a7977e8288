"""What views over prompts need before they can be measured: a prompt set, or the task hops."""

from __future__ import annotations

from loopscope.core.experiments.hops import VOCABULARY
from loopscope.core.run.recording import Recording

NO_PROMPTS = "No prompt file is open, and this model is not of the task hops."
NO_RUN = "Run a recurrence first: prompts are run as far as the run in the bench has gone."


def why_no_prompts(recording: Recording) -> str:
    """Why prompts cannot be run, or ""."""
    if recording.n_recurrences < 1:
        return NO_RUN
    hops = recording.info.architecture.vocab_size == len(VOCABULARY)
    return "" if hops or recording.shared.prompts is not None else NO_PROMPTS
