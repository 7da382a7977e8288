"""Tokens are shown as the text they stand for, whatever way the tokenizer spells its pieces."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from loopscope.core.errors import PromptError
from loopscope.core.prompts.tokenizer import PromptTokenizer, readable


@pytest.mark.parametrize(
    ("piece", "spelling", "text"),
    [
        ("ĠHello", "bytes", " Hello"),
        ("ä½łå¥½", "bytes", "你好"),
        ("ä½", "bytes", "\\xe4\\xbd"),  # half a character
        ("Ċĉ", "bytes", "\n\t"),
        ("<|end|> of it", "bytes", "<|end|> of it"),  # a space is no byte-level spelling
        ("▁the", "metaspace", " the"),
        ("<0x0A>", "metaspace", "\n"),
        ("<0xE4>", "metaspace", "\\xe4"),
        ("Ġ", "", "Ġ"),
    ],
)
def test_pieces_are_readable(piece: str, spelling: str, text: str) -> None:
    assert readable(piece, spelling) == text


def test_labels_of_a_byte_level_tokenizer_join_to_the_prompt(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    text = "naïve Ünïcode 你好\n\tit's <|im_start|> Ġ here"
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|im_start|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([text] * 5, trainer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    prompts = PromptTokenizer(tmp_path / "tokenizer.json", 300, 128)
    labels = prompts.encode(text).labels
    assert "<|im_start|>" in labels
    whole = [label for label in labels if "\\x" not in label]
    assert all(label in text for label in whole)
    assert len(whole) > 10
    assert prompts.label(299) == "299"  # the model has it, the tokenizer does not


def test_labels_of_a_metaspace_tokenizer(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE(byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback()])
    tokenizer.train_from_iterator(["the cat the cat"], trainers.BpeTrainer(vocab_size=60))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    prompts = PromptTokenizer(tmp_path / "tokenizer.json", 60, 128)
    assert "".join(prompts.encode("the cat").labels) == " the cat"


@pytest.mark.parametrize(
    ("part", "value", "prompt", "problem"),
    [
        ("post_processor", {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {},
        }, "ab bc", "no entry found"),
        ("pre_tokenizer", {
            "type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated",
            "invert": False,
        }, "a" * 60 + "!", "retry-limit"),
    ],
)  # fmt: skip
def test_a_tokenizer_that_panics_is_one_line(
    tmp_path: Path, part: str, value: dict[str, Any], prompt: str, problem: str
) -> None:
    """Rust's panic is no `Exception`; it must not take the thread with it."""
    bundled = files("loopscope.resources") / "checkpoints" / "looped" / "tokenizer.json"
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(json.loads(bundled.read_text()) | {part: value}))
    tokenizer = PromptTokenizer(file, 39, 256)
    with pytest.raises(PromptError, match=f"the tokenizer cannot read this prompt: .*{problem}"):
        tokenizer.encode(prompt)
    assert tokenizer.from_ids((1, 2)).token_ids == (1, 2)  # token ids need no reading
