"""Exchange states over the prompt set, or over generated pairs of prompts of the task hops."""

from __future__ import annotations

import numpy as np

from loopscope.core.analyses.prompts_asked import prompts_asked, words_of
from loopscope.core.experiments.hops import VOCABULARY, make_batch, text_of
from loopscope.core.experiments.studies.interchange import other_queries
from loopscope.core.measures.interchange import Interchange
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.over_prompts.interchange import interchange
from loopscope.core.over_prompts.quality import asked_of
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.run.together import Begin
from loopscope.core.selection import Selection
from loopscope.core.views.interchange import Options

# Prompts of fewer hops have their answer before the later exchanges.
HOPS = 6
PAIRS = f"generated prompts of {HOPS} hops, in pairs of one graph with other queries"


def run(
    stepper: Stepper, selection: Selection, options: Options, job: Job[Interchange]
) -> Interchange:
    """Exchange what the settings say, at every place of runs as long as that in the bench."""
    recording, loaded = stepper.recording, stepper.loaded
    n, seed = int(options.prompts), int(options.seed)
    arch = loaded.architecture
    # Pairs of one graph have the same edges: there is nothing else to exchange.
    paired = options.part != "others" and arch.vocab_size == len(VOCABULARY)
    if recording.shared.prompts is None and paired:
        prompts = pairs_of_queries(n, seed)
    else:
        prompts = prompts_asked(recording.shared, arch, n, seed)
    how = HowRun.like(recording, int(options.recurrences))
    return interchange(
        loaded, asked_of(loaded, prompts), prompts.has_answers, how.recurrences, options.part,
        words_of(prompts), begin=Begin(how.seed, how.start, how.start_scale), seed=seed,
        report=job.report,
    )  # fmt: skip


def pairs_of_queries(n: int, seed: int) -> PromptSet:
    """``n`` prompts, each beside one of the same graph and count with its queries moved."""
    hops = np.full((n + 1) // 2, HOPS)
    batch = make_batch(np.random.default_rng(seed), hops)
    other = other_queries(batch, seed)
    items: list[Item] = []
    for i in range(len(hops)):
        for part in (batch, other):
            answer = " ".join(VOCABULARY[int(t)] for t in part.answers[i])
            items.append(Item(text_of(part.tokens[i]), answer, len(items) + 1))
    return PromptSet("", PAIRS, tuple(items))
