"""Begin a run of a model, here or where the model is."""

from __future__ import annotations

from dataclasses import replace

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.run.budget import Budget
from loopscope.core.run.elsewhere import ModelElsewhere, RunElsewhere
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.stepper import Stepper


def begin_run(
    loaded: Loaded | ModelElsewhere,
    request: RunRequest,
    capture: Capture | None = None,
    budget: Budget | None = None,
) -> Stepper | RunElsewhere:
    """Return the run that ``request`` asks for, standing at ``s_0``; ``capture`` is what it keeps.

    No attention patterns where the request is without them.

    Raises `PromptError` and what `Stepper.begin` raises.
    """
    capture = capture or Capture()
    if not request.patterns:
        capture = replace(capture, patterns=False)
    if not isinstance(loaded, Loaded):
        return loaded.begin(request, capture, budget)
    stepper = Stepper(loaded, capture, budget)
    stepper.begin(
        loaded.tokenizer.encode(request.prompt),
        seed=request.seed,
        start=request.start,  # type: ignore[arg-type]
        start_scale=request.start_scale,
        interventions=request.interventions,
    )
    return stepper
