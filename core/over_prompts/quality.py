"""Accuracy and perplexity of a prompt set after each recurrence, in one pass: nothing is run again.

Going from R to R + 1 recurrences costs one recurrence and one readout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from loopscope.core.arrays import F64
from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import PromptError
from loopscope.core.measures.intervals import wilson_share
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.measures.quality import Quality, perplexity_of
from loopscope.core.model.float64 import float64
from loopscope.core.over_prompts.batches import batches
from loopscope.core.over_prompts.measuring import Seen, at_line, check_cuts
from loopscope.core.prompts.answers import Asked, Convention, Joining, ask, convention_of
from loopscope.core.prompts.prompt_set import PromptSet
from loopscope.core.run.requests import check_recurrences
from loopscope.core.run.run_warnings import REMEDY
from loopscope.core.run.stepper import Stepper, least_for
from loopscope.core.run.together import Begin, Together

Report = Callable[[float], None]
# Takes place of the prompt, row of the recurrence, and what `_score` says of its targets.
Put = Callable[[int, int, npt.NDArray[np.bool_], F64], None]


def asked_of(
    loaded: Loaded,
    prompts: PromptSet,
    convention: Convention | None = None,
    joining: Joining = "space",
) -> list[Asked]:
    """What is asked of each prompt; None takes the model's own convention.

    Raises `PromptError` that names the file and the line.
    """
    arch = loaded.architecture
    convention = convention or convention_of(arch)
    questions = []
    for item in prompts.items:
        try:
            questions.append(
                ask(loaded.tokenizer, item, arch, convention, joining, answers=prompts.has_answers)
            )
        except PromptError as error:
            raise at_line(prompts, item, error) from None
    return questions


@torch.inference_mode()
def quality_over(
    loaded: Loaded,
    prompts: PromptSet,
    how: HowRun,
    convention: Convention | None = None,
    joining: Joining = "space",
    report: Report = lambda share: None,
    seen: Seen = lambda recording: None,
) -> Quality:
    """Read every prompt out after each recurrence and compare with what is right.

    Answers are scored where the file gives any (prompts without one are left out), else the texts'
    own next tokens. A readout that is not finite gives no right answer. Prompts that may share a
    run do (`batches`). ``seen`` is given the run of every prompt in which a cut was made. Raises
    `PromptError` before anything is run, also for a cut that cannot be made in a prompt (its answer
    included where that follows it).
    """
    check_recurrences(how.recurrences)
    convention = convention or convention_of(loaded.architecture)
    every = asked_of(loaded, prompts, convention, joining)
    scored = [(i, a.prompt) for i, a in zip(prompts.items, every, strict=True) if a.positions]
    check_cuts(loaded, prompts, scored, how)
    shape = len(every), how.recurrences
    right, nll = np.full(shape, np.nan), np.full(shape, np.nan)

    def put(i: int, r: int, says: npt.NDArray[np.bool_], surprise: F64) -> None:
        nll[i, r] = surprise.sum()
        if prompts.has_answers:
            # In place each position is a question of its own; what follows is right as a whole.
            right[i, r] = says.mean() if convention == "in place" else says.all()

    asked = {i: question for i, question in enumerate(every) if question.positions}
    for i, question in asked.items() if how.interventions else ():
        for r, (says, surprise) in enumerate(_readouts(loaded, question, how, seen)):
            put(i, r, says, surprise)
            report((i + (r + 1) / how.recurrences) / len(every))
    if not how.interventions:
        _score_together(loaded, asked, how, put, report)
    tokens = np.array([float(len(question.targets)) for question in every])
    return Quality(
        prompts,
        how,
        convention,
        joining,
        "answers" if prompts.has_answers else "text",
        right,
        nll,
        tokens,
        tuple(question.opens for question in every),
        tuple(question.missing for question in every),
        wilson_share(right),
        perplexity_of(nll, tokens),
    )


def _readouts(
    loaded: Loaded, question: Asked, how: HowRun, seen: Seen
) -> Iterator[tuple[npt.NDArray[np.bool_], F64]]:
    """`_score` of one prompt's targets after each recurrence, with the cuts of ``how``."""
    stepper = Stepper(loaded, least_for(how.interventions))
    begun = stepper.begin(
        question.prompt,
        seed=how.seed,
        start=how.start,
        start_scale=how.start_scale,
        interventions=how.interventions,
    )
    model, positions = stepper.model, list(question.positions)
    for _ in range(how.recurrences):
        stepper.step()
        state = torch.from_numpy(begun.states[-1].copy())[None].to(stepper.injected)
        yield _score(model.head(model.coda(state)[0, positions]), torch.tensor(question.targets))
    seen(begun)


def _score_together(
    loaded: Loaded, asked: dict[int, Asked], how: HowRun, put: Put, report: Report
) -> None:
    """Give ``put`` what every prompt says after each recurrence; nothing but that is kept."""
    places = list(asked)
    arch = loaded.architecture

    def bytes_of(n: int) -> int:
        # Logits, their logarithms and what both are made of, in float64; states.
        return n * (8 * 4 * arch.vocab_size + 4 * 4 * arch.d_model)

    lengths = [len(asked[i].prompt.token_ids) for i in places]
    done = 0
    for run in batches([loaded], lengths, bytes_of):
        chosen = {places[i]: asked[places[i]] for i in run}

        def told(r: int, n: int = len(run), before: int = done) -> None:
            report((before + n * r / how.recurrences) / len(places))

        if not _score_run(loaded, chosen, how, put, told):
            for i, question in chosen.items():
                _score_run(loaded, {i: question}, how, put, told)
        done += len(run)


def _score_run(
    loaded: Loaded, asked: dict[int, Asked], how: HowRun, put: Put, told: Callable[[int], None]
) -> bool:
    """Score prompts that share a run; False where their padding spoilt it (`Together.sound`)."""
    questions = list(asked.values())
    run = Together(
        loaded, [q.prompt for q in questions], Begin(how.seed, how.start, how.start_scale)
    )
    sizes = [len(q.positions) for q in questions]
    rows = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    positions = torch.tensor([at for q in questions for at in q.positions])
    targets = torch.tensor([target for q in questions for target in q.targets])
    cuts = np.cumsum(sizes)[:-1]
    for r in range(how.recurrences):
        read = run.model.coda(run.step())[rows, positions]
        says, surprise = _score(run.model.head(read), targets)
        parts = np.split(says, cuts), np.split(surprise, cuts)
        for i, own, nats in zip(asked, *parts, strict=True):
            put(i, r, own, nats)
        told(r + 1)
    return run.sound


def _score(read: Tensor, targets: Tensor) -> tuple[npt.NDArray[np.bool_], F64]:
    """Of logits ``[n, V]``: whether each target is the top answer, and its ``−log p`` in nats."""
    logits = float64(read).cpu()
    surprise = -logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    # NaN answers nothing, though `argmax` names a token.
    right = (logits.argmax(-1) == targets) & logits.isfinite().all(-1)
    return right.numpy(), surprise.numpy()


def not_finite_line(quality: Quality, dtype: str) -> str:
    """Say in how many prompts the readout is not finite and from where on; "" for none."""
    scored = quality.tokens > 0
    diverged = ~np.isfinite(quality.nll) & scored[:, None]
    if not diverged.any():
        return ""
    n, first = int(diverged.any(1).sum()), int(np.flatnonzero(diverged.any(0))[0]) + 1
    where = f"in {n} of {int(scored.sum())} prompts the readout is not finite"
    return f"{where}, from recurrence {first} on: {REMEDY[dtype]}"
