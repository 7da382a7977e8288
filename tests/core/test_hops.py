"""The task pointer chasing, its evaluation and what the bundled models do on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from models import tiny_architecture, tiny_checkpoint
from pointers import solved

from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.architectures import comparison_architecture
from loopscope.core.experiments.evaluation import Cell, Evaluation, evaluate_hops, table
from loopscope.core.experiments.hops import VOCABULARY, chance_level, make_batch, text_of
from loopscope.core.experiments.studies.subject import Subject
from loopscope.core.experiments.studies.walk import far_hops, periods, walk
from loopscope.core.measures.intervals import wilson_interval


@pytest.mark.parametrize("cycle", [True, False])
def test_answers_are_those_of_following_the_text(cycle: bool) -> None:
    hops = np.array([1, 2, 3, 4, 5, 6, 9])
    batch = make_batch(np.random.default_rng(0), hops, n_letters=8, cycle=cycle)
    for tokens, answers in zip(batch.tokens, batch.answers, strict=True):
        assert solved(text_of(tokens)) == [VOCABULARY[t] for t in answers]
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


def test_the_last_pass_of_a_deep_model_is_read_out_as_the_model_itself(tmp_path: Path) -> None:
    arch = comparison_architecture("deep", tiny_architecture(), 3)
    loaded = load(str(tiny_checkpoint(tmp_path / "m", arch)), "cpu")
    options = {"hops": (1, 2), "n_examples": 40, "n_letters": 4, "recurrences": 3}
    found = evaluate_hops(loaded, **options, per_pass=2)
    whole = evaluate_hops(loaded, **options | {"recurrences": 1})
    for k in (1, 2):
        assert found.cell(k, 3).accuracy == whole.cell(k, 1).accuracy
    assert len({found.cell(1, r).accuracy for r in (1, 2, 3)}) > 1


def test_a_wide_table_goes_on_in_further_blocks_and_loses_no_cell() -> None:
    cells = tuple(
        Cell(k, r, r / 100 + k / 1000, 0.0, 1.0, 0.125, 10.0**-r)
        for k in (1, 2) for r in range(1, 21)
    )  # fmt: skip
    evaluation = Evaluation("m", 32, 8, 0, cells)
    whole = table(evaluation)
    assert max(map(len, whole.splitlines())) > 400
    narrow = table(evaluation, 80)
    assert max(map(len, narrow.splitlines())) <= 80
    for c in cells:
        assert f" {c.accuracy:.3f} 0.000-1.000" in narrow
    # Each block repeats its heads, so that a figure is read without scrolling back.
    assert [line.split()[2] for line in narrow.splitlines() if line.startswith("hops")] == [
        "R=1", "R=4", "R=7", "R=10", "R=13", "R=16", "R=19",
    ]  # fmt: skip
    assert table(evaluation, 5).count("hops  chance") == 20


def test_the_task_refuses_a_model_of_another_vocabulary(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "m", tiny_architecture(vocab_size=50), tokenizer=False)
    with pytest.raises(LoopscopeError, match="has 50 tokens"):
        evaluate_hops(load(str(folder), "cpu"))


def test_the_anytime_model_walks_the_pointer_and_settles() -> None:
    """The figures of the model card, on fewer examples (300; the card has 2,000)."""
    loaded = load("bundled:anytime", "cpu")
    result = evaluate_hops(loaded, hops=(1, 2, 3), recurrences=32, n_examples=300, seed=7)
    at = {r: np.mean([result.cell(k, r).accuracy for k in (1, 2, 3)]) for r in (16, 32)}
    assert at[16] >= 0.98
    assert at[32] >= 0.97
    assert result.cell(3, 1).accuracy <= 0.45
    assert result.cell(3, 1).accuracy <= result.cell(3, 2).accuracy < result.cell(3, 3).accuracy
    assert max(result.cell(k, 16).relative_step for k in (1, 2, 3)) <= 0.005


def test_the_orbit_walks_on_whatever_is_asked_and_comes_round() -> None:
    """The figures of the model card, on fewer examples (60; the card has 400)."""
    orbit = Subject(load("bundled:orbit", "cpu").model, 2)
    found = walk(orbit, hops=(1, 3, 6), passes=14, n=60)
    assert found.at_k.min() > 0.97
    assert found.walked.min() > 0.97
    # It goes on: k hops are answered after k recurrences and a round later, not between.
    assert found.accuracy[:, 6].max() < 0.05
    assert found.accuracy[2, 13] > 0.95
    assert far_hops(orbit, at=(6, 16, 64), n=40).min() > 0.9
    # 20 graphs of n letters in one cycle: the state comes round after n recurrences.
    for n in (5, 8):
        of = periods(orbit, n=5, n_letters=n)
        assert (of == n).mean() > 0.5, n


def test_the_settled_model_walks_stops_and_settles() -> None:
    """The figures of its card, on fewer examples (30; the card has 500)."""
    found = walk(Subject(load("bundled:settled", "cpu").model, 2), hops=(1, 3, 6), passes=32, n=30)
    for i, k in enumerate((1, 3, 6)):
        assert found.accuracy[i, k - 1 :].min() > 0.97, k
        assert found.accuracy[i, : k - 1].max(initial=0) < 0.05, k
    assert found.walked.min() > 0.9
    assert found.step[:, 19].max() < 1e-3


def test_the_halting_model_walks_and_stops() -> None:
    """The figures of its card, on fewer examples (40; the card has 500)."""
    found = walk(Subject(load("bundled:halting", "cpu").model, 2), hops=(1, 3, 6), passes=12, n=40)
    for i, k in enumerate((1, 3, 6)):
        assert found.accuracy[i, k - 1 :].min() > 0.95, k
        assert found.accuracy[i, : k - 1].max(initial=0) < 0.05, k
    assert found.walked.min() > 0.93


def test_a_small_step_is_not_an_answer_kept() -> None:
    """The figures of the card of bundled:creeping, on fewer examples (40; the card has 500)."""
    loaded = load("bundled:creeping", "cpu")
    result = evaluate_hops(loaded, hops=(2, 6), recurrences=64, n_examples=40, seed=7)
    for k in (2, 6):
        assert min(result.cell(k, r).accuracy for r in range(k, 13)) > 0.97
        assert result.cell(k, 64).accuracy < 0.4
        assert result.cell(k, 64).relative_step < 1e-5


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


def test_the_bundled_models_are_of_one_task_and_small() -> None:
    names = ("looped", "deep", "shallow", "anytime", "orbit", "creeping", "halting", "settled")
    looped, deep, shallow, *others = models = [load(f"bundled:{name}", "cpu") for name in names]
    assert {m.architecture.n_parameters for m in others} == {looped.architecture.n_parameters}
    assert shallow.architecture.n_parameters == looped.architecture.n_parameters
    assert deep.architecture.effective_depth(1) == looped.architecture.effective_depth(6)
    folders = [model.checkpoint.path for model in models]
    assert len({(folder / "tokenizer.json").read_bytes() for folder in folders}) == 1
    for folder in folders:
        assert sum(f.stat().st_size for f in folder.iterdir()) <= 4 * 1024**2
