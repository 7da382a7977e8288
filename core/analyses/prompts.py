"""Take one measure of every prompt of the set."""

from __future__ import annotations

from typing import Any

from loopscope.core.measures.over_prompts import HowRun, OverPrompts
from loopscope.core.measures.registry import MEASURES
from loopscope.core.over_prompts.measuring import measure_over
from loopscope.core.selection import Selection
from loopscope.core.views.prompts import Options


def run(stepper: Any, selection: Selection, options: Options, job: Any) -> dict[str, OverPrompts]:
    """Measure the prompt set; what was measured with other measures before is kept."""
    recording, shared = stepper.recording, stepper.loaded.shared
    found = measure_over(
        stepper.loaded, shared.prompts, [MEASURES[options.measure]], HowRun.like(recording),
        job.report,
    )  # fmt: skip
    return {**shared.findings.get("prompts", {}), **found}
