"""Run every prompt of a set and measure it; what the views, the commands and scripts share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError, PromptError
from loopscope.core.measures.base import Measure, measure
from loopscope.core.measures.over_prompts import HowRun, OverPrompts
from loopscope.core.over_prompts.batches import batches
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.prompts.tokenizer import Prompt, PromptTokenizer
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.requests import check_recurrences
from loopscope.core.run.stepper import Stepper, least_for
from loopscope.core.run.together import Begin, row_bytes, run_together

Report = Callable[[float], None]
Seen = Callable[[Recording], None]


def at_line(prompts: PromptSet, item: Item, error: LoopscopeError) -> PromptError:
    """The error with the file and the line that it is about."""
    return PromptError(f"{prompts.name}, line {item.line}: {error}")


def encoded(tokenizer: PromptTokenizer, prompts: PromptSet) -> list[Prompt]:
    """Tokenise every prompt; raises `PromptError` that names the file and the line."""
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
) -> Iterator[tuple[int, Recording]]:
    """Run every prompt: each one's place among ``prompts`` and its finished run.

    Those that may share a run do (`batches`), the others go alone, and so do all where ``how`` has
    cuts: some of them draw noise or hold patterns. The shorter prompts come first; the recordings
    of one run are held at a time. ``report`` is told the share done after every recurrence.
    """
    check_recurrences(how.recurrences)
    if least_for(how.interventions).patterns:  # a frozen head needs the run's own patterns
        capture = replace(capture, patterns=True)
    done = 0
    for places in runs_of(loaded, prompts, how, capture):

        def told(recurrences: int, n: int = len(places), before: int = done) -> None:
            report((before + n * recurrences / how.recurrences) / len(prompts))

        yield from run_places(loaded, prompts, places, how, capture, told)
        done += len(places)


def run_places(
    loaded: Loaded,
    prompts: Sequence[Prompt],
    places: Sequence[int],
    how: HowRun,
    capture: Capture,
    told: Callable[[int], None] = lambda recurrences: None,
) -> Iterator[tuple[int, Recording]]:
    """Run the prompts at ``places`` in one run; one after the other where that cannot be.

    ``told`` is given the recurrences done.
    """
    recordings = None
    if len(places) > 1:
        begin = Begin(how.seed, how.start, how.start_scale)
        chosen = [prompts[i] for i in places]
        recordings = run_together(loaded, chosen, how.recurrences, capture, begin, told)
    alone = (_alone(loaded, prompts[i], how, capture, told) for i in places)
    yield from zip(places, recordings or alone, strict=True)


def runs_of(
    loaded: Loaded, prompts: Sequence[Prompt], how: HowRun, capture: Capture
) -> list[list[int]]:
    """Which prompts share a run, by their places."""
    if how.interventions:
        return [[i] for i in range(len(prompts))]
    lengths = [len(prompt.token_ids) for prompt in prompts]
    return batches([loaded], lengths, lambda n: row_bytes(loaded, n, how.recurrences, capture))


def _alone(
    loaded: Loaded, prompt: Prompt, how: HowRun, capture: Capture, told: Callable[[int], None]
) -> Recording:
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
        told(r + 1)
    return recording


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
    missing = {m.key: [""] * len(prompts) for m in measures}
    capture = least_capture(loaded, tokens[0], measures)
    for i, recording in run_each(loaded, tokens, how, capture, report):
        prepare(recording)
        for m in measures:
            measured = measure(recording, m)
            missing[m.key][i] = measured.missing
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
