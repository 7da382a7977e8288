"""Score the prompt set after every recurrence."""

from __future__ import annotations

from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.measures.quality import Quality
from loopscope.core.over_prompts.quality import quality_over
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.quality import Options, wanted_convention


def run(stepper: Stepper, selection: Selection, options: Options, job: Job[Quality]) -> Quality:
    """Accuracy and perplexity in one pass over the prompts."""
    recording = stepper.recording
    return quality_over(
        stepper.loaded,
        stepper.loaded.shared.prompts_in_use(),
        HowRun.like(recording, int(options.recurrences)),
        wanted_convention(recording, options),
        options.joining,
        job.report,
    )
