"""Weights recognised by their values: tied, equal and different ones, in one model and in two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from checkpoints import CONFIGS, write_checkpoint
from models import random_model, tiny_architecture, tiny_checkpoint

from loopscope.core.checkpoint.loading import load, relooped
from loopscope.core.experiments.architectures import twin_architecture
from loopscope.core.interventions.states import Zero
from loopscope.core.model import weight_identity as module
from loopscope.core.model.graph import looped_nodes
from loopscope.core.model.looped_model import LoopedModel
from loopscope.core.model.weight_identity import SAMPLED, weight_identity
from loopscope.core.run.stepper import Stepper

DEEP = twin_architecture("deep", 3, d_model=16)


def copy_layer(model: LoopedModel, source: int, target: int) -> None:
    """Equal values in tensors of their own."""
    state = {k: v.clone() for k, v in model.block[source].state_dict().items()}
    model.block[target].load_state_dict(state)


@pytest.mark.parametrize("name", CONFIGS)
def test_every_set_of_weights_that_the_graph_draws_has_a_digest(name: str, tmp_path: Path) -> None:
    loaded = load(str(write_checkpoint(tmp_path / "c", name)), "cpu")
    keys = {n.weights for n in looped_nodes(loaded.architecture) if n.weights}
    assert set(loaded.weight_identity) == keys
    layers = [d for key, d in loaded.weight_identity.items() if "." in key]
    assert len(set(layers)) == loaded.architecture.unique_depth


def test_different_weights_differ_and_the_same_seed_agrees() -> None:
    one, same, other = (weight_identity(random_model(DEEP, seed)) for seed in (0, 0, 1))
    assert one == same
    assert len(set(one.values())) == len(one)
    assert not set(one.values()) & set(other.values())


def test_equal_layers_have_one_digest_wherever_they_are() -> None:
    model = random_model(DEEP)
    copy_layer(model, 0, 3)
    copied = model.block[0].state_dict()
    model.coda_layers[0].load_state_dict({k: v.clone() for k, v in copied.items()})
    found = weight_identity(model)
    assert found["block.0"] == found["block.3"] == found["coda.0"]
    assert len({found[f"block.{i}"] for i in range(6)}) == 5
    # And in another model, whose architecture is another.
    looped = random_model(tiny_architecture(), seed=9)
    looped.block[1].load_state_dict({k: v.clone() for k, v in copied.items()})
    there = weight_identity(looped)
    assert there["block.1"] == found["block.0"]
    assert there["block.0"] not in found.values()


def test_a_tied_head_is_the_embedding_and_an_equal_one_is_so_too() -> None:
    untied = random_model(DEEP)
    assert weight_identity(untied)["embedding"] != weight_identity(untied)["head"]
    with torch.no_grad():
        untied.unembed.weight.copy_(untied.embed.weight)
    found = weight_identity(untied)
    assert found["embedding"] == found["head"]
    tied = random_model(replace(DEEP, tied_head=True))
    nodes = {n.key: n.weights for n in looped_nodes(tied.arch)}
    assert nodes["head"] == nodes["embedding"] == "embedding"
    assert "head" not in weight_identity(tied)


def test_one_changed_entry_is_another_set() -> None:
    model = random_model(DEEP)
    before = weight_identity(model)
    with torch.no_grad():
        model.block[2].mlp_down.weight[3, 5] += 1e-6
    after = weight_identity(model)
    assert {key for key in before if before[key] != after[key]} == {"block.2"}


def test_shapes_count_and_the_sign_of_zero_does_not() -> None:
    model = random_model(DEEP)
    digest = module._digest
    a = torch.arange(12.0)
    assert digest([a.view(3, 4)]) != digest([a.view(4, 3)])
    assert digest([a]) != digest([a[:6], a[6:]])
    assert digest([torch.tensor([0.0])]) == digest([torch.tensor([-0.0])])
    narrow = model.block[0].qkv.weight.bfloat16()
    assert digest([narrow]) == digest([narrow.float()])


def test_large_sets_are_sampled_and_what_agrees_is_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WHOLE", 100)
    monkeypatch.setattr(module, "SAMPLES", 8)
    model = random_model(DEEP)
    copy_layer(model, 0, 1)
    copy_layer(model, 0, 2)
    found = weight_identity(model)
    assert found["block.0"].startswith(SAMPLED)
    assert not found["final norm"].startswith(SAMPLED)  # 16 entries are hashed whole
    assert found["block.0"] == found["block.1"] == found["block.2"]
    assert len({found[f"block.{i}"] for i in range(6)}) == 4
    # An entry between the samples: only the comparison in full can see it.
    with torch.no_grad():
        model.block[1].mlp_up.weight.view(-1)[1] += 1
    assert module._digest(list(model.block[1].parameters())) == module._digest(
        list(model.block[0].parameters())
    )
    found = weight_identity(model)
    assert found["block.0"] == found["block.2"] != found["block.1"]
    assert not found["block.0"].startswith(SAMPLED)
    assert found["block.3"].startswith(SAMPLED)


def test_a_run_and_its_branch_carry_the_digests_of_their_model(tmp_path: Path) -> None:
    loaded = load(str(tiny_checkpoint(tmp_path / "c")), "cpu")
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.encode("a b c"))
    stepper.step()
    assert recording.weight_identity == weight_identity(loaded.model)
    branch = stepper.branch((Zero(recurrence=1, last=1, layer=1),))
    assert branch.recording.weight_identity == recording.weight_identity


def test_layers_keep_their_digests_when_another_span_is_looped(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "c", "llama", {"num_hidden_layers": 4})
    whole = load(str(folder), "cpu")
    span = relooped(whole, (1, 3, 1.0))
    names = ("prelude.0", "block.0", "block.1", "coda.0")
    assert [span.weight_identity[n] for n in names] == [
        whole.weight_identity[f"block.{i}"] for i in range(4)
    ]
