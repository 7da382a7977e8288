"""Take one measure of every prompt of the set."""

from __future__ import annotations

from typing import Any

from loopscope.core.analyses.lens import read_run
from loopscope.core.measures.over_prompts import HowRun, OverPrompts
from loopscope.core.over_prompts.measuring import measure_over
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.depth import OFFERED
from loopscope.core.views.lens.curves import LENS_OF
from loopscope.core.views.prompts import Options


def run(stepper: Any, selection: Selection, options: Options, job: Any) -> dict[str, OverPrompts]:
    """Measure the prompt set; what was measured with other measures before is kept.

    For a curve of a lens every prompt's run is read with that lens first.
    """
    loaded, shared = stepper.loaded, stepper.loaded.shared
    lens = LENS_OF.get(options.measure)

    def read(recording: Recording) -> None:
        if lens is not None:
            reading = read_run(loaded, recording, lens, lambda share: job.keep_going())
            recording.findings["lens"] = {lens: reading}

    found = measure_over(
        loaded, shared.prompts, [OFFERED[options.measure]], HowRun.like(stepper.recording),
        job.report, prepare=read,
    )  # fmt: skip
    return {**shared.findings.get("prompts", {}), **found}
