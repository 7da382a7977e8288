"""The run that a command names: of a checkpoint and a prompt, or of a recording."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from loopscope.app.cli.recorded import recorded
from loopscope.app.cli.terminal import Bar, interventions_of, load_request, warn, warn_lines
from loopscope.core.errors import LoopscopeError

if TYPE_CHECKING:
    from loopscope.core.checkpoint.loading import Loaded
    from loopscope.core.prompts.tokenizer import Prompt
    from loopscope.core.run.recording import Recording
    from loopscope.core.run.stepper import Stepper
    from loopscope.core.selection import Selection
    from loopscope.core.views.second_run import SecondRun


def model_and_prompt(options: Namespace) -> tuple[Loaded, Prompt]:
    """Load the checkpoint that a command names and read its prompt or token ids for it.

    Raises `LoopscopeError` for either that cannot be used.
    """
    from loopscope.core.checkpoint.loading import load_model
    from loopscope.core.prompts.tokenizer import parse_ids

    loaded = load_model(load_request(options))
    warn(loaded)
    if options.token_ids is not None:
        return loaded, loaded.tokenizer.from_ids(parse_ids(options.token_ids))
    return loaded, loaded.tokenizer.encode(options.prompt)


def run_of(options: Namespace) -> tuple[Stepper | None, Recording]:
    """Take the recording that a command names, or run its prompt and keep everything.

    Without the model there is no stepper. Raises `LoopscopeError` for what cannot be run or read.
    """
    from loopscope.core.run.requests import check_recurrences
    from loopscope.core.run.run_warnings import run_warnings

    checkpoint = getattr(options, "checkpoint", None)
    also = ("device", "family") if checkpoint else ()
    recording = recorded(options, ("prompts", *also) if options.command == "figures" else ())
    if recording is not None:
        warn_lines(run_warnings(recording))
        return _with_model(options, recording, checkpoint), recording
    if checkpoint:
        raise LoopscopeError("--checkpoint is for a recording; PATH is a checkpoint itself")
    check_recurrences(options.recurrences)
    from loopscope.core.run.stepper import Stepper

    loaded, prompt = model_and_prompt(options)
    stepper = Stepper(loaded)
    stepper.begin(prompt, seed=options.seed, interventions=interventions_of(options))
    with Bar("recurrences") as bar:
        for r in range(options.recurrences):
            stepper.step()
            bar.show((r + 1) / options.recurrences)
    warn_lines(run_warnings(stepper.recording))
    return stepper, stepper.recording


def _with_model(options: Namespace, recording: Recording, checkpoint: str | None) -> Stepper | None:
    """The stepper that goes on with a recording; None where no checkpoint is named."""
    if checkpoint is None:
        return None
    from loopscope.core.checkpoint.loading import load_model
    from loopscope.core.recordings.finding import request_for
    from loopscope.core.recordings.going_on import resume

    loaded = load_model(request_for(recording, checkpoint, options.device, options.family))
    warn(loaded)
    return resume(loaded, recording)


def second_run_of(
    options: Namespace, recording: Recording, at: Selection
) -> tuple[Stepper | None, SecondRun | None]:
    """Make or take the run of ``--beside``, with the place in it that goes with ``at``."""
    if options.beside is None:
        return None, None
    from loopscope.app.cli.beside import second_name, second_options
    from loopscope.core.run.pairing import Pairing
    from loopscope.core.views.second_run import SecondRun, second_selection

    stepper, there = run_of(second_options(options, recording))
    pairing = Pairing(recording.info.architecture, there.info.architecture)
    beside = second_selection(at, pairing, there)
    return stepper, SecondRun(there, second_name(options, there), pairing, beside)
