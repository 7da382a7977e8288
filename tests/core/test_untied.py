"""An untied loop in the bench: its graph, its identity, stepping, branching, cuts and lens."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import random_model, tiny_architecture

from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.experiments.architectures import comparison_architecture
from loopscope.core.experiments.native_folder import save_native
from loopscope.core.interventions.layers import DropInjection, SkipLayer
from loopscope.core.interventions.states import Noise
from loopscope.core.model.architecture import parameter_shapes
from loopscope.core.model.flops import flops_per_token
from loopscope.core.model.graph import edges_of, looped_graph, nodes_of, totals, unrolled_graph
from loopscope.core.model.looped_model import LoopedModel
from loopscope.core.model.weight_identity import weight_identity
from loopscope.core.run.stepper import Stepper

PASSES = 3
LOOPED = tiny_architecture()
UNTIED = comparison_architecture("untied", LOOPED, PASSES)
PROMPT = "ab bc ca ? 2 : a b c"


def copied(looped: LoopedModel) -> LoopedModel:
    """The untied loop whose passes are all the looped model's block."""
    untied, weights = LoopedModel(UNTIED), looped.state_dict()
    state = {}
    for name in untied.state_dict():
        first, *rest = name.split(".")
        if first == "block":
            rest[0] = str(int(rest[0]) % LOOPED.n_block)
        elif first in ("adapter", "closing_norm"):
            rest = rest[1:]
        state[name] = weights[".".join([first, *rest])]
    untied.load_state_dict(state)
    return untied.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Loaded, Loaded]:
    root = tmp_path_factory.mktemp("untied")
    looped = random_model(LOOPED, 4)
    save_native(root / "looped", looped)
    save_native(root / "untied", copied(looped))
    return load(str(root / "looped"), "cpu"), load(str(root / "untied"), "cpu")


@pytest.mark.parametrize("injection", ["concat", "add", "none"])
@pytest.mark.parametrize("norm", [True, False])
def test_totals_of_the_graph_are_those_of_its_tensors(injection: str, norm: bool) -> None:
    start = "embedding" if injection == "none" else "zeros"
    looped = replace(LOOPED, injection=injection, closing_norm=norm, initial_state=start)
    arch = comparison_architecture("untied", looped, PASSES)
    entries = sum(math.prod(shape) for shape in parameter_shapes(arch).values())
    for graph in (unrolled_graph(arch, 1, 9), looped_graph(arch, 9)):
        found = totals(graph)
        assert found.parameters == found.deep_parameters == arch.n_parameters == entries
        assert found.unique_depth == found.effective_depth == arch.unique_depth == 2 + 6
        assert found.flops == flops_per_token(arch, 1, 9) == flops_per_token(looped, PASSES, 9)
    assert arch.effective_parameters(1) == entries
    assert looped.effective_parameters(PASSES) == entries


def test_every_pass_is_given_the_prompt_and_has_weights_of_its_own() -> None:
    graph = unrolled_graph(UNTIED, 1)
    injections = [n for n in nodes_of(graph) if n.kind == "injection"]
    assert len(injections) == PASSES
    assert len({n.weights for n in injections}) == PASSES
    into = {e.target for e in edges_of(graph) if e.kind == "injection"}
    assert into == {n.id for n in injections}
    assert [n.label for n in nodes_of(graph) if n.part == "block"] == [
        "P1.0", "P1.1", "P2.0", "P2.1", "P3.0", "P3.1",
    ]  # fmt: skip
    assert UNTIED.layer_name(3) == "pass 2, layer 1"
    assert UNTIED.block_words == "untied loop, 3 passes × 2 layers"


def test_weights_are_recognised_by_value_pass_by_pass(pair: tuple[Loaded, Loaded]) -> None:
    looped, untied = (weight_identity(loaded.model) for loaded in pair)
    known = {n.weights for n in nodes_of(unrolled_graph(UNTIED, 1)) if n.weights}
    assert set(untied) == known
    for i in range(PASSES):
        assert untied[f"injection.{i}"] == looped["injection"]
        assert untied[f"closing norm.{i}"] == looped["closing norm"]
        assert untied[f"block.{2 * i + 1}"] == looped["block.1"]
    other = weight_identity(random_model(UNTIED, 1))
    assert len(set(other.values())) == len(other)


def test_its_layers_step_as_those_of_the_looped_model(pair: tuple[Loaded, Loaded]) -> None:
    looped, untied = (Stepper(loaded) for loaded in pair)
    one = looped.begin(pair[0].tokenizer.encode(PROMPT))
    other = untied.begin(pair[1].tokenizer.encode(PROMPT))
    for _ in range(PASSES):
        looped.step()
    untied.step()
    t, d = one.n_tokens, LOOPED.d_model
    np.testing.assert_array_equal(
        one.layer_states.reshape(6, t, d), other.layer_states.reshape(6, t, d)
    )
    np.testing.assert_array_equal(one.states[PASSES], other.states[1])
    np.testing.assert_array_equal(looped.readout(), untied.readout())


@pytest.mark.parametrize("layers", [1, 2, 3, 4, 5, 6, 7, 9])
def test_a_branch_goes_on_from_the_middle_of_a_pass(
    pair: tuple[Loaded, Loaded], layers: int
) -> None:
    """Bit for bit what a run cut from the start gives, wherever in a pass the run stands."""
    loaded = pair[1]
    prompt = loaded.tokenizer.encode(PROMPT)
    recurrence, layer = divmod(layers, UNTIED.n_block)
    cut = Noise(recurrence=recurrence + 1, last=recurrence + 1, layer=layer, size=0.3)
    stepper = Stepper(loaded)
    stepper.begin(prompt)
    for _ in range(layers):
        stepper.step_layer()
    branch = stepper.branch((cut,))
    whole = Stepper(loaded)
    whole.begin(prompt, interventions=(cut,))
    for _ in range(2):
        whole.step()
    while branch.recording.n_recurrences < 2:
        branch.step_layer()
    np.testing.assert_array_equal(branch.recording.layer_states, whole.recording.layer_states)
    np.testing.assert_array_equal(branch.recording.states, whole.recording.states)


def test_cuts_reach_every_pass(pair: tuple[Loaded, Loaded]) -> None:
    """The injection cut for good, and one layer skipped, against the looped model's own cuts."""
    prompts = [loaded.tokenizer.encode(PROMPT) for loaded in pair]
    runs = (
        (DropInjection(recurrence=1, last=PASSES), DropInjection(recurrence=1, last=1)),
        (SkipLayer(recurrence=2, last=2, layer=1), SkipLayer(recurrence=1, last=1, layer=3)),
    )
    for in_looped, in_untied in runs:
        looped, untied = (Stepper(loaded) for loaded in pair)
        one = looped.begin(prompts[0], interventions=(in_looped,))
        other = untied.begin(prompts[1], interventions=(in_untied,))
        for _ in range(PASSES):
            looped.step()
        untied.step()
        np.testing.assert_array_equal(one.states[PASSES], other.states[1])


def test_the_lens_closes_a_pass_by_that_pass_own_norm(pair: tuple[Loaded, Loaded]) -> None:
    from loopscope.core.analyses.lens import _states

    loaded = pair[1]
    torch.manual_seed(0)
    model = loaded.model
    scales = [torch.rand(LOOPED.d_model) + 0.5 for _ in range(PASSES)]
    kept = [norm.weight.clone() for norm in model.closing_norm]
    for norm, scale in zip(model.closing_norm, scales, strict=True):
        norm.weight.data.copy_(scale)
    stepper = Stepper(loaded)
    recording = stepper.begin(loaded.tokenizer.encode(PROMPT))
    stepper.step()
    states = _states(model, recording, "coda", 0, 5)
    for place in range(5):
        x = torch.from_numpy(recording.layer_states[0, place].copy())
        normed = x / (x.square().mean(-1, keepdim=True) + LOOPED.norm_eps).sqrt()
        expected = normed * scales[place // 2]
        if place % 2:  # read out as the coda reads a pass's end
            torch.testing.assert_close(model.norm_after(x, place), expected)
        torch.testing.assert_close(states[place], model.coda(expected[None])[0])
    for norm, weight in zip(model.closing_norm, kept, strict=True):
        norm.weight.data.copy_(weight)


def test_the_card_says_what_it_is(tmp_path: Path) -> None:
    from loopscope.core.checkpoint.folder import open_checkpoint
    from loopscope.core.run.card import card, card_text

    save_native(tmp_path, random_model(UNTIED))
    text = card_text(card(open_checkpoint(str(tmp_path))))
    assert "recurrent block 6 (untied: 3 passes of 2)" in text
