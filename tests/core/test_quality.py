"""Quality against recurrences, against a float64 forward written out in NumPy and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import write_checkpoint
from models import plain_forward, probabilities, tiny_architecture, tiny_checkpoint

from loopscope.core.analyses.quality import run
from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.errors import PromptError
from loopscope.core.measures.intervals import wilson_interval, wilson_share
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.measures.quality import QUALITY, perplexity_of
from loopscope.core.over_prompts.quality import quality_over
from loopscope.core.prompts.answers import ANSWERS_IN_PLACE, NO_ANSWER_GIVEN, ONE_TOKEN, SEES_IT
from loopscope.core.prompts.prompt_set import Item, PromptSet, read_prompts
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views import quality as view

R = 4


def prompts_of(*pairs: tuple[str, str | None]) -> PromptSet:
    items = tuple(Item(text, answer, i) for i, (text, answer) in enumerate(pairs, start=1))
    return PromptSet("p.jsonl", "p.jsonl", items)


@pytest.fixture
def tiny(tmp_path: Path) -> Loaded:
    return load(str(tiny_checkpoint(tmp_path / "m", tiny_architecture(), seed=3)), "cpu")


def log_p(loaded: Loaded, ids: tuple[int, ...]) -> np.ndarray:
    return np.log(probabilities(plain_forward(loaded.model, ids, R)["logits"]))


def test_in_place_it_is_what_the_plain_forward_says(tiny: Loaded) -> None:
    pairs = [("ab bc ca ? 2 : a b c", "c a b"), ("xy yx ? 1 : x y", "y x"), ("ab ba ? 1 : a", "b")]
    found = quality_over(tiny, prompts_of(*pairs), HowRun(R))
    assert (found.convention, found.scored) == ("in place", "answers")
    sums, n = np.zeros(R), 0
    for i, (text, answer) in enumerate(pairs):
        ids, targets = (
            tiny.tokenizer.encode(text).token_ids,
            tiny.tokenizer.encode(answer).token_ids,
        )
        lp = log_p(tiny, ids)[:, -len(targets) :]
        right = (lp.argmax(-1) == np.array(targets)).mean(1)
        nll = -lp[:, np.arange(len(targets)), targets].sum(1)
        np.testing.assert_allclose(found.right[i], right)
        np.testing.assert_allclose(found.nll[i], nll, rtol=1e-4)
        sums, n = sums + nll, n + len(targets)
    np.testing.assert_allclose(found.accuracy.value, found.right.mean(0))
    np.testing.assert_allclose(found.perplexity.value, np.exp(sums / n), rtol=1e-4)
    np.testing.assert_allclose(found.of_prompts("perplexity"),
                               np.exp(found.nll / np.array([[3], [2], [1]])))  # fmt: skip


def test_answers_that_follow_are_right_only_as_a_whole(tiny: Loaded) -> None:
    # The answers are what the model itself says at the last recurrence: one of them spoilt.
    text = "ab ba ? 1 :"
    ids = list(tiny.tokenizer.encode(text).token_ids)
    for _ in range(3):
        ids.append(int(log_p(tiny, tuple(ids))[-1, -1].argmax()))
    own = tuple(ids[-3:])
    spoilt = (own[0], own[1], (own[2] + 1) % 39)
    pairs = [("#" + ",".join(map(str, ids[:-3])), "#" + ",".join(map(str, a)))
             for a in (own, spoilt)]  # fmt: skip
    found = quality_over(tiny, prompts_of(*pairs), HowRun(R), "next")
    assert found.right[:, -1].tolist() == [1.0, 0.0]
    assert found.accuracy.value[-1] == 0.5
    for i, answer in enumerate((own, spoilt)):
        lp = log_p(tiny, (*ids[:-3], *answer))[:, -4:-1]
        every = (lp.argmax(-1) == np.array(answer)).all(1)
        np.testing.assert_array_equal(found.right[i], every)
        nll = -lp[:, np.arange(3), answer].sum(1)
        np.testing.assert_allclose(found.nll[i], nll, rtol=1e-4)


def test_the_perplexity_of_a_text_is_over_its_tokens_after_the_first(tiny: Loaded) -> None:
    texts = ["ab bc ca ? 2 : a b c", "xy yx ? 1 : x y"]
    found = quality_over(tiny, prompts_of(*((t, None) for t in texts)), HowRun(R), "next")
    assert found.scored == "text"
    sums, n = np.zeros(R), 0
    for text in texts:
        ids = tiny.tokenizer.encode(text).token_ids
        lp = log_p(tiny, ids)
        sums -= lp[:, np.arange(len(ids) - 1), ids[1:]].sum(1)
        n += len(ids) - 1
    np.testing.assert_allclose(found.perplexity.value, np.exp(sums / n), rtol=1e-4)
    assert np.isnan(found.accuracy.value).all()
    assert found.why_no_accuracy == "p.jsonl gives no answers: there is no accuracy."


def test_nothing_is_run_twice(tiny: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    run = type(tiny.model).run_layer
    monkeypatch.setattr(type(tiny.model), "run_layer",
                        lambda self, *a, **k: calls.append(1) or run(self, *a, **k))  # fmt: skip
    quality_over(tiny, prompts_of(("ab ba ? 1 : a", "b"), ("ab ba ? 1 : b", "a")), HowRun(9))
    assert len(calls) == 9 * tiny.architecture.n_block  # both prompts share a run


@pytest.mark.slow
def test_the_bundled_model_answers_k_hops_from_recurrence_k_on() -> None:
    loaded = load("bundled:anytime", "cpu")
    prompts = read_prompts("bundled:hops")
    found = quality_over(loaded, prompts, HowRun(8))
    hops = np.array([int(item.text.split("? ")[1].split(" ")[0]) for item in prompts.items])
    for r in range(8):
        np.testing.assert_array_equal(found.right[:, r] > 0.8, hops <= r + 1)
    assert found.accuracy.value[7] == 1
    # All 64 are right: a bootstrap has no width there, the exact interval of 64 of 64 does.
    assert found.accuracy.low[7] ** 64 == pytest.approx(0.025)
    assert found.accuracy.high[7] == 1
    assert found.accuracy.low[2] < found.accuracy.value[2] < found.accuracy.high[2]


def test_a_random_start_is_that_of_the_run(tmp_path: Path) -> None:
    loaded = load(str(write_checkpoint(tmp_path / "h", "huginn")), "cpu")
    prompts = prompts_of(("#5,17,3,60", None))
    one, two = (quality_over(loaded, prompts, HowRun(2, seed=s)) for s in (1, 2))
    assert (one.nll != two.nll).all()
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode("#5,17,3,60"), seed=2)
    for r in range(2):
        stepper.step()
        logits = torch.from_numpy(stepper.readout()).double()
        expected = torch.nn.functional.cross_entropy(
            logits[:-1], torch.tensor([17, 3, 60]), reduction="sum"
        )
        assert two.nll[0, r] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("name", ["huginn", "ouro", "hrm_text", "llama", "albert"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_family_is_scored_or_says_why_not(name: str, dtype: str, tmp_path: Path) -> None:
    loaded = load(str(write_checkpoint(tmp_path / name, name)), "cpu", dtype)
    found = quality_over(loaded, prompts_of(("#5,17,3", None), ("#7", None)), HowRun(3))
    if name == "albert":
        assert found.why_nothing == SEES_IT
        with_answers = quality_over(loaded, prompts_of(("#5,17,3", "#9")), HowRun(3))
        assert with_answers.convention == "in place"
        assert np.isfinite(with_answers.nll).all()
        return
    assert found.missing == ("", ONE_TOKEN)
    assert found.perplexity.n.tolist() == [1, 1, 1]
    assert np.isfinite(found.perplexity.value).all()
    assert np.isnan(found.perplexity.low).all()  # one prompt has no interval


def test_a_readout_that_is_not_finite_has_no_number(tmp_path: Path) -> None:
    loaded = load(str(tiny_checkpoint(tmp_path / "m")), "cpu")
    with torch.no_grad():
        loaded.model.unembed.weight[:] = torch.nan
    found = quality_over(loaded, prompts_of(("ab ba ? 1 : a", "b")), HowRun(2))
    assert np.isnan(found.nll).all()
    assert "not finite" in found.why_nothing
    # What it says is wrong, and that is a number.
    assert found.right.tolist() == [[0.0, 0.0]]
    assert not found.why_no_accuracy


def test_an_answer_that_is_nan_is_wrong_and_stays_counted(tmp_path: Path) -> None:
    loaded = load(str(tiny_checkpoint(tmp_path / "m")), "cpu")
    right = [int(log_p(loaded, loaded.tokenizer.encode(t).token_ids)[r, -1].argmax())
             for t in ("ab ba ? 1 : a", "ab ba ? 1 : b") for r in (0, 1)]  # fmt: skip
    words = [loaded.tokenizer.label(t) for t in right]
    with torch.no_grad():  # every prompt that has an x diverges
        loaded.model.embed.weight[loaded.tokenizer.encode("x").token_ids[-1]] = torch.nan
    prompts = prompts_of(
        ("ab ba ? 1 : a", words[0]), ("ab ba ? 1 : b", words[2]), ("xb bx ? 1 : x", words[0])
    )
    found = quality_over(loaded, prompts, HowRun(2))
    assert found.right[2].tolist() == [0.0, 0.0]
    assert found.accuracy.value[0] == pytest.approx(2 / 3)
    assert found.accuracy.n.tolist() == [3, 3]
    assert found.perplexity.n.tolist() == [2, 2]
    assert found.diverged.tolist() == [1, 1]
    assert found.as_json()["n_diverged"] == [1, 1]
    own = Stepper(loaded).begin(loaded.tokenizer.encode("ab ba ? 1 : a"))
    own.keep(QUALITY, found)
    own.shared.prompts = prompts
    said = view.compute(own, Selection(), view.Options()).statement
    assert "the readout of 1 of 3 prompts is not finite at the end (counts as wrong)" in said
    said = view.compute(own, Selection(), view.Options(metric="perplexity")).statement
    assert "1 of 3 prompts is not finite at the end (left out)" in said


def test_the_intervals_by_hand() -> None:
    found = wilson_share(np.array([[1.0, 0.5], [1.0, 0.5], [1.0, 1.0]]))
    assert (found.low[0] ** 3, found.high[0]) == (pytest.approx(0.025), 1)
    units, t = (2 / 9) / (1 / 36), 4.302653  # p (1 - p) / se², Student's of two degrees
    assert (found.low[1], found.high[1]) == pytest.approx(wilson_interval(16 / 3, units, t))
    # A ratio of sums, 11 / 4; its residuals are -3/4 and 3/4, Student's t of one degree
    # 12.7062, and 1.9 times that as two show no skew.
    perplexity = perplexity_of(np.array([[2.0], [9.0]]), np.array([1.0, 3.0]))
    reach = 1.9 * 12.7062047 * np.sqrt(2 * (2 * 0.75**2)) / 4
    by_hand = np.exp([2.75, 2.75 - reach, 2.75 + reach])
    said = np.ravel([perplexity.value, perplexity.low, perplexity.high])
    np.testing.assert_allclose(said, by_hand, rtol=1e-6)
    # All prompts alike say nothing of how far others may lie.
    alike = perplexity_of(np.array([[2.0], [6.0]]), np.array([1.0, 3.0]))
    np.testing.assert_allclose(alike.value, np.exp(2.0))
    assert np.isnan([alike.low, alike.high]).all()


def test_a_bad_line_is_named_before_anything_runs(tiny: Loaded) -> None:
    with pytest.raises(PromptError, match=r"p.jsonl, line 2: the answer has 5 tokens"):
        quality_over(tiny, prompts_of(("ab", "b"), ("ab", "a b c d e")), HowRun(2))


# ---- the view ----
def stepped(loaded: Loaded, n: int = R) -> Stepper:
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode("ab ba ? 1 : a b"))
    for _ in range(n):
        stepper.step()
    return stepper


def scored(stepper: Stepper, prompts: PromptSet, **options: object) -> view.Data:
    chosen = view.Options(**options)
    stepper.loaded.shared.prompts = prompts
    found = run(stepper, Selection(), chosen, Job("test"))
    stepper.recording.keep(QUALITY, found)
    return view.compute(stepper.recording, Selection(), chosen)


def test_the_view_shows_accuracy_where_there_are_answers() -> None:
    stepper = stepped(load("bundled:anytime", "cpu"), 3)
    pairs = [("ab ba ? 1 : a b", "b a"), ("ab bc ca ? 2 : a b c", "c a b"), ("ab ba ? 1 : b", None)]
    data = scored(stepper, prompts_of(*pairs), recurrences=24)
    assert data.metric == "accuracy"
    assert data.curves[0].x.tolist() == list(range(1, 25))
    assert data.marks == ((20.0, "trained R = 20"),)
    assert "Accuracy over 2 prompts of p.jsonl (answers in place): " in data.statement
    assert "1 of 3 prompts have nothing to score" in data.statement
    assert data.rows.missing[2] == NO_ANSWER_GIVEN
    assert data.rows.current == 0
    assert data.rows.run_of(1)["recurrences"] == 24
    assert data.rows.columns[0].heading(9) == "right, r = 9"
    again = view.compute(stepper.recording, Selection(), view.Options(metric="perplexity"))
    assert again.log_y
    assert again.formula.name == "perplexity of the answers"
    np.testing.assert_array_equal(again.curves[0].y, data.result.perplexity.value)
    rows = list(view.table(again).rows)
    assert len(rows) == 24 * 2 + 24 * 3
    assert rows[0][:4] == ("", "all", "accuracy", 1)
    short = view.compute(stepper.recording, Selection(), view.Options())
    assert short.statement == data.statement  # what was measured stays


def test_other_answers_than_were_asked_for_are_not_shown() -> None:
    stepper = stepped(load("bundled:anytime", "cpu"))
    scored(stepper, prompts_of(("ab ba ? 1 : a", "b")))
    data = view.compute(stepper.recording, Selection(), view.Options(answers="next"))
    assert "has not been scored with answers as next tokens" in data.missing
    assert data.lacks.kind == "measurement"


def test_the_view_says_what_cannot_be_had() -> None:
    stepper = stepped(load("bundled:anytime", "cpu"))
    data = scored(stepper, prompts_of(("ab ba ? 1 : a", None)))
    assert data.missing == ANSWERS_IN_PLACE
    data = scored(stepper, prompts_of(("ab ba ? 1 : a", None)), answers="next", metric="accuracy")
    assert data.missing == "p.jsonl gives no answers: there is no accuracy."
    data = scored(stepper, prompts_of(("ab ba ? 1 : a", None)), answers="next")
    assert not data.missing
    assert data.statement.endswith("one prompt has no interval")
    data = scored(stepper, prompts_of(("a", None)), answers="next")
    assert data.missing == ONE_TOKEN
