"""Take one measure of every prompt of the set."""

from __future__ import annotations

from loopscope.core.analyses.lens import read_run
from loopscope.core.measures.lens import READINGS, Readings
from loopscope.core.measures.over_prompts import PROMPT_MEASURES, HowRun, PromptMeasures
from loopscope.core.over_prompts.measuring import measure_over
from loopscope.core.run.jobs import Job
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.depth import OFFERED
from loopscope.core.views.lens.curves import LENS_OF
from loopscope.core.views.prompts import Options


def run(
    stepper: Stepper, selection: Selection, options: Options, job: Job[PromptMeasures]
) -> PromptMeasures:
    """Measure the prompt set; what was measured with other measures before is kept.

    For a curve of a lens every prompt's run is read with that lens first.
    """
    recording, loaded = stepper.recording, stepper.loaded
    lens = LENS_OF.get(options.measure)

    def read(run: Recording) -> None:
        if lens is not None:
            reading = read_run(loaded, run, lens, lambda share: job.keep_going())
            run.keep(READINGS, Readings().put(lens, reading))

    measured = measure_over(
        loaded, loaded.shared.prompts_in_use(), [OFFERED[options.measure]],
        HowRun.like(recording), job.report, prepare=read,
    )  # fmt: skip
    return (recording.result(PROMPT_MEASURES) or PromptMeasures()).with_measures(measured)
