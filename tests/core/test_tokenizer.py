"""Tokens are shown as the text they stand for, whatever way the tokenizer spells its pieces."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

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
