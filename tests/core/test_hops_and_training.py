"""The task, the training and the evaluation of the bundled model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from models import tiny_architecture, tiny_checkpoint

from loopscope.app.cli.main import main
from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.evaluation import evaluate_hops, table
from loopscope.core.experiments.hops import VOCABULARY, chance_level, make_batch, text_of
from loopscope.core.experiments.native_folder import save_native
from loopscope.core.experiments.training import (
    STATE_FILE,
    Training,
    TrainingPlan,
    default_architecture,
    twin_architecture,
)
from loopscope.core.measures.intervals import wilson_interval

pytestmark = pytest.mark.slow


def solve(text: str) -> list[str]:
    """Follow the pointers by hand, from the prompt's text alone."""
    edges, rest = text.split(" ? ")
    count, queries = rest.split(" : ")
    step = {edge[0]: edge[1] for edge in edges.split()}
    answers = []
    for letter in queries.split():
        for _ in range(int(count)):
            letter = step[letter]
        answers.append(letter)
    return answers


@pytest.mark.parametrize("cycle", [True, False])
def test_answers_are_those_of_following_the_text(cycle: bool) -> None:
    hops = np.array([1, 2, 3, 4, 5, 6, 9])
    batch = make_batch(np.random.default_rng(0), hops, n_letters=8, cycle=cycle)
    for tokens, answers in zip(batch.tokens, batch.answers, strict=True):
        assert solve(text_of(tokens)) == [VOCABULARY[t] for t in answers]
    assert batch.tokens.shape == (7, 8 * 2 + 3 + 8)


def test_the_anytime_target_walks_and_stays() -> None:
    batch = make_batch(np.random.default_rng(1), np.array([2, 4]))
    queries = batch.tokens[:, -8:]
    np.testing.assert_array_equal(batch.target(0), queries)
    np.testing.assert_array_equal(batch.target(4), batch.answers)
    np.testing.assert_array_equal(batch.target(9), batch.answers)
    np.testing.assert_array_equal(batch.target(2)[0], batch.answers[0])
    assert (batch.target(2)[1] != batch.answers[1]).all()


def test_the_chance_level_is_that_of_guessing_another_letter() -> None:
    batch = make_batch(np.random.default_rng(0), np.full(4000, 3), n_letters=8)
    queries = batch.tokens[:, -8:]
    others = np.where(queries[:, 0] == queries[:, 1], queries[:, 2], queries[:, 1])
    guess = (batch.answers[:, 0] == others).mean()
    assert abs(guess - chance_level(3, 8)) < 4 * np.sqrt(1 / 7 * 6 / 7 / 4000)
    assert (batch.answers != queries).all()
    assert chance_level(8, 8) == 1.0


def test_the_wilson_interval_against_scipy() -> None:
    from scipy.stats import binomtest

    for right, n in ((0, 20), (7, 20), (1990, 2000), (2000, 2000)):
        truth = binomtest(right, n).proportion_ci(method="wilson")
        np.testing.assert_allclose(wilson_interval(right, n), truth, atol=1e-12)
    assert np.isnan(wilson_interval(0, 0)).all()


def test_a_killed_training_resumes_with_the_step_it_would_have_made(tmp_path: Path) -> None:
    plan = TrainingPlan(seed=5, minutes=1e6, batch_size=8)
    arch = default_architecture(d_model=16)
    straight = Training(tmp_path / "a", plan, arch)
    losses = [straight.step().loss for _ in range(8)]
    first = Training(tmp_path / "b", plan, arch)
    for _ in range(4):
        first.step()
    first.save()
    again = Training(tmp_path / "b", plan, arch)
    assert again.progress.step == 4
    assert [again.step().loss for _ in range(4)] == losses[4:]
    for name, p in straight.model.state_dict().items():
        assert torch.equal(p, again.model.state_dict()[name])
    assert not list((tmp_path / "b").glob("*.part"))
    with pytest.raises(LoopscopeError, match="begun with seed 5, not 6"):
        Training(tmp_path / "b", TrainingPlan(seed=6), arch)
    with pytest.raises(LoopscopeError, match="another architecture"):
        Training(tmp_path / "b", plan, default_architecture(d_model=32))
    assert (tmp_path / "b" / STATE_FILE).is_file()


def test_training_keeps_to_its_time(tmp_path: Path) -> None:
    training = Training(tmp_path, TrainingPlan(minutes=0.02, batch_size=4), tiny_architecture())
    training.run(lambda p: None)
    assert 0.02 <= training.progress.minutes < 0.2
    assert training.share_done == 1.0


def test_training_learns(tmp_path: Path) -> None:
    plan = TrainingPlan(seed=0, steps=60, max_hops=1, batch_size=16, learning_rate=3e-3)
    training = Training(tmp_path, plan, default_architecture(d_model=32))
    losses = []
    training.run(lambda p: losses.append(p.loss))
    assert np.mean(losses[-10:]) < np.mean(losses[:3]) - 0.3
    assert training.share_done == 1.0
    assert training.progress.finishing
    save_native(tmp_path / "model", training.model)
    loaded = load(str(tmp_path / "model"), "cpu")
    for name, p in training.model.state_dict().items():
        assert torch.equal(p, loaded.model.state_dict()[name])


def test_evaluation_agrees_with_a_plain_forward(tmp_path: Path) -> None:
    loaded = load(str(tiny_checkpoint(tmp_path / "m")), "cpu")
    evaluation = evaluate_hops(loaded, hops=(2,), recurrences=3, n_examples=40, batch_size=16)
    rng = np.random.default_rng(1_000_003)
    right = 0.0
    for b in (16, 16, 8):
        batch = make_batch(rng, np.full(b, 2))
        logits = loaded.model(torch.from_numpy(batch.tokens), 3)[:, -8:]
        right += float((logits.argmax(-1).numpy() == batch.answers).mean(1).sum())
    assert evaluation.cell(2, 3).accuracy == pytest.approx(right / 40)
    assert "hops" in table(evaluation)


def test_the_task_refuses_a_model_of_another_vocabulary(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "m", tiny_architecture(vocab_size=50), tokenizer=False)
    with pytest.raises(LoopscopeError, match="has 50 tokens"):
        evaluate_hops(load(str(folder), "cpu"))


def test_the_bundled_model_walks_the_pointer_and_settles() -> None:
    """The figures of the model card, on fewer examples (300; the card has 2,000)."""
    loaded = load("bundled:looped", "cpu")
    result = evaluate_hops(loaded, hops=(1, 2, 3), recurrences=32, n_examples=300, seed=7)
    at = {r: np.mean([result.cell(k, r).accuracy for k in (1, 2, 3)]) for r in (16, 32)}
    assert at[16] >= 0.98
    assert at[32] >= 0.97
    assert result.cell(3, 1).accuracy <= 0.45
    assert result.cell(3, 1).accuracy <= result.cell(3, 2).accuracy < result.cell(3, 3).accuracy
    assert max(result.cell(k, 16).relative_step for k in (1, 2, 3)) <= 0.005


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("deep", {1: (0.99, 1), 3: (0.99, 1), 5: (0.99, 1), 6: (0.99, 1)}),
        ("shallow", {1: (0.99, 1), 3: (0.10, 0.27), 5: (0.10, 0.27), 6: (0.78, 0.93)}),
    ],
)
def test_the_bundled_twins_are_what_their_cards_say(
    name: str, expected: dict[int, tuple[float, float]]
) -> None:
    """The figures of the cards, on fewer examples (200; the cards have 2,000)."""
    loaded = load(f"bundled:{name}", "cpu")
    result = evaluate_hops(loaded, hops=tuple(expected), recurrences=1, n_examples=200, seed=7)
    for hops, (low, high) in expected.items():
        assert low <= result.cell(hops, 1).accuracy <= high, hops


def test_the_bundled_three_are_of_one_task_and_small() -> None:
    looped, deep, shallow = (load(f"bundled:{k}", "cpu") for k in ("looped", "deep", "shallow"))
    assert shallow.architecture.n_parameters == looped.architecture.n_parameters
    assert deep.architecture.effective_depth(1) == looped.architecture.effective_depth(6)
    folders = [model.checkpoint.path for model in (looped, deep, shallow)]
    assert len({(folder / "tokenizer.json").read_bytes() for folder in folders}) == 1
    for folder in folders:
        assert sum(f.stat().st_size for f in folder.iterdir()) <= 4 * 1024**2


def test_a_training_counted_in_steps_takes_that_many_however_often_it_is_stopped(
    tmp_path: Path,
) -> None:
    plan = TrainingPlan(steps=8, batch_size=4)
    whole = Training(tmp_path / "whole", plan, tiny_architecture())
    whole.run(lambda p: None)
    assert whole.progress.step == 8
    assert whole.progress.finishing  # the last third of the steps
    assert whole.share_done == 1.0
    parts = Training(tmp_path / "parts", plan, tiny_architecture())
    for _ in range(3):
        parts.step()
    parts.save()
    parts = Training(tmp_path / "parts", plan, tiny_architecture())
    parts.run(lambda p: None)
    assert parts.progress.step == 8
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, parts.model.state_dict()[name]), name
    with pytest.raises(LoopscopeError, match="counts its length in steps"):
        Training(tmp_path / "parts", TrainingPlan(minutes=1.0), tiny_architecture())


def test_variants_leave_out_what_they_say() -> None:
    plain = default_architecture()
    assert (plain.injection, plain.closing_norm, plain.initial_state) == ("concat", True, "zeros")
    bare = default_architecture(n_block=4, injection="none", state_norm=False)
    assert (bare.n_block, bare.injection, bare.closing_norm) == (4, "none", False)
    assert bare.initial_state == "embedding"


def test_the_train_command_makes_a_variant(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    options = ["--steps", "2", "--d-model", "16", "--block", "1", "--injection", "add"]
    done = main(["train", "hops", "-o", str(folder), "--hops", "1", *options, "--no-state-norm"])
    assert done == 0
    arch = open_checkpoint(str(folder)).architecture
    assert (arch.n_block, arch.injection, arch.closing_norm) == (1, "add", False)


def test_a_deep_twin_has_the_depth_of_the_looped_model_and_separate_weights() -> None:
    looped = twin_architecture("looped", 6)
    deep, shallow = twin_architecture("deep", 6), twin_architecture("shallow", 6)
    assert looped == default_architecture()
    assert deep.deep
    assert deep.effective_depth(1) == looped.effective_depth(6) == 14
    assert deep.unique_depth == 14
    assert shallow.parameters() == looped.parameters()
    assert shallow.trained_recurrences == 1
    assert not shallow.deep


def test_passes_of_a_deep_twin_are_those_of_the_looped_model_unrolled() -> None:
    """A deep model made of copies of a block without injection or norm does what the loop does."""
    arch = default_architecture(d_model=16, injection="none", state_norm=False)
    looped = Training(Path("nowhere"), TrainingPlan(), arch)
    deep = Training(
        Path("nowhere"), TrainingPlan(passes=3), twin_architecture("deep", 3, d_model=16)
    )
    weights = looped.model.state_dict()
    copied = {
        name: weights[
            f"block.{int(name.split('.')[1]) % 2}.{name.split('.', 2)[2]}"
            if name.startswith("block.")
            else name
        ]
        for name in deep.model.state_dict()
    }
    deep.model.load_state_dict(copied)
    tokens = torch.from_numpy(make_batch(np.random.default_rng(0), np.array([1, 2])).tokens)
    for n in (1, 2, 3):
        pairs = zip(looped._ends(tokens, n), deep._ends(tokens, n), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert len(looped._ends(tokens, 1)) == 1
    assert len(looped._ends(tokens, 3)) == 2


def test_the_last_pass_of_a_twin_is_asked_for_the_final_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shallow model has one pass, whose anytime target would be one hop whatever was asked."""
    import loopscope.core.experiments.training as module

    asked, batches = [], []

    def loss(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        asked.append(answers.clone())
        return logits.sum()

    def batch_of(*arguments: object, **options: object) -> object:
        batches.append(make_batch(*arguments, **options))
        return batches[-1]

    monkeypatch.setattr(module.F, "cross_entropy", loss)
    monkeypatch.setattr(module, "make_batch", batch_of)
    plan = TrainingPlan(passes=1, max_hops=6, batch_size=16, steps=5, finishing_share=1.0)
    training = Training(tmp_path, plan, twin_architecture("shallow", 6, d_model=16))
    training.step()
    assert training.progress.hops == 6  # the finishing phase asks for every hop count
    assert batches[0].hops.max() > 1
    assert torch.equal(asked[0], torch.from_numpy(batches[0].answers).flatten())


def test_a_deep_model_is_not_trained_in_passes_that_do_not_divide_it(tmp_path: Path) -> None:
    deep = twin_architecture("deep", 3, d_model=16)
    with pytest.raises(LoopscopeError, match="6 layers cannot be trained in 4 passes"):
        Training(tmp_path, TrainingPlan(passes=4), deep)
    training = Training(tmp_path, TrainingPlan(passes=3), deep)
    training.save()
    with pytest.raises(LoopscopeError, match="begun with 3 passes, not 2"):
        Training(tmp_path, TrainingPlan(passes=2), deep)


def test_the_train_command_makes_the_twins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--hops", "2", "--steps", "2", "--d-model", "16"]
    for kind, blocks in (("deep", 4), ("shallow", 2)):
        folder = tmp_path / kind
        assert main(["train", "hops", "-o", str(folder), "--model", kind, *sizes]) == 0
        arch = open_checkpoint(str(folder)).architecture
        assert (arch.n_block, arch.trained_recurrences) == (blocks, 1)
    wrong = ["train", "hops", "-o", str(tmp_path / "x"), "--model", "shallow", "--passes", "2"]
    assert main(wrong) == 2
    assert "--passes is for --model deep" in capsys.readouterr().err
