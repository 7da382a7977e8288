"""Fit linear probes over the prompt set, or over generated prompts of the task hops."""

from __future__ import annotations

from loopscope.core.analyses.prompts_asked import prompts_asked, words_of
from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError, PromptError
from loopscope.core.experiments.hops import walk_of
from loopscope.core.measures.linear_probes import LinearProbes
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.over_prompts.linear_probes import Labelled, linear_probes
from loopscope.core.over_prompts.measuring import at_line, encoded
from loopscope.core.over_prompts.quality import asked_of
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.linear_probes import LabelKind, Options

# Hops whose letters are looked for.
MOST_HOPS = 6
KINDS: tuple[LabelKind, ...] = ("file", "hops", "answers", "tokens")


def run(
    stepper: Stepper, selection: Selection, options: Options, job: Job[LinearProbes]
) -> LinearProbes:
    """Label the prompts, run them as far as the bench has gone, fit and test."""
    loaded, recording = stepper.loaded, stepper.recording
    prompts = prompts_asked(
        recording.shared, loaded.architecture, int(options.prompts), int(options.seed)
    )
    return linear_probes(
        loaded, labelled(loaded, prompts, options.labels), HowRun.like(recording),
        words_of(prompts), permutations=int(options.permutations), seed=int(options.seed),
        report=job.report,
    )  # fmt: skip


def labelled(loaded: Loaded, prompts: PromptSet, kind: LabelKind) -> list[Labelled]:
    """Label every prompt: as asked, or by the first kind of label that there is.

    Raises `LoopscopeError` where there is none of the kind.
    """
    for wanted in KINDS if kind == "auto" else (kind,):
        made = _labelled(loaded, prompts, wanted)
        if any(one.labels for one in made):
            return made
    raise LoopscopeError(f"{prompts.name} has no labels of this kind")


def _labelled(loaded: Loaded, prompts: PromptSet, kind: LabelKind) -> list[Labelled]:
    if kind == "answers":
        return _answers(loaded, prompts)
    read = encoded(loaded.tokenizer, prompts)
    if kind == "file":
        return [
            Labelled(prompt, _of_file(prompts, item, prompt))
            for item, prompt in zip(prompts.items, read, strict=True)
        ]
    if kind == "hops" and loaded.architecture.task != "hops":
        return []
    return [Labelled(prompt, (_walk if kind == "hops" else _tokens)(prompt)) for prompt in read]


def _of_file(prompts: PromptSet, item: Item, prompt: Prompt) -> dict[str, tuple[str, ...]]:
    """The file's labels: one for each token, or for so many of the last tokens."""
    n, found = len(prompt.token_ids), {}
    for one in item.labels:
        if len(one.values) > n:
            problem = f"“{one.name}” has {len(one.values)} labels for {n} tokens"
            raise at_line(prompts, item, PromptError(problem))
        found[one.name] = ("",) * (n - len(one.values)) + one.values
    return found


def _walk(prompt: Prompt) -> dict[str, tuple[str, ...]]:
    """At each query the letter so many hops on, whatever count is asked; {} for another prompt."""
    walk = walk_of(prompt.labels, MOST_HOPS)
    n = len(prompt.labels)
    return {f"hop {h}": ("",) * (n - len(at)) + at for h, at in enumerate(walk)}


def _tokens(prompt: Prompt) -> dict[str, tuple[str, ...]]:
    """Labels that any text has: each token, the one before and the next."""
    own = tuple(map(str, prompt.token_ids))
    return {"this token": own, "token before": ("", *own[:-1]), "next token": (*own[1:], "")}


def _answers(loaded: Loaded, prompts: PromptSet) -> list[Labelled]:
    """The right answer at each token where it is read out."""
    if not prompts.has_answers:
        return []
    made = []
    for asked in asked_of(loaded, prompts):
        at = dict(zip(asked.positions, asked.targets, strict=True))
        own = tuple(str(at.get(t, "")) for t in range(len(asked.prompt.token_ids)))
        made.append(Labelled(asked.prompt, {"answer": own} if at else {}))
    return made
