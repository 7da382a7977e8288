"""What is asked of a prompt: where it is read out and which tokens are right there.

Two conventions. **In place**: the answer tokens stand at mask tokens of the prompt, or at its last
positions, and are what the readout there should say; so do the models trained on pointer chasing
and masked models. **Next**: the answer follows the prompt and is teacher-forced; the readout at
each position should say the token after it; so do ordinary language models. Without answers a
text's own next tokens are what should be said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from loopscope.core.errors import PromptError
from loopscope.core.model.architecture import Architecture
from loopscope.core.prompts.prompt_set import Item
from loopscope.core.prompts.tokenizer import Prompt, PromptTokenizer

Convention = Literal["in place", "next"]
Joining = Literal["space", "nothing"]
NO_ANSWER_GIVEN = "The file gives no answer for this prompt."
SEES_IT = "A bidirectional model sees the token it would predict: it has no next-token perplexity."
ANSWERS_IN_PLACE = (
    "This model answers in place and was not trained to say the next token: without answers there "
    "is nothing to score."
)
ONE_TOKEN = "One token has no next token: there is nothing to score."


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt to run, and what is right.

    prompt : what is run; with the answer, where that follows it.
    positions, targets : where it is read out, and the right token at each.
    opens : text that runs the same tokens in the bench.
    missing : why nothing is asked, or "".
    """

    prompt: Prompt
    positions: tuple[int, ...]
    targets: tuple[int, ...]
    opens: str
    missing: str = ""


def convention_of(arch: Architecture) -> Convention:
    """How a model gives its answers, as it was trained to."""
    return "in place" if arch.answers_in_place else "next"


def ask(
    tokenizer: PromptTokenizer,
    item: Item,
    arch: Architecture,
    convention: Convention,
    joining: Joining,
    *,
    answers: bool,
) -> Asked:
    """Work out what is asked of one prompt.

    ``answers`` says whether answers are scored (else texts are). Raises `PromptError` where prompt
    and answer cannot be put together.
    """
    prompt = tokenizer.encode(item.text)
    if not answers:
        why = SEES_IT if arch.masked else ANSWERS_IN_PLACE if convention == "in place" else ""
        why = why or (ONE_TOKEN if len(prompt.token_ids) < 2 else "")
        n = 0 if why else len(prompt.token_ids) - 1
        return Asked(prompt, tuple(range(n)), prompt.token_ids[1:] if n else (), item.text, why)
    if item.answer is None:
        return Asked(prompt, (), (), item.text, NO_ANSWER_GIVEN)
    if convention == "in place":
        targets = tokenizer.ids_of(item.answer)
        return Asked(prompt, _places(tokenizer, prompt, len(targets)), targets, item.text)
    if arch.masked:
        raise PromptError("a bidirectional model sees the answer that follows: ask it in place")
    return _followed(tokenizer, prompt, item.answer, joining)


def _places(tokenizer: PromptTokenizer, prompt: Prompt, n: int) -> tuple[int, ...]:
    """Positions of ``n`` answer tokens: the masks, or the last ``n`` without any."""
    mask = tokenizer.mask_token
    masks = tuple(i for i, label in enumerate(prompt.labels) if mask and label == mask)
    if masks and len(masks) != n:
        raise PromptError(f"the answer has {_tokens(n)}, the prompt {len(masks)} of {mask}")
    t = len(prompt.token_ids)
    if n > t:
        raise PromptError(f"the answer has {_tokens(n)}, more than the {_tokens(t)} of the prompt")
    return masks or tuple(range(t - n, t))


def _tokens(n: int) -> str:
    return "1 token" if n == 1 else f"{n} tokens"


def _followed(tokenizer: PromptTokenizer, prompt: Prompt, answer: str, joining: Joining) -> Asked:
    """Prompt and answer as one; the answer is all tokens that the prompt alone does not have.

    So a token that a merge makes of the end of one and the start of the other is the answer's.
    What the tokenizer puts behind a prompt (an end-of-text token) is left out: the text goes on.
    """
    text = prompt.text
    if tokenizer.is_ids(text) or tokenizer.is_ids(answer):
        ids, start = prompt.token_ids + tokenizer.ids_of(answer), len(prompt.token_ids)
        opens = "#" + ",".join(map(str, ids))
    else:
        apart = text[-1:].isspace() or answer[:1].isspace()
        opens = text + ("" if apart or joining == "nothing" else " ") + answer
        own = tokenizer.ids_of(text)
        before = _before(prompt.token_ids, own)
        whole = tokenizer.ids_of(opens)
        shared = 0
        while shared < min(len(own), len(whole)) and own[shared] == whole[shared]:
            shared += 1
        ids, start = before + whole, len(before) + shared
        if tokenizer.encode(opens).token_ids != ids:
            opens = "#" + ",".join(map(str, ids))
    if start == 0:
        raise PromptError("no token comes before the answer: nothing can say it")
    if start == len(ids):
        raise PromptError("the answer adds no token to the prompt")
    run = tokenizer.from_ids(ids)
    return Asked(run, tuple(range(start - 1, len(ids) - 1)), ids[start:], opens)


def _before(whole: tuple[int, ...], part: tuple[int, ...]) -> tuple[int, ...]:
    """What stands in ``whole`` before ``part``: a tokenizer's begin-of-text token, or nothing."""
    for i in range(len(whole) - len(part) + 1):
        if whole[i : i + len(part)] == part:
            return whole[:i]
    return ()
