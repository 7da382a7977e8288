"""What is asked of a prompt: places and right tokens, with tokenizers that merge, begin and end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from models import random_model, tiny_architecture
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import PromptError
from loopscope.core.experiments.native_folder import save_native
from loopscope.core.prompts.answers import (
    ANSWERS_IN_PLACE,
    NO_ANSWER_GIVEN,
    ONE_TOKEN,
    SEES_IT,
    Asked,
    ask,
    convention_of,
)
from loopscope.core.prompts.prompt_set import Item
from loopscope.core.prompts.tokenizer import PromptTokenizer

NATIVE = tiny_architecture()
CAUSAL = replace(NATIVE, task="")
MASKED = replace(NATIVE, layer=replace(NATIVE.layer, causal=False), task="")


@pytest.fixture(scope="module")
def letters() -> PromptTokenizer:
    return load("bundled:looped", "cpu").tokenizer


@pytest.fixture
def merging(tmp_path: Path) -> PromptTokenizer:
    """a, b, ab and a blank are tokens; <s> is put before a prompt and </s> behind it."""
    vocab = {"<s>": 0, "</s>": 1, "a": 2, "b": 3, "ab": 4, " ": 5, "[MASK]": 6}
    tokenizer = Tokenizer(models.BPE(vocab, [("a", "b")]))
    tokenizer.add_special_tokens(["<s>", "</s>", "[MASK]"])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return PromptTokenizer(tmp_path / "tokenizer.json", 7, 16)


def asked(tokenizer, text, answer, arch=CAUSAL, convention="next", joining="space", **kwargs):
    item = Item(text, answer, 1)
    return ask(tokenizer, item, arch, convention, joining, answers=kwargs.get("answers", True))


def test_each_model_has_its_own_convention() -> None:
    assert convention_of(NATIVE) == "in place"
    assert convention_of(MASKED) == "in place"
    assert convention_of(CAUSAL) == "next"


def test_a_native_model_of_text_says_the_next_token_before_and_after_it_is_saved(
    tmp_path: Path,
) -> None:
    for task, convention in (("", "next"), ("hops", "in place")):
        save_native(tmp_path / convention, random_model(replace(NATIVE, task=task)))
        arch = open_checkpoint(str(tmp_path / convention)).architecture
        assert arch.family == "native"
        assert convention_of(arch) == convention


def test_in_place_the_answers_are_at_the_last_positions(letters) -> None:
    found = asked(letters, "ab bc ca ? 2 : a b c", "c a b", NATIVE, "in place")
    assert found.prompt.token_ids == letters.encode("ab bc ca ? 2 : a b c").token_ids
    assert found.positions == (9, 10, 11)
    assert found.targets == tuple(letters.encode("c a b").token_ids)
    assert found.opens == "ab bc ca ? 2 : a b c"


def test_in_place_the_answers_are_at_the_masks(merging) -> None:
    found = asked(merging, "a[MASK]b[MASK]", "ba", MASKED, "in place")
    assert found.prompt.token_ids == (0, 2, 6, 3, 6, 1)
    assert (found.positions, found.targets) == ((2, 4), (3, 2))
    with pytest.raises(PromptError, match=r"the answer has 1 token, the prompt 2 of \[MASK\]"):
        asked(merging, "a[MASK]b[MASK]", "a", MASKED, "in place")


def test_in_place_an_answer_longer_than_the_prompt_is_refused(letters) -> None:
    with pytest.raises(PromptError, match="the answer has 3 tokens, more than the 2 tokens"):
        asked(letters, "a b", "a b c", NATIVE, "in place")


@pytest.mark.parametrize(
    ("text", "answer", "joining", "ids", "start", "opens"),
    [
        ("a", "b", "space", (0, 2, 5, 3), 2, "#0,2,5,3"),  # "a b": the blank is the answer's
        ("a", " b", "nothing", (0, 2, 5, 3), 2, "#0,2,5,3"),
        ("a ", "b", "space", (0, 2, 5, 3), 3, "#0,2,5,3"),
        ("a", "b", "nothing", (0, 4), 1, "#0,4"),  # merged over the boundary: all of it is asked
        ("#2,3", "#4", "space", (2, 3, 4), 2, "#2,3,4"),
        ("#2,3", "a", "space", (2, 3, 2), 2, "#2,3,2"),
    ],
)
def test_a_following_answer_is_what_the_prompt_alone_does_not_have(
    merging, text, answer, joining, ids, start, opens
) -> None:
    found = asked(merging, text, answer, joining=joining)
    assert found.prompt.token_ids == ids  # what stands behind a prompt is left out: it goes on
    assert found.targets == ids[start:]
    assert found.positions == tuple(range(start - 1, len(ids) - 1))
    assert found.opens == opens
    assert merging.encode(found.opens).token_ids == ids


def test_the_text_opens_where_it_gives_the_same_tokens(letters) -> None:
    found = asked(letters, "ab ba ? 1 :", "a b")
    assert found.opens == "ab ba ? 1 : a b"
    assert letters.encode(found.opens).token_ids == found.prompt.token_ids


def test_what_cannot_be_put_together_says_why(letters) -> None:
    with pytest.raises(PromptError, match="ask it in place"):
        asked(letters, "a", "b", MASKED)
    with pytest.raises(PromptError, match="token id 99 is out of range"):
        asked(letters, "#1,2", "#99", NATIVE, "in place")
    with pytest.raises(PromptError, match="positions for 256"):
        asked(letters, "a " * 200, "b " * 100)


def test_without_answers_a_text_is_scored_by_its_next_tokens(letters) -> None:
    found = asked(letters, "a b c", None, answers=False)
    ids = letters.encode("a b c").token_ids
    assert (found.positions, found.targets) == ((0, 1), ids[1:])

    def why(text: str, arch, convention="next", answers=False) -> str:
        found: Asked = asked(letters, text, None, arch, convention, answers=answers)
        assert found.positions == found.targets == ()
        return found.missing

    assert why("a", CAUSAL) == ONE_TOKEN
    assert why("a b", MASKED, "in place") == SEES_IT
    assert why("a b", MASKED) == SEES_IT
    assert why("a b", NATIVE, "in place") == ANSWERS_IN_PLACE
    assert why("a b", CAUSAL, answers=True) == NO_ANSWER_GIVEN
