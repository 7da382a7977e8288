"""Trainings: what is asked for, what is drawn, what is trained, and that one goes on exactly."""

from __future__ import annotations

import json
import math
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import plain_forward, tiny_architecture, tiny_checkpoint

from loopscope.app.cli.main import main
from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.checkpoint.loading import load
from loopscope.core.checkpoint.series import series_in
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.architectures import (
    MATCHED_TOKENS,
    comparison_architecture,
    default_architecture,
    twin_architecture,
)
from loopscope.core.experiments.batches import Curriculum
from loopscope.core.experiments.evaluation import evaluate_hops
from loopscope.core.experiments.hops import VOCABULARY, make_batch, text_of
from loopscope.core.experiments.hops_batches import HopsTask
from loopscope.core.experiments.native_folder import RECORD_FILE, save_native
from loopscope.core.experiments.passes import pass_states
from loopscope.core.experiments.training import STATE_FILE, Training, read_state
from loopscope.core.experiments.training_plan import (
    MODEL_NAMES,
    RECIPES,
    HopsData,
    Recurrences,
    TrainingPlan,
    plan_of,
)
from loopscope.core.model.looped_model import LoopedModel

SMALL = HopsData(max_hops=2, n_letters=4)
NOWHERE = Path("nowhere")


def at(step: int, hops: int = 1, finishing_since: int = -1) -> Curriculum:
    return Curriculum(step, hops, 0.0, finishing_since, [])


def solved(text: str) -> list[str]:
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


# ---- what is drawn ----
def test_the_final_target_is_the_answer_and_the_anytime_target_the_pointer_on_its_way() -> None:
    batch = HopsTask(TrainingPlan(batch_size=5)).batch(at(3, hops=4))
    for row, tokens in enumerate(batch.tokens.numpy()):
        text = text_of(tokens)
        head, rest = text.split(" ? ")
        assert solved(text) == [VOCABULARY[t] for t in batch.target(None)[row]]
        k = int(rest[0])
        for r in (1, 2, k, k + 3):
            walked = solved(f"{head} ? {min(r, k)}{rest[1:]}")
            assert walked == [VOCABULARY[t] for t in batch.target(r)[row]]


def test_a_batch_asks_one_hop_count_half_of_the_time_the_newest() -> None:
    task = HopsTask(TrainingPlan(batch_size=1))
    counts = Counter(task.hop_count(at(i, hops=5)) for i in range(4000))
    assert set(counts) == {1, 2, 3, 4, 5}
    assert abs(counts[5] / 4000 - 0.5) < 4 * math.sqrt(0.25 / 4000)
    for k in (1, 2, 3, 4):
        assert abs(counts[k] / 4000 - 0.125) < 4 * math.sqrt(0.125 * 0.875 / 4000)
    # All alike where the curriculum is over, or where there is none.
    for plan, since in ((TrainingPlan(), 0), (TrainingPlan(data=HopsData(promote_at=0.0)), -1)):
        counts = Counter(HopsTask(plan).hop_count(at(i, 2, since)) for i in range(4000))
        assert set(counts) == {1, 2, 3, 4, 5, 6}
        assert max(abs(n / 4000 - 1 / 6) for n in counts.values()) < 0.025


def test_recurrences_are_those_of_the_rule() -> None:
    rng = np.random.default_rng(0)

    def drawn(rule: Recurrences, step: int = 0, finishing: bool = False) -> set[int]:
        return {rule.draw(rng, step, finishing, hops=3, max_hops=6) for _ in range(300)}

    assert drawn(Recurrences("hops")) == {3}
    assert drawn(Recurrences("hops", slack=3)) == {3, 4, 5, 6}
    widening = Recurrences("hops", slack=6, pace=800)
    assert drawn(widening, step=799) == {3}
    assert drawn(widening, step=1600) == {3, 4, 5}
    assert drawn(widening, step=80_000) == set(range(3, 10))
    kept = Recurrences("hops", slack=1, kept=0.5)
    exact = sum(kept.draw(rng, 0, False, 3, 6) == 3 for _ in range(4000)) / 4000
    assert abs(exact - 0.75) < 0.03  # half of the batches, and half of the others
    assert drawn(Recurrences("fixed")) == {6}
    uniform = Recurrences("drawn", most=4, finishing=7)
    assert drawn(uniform) == {1, 2, 3, 4}
    assert drawn(uniform, finishing=True) == set(range(1, 8))
    counts = Counter(uniform.draw(rng, 0, False, 1, 6) for _ in range(4000))
    assert max(abs(n / 4000 - 0.25) for n in counts.values()) < 0.03
    assert [r.longest(6) for r in (widening, Recurrences("fixed"), uniform)] == [12, 6, 7]


def test_every_arm_of_a_seed_sees_the_same_graphs_in_the_same_order() -> None:
    arms = [
        plan_of("walker", seed=3),
        plan_of("fixed", seed=3, passes=6),
        plan_of("anytime", seed=3),
        plan_of("walker", seed=3, recurrences=Recurrences("hops", slack=5)),
    ]
    for step in (0, 7, 1200):
        # One arm has learnt less than the others: the graphs are the same, the count is its own.
        batches = [HopsTask(p).batch(at(step, h)) for p, h in zip(arms, (1, 4, 4, 4), strict=True)]
        first = [text_of(t).split(" ? ")[0] for t in batches[0].tokens.numpy()]
        for batch in batches[1:]:
            assert [text_of(t).split(" ? ")[0] for t in batch.tokens.numpy()] == first
        assert torch.equal(batches[1].tokens, batches[2].tokens)
        assert torch.equal(batches[1].tokens, batches[3].tokens)
    other = HopsTask(plan_of("walker", seed=4)).batch(at(7, 4)).tokens
    assert not torch.equal(other, HopsTask(arms[0]).batch(at(7, 4)).tokens)


def test_a_finite_set_has_so_many_graphs_and_no_more() -> None:
    def graphs(examples: int) -> list[str]:
        task = HopsTask(TrainingPlan(batch_size=8, data=HopsData(examples=examples)))
        batches = [task.batch(at(i, hops=1 + i % 6)) for i in range(12)]
        # The queries belong to the example, the count asked does not.
        texts = [text_of(t) for b in batches for t in b.tokens.numpy()]
        return [t.split(" ? ")[0] + t.split(" : ")[1] for t in texts]

    endless, finite = graphs(0), graphs(32)
    assert len(set(endless)) == 96
    assert len(set(finite)) == 32
    assert finite[:32] == endless[:32] == finite[32:64] == finite[64:]
    with pytest.raises(LoopscopeError, match="not made of whole batches of 8"):
        graphs(12)


def test_graphs_are_of_all_sizes_and_half_of_them_one_cycle() -> None:
    task = HopsTask(TrainingPlan(batch_size=16))
    sizes, cycles = Counter(), []
    for step in range(400):
        tokens = task.batch(at(step)).tokens.numpy()
        n = tokens.shape[1] // 3 - 1
        sizes[n] += 1
        if n == 8:
            for row in tokens:
                edges = dict(zip(row[:16:2], row[1:16:2], strict=True))
                letter, length = row[0], 0
                while length == 0 or letter != row[0]:
                    letter, length = edges[letter], length + 1
                cycles.append(length == 8)
    assert set(sizes) == {3, 4, 5, 6, 7, 8}
    # Three quarters, and a sixth of the others: 0.79. A permutation of 8 is one cycle 1 in 8 times.
    assert abs(sizes[8] / 400 - 0.79) < 0.08
    assert abs(np.mean(cycles) - (0.5 + 0.5 / 8)) < 0.03


# ---- what is asked for ----
class Recorder:
    """Takes the place of the loss and keeps what was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import loopscope.core.experiments.training as module

        self.asked: list[torch.Tensor] = []
        self.logits: list[torch.Tensor] = []

        def loss(logits: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
            self.asked.append(answers.clone())
            self.logits.append(logits.detach().clone())
            return logits.sum()

        monkeypatch.setattr(module.F, "cross_entropy", loss)


def test_the_loss_is_taken_after_the_last_recurrence_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = Recorder(monkeypatch)
    plan = TrainingPlan(batch_size=3, data=HopsData(promote_at=0.0), seed=1)
    training = Training(NOWHERE, plan, default_architecture(d_model=16))
    before = {k: v.clone() for k, v in training.model.state_dict().items()}
    batch = training.task.batch(training.progress)
    training.step()
    assert torch.equal(seen.asked[0], batch.target(None).flatten())
    k = int(text_of(batch.tokens[0].numpy()).split(" ? ")[1][0])
    assert batch.n_recurrences == k > 1
    # A plain forward of k recurrences, at the queries: the last positions.
    model = LoopedModel(training.arch)
    model.load_state_dict(before)
    n = batch.target(None).shape[1]
    expected = model(batch.tokens, k)[:, -n:].flatten(0, 1)
    torch.testing.assert_close(seen.logits[0], expected)


def test_the_anytime_loss_is_taken_after_the_last_two_recurrences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = Recorder(monkeypatch)
    plan = plan_of("anytime", batch_size=3, data=HopsData(promote_at=0.0))
    training = Training(NOWHERE, plan, default_architecture(d_model=16))
    for _ in range(12):
        batch = training.task.batch(training.progress)
        training.step()
        r = batch.n_recurrences
        expected = [batch.target(i) for i in (r - 1, r) if i > 0]
        assert torch.equal(seen.asked[-1], torch.cat(expected).flatten())


def test_the_last_pass_of_a_twin_is_asked_for_the_final_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A shallow model has one pass, whose anytime target would be one hop whatever was asked."""
    seen = Recorder(monkeypatch)
    plan = plan_of("anytime", passes=1, batch_size=16, data=HopsData(promote_at=0.0), seed=2)
    training = Training(NOWHERE, plan, twin_architecture("shallow", 6, d_model=16))
    batch = training.task.batch(training.progress)
    training.step()
    assert not torch.equal(batch.target(None), batch.target(1))
    assert torch.equal(seen.asked[0], batch.target(None).flatten())


# ---- what is trained ----
def test_an_untied_loop_of_equal_weights_is_the_looped_model() -> None:
    looped_arch = tiny_architecture()
    untied_arch = comparison_architecture("untied", looped_arch, 3)
    torch.manual_seed(0)
    looped, untied = LoopedModel(looped_arch), LoopedModel(untied_arch)
    with torch.no_grad():
        for p in looped.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    weights = looped.state_dict()

    def original(name: str) -> str:
        """The looped model's name of an untied one's weights."""
        first, *rest = name.split(".")
        if first == "block":
            return ".".join([first, str(int(rest[0]) % 2), *rest[1:]])
        return f"{first}.weight" if first in ("adapter", "closing_norm") else name

    untied.load_state_dict({name: weights[original(name)] for name in untied.state_dict()})
    tokens = torch.from_numpy(make_batch(np.random.default_rng(0), np.array([1, 2, 3])).tokens)
    passes = list(pass_states(untied, untied.prelude(tokens), 3, per_pass=2))
    for r in (1, 2, 3):
        e = looped.prelude(tokens)
        recurrent = looped.begin(looped.initial_state(e))
        for _ in range(r):
            recurrent = looped.recur(recurrent, e)
        assert torch.equal(passes[r - 1], recurrent.state)
    assert torch.equal(untied(tokens, 1), looped(tokens, 3))
    # Another value in one pass's adapter or norm changes what comes from that pass on only.
    for name in ("adapter.1.weight", "closing_norm.1.weight"):
        with torch.no_grad():
            untied.get_parameter(name).mul_(1.5)
        other = list(pass_states(untied, untied.prelude(tokens), 3, per_pass=2))
        assert torch.equal(other[0], passes[0])
        assert not torch.equal(other[1], passes[1])
        with torch.no_grad():
            untied.get_parameter(name).div_(1.5)


def test_the_looped_model_in_passes_is_the_plain_forward() -> None:
    """Against the float64 forward that is written from the equations and shares no code."""
    torch.manual_seed(1)
    model = LoopedModel(tiny_architecture())
    tokens = make_batch(np.random.default_rng(0), np.array([2])).tokens
    states = list(pass_states(model, model.prelude(torch.from_numpy(tokens)), 4, 2))
    expected = plain_forward(model, tuple(tokens[0]), 4)["states"]
    for state, wanted in zip(states, expected, strict=True):
        np.testing.assert_allclose(state[0].detach().numpy(), wanted, atol=2e-5)


def test_the_comparison_models_keep_what_they_are_named_for() -> None:
    looped = default_architecture()
    made = {kind: comparison_architecture(kind, looped, 6) for kind in MODEL_NAMES}
    assert made["looped"] == looped
    for kind in ("untied", "deep", "deep-narrow"):
        assert made[kind].effective_depth(1) == looped.effective_depth(6) == 14
        assert made[kind].unique_depth == 14
    for kind in ("shallow", "shallow-wide"):
        assert made[kind].unique_depth == made[kind].effective_depth(1) == 4
    counted = {k: sum(p.numel() for p in LoopedModel(a).parameters()) for k, a in made.items()}
    # Embedding and head 2 x 39 x 64, final norm 64; a layer 12 x 64^2 + 2 x 64; the adapter
    # 2 x 64^2 and the closing norm 64 once, or once a pass.
    ends, layer, closing = 2 * 39 * 64 + 64, 12 * 64**2 + 2 * 64, 2 * 64**2 + 64
    assert counted["looped"] == counted["shallow"] == ends + 4 * layer + closing == 210_432
    assert counted["untied"] == ends + 14 * layer + 6 * closing
    assert counted["deep"] == ends + 14 * layer
    assert counted["deep-narrow"] == pytest.approx(counted["looped"], rel=0.005)
    flops = {
        k: a.flops_per_token(6 if k == "looped" else 1, MATCHED_TOKENS) for k, a in made.items()
    }
    assert flops["shallow-wide"] == pytest.approx(flops["looped"], rel=0.005)
    assert flops["untied"] == flops["looped"]
    assert made["deep"].deep
    assert not made["untied"].deep
    bare = default_architecture(n_block=4, injection="none", state_norm=False)
    assert (bare.n_block, bare.injection, bare.closing_norm) == (4, "none", False)
    assert bare.initial_state == made["deep"].initial_state == "embedding"


def test_passes_of_a_deep_twin_are_those_of_the_looped_model_unrolled() -> None:
    """A deep model made of copies of a block without injection or norm does what the loop does."""
    arch = default_architecture(d_model=16, injection="none", state_norm=False)
    looped = Training(NOWHERE, TrainingPlan(), arch)
    deep = Training(NOWHERE, TrainingPlan(passes=3), twin_architecture("deep", 3, d_model=16))
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
    pairs = zip(looped._pass_states(tokens, 3), deep._pass_states(tokens, 3), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_model_of_separate_layers_is_not_trained_in_passes_that_do_not_divide_it() -> None:
    deep = twin_architecture("deep", 3, d_model=16)
    with pytest.raises(LoopscopeError, match="6 separate layers cannot be trained in 4 passes"):
        Training(NOWHERE, TrainingPlan(passes=4), deep)
    with pytest.raises(LoopscopeError, match="cannot be trained in 0 passes"):
        Training(NOWHERE, TrainingPlan(), comparison_architecture("untied", tiny_architecture(), 3))


def test_an_untied_loop_opens_as_a_checkpoint_and_is_evaluated_by_passes(tmp_path: Path) -> None:
    arch = comparison_architecture("untied", tiny_architecture(), 3)
    loaded = load(str(tiny_checkpoint(tmp_path / "m", arch)), "cpu")
    assert loaded.architecture == arch
    evaluation = evaluate_hops(loaded, hops=(2,), recurrences=3, n_examples=20, batch_size=20)
    batch = make_batch(np.random.default_rng(1_000_003), np.full(20, 2))
    tokens = torch.from_numpy(batch.tokens)
    states = list(pass_states(loaded.model, loaded.model.prelude(tokens), 3, per_pass=2))
    for r, state in enumerate(states, 1):
        found = loaded.model.readout(state)[:, -8:].argmax(-1).numpy()
        assert evaluation.cell(2, r).accuracy == pytest.approx((found == batch.answers).mean())
    assert torch.equal(loaded.model.readout(states[-1]), loaded.model(tokens, 1))
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["untied_passes"] = 4
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    with pytest.raises(LoopscopeError, match="'untied_passes': 6 layers do not divide by 4"):
        open_checkpoint(str(tmp_path / "m"))


# ---- curriculum and learning rate ----
def test_a_hop_count_is_added_when_the_newest_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = TrainingPlan(
        steps=900, data=replace(SMALL, promote_at=0.9), finishing_steps=10, batch_size=2,
        finish_when_learnt=True,
    )  # fmt: skip
    training = Training(NOWHERE, plan, default_architecture(d_model=16))
    weight = next(training.model.parameters())
    monkeypatch.setattr(training, "_loss", lambda batch: (0.0 * weight.sum(), 1.0))
    while training.progress.step < training.length:
        training.step()
    first, second = training.progress.learnt
    # 1 - 0.97^n reaches 0.9 with the 76th batch of full graphs that asks for the newest count.
    task, counted = HopsTask(plan), [0, 0]
    for step in range(second):
        hops = 1 if step < first else 2
        counted[hops - 1] += task.batch(at(step, hops)).counts
    assert counted == [76, 76]
    assert training.progress.finishing_since == second
    assert training.progress.step == second + 10
    assert training.share_done == 1.0


def test_the_learning_rate_rises_stays_and_falls_to_nothing(tmp_path: Path) -> None:
    plan = TrainingPlan(steps=300, finishing_steps=100, batch_size=2, data=SMALL)
    training = Training(tmp_path, plan, default_architecture(d_model=16))
    rates: list[float] = []
    training.run(lambda p: rates.append(p.learning_rate))
    assert len(rates) == 300
    np.testing.assert_allclose(rates[:100], 2e-3 * np.arange(1, 101) / 100)
    np.testing.assert_allclose(rates[100:200], 2e-3)
    np.testing.assert_allclose(rates[200:], 2e-3 * np.arange(100, 0, -1) / 100)


def test_training_learns(tmp_path: Path) -> None:
    plan = TrainingPlan(
        steps=120, data=HopsData(max_hops=1), batch_size=16, learning_rate=3e-3, finishing_steps=20
    )
    training = Training(tmp_path, plan, default_architecture(d_model=32))
    losses: list[float] = []
    training.run(lambda p: losses.append(p.loss))
    assert np.mean(losses[-10:]) < np.mean(losses[:3]) - 0.3
    assert training.progress.cpu_minutes > 0
    save_native(tmp_path / "model", training.model, record=training.record())
    loaded = load(str(tmp_path / "model"), "cpu")
    for name, p in training.model.state_dict().items():
        assert torch.equal(p, loaded.model.state_dict()[name])
    record = json.loads((tmp_path / "model" / RECORD_FILE).read_text())
    assert record["steps"] == 120
    assert record["plan"]["data"]["max_hops"] == 1
    assert [row[0] for row in record["history"]] == [50, 100]


# ---- going on ----
@pytest.mark.parametrize("recipe", ["walker", "anytime", "settling"])
def test_a_killed_training_resumes_with_the_step_it_would_have_made(
    tmp_path: Path, recipe: str
) -> None:
    plan = plan_of(recipe, seed=5, batch_size=8, steps=10, finishing_steps=4)
    arch = default_architecture(d_model=16)
    straight = Training(tmp_path / "a", plan, arch)
    losses = [straight.step().loss for _ in range(10)]
    first = Training(tmp_path / "b", plan, arch)
    for _ in range(4):
        first.step()
    first.save()
    again = Training(tmp_path / "b", plan, arch)
    assert again.progress == first.progress
    rest: list[float] = []
    again.run(lambda p: rest.append(p.loss))
    assert rest == losses[4:]
    for name, p in straight.model.state_dict().items():
        assert torch.equal(p, again.model.state_dict()[name])
    assert not list((tmp_path / "b").glob("*.part"))


def test_a_training_is_resumed_with_the_plan_and_the_sizes_it_was_begun_with(
    tmp_path: Path,
) -> None:
    plan, arch = TrainingPlan(seed=5, batch_size=8), default_architecture(d_model=16)
    Training(tmp_path, plan, arch).save()
    assert Training(tmp_path, plan, arch).progress.step == 0
    for other, words in (
        (replace(plan, seed=6), "begun with seed 5, not 6"),
        (replace(plan, data=HopsData(examples=64)), "begun with data.examples 0, not 64"),
        (replace(plan, recurrences=Recurrences("fixed")), "recurrences.rule hops, not fixed"),
        (replace(plan, weights="abc"), "begun with weights , not abc"),
    ):
        with pytest.raises(LoopscopeError, match=words):
            Training(tmp_path, other, arch)
    with pytest.raises(LoopscopeError, match="another architecture"):
        Training(tmp_path, plan, default_architecture(d_model=32))


class Hostile:
    """Makes a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_nothing_of_a_training_state_is_executed(tmp_path: Path, how: str) -> None:
    from loopscope.core.experiments.small_models import folder_of, learnt_at
    from loopscope.core.experiments.twins import TWINS

    mark, folder = tmp_path / "executed", folder_of(TWINS[0], 0, tmp_path)
    folder.mkdir()
    hostile = {"progress": Hostile(mark), "finishing_since": 1.0}
    if how == "pickle":
        (folder / STATE_FILE).write_bytes(pickle.dumps(hostile, protocol=2))
        pickle.loads((folder / STATE_FILE).read_bytes())
    else:
        torch.save(hostile, folder / STATE_FILE)
        torch.load(folder / STATE_FILE, weights_only=False)
    # The file is what it is meant to be: an ordinary unpickling executes it.
    assert mark.exists()
    mark.unlink()
    with pytest.raises(LoopscopeError, match="is not a training state"):
        learnt_at(TWINS[0], 0, tmp_path)
    with pytest.raises(LoopscopeError, match="is not a training state"):
        read_state(folder)
    assert not mark.exists()


def test_no_code_of_the_project_unpickles_anything_else() -> None:
    root = Path(__file__).parents[2]
    for file in (f for folder in ("core", "app", "widgets") for f in (root / folder).rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        assert "weights_only=False" not in text, file
        assert text.count("torch.load(") == text.count("weights_only=True"), file
        assert "pickle.load" not in text, file


def test_child_processes_import_nothing_from_the_current_folder() -> None:
    """A `torch.py` in the folder that the user happens to be in would be run in place of torch."""
    root = Path(__file__).parents[2]
    for file in (f for folder in ("core", "app", "widgets") for f in (root / folder).rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        assert text.count("[sys.executable,") == text.count('[sys.executable, "-P",'), file


@pytest.mark.parametrize(
    "state", [{}, {"progress": {"learnt": 3}}, {"progress": {"learnt": [1]}, "plan": {"data": 7}}]
)
def test_a_training_state_without_its_parts_is_one_line(
    tmp_path: Path, state: dict[str, object]
) -> None:
    from loopscope.core.experiments.small_models import folder_of, learnt_at
    from loopscope.core.experiments.twins import TWINS

    folder = folder_of(TWINS[0], 0, tmp_path)
    folder.mkdir()
    torch.save(state, folder / STATE_FILE)
    with pytest.raises(LoopscopeError, match="is not a training state"):
        learnt_at(TWINS[0], 0, tmp_path)


# ---- the command ----
TINY = ["--steps", "2", "--d-model", "16", "--hops", "2", "--batch", "4"]
LONGEST = {"walker": 2, "halting": 8, "settling": 28, "slack": 5, "fixed": 2, "anytime": 20}


def test_every_recipe_of_the_task_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(LONGEST) == set(RECIPES) - {"text"}
    for name, longest in LONGEST.items():
        command = ["train", "hops", "-o", str(tmp_path / name), "--recipe", name, *TINY]
        if RECIPES[name].start:
            assert main(command) == 2
            assert "name its folder with --from" in capsys.readouterr().err
            command += ["--from", str(tmp_path / "walker")]
        assert main(command) == 0
        assert "2 steps" in capsys.readouterr().out
        record = json.loads((tmp_path / name / RECORD_FILE).read_text())
        assert (record["recipe"], record["model"]) == (name, "looped")
        assert open_checkpoint(str(tmp_path / name)).architecture.trained_recurrences == longest


@pytest.mark.parametrize("model", MODEL_NAMES)
def test_every_model_trains(tmp_path: Path, model: str) -> None:
    assert main(["train", "hops", "-o", str(tmp_path), "--model", model, *TINY]) == 0
    arch = open_checkpoint(str(tmp_path)).architecture
    assert arch.n_block == {"untied": 4, "deep": 4, "deep-narrow": 4}.get(model, 2)
    assert arch.untied_passes == (2 if model == "untied" else 0)
    assert arch.trained_recurrences == (2 if model == "looped" else 1)


def test_the_train_command_leaves_out_what_it_is_told(tmp_path: Path) -> None:
    options = ["--block", "1", "--injection", "add", "--no-state-norm"]
    assert main(["train", "hops", "-o", str(tmp_path), *TINY, *options]) == 0
    arch = open_checkpoint(str(tmp_path)).architecture
    assert (arch.n_block, arch.injection, arch.closing_norm) == (1, "add", False)


def test_weights_in_half_precision_are_the_others_rounded(tmp_path: Path) -> None:
    whole, half = tmp_path / "a", tmp_path / "b"
    assert main(["train", "hops", "-o", str(whole), *TINY]) == 0
    assert main(["train", "hops", "-o", str(half), *TINY, "--half"]) == 0
    one, other = (load(str(f), "cpu").model.state_dict() for f in (whole, half))
    for name, value in one.items():
        assert torch.equal(value.half().float(), other[name]), name
    sizes = [(f / "model.safetensors").stat().st_size for f in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0]


def test_checkpoints_on_the_way_are_kept(tmp_path: Path) -> None:
    command = ["train", "hops", "-o", str(tmp_path / "m"), *TINY, "--steps", "5"]
    assert main([*command, "--keep-every", "2"]) == 0
    members = series_in(str(tmp_path / "m"))
    assert [own.step for own in members] == [0, 2, 4, 5]
    models = [load(own.path, "cpu") for own in members]
    assert len({own.weights_hash for own in models}) == 4
    # The first is what the seed draws, the last what the training ends with.
    plan = plan_of("walker", seed=0)
    fresh = Training(tmp_path / "other", plan, models[0].architecture).model.state_dict()
    for name, value in models[0].model.state_dict().items():
        assert torch.equal(value, fresh[name]), name
    record = json.loads((Path(members[1].path) / RECORD_FILE).read_text())
    assert (record["steps"], record["recipe"]) == (2, "walker")
    assert members[-1].path == str(tmp_path / "m")


def test_a_training_goes_on_from_the_weights_of_another(tmp_path: Path) -> None:
    walker, halting = tmp_path / "a", tmp_path / "b"
    assert main(["train", "hops", "-o", str(walker), *TINY]) == 0
    # So small a rate that the weights stay what they were.
    options = ["--recipe", "halting", "--from", str(walker), "--learning-rate", "1e-30"]
    assert main(["train", "hops", "-o", str(halting), *TINY, *options]) == 0
    one, other = (load(str(f), "cpu") for f in (walker, halting))
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name
    record = json.loads((halting / RECORD_FILE).read_text())
    assert record["plan"]["weights"] == one.weights_hash


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--passes", "2"], "--passes is for models of separate layers"),
        (["--hops", "10"], "at most 9"),
        (["--letters", "27"], "--letters 27 is not between 3 and 26"),
        (["--d-model", "20"], "not divisible by 8"),
        (["--model", "deep", "--injection", "add"], "neither an injection"),
        (["--recipe", "text"], "not for the task hops"),
        (["--kept", "0.3"], "--kept is for recipes in which R goes beyond"),
        (["--examples", "100"], "not made of whole batches of 64"),
        (["--from", "bundled:deep"], "has another architecture"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert main(["train", "hops", "-o", str(tmp_path / "m"), *options]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "m").exists()
