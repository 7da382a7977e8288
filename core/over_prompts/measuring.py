"""Run every prompt of a set and measure it; what the views, the commands and scripts share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError, PromptError
from loopscope.core.measures.base import Measure, measure
from loopscope.core.measures.over_prompts import HowRun, OverPrompts
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.prompts.tokenizer import Prompt, PromptTokenizer
from loopscope.core.run.recording import Capture, Recording
from loopscope.core.run.requests import check_recurrences
from loopscope.core.run.stepper import Stepper, least_for

Report = Callable[[float], None]
Seen = Callable[[Recording], None]


def at_line(prompts: PromptSet, item: Item, error: LoopscopeError) -> PromptError:
    """The error with the file and the line that it is about."""
    return PromptError(f"{prompts.name}, line {item.line}: {error}")


def encoded(tokenizer: PromptTokenizer, prompts: PromptSet) -> list[Prompt]:
    """Tokenise every prompt; an error names the file and the line."""
    token_ids = []
    for item in prompts.items:
        try:
            token_ids.append(tokenizer.encode(item.text))
        except PromptError as error:
            raise at_line(prompts, item, error) from None
    return token_ids


def check_cuts(
    loaded: Loaded, prompts: PromptSet, items: Sequence[tuple[Item, Prompt]], how: HowRun
) -> None:
    """Raise `PromptError` naming the first prompt in which a cut's place does not exist."""
    for item, prompt in items:
        for cut in how.interventions:
            try:
                cut.check(loaded.architecture, len(prompt.token_ids))
            except LoopscopeError as error:
                raise at_line(prompts, item, error) from None


def run_each(
    loaded: Loaded,
    prompts: Sequence[Prompt],
    how: HowRun,
    capture: Capture,
    report: Report = lambda share: None,
) -> Iterator[Recording]:
    """Run each prompt on its own, with the cuts of ``how``; one recording is held at a time."""
    check_recurrences(how.recurrences)
    if least_for(how.interventions).patterns:  # a frozen head needs the run's own patterns
        capture = replace(capture, patterns=True)
    for i, prompt in enumerate(prompts):
        stepper = Stepper(loaded, capture)
        recording = stepper.begin(
            prompt,
            seed=how.seed,
            start=how.start,
            start_scale=how.start_scale,
            interventions=how.interventions,
        )
        for r in range(how.recurrences):
            stepper.step()
            report((i + (r + 1) / how.recurrences) / len(prompts))
        yield recording


def measure_over(
    loaded: Loaded,
    prompts: PromptSet,
    measures: Sequence[Measure],
    how: HowRun,
    report: Report = lambda share: None,
    seen: Seen = lambda recording: None,
    prepare: Seen = lambda recording: None,
) -> dict[str, OverPrompts]:
    """Take every measure of every prompt.

    ``prepare`` is given every prompt's finished run before it is measured, ``seen`` after.

    Raises `PromptError` for a prompt that this model cannot take, or in which a cut cannot be
    made, before anything is run.
    """
    tokens = encoded(loaded.tokenizer, prompts)
    check_cuts(loaded, prompts, list(zip(prompts.items, tokens, strict=True)), how)
    layers = {m.key: loaded.architecture.n_block if "layer" in m.axes else 1 for m in measures}
    shape = len(prompts), how.recurrences
    values = {m.key: np.full((*shape, layers[m.key]), np.nan) for m in measures}
    missing: dict[str, list[str]] = {m.key: [] for m in measures}
    capture = least_capture(loaded, tokens[0], measures)
    for i, recording in enumerate(run_each(loaded, tokens, how, capture, report)):
        prepare(recording)
        for m in measures:
            measured = measure(recording, m)
            missing[m.key].append(measured.missing)
            if not measured.missing:
                values[m.key][i] = measured.by_depth()
        seen(recording)
    return {m.key: OverPrompts.of(m, prompts, how, values[m.key], missing[m.key]) for m in measures}


def least_capture(loaded: Loaded, prompt: Prompt, measures: Sequence[Measure]) -> Capture:
    """Keep only what the measures need: patterns and readouts cost as much as the run itself."""
    whole = Capture(writes=False)
    # Reasons, not yes or no: a prompt may lack a number for a reason that others do not have.
    wanted = [m.missing(_begun(loaded, prompt, whole)) for m in measures]
    for capture in (
        Capture(patterns=False, writes=False, readout=False),
        Capture(patterns=False, writes=False),
        Capture(writes=False, readout=False),
    ):
        recording = _begun(loaded, prompt, capture)
        if [m.missing(recording) for m in measures] == wanted:
            return capture
    return whole


def _begun(loaded: Loaded, prompt: Prompt, capture: Capture) -> Recording:
    return Stepper(loaded, capture).begin(prompt)
