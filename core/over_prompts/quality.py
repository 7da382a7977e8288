"""Accuracy and perplexity of a prompt set after each recurrence, in one pass: nothing is run again.

Going from R to R + 1 recurrences costs one recurrence and one readout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch

from loopscope.core.arrays import F64
from loopscope.core.checkpoint.loading import Loaded
from loopscope.core.errors import PromptError
from loopscope.core.measures.intervals import wilson_share
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.measures.quality import Quality, perplexity_of
from loopscope.core.model.float64 import float64
from loopscope.core.over_prompts.measuring import Seen, at_line, check_cuts
from loopscope.core.prompts.answers import Asked, Convention, Joining, ask, convention_of
from loopscope.core.prompts.prompt_set import PromptSet
from loopscope.core.run.requests import check_recurrences
from loopscope.core.run.run_warnings import REMEDY
from loopscope.core.run.stepper import Stepper, least_for

Report = Callable[[float], None]


def asked_of(
    loaded: Loaded,
    prompts: PromptSet,
    convention: Convention | None = None,
    joining: Joining = "space",
) -> list[Asked]:
    """What is asked of each prompt; None takes the model's own convention.

    An error names the file and the line.
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
    own next tokens. A readout that is not finite gives no right answer. ``seen`` is given the run
    of every prompt that was scored. Raises `PromptError` before anything is run, also for a cut
    that cannot be made in a prompt (its answer included where that follows it).
    """
    check_recurrences(how.recurrences)
    convention = convention or convention_of(loaded.architecture)
    every = asked_of(loaded, prompts, convention, joining)
    scored = [(i, a.prompt) for i, a in zip(prompts.items, every, strict=True) if a.positions]
    check_cuts(loaded, prompts, scored, how)
    shape = len(every), how.recurrences
    right, nll = np.full(shape, np.nan), np.full(shape, np.nan)
    for i, question in enumerate(every):
        report(i / len(every))
        for r, (says, surprise) in enumerate(_readouts(loaded, question, how, seen)):
            nll[i, r] = surprise.sum()
            if prompts.has_answers:
                # In place each position is a question of its own; what follows is right as a whole.
                right[i, r] = says.mean() if convention == "in place" else says.all()
            report((i + (r + 1) / how.recurrences) / len(every))
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
    """After each recurrence: whether each target is the top answer, and its ``−log p`` in nats."""
    if not question.positions:
        return
    stepper = Stepper(loaded, least_for(how.interventions))
    begun = stepper.begin(
        question.prompt,
        seed=how.seed,
        start=how.start,
        start_scale=how.start_scale,
        interventions=how.interventions,
    )
    model, e = stepper.model, stepper.injected
    positions = torch.tensor(question.positions, device=e.device)
    targets = torch.tensor(question.targets)
    recurrent = model.begin(torch.from_numpy(begun.state(0).copy())[None].to(e))
    for r in range(how.recurrences):
        if how.interventions:
            stepper.step()
            state = torch.from_numpy(begun.states[-1].copy())[None].to(e)
        else:  # nothing of the run is kept but its state
            recurrent = model.recur(recurrent, e, first=r == 0, recurrence=r + 1)
            state = recurrent.state
        logits = float64(model.readout(state)[0, positions]).cpu()
        surprise = -logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
        # NaN answers nothing, though `argmax` names a token.
        right = (logits.argmax(-1) == targets) & logits.isfinite().all(-1)
        yield right.numpy(), surprise.numpy()
    seen(begun)


def not_finite_line(quality: Quality, dtype: str) -> str:
    """Say in how many prompts the readout is not finite and from where on; "" for none."""
    scored = quality.tokens > 0
    diverged = ~np.isfinite(quality.nll) & scored[:, None]
    if not diverged.any():
        return ""
    n, first = int(diverged.any(1).sum()), int(np.flatnonzero(diverged.any(0))[0]) + 1
    where = f"in {n} of {int(scored.sum())} prompts the readout is not finite"
    return f"{where}, from recurrence {first} on: {REMEDY[dtype]}"
