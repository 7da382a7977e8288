"""Compare the model of the run with that of the second run, over a prompt set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.hops import make_batch, text_of
from loopscope.core.measures.correspondence import ModelCorrespondence, correspondences
from loopscope.core.measures.places import Places
from loopscope.core.over_prompts.measuring import encoded
from loopscope.core.over_prompts.pair_states import PairStates, pair_states
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.jobs import Job
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.correspondence import STATE_KEYS, Options

# Hop counts of generated prompts.
HOPS = (1, 2, 3, 4, 5, 6)


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
    report: Callable[[float], None] = lambda share: None,
) -> ModelCorrespondence:
    """What `run` does; the second run says how far the other model is run."""
    second = second_run.loaded
    prompts, words = _prompts(recording, first, second, options)
    r_one = recording.n_recurrences
    r_other = 1 if second.architecture.runs_once else max(second_run.recording.n_recurrences, 1)
    pair = pair_states(
        first, second, prompts, (r_one, r_other), seed=options.seed,
        report=lambda share: report(0.7 * share),
    )  # fmt: skip
    widths = pair.first.shape[-1], pair.second.shape[-1]
    why: dict[str, str] = {}
    if widths[0] != widths[1]:
        why["cosine"] = (
            f"A cosine needs states of one width; these have {widths[0]} and {widths[1]}."
        )
    states = correspondences(
        list(pair.first), list(pair.second), measures=[k for k in STATE_KEYS if k not in why],
        n_prompts=len(prompts[0]), positions=pair.positions,
        permutations=int(options.permutations), seed=options.seed,
        report=lambda share: report(0.7 + 0.3 * share),
    )  # fmt: skip
    a, b = first.architecture, second.architecture
    places, second_places = _places(first, r_one), _places(second, r_other)
    return ModelCorrespondence(
        first=first.checkpoint.name,
        second=second.checkpoint.name,
        places=places,
        second_places=second_places,
        depths=np.array(places.depths) + a.n_prelude,
        second_depths=np.array(second_places.depths) + b.n_prelude,
        n_prompts=len(prompts[0]),
        n_tokens=pair.first.shape[1],
        prompts=words,
        states=states,
        why=why,
        **_by_head(pair, len(places), len(second_places)),
    )


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


def _prompts(
    recording: Recording, first: Loaded, second: Loaded, options: Options
) -> tuple[tuple[list[Prompt], list[Prompt]], str]:
    """The prompts as each model reads them, and a description of them."""
    n = int(options.prompts)
    given = recording.shared.prompts
    if given is not None:
        kept = type(given)(given.path, given.name, given.items[:n])
        return (encoded(first.tokenizer, kept), encoded(second.tokenizer, kept)), (
            f"prompts of {given.name}"
        )
    counts = np.array([HOPS[i % len(HOPS)] for i in range(n)])
    batch = make_batch(np.random.default_rng(options.seed), counts)
    texts = [text_of(row) for row in batch.tokens]
    try:
        pair = [[m.tokenizer.encode(text) for text in texts] for m in (first, second)]
    except LoopscopeError as error:
        raise LoopscopeError(
            f"the second model cannot read the prompts of the task hops ({error}); open a prompt "
            "file for both"
        ) from None
    return (pair[0], pair[1]), "generated prompts, 1 to 6 hops"
