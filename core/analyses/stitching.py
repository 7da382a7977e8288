"""Stitch the model of the run and that of the second run, over prompts."""

from __future__ import annotations

from dataclasses import replace

from loopscope.core.analyses.prompts_asked import prompts_asked, words_of
from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.errors import LoopscopeError
from loopscope.core.measures.stitching import Stitching
from loopscope.core.over_prompts.quality import asked_of
from loopscope.core.over_prompts.stitching import Questions, stitching
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.stitching import Options


def run(stepper: Stepper, selection: Selection, options: Options, job: Job[Stitching]) -> Stitching:
    """Stitch in the direction asked; both are run as far as their runs in the bench have gone.

    Raises `LoopscopeError` without a second run whose model is here.
    """
    if not isinstance(job.second_run, Stepper):
        raise LoopscopeError("two models are stitched: there is no second run")
    shared, arch = stepper.recording.shared, stepper.loaded.architecture
    prompts = prompts_asked(shared, arch, int(options.prompts), int(options.seed))
    if prompts.has_answers:
        kept = tuple(item for item in prompts.items if item.answer is not None)
        prompts = replace(prompts, items=kept)

    def questions(loaded: Loaded, recurrences: int) -> Questions:
        once = loaded.architecture.runs_once
        return Questions(loaded, 1 if once else max(recurrences, 1), asked_of(loaded, prompts))

    one, other = (questions(s.loaded, s.recording.n_recurrences) for s in (stepper, job.second_run))
    first, second = (one, other) if options.direction == "into" else (other, one)
    device = second.loaded.device.device.type
    kind = load(options.reference, device) if options.reference else None
    return stitching(
        first, second, "accuracy" if prompts.has_answers else "nats", words_of(prompts),
        other=None if kind is None else questions(kind, second.recurrences),
        steps=int(options.steps), seed=int(options.seed), report=job.report,
    )  # fmt: skip
