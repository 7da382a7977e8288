"""Take one measure of every prompt of the set."""

from __future__ import annotations

from loopscope.core.measures.over_prompts import PROMPT_MEASURES, HowRun, PromptMeasures
from loopscope.core.measures.registry import MEASURES
from loopscope.core.over_prompts.measuring import measure_over
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.prompts import Options


def run(
    stepper: Stepper, selection: Selection, options: Options, job: Job[PromptMeasures]
) -> PromptMeasures:
    """Measure the prompt set; what was measured with other measures before is kept."""
    recording = stepper.recording
    measured = measure_over(
        stepper.loaded, stepper.loaded.shared.prompts_in_use(), [MEASURES[options.measure]],
        HowRun.like(recording), job.report,
    )  # fmt: skip
    return (recording.result(PROMPT_MEASURES) or PromptMeasures()).with_measures(measured)
