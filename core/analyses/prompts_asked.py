"""The prompts that a measurement over prompts asks: those in use, or generated ones of the task."""

from __future__ import annotations

from dataclasses import replace

from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.hops import VOCABULARY, prompt_lines
from loopscope.core.model.architecture import Architecture
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.prompts.shared import Shared

GENERATED = "generated prompts, 1 to 6 hops"


def prompts_asked(shared: Shared, arch: Architecture, n: int, seed: int) -> PromptSet:
    """Return the first ``n`` prompts of the set in use, or so many of the task hops.

    Raises `LoopscopeError` for a model of another task without a prompt set.
    """
    if shared.prompts is not None:
        return replace(shared.prompts, items=shared.prompts.items[:n])
    if arch.vocab_size != len(VOCABULARY):
        raise LoopscopeError("no prompt set is in use; open a prompt file")
    lines = prompt_lines(n, seed=seed)
    items = (Item(line["prompt"], line["answer"], i) for i, line in enumerate(lines, start=1))
    return PromptSet("", GENERATED, tuple(items))


def words_of(prompts: PromptSet) -> str:
    """What the prompts are, for a statement: "prompts of FILE"."""
    return f"prompts of {prompts.name}" if prompts.path else prompts.name
