"""Tokens are shown as the text they stand for, whatever way the tokenizer spells its pieces."""

from __future__ import annotations

import base64
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from loopscope.core.errors import CheckpointError, PromptError
from loopscope.core.prompts.tokenizer import PromptTokenizer, readable
from loopscope.core.prompts.tokenizer_limits import growth


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


BUNDLED = files("loopscope.resources") / "checkpoints" / "looped" / "tokenizer.json"


def changed(folder: Path, **parts: Any) -> PromptTokenizer:
    """The bundled tokenizer with some of its parts exchanged."""
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(BUNDLED.read_text()) | parts))
    return PromptTokenizer(file, 39, 256)


def test_truncation_and_padding_of_the_file_are_switched_off(tmp_path: Path) -> None:
    tokenizer = changed(
        tmp_path,
        truncation={"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
        padding={"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": None,
                 "pad_id": 3, "pad_type_id": 0, "pad_token": "<eos>"},
    )  # fmt: skip
    assert tokenizer.problem == ""
    assert "".join(tokenizer.encode("ab bc ca ? 2 : a b c").labels) == "abbcca?2:abc"
    assert "".join(tokenizer.encode("ab").labels) == "ab"


def test_ids_that_the_model_does_not_have_are_refused_from_text(tmp_path: Path) -> None:
    tokenizer = changed(tmp_path)
    known = tokenizer.encode("ab").token_ids
    small = PromptTokenizer(tmp_path / "tokenizer.json", max(known), 256)
    with pytest.raises(PromptError, match=f"reads 'b' as token {max(known)}, .* 0 to {known[0]}"):
        small.encode("ab")


def template(*pieces: str, special: tuple[str, ...] = ()) -> dict[str, Any]:
    """A post-processor: "A" stands for the prompt, anything else for a special token."""
    single = [{"Sequence" if p == "A" else "SpecialToken": {"id": p, "type_id": 0}} for p in pieces]
    tokens = {s: {"id": s, "ids": [1], "tokens": [s]} for s in special}
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": tokens,
    }


def test_a_panic_is_one_line_and_nothing_on_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Rust's panic is no `Exception`, and prints a stack trace by itself."""
    split = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated",
             "invert": False}  # fmt: skip
    tokenizer = changed(tmp_path, pre_tokenizer=split)
    with pytest.raises(PromptError, match=r"^the tokenizer cannot read this prompt: .*retry-limit"):
        tokenizer.encode("a" * 60 + "!")
    assert capfd.readouterr().err == ""
    assert tokenizer.from_ids((1, 2)).token_ids == (1, 2)  # token ids need no reading


def test_a_regular_expression_that_takes_for_ever_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopscope.core.prompts.tokenizer_limits.PATIENCE", 0.05)
    # Each start takes just less than the library's own limit of tries.
    split = {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated",
             "invert": False}  # fmt: skip
    tokenizer = changed(tmp_path, pre_tokenizer=split)
    with pytest.raises(PromptError, match=r"not done after 0.05 s .*regular expression"):
        tokenizer.encode("xxxxxxxxxxxxxxxxxxx " * 30)


REPLACE = {"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaa"}


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"normalizer": {"type": "Sequence", "normalizers": [REPLACE] * 40}}, "make .* of one"),
        ({"normalizer": REPLACE | {"content": "a" * 10_000}}, "make 1e\\+04 characters of one"),
        ({"normalizer": REPLACE | {"pattern": {"Regex": "a*"}, "content": "a" * 5_000}}, "of one"),
        ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}] * 40}},
         "of one"),
        ({"post_processor": template(*["A"] * 5_000)}, "of one"),
        ({"post_processor": {"type": "Sequence", "processors": [template("A", "A")] * 40}},
         "of one"),
        ({"post_processor": template("[CLS]", "A")}, "adds '\\[CLS\\]', which it does not define"),
        ({"model": 3}, "cannot be read"),
    ],
)  # fmt: skip
def test_a_tokenizer_that_could_make_anything_leaves_token_ids(
    tmp_path: Path, parts: dict[str, Any], problem: str
) -> None:
    """None of these is run: a prompt of one letter would fill the memory."""
    tokenizer = changed(tmp_path, **parts)
    assert re.search(problem, tokenizer.problem)
    assert "\n" not in tokenizer.problem
    with pytest.raises(PromptError, match="give token ids as #1,2,3"):
        tokenizer.encode("a")
    assert tokenizer.encode("#1,2").token_ids == (1, 2)
    assert tokenizer.label(2) == "2"


def test_ordinary_steps_are_far_from_the_limit() -> None:
    """The steps of ALBERT's tokenizer, with Unicode's longest replacement in its table."""
    table = b"\0" * 4 + b"x" * 33 + b"\0"
    steps = {
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Replace", "pattern": {"String": "``"}, "content": '"'},
            {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"},
            {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(table).decode()}]},
        "pre_tokenizer": {"type": "Metaspace"},
        "post_processor": template("[CLS]", "A", "[SEP]", special=("[CLS]", "[SEP]")),
    }  # fmt: skip
    assert growth(steps) < 100
    long = base64.b64encode(b"\0" * 4 + b"x" * 9_000).decode()
    with pytest.raises(CheckpointError, match="of one"):
        growth({"normalizer": {"type": "Precompiled", "precompiled_charsmap": long}})


def test_the_unknown_token_may_be_written_but_nothing_may_become_it(tmp_path: Path) -> None:
    added = [{"id": 0, "content": "<unk>", "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True}]  # fmt: skip
    tokenizer = changed(tmp_path, added_tokens=added)
    assert tokenizer.encode("ab <unk> b").labels == ("a", "b", "<unk>", "b")
    with pytest.raises(PromptError, match="no token for 'é'"):
        tokenizer.encode("ab é")
    with pytest.raises(PromptError, match="no token for '<'"):
        changed(tmp_path).encode("ab <unk> b")  # this one takes it apart


def test_an_unknown_token_of_any_name_is_noticed(tmp_path: Path) -> None:
    for model in (
        models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"),
        models.Unigram([("nothing", 0.0), ("a", -1.0)], 0, False),
    ):
        file = tmp_path / "tokenizer.json"
        Tokenizer(model).save(str(file))
        with pytest.raises(PromptError, match="no token for 'é'"):
            PromptTokenizer(file, 9, 9).encode("é")


def test_text_that_is_not_utf_8_is_one_line(tmp_path: Path) -> None:
    text = b"ab \xff".decode("utf-8", "surrogateescape")  # as an argument of the command line
    with pytest.raises(PromptError, match=r"not UTF-8 text \(character 4\)"):
        changed(tmp_path).encode(text)
