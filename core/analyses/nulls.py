"""Hold heads, stages and cycle of a model to their nulls, over prompts."""

from __future__ import annotations

from loopscope.core.analyses.prompts_asked import prompts_asked, words_of
from loopscope.core.measures.nulls import HeldToNulls
from loopscope.core.measures.registry import MEASURES
from loopscope.core.over_prompts.measuring import encoded
from loopscope.core.over_prompts.nulls import held_to_nulls
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.nulls import STAGES, Options


def run(
    stepper: Stepper, selection: Selection, options: Options, job: Job[HeldToNulls]
) -> HeldToNulls:
    """Run prompts as far as the bench has gone, on the model and on its shuffled copy."""
    loaded, recording = stepper.loaded, stepper.recording
    seed = int(options.seed)
    prompts = prompts_asked(recording.shared, loaded.architecture, int(options.prompts), seed)
    return held_to_nulls(
        loaded, encoded(loaded.tokenizer, prompts), recording.n_recurrences,
        [MEASURES[key] for key in STAGES], words_of(prompts),
        tolerance=float(options.tolerance), seed=seed, report=job.report,
    )  # fmt: skip
