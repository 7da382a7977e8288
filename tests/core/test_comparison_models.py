"""The models that a looped one is compared with: what they share with it, and how they are trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from models import plain_forward, tiny_architecture, tiny_checkpoint

from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.architectures import (
    MATCHED_TOKENS,
    comparison_architecture,
    default_architecture,
    twin_architecture,
)
from loopscope.core.experiments.evaluation import evaluate_hops
from loopscope.core.experiments.hops import make_batch, text_of
from loopscope.core.experiments.passes import pass_states
from loopscope.core.experiments.training import Training
from loopscope.core.experiments.training_plan import (
    MODEL_NAMES,
    HopsData,
    TrainingPlan,
    plan_of,
)
from loopscope.core.model.flops import flops_per_token
from loopscope.core.model.looped_model import LoopedModel

# ---- what is asked for ----

NOWHERE = Path("nowhere")


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
        k: flops_per_token(a, 6 if k == "looped" else 1, MATCHED_TOKENS) for k, a in made.items()
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
