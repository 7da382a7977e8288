"""Held to nulls: against numbers worked out here, planted cases, and a case that fails."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from models import random_model, tiny_architecture, tiny_checkpoint

from loopscope.core.analyses.nulls import run as hold
from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.hops import prompt_lines
from loopscope.core.experiments.native_folder import save_native
from loopscope.core.measures.nulls import NULLS, HeldToNulls, cycle_spread, repetition
from loopscope.core.measures.registry import MEASURES
from loopscope.core.over_prompts.nulls import held_to_nulls, shuffled
from loopscope.core.recordings.results import MODEL_KEYS, flattened, put_results
from loopscope.core.results import Results
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.nulls import NOT_YET, STAGES, TWO, Options, compute, table


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load(str(tiny_checkpoint(tmp_path_factory.mktemp("m"), seed=4)), "cpu")


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("four")
    save_native(folder, random_model(tiny_architecture(n_block=4), 2), with_tokenizer=True)
    return load(str(folder), "cpu")


def stepped(loaded: Loaded, recurrences: int) -> Stepper:
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode("ab bc ca ? 2 : a b c"))
    for _ in range(recurrences):
        stepper.step()
    return stepper


def prompts_of(loaded: Loaded, n: int) -> list:
    return [loaded.tokenizer.encode(line["prompt"]) for line in prompt_lines(n)]


def recordings_of(loaded: Loaded, n: int, recurrences: int) -> list:
    made = []
    for prompt in prompts_of(loaded, n):
        stepper = Stepper(loaded)
        stepper.begin(prompt)
        for _ in range(recurrences):
            stepper.step()
        made.append(stepper.recording)
    return made


def test_head_changes_are_those_of_the_runs_and_the_cycle_is_that_of_their_ends(
    tiny: Loaded,
) -> None:
    found = held_to_nulls(tiny, prompts_of(tiny, 5), 4, [], "prompts")
    runs = recordings_of(tiny, 5, 4)
    for r in range(1, 4):
        by_hand = [
            np.linalg.norm((a.patterns[r] - a.patterns[r - 1]).reshape(2, 4, -1), axis=-1).mean()
            for a in runs
        ]
        assert found.change.value[r - 1] == pytest.approx(np.mean(by_hand), rel=1e-4)
    assert found.tightest <= 1
    assert (found.bound > found.change.value).all()
    ends = np.stack([a.layer_states[-1] for a in runs]).astype(np.float64)
    apart = [((ends[:, 0] - ends[:, 1]) ** 2).sum(-1).mean()]
    pairs = [(i, j) for i in range(5) for j in range(i)]
    between = [((ends[i] - ends[j]) ** 2).sum(-1).mean() for i, j in pairs]
    assert found.cycle == pytest.approx(np.sqrt(np.mean(apart) / np.mean(between)), rel=1e-5)
    assert found.cycle == pytest.approx(cycle_spread(ends).ratio, rel=1e-5)
    assert "a block of 2 layers" in found.no_stages


def test_the_shuffled_copy_has_the_same_weights_elsewhere_and_the_model_is_as_it_was(
    tiny: Loaded,
) -> None:
    before = {name: p.clone() for name, p in tiny.model.named_parameters()}
    made = shuffled(tiny, 0)
    changed = set()
    for name, p in made.named_parameters():
        own = before[name]
        assert torch.equal(p.flatten().sort().values, own.flatten().sort().values)
        if not torch.equal(p, own):
            changed.add(name.split(".")[0])
    assert changed == {"block"}
    assert all(torch.equal(p, before[name]) for name, p in tiny.model.named_parameters())
    again = shuffled(tiny, 0)
    assert all(
        torch.equal(a, b) for a, b in zip(made.parameters(), again.parameters(), strict=True)
    )


def test_stages_repeat_or_do_not() -> None:
    rng = np.random.default_rng(0)
    shape = np.array([1.0, 3, 2, 5, 4, 7])
    same = repetition(shape + 0.1 * rng.standard_normal((4, 6)), until=4)
    assert same.value > 0.95
    assert same.p < 0.01
    ps = [repetition(rng.standard_normal((4, 6)), until=4, shuffles=99).p for _ in range(60)]
    assert 0.3 < np.mean(ps) < 0.7  # nothing to find: p is uniform
    # Only what is before settling counts.
    settled = np.vstack([rng.standard_normal((2, 6)), np.tile(shape, (30, 1))])
    assert repetition(settled, until=32).value > 0.9
    assert repetition(settled, until=2).value < 0.9
    assert np.isnan(repetition(shape[None], until=5).value)
    assert np.isnan(repetition(np.ones((4, 2)), until=4).value)


def test_stages_are_asked_before_the_state_settles(four: Loaded) -> None:
    measures = [MEASURES[key] for key in STAGES]
    found = held_to_nulls(four, prompts_of(four, 4), 12, measures, "prompts", tolerance=0.05)
    runs = recordings_of(four, 4, 12)
    steps = np.stack([
        [np.median(np.linalg.norm(a.states[r] - a.states[r - 1], axis=-1)
                   / np.linalg.norm(a.states[r], axis=-1)) for r in range(1, 13)]
        for a in runs
    ])  # fmt: skip
    moving = np.flatnonzero(np.median(steps, axis=0) >= 0.05)
    assert found.until == moving[-1] + 1
    assert [s.measure for s in found.stages] == list(STAGES)
    norms = np.mean(
        [np.median(np.linalg.norm(a.layer_states, axis=-1), axis=-1) for a in runs], axis=0
    )
    by_hand = repetition(norms, until=found.until)
    stage = found.stages[-1]
    assert stage.value == pytest.approx(by_hand.value, abs=1e-4)
    assert stage.p == by_hand.p
    # A model that settles at once has nothing to repeat.
    still = held_to_nulls(four, prompts_of(four, 2), 3, measures, "p", tolerance=10.0)
    assert still.until == 0
    assert "settles at once" in still.no_stages


def test_what_the_bound_is_not_of_and_too_little_to_see(tiny: Loaded) -> None:
    layer = replace(tiny_architecture().layer, qk_norm="rms")
    other = replace(tiny, model=random_model(tiny_architecture(layer=layer)))
    found = held_to_nulls(other, prompts_of(tiny, 2), 2, [], "p")
    assert "the bound is of plain queries" in found.no_bound
    assert np.isnan(found.change.value).all()
    with pytest.raises(LoopscopeError, match="two recurrences"):
        held_to_nulls(tiny, prompts_of(tiny, 2), 1, [], "p")


def test_the_view_says_each_beside_its_null(tiny: Loaded, four: Loaded) -> None:
    at = Selection()
    assert compute(stepped(tiny, 1).recording, at, Options()).missing == TWO
    for loaded, stages in ((tiny, 0), (four, 4)):
        stepper = stepped(loaded, 3)
        recording = stepper.recording
        assert compute(recording, at, Options()).missing == NOT_YET
        found = hold(stepper, at, Options(prompts=3, tolerance=0.0), Job("n"))
        recording.keep(NULLS, found)
        data = compute(recording, at, Options())
        change, bound, null = data.curves
        np.testing.assert_array_equal(change.y, found.change.value)
        assert bound.dashed
        assert null.dashed
        assert change.x.tolist() == [2, 3]
        assert "within their bound" in data.statement
        assert ("stages repeat up to r = 3" in data.statement) == bool(stages)
        far = "layers are farther" if found.cycle > 1 else "layers are NOT farther"
        assert far in data.statement
        rows = list(table(data).rows)
        assert len(rows) == 2 + stages + 1
    results, again = Results(), Results()
    results.put(NULLS, found)
    arrays = flattened(results, MODEL_KEYS)
    put_results(again, json.loads(bytes(arrays["results"])), arrays, "f", MODEL_KEYS)
    kept = again.get(NULLS)
    assert isinstance(kept, HeldToNulls)
    assert kept.stages == found.stages
    # A claim that can fail says that it did.
    recording.keep(NULLS, replace(found, cycle=0.5, tightest=1.5))
    said = compute(recording, at, Options()).statement
    assert "NOT within their bound" in said
    assert "layers are NOT farther apart than prompts (0.5 times" in said
