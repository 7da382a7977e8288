"""Continue a text: each token is looped until its exit, with keys and values kept.

What is computed is what the model gives when the whole text is run again, to within rounding,
as long as every token is run for the same recurrences. A token that left early lends the keys and
values of its last recurrence to later ones (`core.model.caching`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import LoopscopeError
from loopscope.core.generation.exit_rules import ExitRule, Leaving
from loopscope.core.generation.sampling import Sampling
from loopscope.core.model.architecture import Architecture
from loopscope.core.model.caching import Cache
from loopscope.core.model.rope import Rope
from loopscope.core.prompts.tokenizer import Prompt
from loopscope.core.run.start import Start, drawn, resolved


@dataclass(frozen=True, slots=True)
class Plan:
    """How a text is continued.

    tokens : to add.  recurrences : of the prompt, and the most that a new token may take.
    exit : when a token leaves earlier, or None: all take ``recurrences``.
    seed, start, start_scale : of the start states, as `Stepper.begin` has them; a random start
        is drawn once for the prompt and all new tokens.
    stops : token ids that end the text; they are given too.
    """

    tokens: int
    recurrences: int
    exit: ExitRule | None = None
    seed: int = 0
    start: Start = "default"
    start_scale: float = 1.0
    stops: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was added.

    probability : the model's own, before any temperature.
    recurrences : that the position took which this token was read out at.
    """

    token_id: int
    probability: float
    recurrences: int


def why_not(arch: Architecture) -> str:
    """Why a text cannot be continued by a model of this kind, or ""."""
    if arch.masked:
        return "every position attends to later ones, so a new token would change all before it"
    if arch.prefix or arch.answers_in_place:
        return "its answers stand where they are asked, so none is the next token"
    return ""


def check(loaded: Loaded, prompt: Prompt, plan: Plan) -> None:
    """Raise `LoopscopeError` for what this model cannot do."""
    arch = loaded.architecture
    if problem := why_not(arch):
        raise LoopscopeError(f"{loaded.checkpoint.name} cannot continue a text: {problem}")
    if plan.tokens < 1 or plan.recurrences < 1:
        raise LoopscopeError("at least one token and one recurrence are needed")
    length, most = len(prompt.token_ids) + plan.tokens, loaded.tokenizer.max_positions
    if length > most:
        raise LoopscopeError(
            f"{length} tokens with the prompt's; this model has positions for {most}"
        )
    if plan.exit is not None:
        plan.exit.check(arch)


def continue_text(
    loaded: Loaded, prompt: Prompt, plan: Plan, sampling: Sampling | None = None
) -> Iterator[NewToken]:
    """Yield each new token as it is made; stop asking to stop.

    Raises `LoopscopeError` for what `check` refuses, before anything is computed, and where a
    readout is not finite.
    """
    check(loaded, prompt, plan)
    return _tokens(loaded, prompt, plan, sampling or Sampling())


def _tokens(loaded: Loaded, prompt: Prompt, plan: Plan, sampling: Sampling) -> Iterator[NewToken]:
    text = _Text(loaded, prompt, plan)
    ids = list(prompt.token_ids)
    for _ in range(plan.tokens):
        with torch.inference_mode():
            logits, recurrences = text.next_logits(ids)
            token, probability = sampling.draw(logits)
        yield NewToken(token, probability, recurrences)
        if token in plan.stops:
            return
        ids.append(token)


class _Text:
    """The text so far, in keys and values."""

    def __init__(self, loaded: Loaded, prompt: Prompt, plan: Plan) -> None:
        self._loaded, self._plan = loaded, plan
        arch, n = loaded.architecture, len(prompt.token_ids)
        self._length = n + plan.tokens
        self._cache = Cache(self._length)
        self._start: Tensor | None = None
        if resolved(plan.start, arch) == "random":
            shape = (1, self._length, arch.d_model)
            self._start = drawn(arch, shape, plan.seed, plan.start_scale)
        # Where the angles depend on how long the text is, nothing kept stays right.
        self._keeps = rotates_alike(arch.layer.rope, arch.layer.d_head, n, self._length)

    def next_logits(self, ids: list[int]) -> tuple[Tensor, int]:
        """Logits ``[V]`` after the last token, and the recurrences it took."""
        if not self._keeps:
            self._cache = Cache(len(ids))
        new = ids[self._cache.n_kept :]
        if new[:-1]:
            self._run(new[:-1], None)
        return self._run(new[-1:], self._plan.exit)

    def _run(self, ids: list[int], rule: ExitRule | None) -> tuple[Tensor, int]:
        loaded, cache, plan = self._loaded, self._cache, self._plan
        tokens = torch.tensor([ids], device=loaded.device.device)
        model = loaded.model.continuing(tokens, cache)
        e = model.prelude(tokens)
        noise = None
        if self._start is not None:
            noise = self._start[:, cache.n_kept : cache.n_kept + len(ids)]
        recurrent = model.begin(model.initial_state(e, noise))

        def logits() -> Tensor:
            """Of the last token; the coda is run for all, which keeps their keys and values."""
            return model.head(model.coda(recurrent.state)[:, -1:])[:, 0]

        watch = None
        if rule is not None:
            watch = Leaving(rule, model.arch, lambda: model.hazard(recurrent)[:, -1], logits)
        taken = 0
        for taken in range(1, plan.recurrences + 1):
            before = recurrent.state
            recurrent = model.recur(recurrent, e, first=taken == 1, recurrence=taken)
            if watch is not None and watch.leaves(recurrent.state, before):
                break
        read = logits() if watch is None or watch.read is None else watch.read
        cache.keep(len(ids), taken)
        return read[0], taken


def rotates_alike(rope: Rope, d_head: int, first: int, last: int) -> bool:
    """Whether texts of ``first`` to ``last`` tokens have the same rotary frequencies.

    Dynamic scaling and LongRoPE change them with the length, and with them every key kept.
    """
    if rope.pairs == "none" or rope.rounded:
        return True
    one, other = (rope.frequencies(d_head, n) for n in (first, last))
    return bool(np.array_equal(one, other))
