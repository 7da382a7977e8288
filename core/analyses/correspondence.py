"""Compare the model of the run with that of the second run, over a prompt set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from loopscope.core.analyses.prompts_asked import prompts_asked, words_of
from loopscope.core.arrays import I64
from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.errors import LoopscopeError
from loopscope.core.measures.correspondence import (
    LEAST_MEAN,
    Correspondence,
    ModelCorrespondence,
    SeedReference,
    correspondences,
    fewest_alike,
    without_position_means,
)
from loopscope.core.measures.places import Places
from loopscope.core.over_prompts.measuring import encoded
from loopscope.core.over_prompts.pair_states import PairStates, Positions, pair_states
from loopscope.core.over_prompts.quality import asked_of
from loopscope.core.prompts.prompt_set import PromptSet
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.jobs import Job
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.correspondence import STATE_KEYS, Options

Compared = dict[str, Correspondence]
Report = Callable[[float], None]


def run(
    stepper: Stepper, selection: Selection, options: Options, job: Job[ModelCorrespondence]
) -> ModelCorrespondence:
    """Run the prompts through both models and compare them.

    Raises `LoopscopeError` without a second run whose model is here, and for prompts that cannot be
    compared.
    """
    if not isinstance(job.second_run, Stepper):
        raise LoopscopeError("two models are compared: there is no second run")
    return compare(stepper.recording, stepper.loaded, job.second_run, options, job.report)


def compare(
    recording: Recording,
    first: Loaded,
    second_run: Stepper,
    options: Options,
    report: Report = lambda share: None,
) -> ModelCorrespondence:
    """What `run` does; the second run says how far the other model is run."""
    second = second_run.loaded
    prompts = prompts_asked(
        recording.shared, first.architecture, int(options.prompts), int(options.seed)
    )
    if options.tokens == "answers":
        prompts = _answered(prompts)
    once = second.architecture.runs_once
    lengths = recording.n_recurrences, 1 if once else max(second_run.recording.n_recurrences, 1)
    pairs = [(first, second, lengths)]
    for path in filter(None, (part.strip() for part in options.reference.split(","))):
        pairs.append(_reference(load(path, first.device.device.type), first, second, lengths))

    def part(i: int) -> Report:
        return lambda share: report((i + share) / len(pairs))

    (pair, states, without), *others = (
        _compared(*each, prompts, options, i == 0, part(i)) for i, each in enumerate(pairs)
    )
    places, second_places = _places(first, lengths[0]), _places(second, lengths[1])
    return ModelCorrespondence(
        first=first.checkpoint.name,
        second=second.checkpoint.name,
        places=places,
        second_places=second_places,
        depths=np.array(places.depths) + first.architecture.n_prelude,
        second_depths=np.array(second_places.depths) + second.architecture.n_prelude,
        n_prompts=pair.n_prompts,
        n_diverged=len(prompts) - pair.n_prompts,
        n_tokens=pair.first.shape[1],
        prompts=words_of(prompts),
        states=states,
        without_means=without,
        why=_why(first, second),
        tokens=options.tokens,
        references=tuple(
            SeedReference(a.checkpoint.name, b.checkpoint.name, of_states, of_rest)
            for (a, b, _), (_, of_states, of_rest) in zip(pairs[1:], others, strict=True)
        ),
        **_by_head(pair, len(places), len(second_places)),
    )


def _why(first: Loaded, second: Loaded) -> dict[str, str]:
    """Measures that cannot be taken of the two, and why."""
    widths = first.architecture.d_model, second.architecture.d_model
    if widths[0] == widths[1]:
        return {}
    return {
        "cosine": f"A cosine needs states of one width; these have {widths[0]} and {widths[1]}."
    }


def _reference(
    other: Loaded, first: Loaded, second: Loaded, lengths: tuple[int, int]
) -> tuple[Loaded, Loaded, tuple[int, int]]:
    """Which of the two models another seed goes with, and how far both are run.

    Raises `LoopscopeError` for a model of the kind of neither.
    """
    for model, n in ((first, lengths[0]), (second, lengths[1])):
        if _kind(other) == _kind(model):
            return model, other, (n, n)
    raise LoopscopeError(
        f"{other.checkpoint.name} is of the kind of neither model: a reference has the layers and "
        "the width of one of them"
    )


def _kind(loaded: Loaded) -> tuple[object, ...]:
    a = loaded.architecture
    return a.n_prelude, a.n_block, a.n_unique_block, a.n_coda, a.d_model, a.injection, a.runs_once


def _compared(
    first: Loaded, second: Loaded, lengths: tuple[int, int], prompts: PromptSet, options: Options,
    heads: bool, report: Report,
) -> tuple[PairStates, Compared, Compared]:  # fmt: skip
    """Run both models and compare their states, as they are and with position means taken out."""
    positions: Positions | None = None
    if options.tokens == "answers":
        read, positions = _answers(first, second, prompts)
    else:
        read = _read(first, second, prompts)
    pair = pair_states(
        first, second, read, lengths, heads=heads, seed=int(options.seed), positions=positions,
        report=lambda share: report(0.6 * share),
    )  # fmt: skip
    # Answers are compared in their order, wherever in a prompt they stand.
    alike: I64 | None = None if positions is not None else pair.positions
    n, xs, ys = pair.n_prompts, list(pair.first), list(pair.second)
    measures = [key for key in STATE_KEYS if key not in _why(first, second)]

    def of(a: list[Any], b: list[Any], begin: float) -> Compared:
        return correspondences(
            a, b, measures=measures, n_prompts=n, positions=alike,
            permutations=int(options.permutations), seed=int(options.seed),
            report=lambda share: report(begin + 0.2 * share),
        )  # fmt: skip

    states, without = of(xs, ys, 0.6), {}
    if fewest_alike(alike, n) >= LEAST_MEAN:
        rest = [[without_position_means(x, n, alike) for x in side] for side in (xs, ys)]
        without = of(rest[0], rest[1], 0.8)
    report(1.0)
    return pair, states, without


def _by_head(pair: PairStates, n: int, m: int) -> dict[str, Any]:
    def apart(distances: np.ndarray | None) -> np.ndarray | None:
        if distances is None:
            return None
        rows, columns = distances.shape
        return distances.reshape(n, rows // n, m, columns // m)

    return {"heads": apart(pair.heads), "heads_null": apart(pair.heads_null)}


def _places(loaded: Loaded, recurrences: int) -> Places:
    arch = loaded.architecture
    marks = tuple(arch.layer_mark(layer) for layer in range(arch.n_block))
    return Places(tuple(range(1, recurrences + 1)), marks)


def _read(first: Loaded, second: Loaded, prompts: PromptSet) -> tuple[list[Prompt], list[Prompt]]:
    """The prompts as each model reads them."""
    if prompts.path:
        return encoded(first.tokenizer, prompts), encoded(second.tokenizer, prompts)
    try:
        return encoded(first.tokenizer, prompts), encoded(second.tokenizer, prompts)
    except LoopscopeError as error:
        raise LoopscopeError(
            f"the second model cannot read the prompts of the task hops ({error}); open a prompt "
            "file for both"
        ) from None


def _answered(prompts: PromptSet) -> PromptSet:
    """Those prompts that have answers. Raises `LoopscopeError` where none has."""
    items = tuple(item for item in prompts.items if item.answer is not None)
    if not items:
        raise LoopscopeError(f"{prompts.name} gives no answers: compare drawn tokens")
    return replace(prompts, items=items)


def _answers(
    first: Loaded, second: Loaded, prompts: PromptSet
) -> tuple[tuple[list[Prompt], list[Prompt]], Positions]:
    """The prompts with their answers, and where these are read out: the last ones, equally many.

    Raises `LoopscopeError` where the two models are read out at different places.
    """
    asked = [asked_of(model, prompts) for model in (first, second)]
    if any(a.positions != b.positions for a, b in zip(*asked, strict=True)):
        raise LoopscopeError("the two models give their answers in different places")
    fewest = min(len(a.positions) for a in asked[0])
    read = [a.prompt for a in asked[0]], [a.prompt for a in asked[1]]
    return read, [np.array(a.positions[-fewest:], np.int64) for a in asked[0]]
