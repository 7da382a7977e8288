"""What a seat does in threads of their own: loading, measuring, comparing, continuing a text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loopscope.core.arrays import F32
from loopscope.core.checkpoint.loading import load_model
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.generation.continuing import NewToken, Plan, continue_text
from loopscope.core.generation.sampling import Sampling
from loopscope.core.prompts.prompt_set import PromptSet
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.remote.facts import ModelFacts
from loopscope.core.remote.seat import Seat, Task, as_far
from loopscope.core.results import ResultKey
from loopscope.core.run.float32_twin import Float32Twin
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.run_info import RunInfo
from loopscope.core.run.stepper import Stepper


@dataclass(frozen=True, slots=True)
class There:
    """A run of a seat, as far as whoever asks has got.

    prompts : the prompt set in use.
    """

    run: int
    layers: int
    prompts: PromptSet | None = None


@dataclass(frozen=True, slots=True, eq=False)
class InFloat32:
    """A run compared with float32: errors ``[R, T]``; of the run there its rows, if wanted."""

    errors: F32
    info: RunInfo
    capture: Capture
    rows: dict[str, Any] | None


def load(seat: Seat, task: Task, request: LoadRequest) -> ModelFacts:
    """Load a checkpoint that this machine has."""

    def report(share: float, doing: str) -> None:
        task.progress, task.doing = share, doing

    return seat.add_model(load_model(request, report, lambda: task.given_up))


def measure(
    seat: Seat,
    task: Task,
    analysis: Callable[..., Any],
    there: There,
    selection: Any,
    options: Any,
    key: ResultKey[Any],
    second: There | None,
) -> Any:
    """Make a measurement of a run; what was found before of it stays here, too."""
    stepper = _stepper(seat, there)
    task.second_run = None if second is None else _stepper(seat, second)
    result = analysis(stepper, selection, options, task)
    stepper.recording.keep(key, result)
    return result


def _stepper(seat: Seat, there: There) -> Stepper:
    stepper = as_far(seat.stepper(there.run), there.layers)
    stepper.loaded.shared.prompts = there.prompts
    return stepper


def continued(
    seat: Seat, task: Task, model: int, prompt: Prompt, plan: Plan, sampling: Sampling
) -> None:
    """Continue a text; each token is an item as it is made."""
    for token in continue_text(seat.model(model), prompt, plan, sampling):
        _made(task, token)
        task.report(len(task.items) / plan.tokens)


def _made(task: Task, token: NewToken) -> None:
    task.items.append(token)


def in_float32(seat: Seat, task: Task, model: int, there: There, readouts: bool) -> InFloat32:
    """Compare a run with the same in float32; the twin is loaded for the purpose."""
    stepper = as_far(seat.stepper(there.run), there.layers)
    twin = Float32Twin(seat.model(model), lambda share: task.report(0.5 * share))
    try:
        errors = twin.error(
            stepper.recording, lambda share: task.report(0.5 + 0.5 * share), readouts=readouts
        )
        run = twin.run
        rows = {name: own.first(len(own)) for name, own in run.kept.items()} if readouts else None
        return InFloat32(errors, run.info, run.capture, rows)
    finally:
        twin.release()
