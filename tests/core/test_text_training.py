"""Training on text: what is held out, what is predicted, the loss, and the model that comes out."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import plain_forward

from loopscope.app.cli.main import main
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.architectures import default_architecture
from loopscope.core.experiments.batches import Curriculum
from loopscope.core.experiments.native_folder import RECORD_FILE
from loopscope.core.experiments.text import TextTask, encode, held_out_loss, read_corpus
from loopscope.core.experiments.text_results import (
    by_token,
    final_passes,
    measure_text,
    read_text_results,
)
from loopscope.core.experiments.training import Training
from loopscope.core.experiments.training_plan import Recurrences, TextData, TrainingPlan, plan_of
from loopscope.core.model.looped_model import LoopedModel
from loopscope.core.run.stepper import Stepper

VOCABULARY = 280
WORDS = [
    "the",
    "state",
    "of",
    "a",
    "loop",
    "is",
    "what",
    "it",
    "keeps",
    "and",
    "every",
    "layer",
    "reads",
    "it",
    "and",
    "writes",
    "it",
    "again",
]


@pytest.fixture(scope="module")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    lines = [f"line {i}: " + " ".join(rng.choice(WORDS, 8)) for i in range(400)]
    lines[19] = "Ünïcödé, held out"
    file = tmp_path_factory.mktemp("corpus") / "text.txt"
    file.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return file


def at(step: int) -> Curriculum:
    return Curriculum(step, 1, 0.0, -1, [])


def test_every_twentieth_line_is_held_out_and_nothing_is_lost(corpus_file: Path) -> None:
    from tokenizers import Tokenizer

    corpus = read_corpus(corpus_file, VOCABULARY)
    tokenizer = Tokenizer.from_str(corpus.tokenizer)
    assert tokenizer.get_vocab_size() == VOCABULARY
    lines = corpus_file.read_text(encoding="utf-8").split("\n")[:400]
    held = [line for i, line in enumerate(lines) if i % 20 == 19]
    rest = [line for i, line in enumerate(lines) if i % 20 != 19]
    assert tokenizer.decode(corpus.held_out.tolist()) == "\n".join(held) + "\n"
    assert tokenizer.decode(corpus.training.tolist()) == "\n".join(rest) + "\n"
    assert corpus.held_out_bytes == len(("\n".join(held) + "\n").encode())
    assert corpus.sha256 == hashlib.sha256(corpus_file.read_bytes()).hexdigest()
    # Trained on what is not held out: the same file gives the same encoding again.
    assert read_corpus(corpus_file, VOCABULARY).tokenizer == corpus.tokenizer


def test_every_position_predicts_the_next_token_of_the_text(corpus_file: Path) -> None:
    corpus = read_corpus(corpus_file, VOCABULARY)
    plan = plan_of("text", data=TextData(context=12), batch_size=5, seed=3)
    batch = TextTask(plan, corpus).batch(at(4))
    text = corpus.training.tobytes()
    for row, following in zip(batch.tokens.numpy(), batch.target(None).numpy(), strict=True):
        assert np.array_equal(row[1:], following[:-1])
        assert np.append(row, following[-1]).astype(np.uint16).tobytes() in text
    # Another recipe of the same seed: the same sequences, other recurrences.
    other = plan_of("text", data=TextData(context=12), batch_size=5, seed=3,
                    recurrences=Recurrences("drawn", most=1))  # fmt: skip
    again = TextTask(other, corpus).batch(at(4))
    assert torch.equal(again.tokens, batch.tokens)
    assert again.n_recurrences == 1
    drawn = {TextTask(plan, corpus).batch(at(i)).n_recurrences for i in range(100)}
    assert drawn == {1, 2, 3, 4, 5, 6}


def test_the_loss_on_held_out_text_is_that_of_a_plain_forward() -> None:
    arch = default_architecture(d_model=16, vocab_size=50)
    torch.manual_seed(2)
    model = LoopedModel(arch).requires_grad_(False)
    tokens = np.random.default_rng(0).integers(0, 50, 38).astype(np.uint16)
    losses = held_out_loss(model, tokens, n_passes=3, per_pass=2, context=12, batch_size=2)
    assert losses.shape == (3, 3)  # 37 predictions hold three sequences of 12
    for row in range(3):
        part = tokens[12 * row : 12 * row + 13]
        logits = plain_forward(model, tuple(map(int, part[:-1])), 3)["logits"]
        shifted = logits - logits.max(-1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        expected = -log_p[:, np.arange(12), part[1:]].mean(-1)
        np.testing.assert_allclose(losses[row], expected, atol=1e-5)


def test_a_text_training_learns_and_resumes(corpus_file: Path, tmp_path: Path) -> None:
    corpus = read_corpus(corpus_file, VOCABULARY)
    plan = TrainingPlan(
        data=TextData(corpus.sha256, VOCABULARY, 24), steps=60, batch_size=8, finishing_steps=10,
        recurrences=Recurrences("drawn", most=3), learning_rate=4e-3,
    )  # fmt: skip
    arch = default_architecture(d_model=32, vocab_size=VOCABULARY)
    straight = Training(tmp_path / "a", plan, arch, TextTask(plan, corpus))
    losses: list[float] = []
    straight.run(lambda p: losses.append(p.loss))
    assert losses[0] == pytest.approx(math.log(VOCABULARY), abs=1.0)
    assert np.mean(losses[-5:]) < losses[0] - 1.0
    assert straight.progress.learnt == []
    first = Training(tmp_path / "b", plan, arch, TextTask(plan, corpus))
    for _ in range(20):
        first.step()
    first.save()
    again = Training(tmp_path / "b", plan, arch, TextTask(plan, corpus))
    rest: list[float] = []
    again.run(lambda p: rest.append(p.loss))
    assert rest == losses[20:]


def test_the_command_makes_a_model_that_the_bench_runs(
    corpus_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--corpus", str(corpus_file), "--steps", "2", "--d-model", "16", "--batch", "2"]
    sizes += ["--vocabulary", str(VOCABULARY)]
    for model, expected in (("looped", 6), ("untied", 1), ("deep", 1), ("shallow", 1)):
        folder = tmp_path / model
        assert main(["train", "text", "-o", str(folder), "--model", model, *sizes]) == 0
        assert "nats a token" in capsys.readouterr().out
        loaded = load(str(folder), "cpu")
        assert loaded.architecture.trained_recurrences == expected
        stepper = Stepper(loaded)
        prompt = loaded.tokenizer.encode("the state of a loop")
        assert "".join(prompt.labels) == "the state of a loop", prompt.labels
        recording = stepper.begin(prompt)
        stepper.step()
        assert recording.n_tokens == len(prompt.token_ids)
        record = json.loads((folder / RECORD_FILE).read_text())
        assert (
            record["plan"]["data"]["corpus"] == hashlib.sha256(corpus_file.read_bytes()).hexdigest()
        )


def test_bad_corpora_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "few").write_text("one line\n")
    (tmp_path / "latin").write_bytes(b"caf\xe9\n" * 40)
    for name, words in (
        ("none", "cannot be read"),
        ("few", "at least 20 are needed"),
        ("latin", "is not UTF-8"),
    ):
        with pytest.raises(LoopscopeError, match=words):
            read_corpus(tmp_path / name, VOCABULARY)
    (tmp_path / "short").write_text("abc\n" * 40)
    with pytest.raises(LoopscopeError, match="tokens, not 280"):
        read_corpus(tmp_path / "short", VOCABULARY)
    assert main(["train", "text", "-o", str(tmp_path / "m")]) == 2
    assert "needs --corpus FILE" in capsys.readouterr().err


def test_encoding_ends_every_line(corpus_file: Path) -> None:
    corpus = read_corpus(corpus_file, VOCABULARY)
    ids = encode(corpus.tokenizer, ["a", "b"])
    breaks = encode(corpus.tokenizer, [""])
    assert len(breaks) == 1
    assert (ids == breaks[0]).sum() == 2


def test_a_gloss_becomes_a_line_of_its_words() -> None:
    import importlib.util

    file = Path(__file__).parents[2] / "tools" / "wordnet_glosses.py"
    spec = importlib.util.spec_from_file_location("wordnet_glosses", file)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    # Made up in the form of wndb(5).
    noun = '00003553 03 n 02 loop 0 closed_path 1 002 @ 00002684 n 0000 ~ 01462023 v 0204 | a  way back; "a | b"  '
    adjective = "00001740 00 a 01 looped(p) 0 000 | run again"
    assert tool.line_of(noun) == 'loop, closed path: a way back; "a | b"'
    assert tool.line_of(adjective) == "looped: run again"
    assert tool.line_of("  1 This software and database | is being provided") is None


def test_a_corpus_of_which_too_little_is_held_out_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The loss on no sequence at all would be no number."""
    (tmp_path / "short").write_text("a line of the corpus with words in it\n" * 60)
    arguments = ["--corpus", str(tmp_path / "short"), "--vocabulary", "257", "--steps", "1"]
    assert main(["train", "text", "-o", str(tmp_path / "m"), *arguments]) == 2
    assert "the held-out part has" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_a_row_of_a_text_model_is_its_loss_on_held_out_lines(
    corpus_file: Path, tmp_path: Path
) -> None:
    folder, file = tmp_path / "m", tmp_path / "text.json"
    options = ["--corpus", str(corpus_file), "--vocabulary", str(VOCABULARY), "--steps", "1"]
    options += ["--d-model", "16", "--batch", "2", "--half"]
    assert main(["train", "text", "-o", str(folder), *options]) == 0
    corpus = read_corpus(corpus_file, VOCABULARY)
    row = measure_text(folder, corpus, sequences=3)
    losses = held_out_loss(
        load(str(folder), "cpu").model, corpus.held_out[: 3 * 128 + 1], n_passes=32, per_pass=2
    )
    np.testing.assert_allclose(row.loss, losses.mean(0))
    np.testing.assert_allclose(row.gained, (losses[:, :1] - losses).mean(0), atol=1e-12)
    assert all(a <= b <= c for a, b, c in zip(row.low, row.loss, row.high, strict=True))
    assert (row.model, row.steps, row.trained, row.sequences) == ("text-looped", 1, 6, 3)
    text = "".join(line + "\n" for i, line in enumerate(
        line for line in corpus_file.read_text("utf-8").split("\n") if line
    ) if i % 20 == 19)  # fmt: skip
    tokens = len(corpus.held_out)
    assert row.bits_per_byte == pytest.approx(
        losses.mean(0)[5] * tokens / math.log(2) / len(text.encode())
    )
    assert len(row.final_from) == 16
    assert row.final_from[-1] == 1
    file.write_text(json.dumps([row.as_json()]))
    assert read_text_results(file)[0].as_json() == row.as_json()
    file.write_text("[{}]")
    with pytest.raises(LoopscopeError, match="no results of text"):
        read_text_results(file)
    other = tmp_path / "other.txt"
    other.write_text(corpus_file.read_text("utf-8") + "one line more\n", encoding="utf-8")
    with pytest.raises(LoopscopeError, match="another corpus"):
        measure_text(folder, read_corpus(other, VOCABULARY))


def test_an_answer_is_final_from_where_it_no_longer_changes() -> None:
    arch = replace(default_architecture(d_model=16, vocab_size=50), embedding_scale=0.3)
    torch.manual_seed(4)
    model = LoopedModel(arch).requires_grad_(False)
    for weight in model.parameters():
        weight.normal_(std=0.5)
    tokens = np.random.default_rng(1).integers(0, 50, 24).astype(np.uint16)
    final = final_passes(model, tokens, context=8, per_pass=2, n=5)
    assert final.shape == (3, 8)
    for row in range(3):
        logits = plain_forward(model, tuple(map(int, tokens[8 * row : 8 * row + 8])), 5)["logits"]
        tops = [logits[r].argmax(-1) for r in range(-5, 0)]
        for i in range(8):
            said = [int(top[i]) for top in tops]
            first = next(r for r in range(1, 6) if len(set(said[r - 1 :])) == 1)
            assert final[row, i] == first
    assert len(np.unique(final)) > 1
    model.unembed.weight[7] = math.nan  # says nothing: there is no final answer to have
    assert (final_passes(model, tokens, context=8, per_pass=2, n=5) == 6).all()
    rows = by_token(np.array([3, 3, 7] * 25, np.uint16), np.array([[1, 2, 5] * 25]), str)
    assert rows == [("3", 1.5, 50), ("7", 5.0, 25)]
