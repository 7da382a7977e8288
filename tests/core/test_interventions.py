"""Every intervention against the same edit made by hand in a plain float64 forward."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoints import write_checkpoint
from edits import NAMES, PROMPT, ByHand, N, cases, run, three_layers
from models import Hooks, plain_forward, tiny_architecture, tiny_checkpoint

from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import END, FOREVER, Intervention, Source
from loopscope.core.interventions.layers import (
    AblateHead,
    BorrowLayer,
    DropInjection,
    FreezeHead,
    PerturbWeights,
    ScaleWrite,
    SkipLayer,
)
from loopscope.core.interventions.registry import KINDS, as_json, from_json, load_interventions
from loopscope.core.interventions.states import Mean, Noise, Replace, Zero
from loopscope.core.model.layers import DecoderLayer
from loopscope.core.run.effects import effect, effect_words, idle
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return three_layers(tmp_path_factory.mktemp("m"))


@pytest.mark.parametrize("name", NAMES)
def test_an_intervention_is_the_same_edit_made_by_hand(loaded: Loaded, name: str) -> None:
    cut = cases(loaded)[name]
    recording = run(loaded, cut)
    ids = recording.info.token_ids
    truth = plain_forward(loaded.model, ids, N, hooks=ByHand(name, loaded))
    plain = plain_forward(loaded.model, ids, N)
    np.testing.assert_allclose(recording.layer_states, truth["layers"], rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(recording.states[1:], truth["states"], rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(recording.patterns, truth["patterns"], rtol=2e-5, atol=2e-5)
    assert not np.allclose(truth["layers"], plain["layers"], rtol=1e-3)  # the edit does something
    acted = {r for i, r in recording.effects if i == 0}
    assert acted == {r for r in range(1, N + 1) if cut.acts_at(r)}
    assert all(change > 0 for change in recording.effects.values())


def test_every_kind_is_tested_by_hand(loaded: Loaded) -> None:
    assert {type(cut) for cut in cases(loaded).values()} == set(KINDS.values())


def test_effects_are_relative_changes(loaded: Loaded) -> None:
    noisy = run(loaded, Noise(recurrence=2, last=2, layer=0, size=0.25), n=2)
    assert noisy.effects[0, 2] == pytest.approx(0.25, rel=1e-5)
    scaled = run(loaded, ScaleWrite(recurrence=2, last=2, layer=1, factor=0.5), n=2)
    plain = plain_forward(loaded.model, scaled.info.token_ids, 2)["layers"]
    change = 0.5 * np.linalg.norm(plain[1, 1] - plain[1, 0]) / np.linalg.norm(plain[1, 1])
    assert scaled.effects[0, 2] == pytest.approx(change, rel=1e-4)


def test_the_effect_is_the_largest_over_recurrences(loaded: Loaded) -> None:
    recording = run(loaded, Mean(recurrence=1, last=FOREVER, layer=END))

    class ByMean(Hooks):
        def __init__(self) -> None:
            self.changes: list[float] = []

        def state(self, r, layer, before, x):
            if layer != END or r == 0:
                return x
            mean = np.tile(x.mean(0), (len(x), 1))
            self.changes.append(np.linalg.norm(mean - x) / np.linalg.norm(x))
            return mean

    hand = ByMean()
    plain_forward(loaded.model, recording.info.token_ids, N, hooks=hand)
    own = [recording.effects[0, r] for r in range(1, N + 1)]
    np.testing.assert_allclose(own, hand.changes, rtol=1e-4)
    assert max(hand.changes) > hand.changes[-1] + 1e-3  # else the last would do
    assert effect(recording, 0) == max(own)


@pytest.mark.parametrize("layer", [1, END])
def test_a_source_is_the_state_before_anything_acted_on_it(loaded: Loaded, layer: int) -> None:
    """Where this run's own state was changed, the uncut one is run anew."""
    ids = loaded.tokenizer.encode(PROMPT).token_ids
    zero = Zero(recurrence=2, last=2, layer=layer, tokens=(1, 4))
    back = Replace(
        recurrence=3, last=3, layer=layer, source=Source(token_ids=ids, recurrence=2, layer=layer)
    )
    recording, plain = run(loaded, zero, back, n=3), run(loaded, n=2)

    def at(one: Recording, r: int) -> np.ndarray:
        return one.states[r] if layer == END else one.layer(r, layer).state

    assert not np.array_equal(at(recording, 2), at(plain, 2))
    np.testing.assert_array_equal(at(recording, 3), at(plain, 2))


def test_an_intervention_that_does_nothing_has_no_effect(loaded: Loaded) -> None:
    ids = loaded.tokenizer.encode(PROMPT).token_ids
    own = Source(token_ids=ids, prompt=PROMPT, recurrence=2, layer=1)
    recording = run(
        loaded,
        Replace(recurrence=2, last=2, layer=1, source=own),
        ScaleWrite(recurrence=3, last=3, layer=0, factor=1.0),
        Noise(recurrence=9, last=9, layer=0),
        Zero(recurrence=0, last=0, layer=END),  # it starts at zero
    )
    assert recording.effects == {(0, 2): 0.0, (1, 3): 0.0, (3, 0): 0.0}
    np.testing.assert_array_equal(recording.layer_states, run(loaded).layer_states)


def test_the_default_start_of_a_source_is_that_of_the_model(tmp_path: Path) -> None:
    """A run begun at zeros is not the run that a model with random starts makes by itself."""
    arch = tiny_architecture(initial_state="normal")
    loaded = load(str(tiny_checkpoint(tmp_path / "m", arch)), "cpu")
    ids = loaded.tokenizer.encode(PROMPT).token_ids
    cut = Replace(recurrence=3, last=3, layer=END, source=Source(token_ids=ids, recurrence=2))
    zeros = run(loaded, cut, n=3, start="zeros")
    np.testing.assert_array_equal(zeros.states[3], run(loaded, n=2).states[2])
    own = replace(cut, source=Source(token_ids=ids, recurrence=2, start="zeros"))
    found = run(loaded, own, n=3, start="zeros")
    np.testing.assert_array_equal(found.states[3], found.states[2])


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ({"recurrence": -1}, "there is no recurrence -1 of a run"),
        ({"recurrence": 0, "layer": 1}, "there is no recurrence 0 of a run"),
        ({"recurrence": 1, "layer": 7}, "there is no layer 7 to take its state from"),
    ],
)
def test_a_source_that_is_not_there_is_refused(
    loaded: Loaded, place: dict[str, int], problem: str
) -> None:
    ids = loaded.tokenizer.encode(PROMPT).token_ids
    with pytest.raises(LoopscopeError, match=problem):
        run(loaded, Replace(recurrence=2, last=2, layer=1, source=Source(token_ids=ids, **place)))


def test_what_is_no_longer_finite_was_changed(loaded: Loaded) -> None:
    """NaN compares with nothing: it must not read as "did nothing"."""

    def by_layers(*cuts: Intervention) -> Recording:
        stepper = Stepper(loaded)
        recording = stepper.begin(loaded.tokenizer.encode(PROMPT), interventions=cuts)
        while recording.n_recurrences < 3:
            stepper.step_layer()
        return recording

    noise = Noise(recurrence=2, last=2, layer=END, size=1e6)
    zero = Zero(recurrence=3, last=3, layer=END)
    recording = by_layers(*[noise] * 5, zero, zero)
    assert not np.isfinite(recording.states[2]).all()
    assert [math.isnan(effect(recording, i) or 0.0) for i in (4, 5, 6)] == [True, True, False]
    assert "not finite" in effect_words(recording, 4)
    assert len(idle(recording)) == 1
    huge = by_layers(*[noise] * 4)
    assert np.abs(huge.states[2]).max() > 1e20  # its square would overflow
    assert effect(huge, 3) == pytest.approx(1e6, rel=1e-3)


def test_a_skipped_layer_leaves_no_pattern_to_hold(loaded: Loaded) -> None:
    freeze = FreezeHead(recurrence=2, last=2, layer=1, held=1)
    with pytest.raises(LoopscopeError, match="layer 1 has no attention pattern to hold"):
        run(loaded, SkipLayer(recurrence=1, last=1, layer=1), freeze)


def test_noise_is_the_same_on_every_device_and_in_a_batch(loaded: Loaded) -> None:
    cut = Noise(recurrence=1, last=1, layer=0, size=0.1, seed=5)
    x = torch.randn(3, 6, 16)
    moved = cut.state(x, None, 1, 0)  # type: ignore[arg-type]
    alone = cut.state(x[:1], None, 1, 0)  # type: ignore[arg-type]
    assert torch.equal(moved[:1], alone)
    steps = (moved - x) / x.norm(dim=-1, keepdim=True)
    assert torch.allclose(steps.norm(dim=-1), torch.full((3, 6), 0.1))
    assert not torch.allclose(steps[0], steps[1])
    again = cut.state(x, None, 2, 0)  # type: ignore[arg-type]
    assert not torch.equal(again, moved)


def test_weights_drawn_anew_differ_by_recurrence_and_shared_ones_do_not(loaded: Loaded) -> None:
    from loopscope.core.interventions.applied import AppliedInterventions

    applied = AppliedInterventions(loaded.model)
    layer = applied.layer(1)
    shared = [applied.perturbed(layer, 0.1, 0, 0, 1) for _ in range(2)]
    assert shared[0] is shared[1]
    first, second = (applied.perturbed(layer, 0.1, 0, draw, 1) for draw in (1, 2))
    for own, a, b in zip(layer.parameters(), first.parameters(), second.parameters(), strict=True):
        if own.ndim > 1:
            assert float((a - own).norm() / own.norm()) == pytest.approx(0.1, rel=1e-5)
            assert not torch.equal(a, b)
        else:
            assert torch.equal(a, own)


def test_noise_on_noise_is_that_of_its_own_recurrence(loaded: Loaded) -> None:
    """A copy made of a copy that is gone must not stand for one made of the next."""
    from loopscope.core.interventions.applied import AppliedInterventions
    from loopscope.core.interventions.plan import LayerPlan

    def noisy(layer: DecoderLayer, size: float, place: int) -> DecoderLayer:
        generator, made = torch.Generator().manual_seed(place), copy.deepcopy(layer)
        for p in made.parameters():
            if p.ndim == 2:
                g = torch.randn(p.shape, generator=generator)
                p.data = p.data + size * p.data.norm() * g / g.norm()
        return made

    anew = PerturbWeights(recurrence=1, last=FOREVER, layer=1, seed=1, size=0.1, anew=True)
    shared = PerturbWeights(recurrence=1, last=FOREVER, layer=1, seed=2, size=0.2)
    applied, million = AppliedInterventions(loaded.model), 1_000_003
    for r in range(1, 20):
        plan = shared.plan(anew.plan(LayerPlan(applied.layer(1)), applied, r, 1), applied, r, 1)
        first = noisy(applied.layer(1), 0.1, (million + r) * million + 1)
        second = noisy(first, 0.2, 2 * million * million + 1)
        for p, q in zip(plan.layer.parameters(), second.parameters(), strict=True):
            torch.testing.assert_close(p, q)
    assert len(applied._copies) == 2


def test_passes_of_a_nested_loop_share_their_noise(tmp_path: Path) -> None:
    from loopscope.core.interventions.applied import AppliedInterventions
    from loopscope.core.interventions.plan import LayerPlan

    loaded = load(str(write_checkpoint(tmp_path / "m", "hrm_text")), "cpu")
    applied = AppliedInterventions(loaded.model)
    plans = []
    for layer in range(loaded.architecture.n_block):
        cut = PerturbWeights(recurrence=1, last=FOREVER, layer=layer)
        plans.append(cut.plan(LayerPlan(applied.layer(layer)), applied, 1, layer).layer)
    # Three passes of the fast stack and one of the slow, two layers each.
    assert [plans.index(p) for p in plans] == [0, 1, 0, 1, 0, 1, 6, 7]


@pytest.mark.parametrize(
    ("cut", "problem"),
    [
        (Noise(layer=3), "there is no layer 3; the block has layers 0 to 2"),
        (Noise(layer=0, tokens=(12,)), "there is no token 12; the prompt has tokens 0 to 11"),
        (Noise(recurrence=0, layer=0), "no recurrence 0"),
        (SkipLayer(recurrence=1, layer=END), "there is no layer -1"),
        (AblateHead(layer=0, head=4), "there is no head 4; there are heads 0 to 3"),
        (FreezeHead(recurrence=2, last=2, layer=0, held=2), "not an earlier one; choose 1 to 1"),
        (BorrowLayer(layer=0, of=7), "there is no layer 7 to borrow from"),
        (Zero(recurrence=4, last=2, layer=0), "it would end at 2"),
    ],
)
def test_a_place_that_is_not_there_is_refused(
    loaded: Loaded, cut: Intervention, problem: str
) -> None:
    with pytest.raises(LoopscopeError, match=problem):
        run(loaded, cut)
    parent = Stepper(loaded)
    parent.begin(loaded.tokenizer.encode(PROMPT))
    with pytest.raises(LoopscopeError, match=problem):
        parent.branch((cut,))


def test_what_cannot_be_done_says_why(loaded: Loaded, tmp_path: Path) -> None:
    short = Source(token_ids=loaded.tokenizer.encode("ab").token_ids, recurrence=1)
    with pytest.raises(LoopscopeError, match="the source has 2 tokens and this prompt 12"):
        run(loaded, Replace(recurrence=2, last=2, layer=0, source=short))
    some = Replace(recurrence=2, last=2, layer=0, source=short, tokens=(0, 1))
    assert run(loaded, some).effects[0, 2] > 0  # tokens that both have
    stepper = Stepper(loaded, Capture(patterns=False))
    cut = FreezeHead(recurrence=2, last=2, layer=0, held=1)
    stepper.begin(loaded.tokenizer.encode(PROMPT), interventions=(cut,))
    stepper.step()
    with pytest.raises(LoopscopeError, match="keeps no attention patterns"):
        stepper.step()
    bare = tiny_architecture(injection="none", initial_state="embedding")
    other = load(str(tiny_checkpoint(tmp_path / "b", bare)), "cpu")
    with pytest.raises(LoopscopeError, match="has no input injection"):
        run(other, DropInjection(recurrence=2, last=2))


# ---- as data ----
def test_interventions_are_saved_and_read_back(loaded: Loaded, tmp_path: Path) -> None:
    cuts = tuple(cases(loaded).values())
    nested = Source(token_ids=(3, 4), interventions=(cuts[0],), layer=1)
    cuts += (Replace(layer=1, source=nested),)
    path = tmp_path / "cuts.json"
    path.write_text(json.dumps(as_json(cuts)))
    assert load_interventions(path) == cuts
    recording = run(loaded, cuts[0])
    assert from_json(json.loads(recording.info.provenance()["interventions"])) == cuts[:1]
    assert "interventions" not in run(loaded, n=1).info.provenance()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "cannot be read as JSON"),
        ("{}", "expected a list"),
        ("[1]", "entry 1: expected an object"),
        ('[{"kind": "smash"}]', "there is no intervention 'smash'; there are noise, zero"),
        ('[{"kind": "zero", "size": 1}]', "there is no 'size'"),
        (
            '[{"kind": "zero"}, {"kind": "noise", "size": "x"}]',
            "entry 2, 'size': expected a number",
        ),
        ('[{"kind": "noise", "size": NaN}]', "expected a number"),
        ('[{"kind": "noise", "seed": 1.5}]', "expected a whole number"),
        ('[{"kind": "noise", "tokens": 3}]', "expected a list of whole numbers"),
        ('[{"kind": "scale", "part": "soul"}]', "'soul' is not one of layer, attention, mlp"),
        ('[{"kind": "perturb", "anew": 1}]', "expected bool"),
        ('[{"kind": "replace", "source": {}}]', "token_ids"),
    ],
)
def test_a_bad_file_is_refused_by_entry_and_key(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "cuts.json"
    path.write_text(text)
    with pytest.raises(LoopscopeError, match=problem):
        load_interventions(path)


def test_words_say_what_and_where(loaded: Loaded) -> None:
    words = {name: cut.describe() for name, cut in cases(loaded).items()}
    assert words["noise"] == "noise of 0.3 (seed 7) at recurrence 3, layer 1"
    assert words["zero"] == "set to zero at recurrence 3, end, tokens 2, 5"
    assert words["freeze"] == "head 2 held at recurrence 1 at recurrence 3 and on, layer 0"
    assert words["attention"] == "attention's write × -2 at recurrences 2 to 3, layer 2"
    assert words["drop"] == "drop the input injection at recurrence 3 and on"
    assert "state of recurrence 2, layer 0 of “xy yz zx ? 1 : z x y”" in words["replace"]
    assert Zero(recurrence=0, last=0, layer=END).describe() == "set to zero at the initial state"


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"kind": "noise", "layer": -1, "size": -0.5}, "'size': -0.5 is not between 0 and 1e+06"),
        ({"kind": "repeat", "times": -3}, "'times': -3 is not between 1 and 64"),
        ({"kind": "scale", "factor": 2000}, "'factor': 2000 is not between -1000 and 1000"),
        ({"kind": "perturb", "seed": -1}, "'seed': -1 is not between 0 and 1e+06"),
        ({"kind": "ablate head", "tokens": [3]}, "'tokens': it acts on all positions alike"),
        ({"kind": "drop injection", "tokens": [3]}, "'tokens': it acts on all positions alike"),
    ],
)
def test_what_no_model_could_do_is_refused_when_read_and_when_begun(
    entry: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(LoopscopeError) as error:
        from_json([{"kind": "zero", "layer": -1, "tokens": [3]}, entry], "F")
    assert str(error.value).startswith(f"F, entry 2, {says}")
    fields = {k: tuple(v) if k == "tokens" else v for k, v in entry.items() if k != "kind"}
    cut = KINDS[entry["kind"]](**fields)
    with pytest.raises(LoopscopeError) as error:
        cut.check(tiny_architecture(), 5)
    assert says in str(error.value)
