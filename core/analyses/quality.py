"""Score the prompt set after every recurrence."""

from __future__ import annotations

from typing import Any

from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.measures.quality import Quality
from loopscope.core.over_prompts.quality import quality_over
from loopscope.core.selection import Selection
from loopscope.core.views.quality import Options, wanted_convention


def run(stepper: Any, selection: Selection, options: Options, job: Any) -> Quality:
    """Accuracy and perplexity in one pass over the prompts."""
    recording = stepper.recording
    return quality_over(
        stepper.loaded,
        stepper.loaded.shared.prompts,
        HowRun.like(recording, int(options.recurrences)),
        wanted_convention(recording, options),
        options.joining,
        job.report,
    )
