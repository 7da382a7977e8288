"""Linear probes: against a fit written out here, planted labels, and figures found by other code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from models import tiny_checkpoint

from loopscope.core.analyses.linear_probes import labelled
from loopscope.core.analyses.linear_probes import run as fit
from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.hops import make_batch, prompt_lines, text_of, walk_of
from loopscope.core.measures.linear_maps import RIDGE, LinearMap, RidgeReader, mean_map, ridge_map
from loopscope.core.measures.linear_probes import LINEAR_PROBES, LinearProbes
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.over_prompts.linear_probes import Labelled, linear_probes
from loopscope.core.prompts.prompt_set import Item, PromptFileError, PromptSet, read_prompts
from loopscope.core.recordings.results import MODEL_KEYS, flattened, put_results
from loopscope.core.results import Results
from loopscope.core.run.jobs import Job
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.linear_probes import NOT_YET, Options, compute, table


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load(str(tiny_checkpoint(tmp_path_factory.mktemp("m"))), "cpu")


def stepped(loaded: Loaded, recurrences: int) -> Stepper:
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode("ab bc ca ? 2 : a b c"))
    for _ in range(recurrences):
        stepper.step()
    return stepper


# ---- the maps ----
def test_a_reader_is_ridge_regression_on_each_class() -> None:
    """The same by least squares on rows that stand for the penalty."""
    rng = np.random.default_rng(0)
    x, fresh = rng.normal(2, 3, (50, 7)), rng.normal(2, 3, (30, 7))
    labels = rng.integers(0, 3, 50)
    z, zf = ((a - x.mean(0)) / x.std(0) for a in (x, fresh))
    z, zf = (np.hstack([a, np.ones((len(a), 1))]) for a in (z, zf))
    rows = np.vstack([z, np.sqrt(RIDGE * 50) * np.eye(8)])
    scores = []
    for c in range(3):
        target = np.r_[labels == c, np.zeros(8)].astype(float)
        scores.append(zf @ np.linalg.lstsq(rows, target, rcond=None)[0])
    expected = np.argmax(scores, axis=0)
    assert RidgeReader(x).classes_of(fresh, labels, 3).tolist() == expected.tolist()


def test_a_ridge_map_finds_a_linear_map_and_its_bias_at_each_position() -> None:
    rng = np.random.default_rng(1)
    weight, bias = rng.normal(size=(4, 6)), rng.normal(size=(3, 4))
    positions = np.repeat(np.arange(3), 40)
    x = rng.normal(size=(120, 6)) + positions[:, None]
    y = x @ weight.T + bias[positions]
    found = ridge_map(x, y, positions, penalty=1e-12)
    np.testing.assert_allclose(found.weight, weight, atol=1e-8)
    np.testing.assert_allclose(found.bias, bias, atol=1e-7)
    # A position that was not seen has the last one's bias; one in between has the mean of all.
    np.testing.assert_allclose(found(x[:1], np.array([9])), x[:1] @ weight.T + bias[2], atol=1e-7)
    gap = ridge_map(x, y, positions * 2, penalty=1e-12)
    np.testing.assert_allclose(gap.bias[1], y.mean(0) - weight @ x.mean(0), atol=1e-7)
    nothing = mean_map(x, y, positions)
    assert isinstance(nothing, LinearMap)
    by_hand = np.stack([y[positions == t].mean(0) for t in range(3)])
    np.testing.assert_allclose(nothing(rng.normal(size=(3, 6)), np.arange(3)), by_hand)


# ---- labels ----
def test_the_walk_of_a_prompt_is_that_of_the_task() -> None:
    batch = make_batch(np.random.default_rng(3), np.full(20, 6))
    for i, row in enumerate(batch.tokens):
        names = text_of(row).replace(" ", "")
        walk = walk_of(list(names), 6)
        expected = [[chr(97 + t - 13) for t in batch.walk[h, i]] for h in range(7)]
        assert [list(at) for at in walk] == expected
    assert walk_of(list("once upon"), 2) == []
    assert walk_of(list("ab?1:c"), 1) == []


def test_a_file_brings_labels_of_its_own(tiny: Loaded, tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"

    def read(labels: object) -> list[Labelled]:
        lines = [{"prompt": "ab ba ? 1 : a b", "labels": labels}, {"prompt": "ab ba ? 1 : b a"}]
        file.write_text("\n".join(json.dumps(line) for line in lines))
        return labelled(tiny, read_prompts(str(file)), "file")

    made = read({"which": ["x", None], "all": list(range(9))})
    assert made[0].labels["which"] == ("",) * 7 + ("x", "")
    assert made[0].labels["all"] == tuple(map(str, range(9)))
    assert made[1].labels == {}
    for wrong, said in (
        ({"a": list(range(10))}, r"line 1: “a” has 10 labels for 9 tokens"),
        ({"a": "x"}, r'line 1: label "a" is no list'),
        ({"a": [[]]}, r'line 1: label "a" is no list'),
        ([1], r'line 1: "labels" is no object'),
    ):
        with pytest.raises(LoopscopeError, match=said):
            read(wrong)
    with pytest.raises(PromptFileError, match="is no object of at most 64"):
        read({str(i): [] for i in range(65)})
    with pytest.raises(LoopscopeError, match="p.jsonl has no labels of this kind"):
        read(None)


# ---- probes ----
def test_planted_labels_are_read_and_random_ones_are_not(tiny: Loaded) -> None:
    rng = np.random.default_rng(0)
    made, plane = [], rng.normal(size=16)
    for line in prompt_lines(60, seed=5):
        prompt = tiny.tokenizer.encode(line["prompt"])
        n = len(prompt.token_ids)
        stepper = Stepper(tiny)
        stepper.begin(prompt)
        stepper.step()
        stepper.step()
        # On which side of a plane the state is, after the last layer.
        sides = tuple("ab"[int(x > 0)] for x in stepper.recording.layer_states[1, 1] @ plane)
        noise = tuple(rng.choice(["a", "b"], n).tolist())
        made.append(Labelled(prompt, {"side": sides, "noise": noise}))
    found = linear_probes(tiny, made, HowRun(2), "prompts", permutations=30)
    assert found.accuracy.value.shape == found.null.shape == (2, 1 + 2 * 2)
    assert (found.fitted, found.tested) == (30, 30)
    assert found.tested_tokens.tolist() == [30 * 27] * 2
    # The start is zeros: nothing but the commonest label can be read there.
    side, noise = found.accuracy.value
    assert side[0] == pytest.approx(found.commonest[0])
    assert side[4] > 0.9
    assert (side[1:] > found.null[0, 1:]).all()
    assert abs(noise - 0.5).max() < 0.06
    assert (noise < found.null[1] + 0.03).all()
    low, high = found.accuracy.low[1, 1], found.accuracy.high[1, 1]
    assert low < noise[1] < high


def test_the_states_are_those_of_the_run_and_halves_do_not_meet(tiny: Loaded) -> None:
    """One place fitted by hand, from the stepper's own states."""
    prompts = [tiny.tokenizer.encode(line["prompt"]) for line in prompt_lines(12, seed=6)]
    made = [Labelled(p, {"token": tuple(map(str, p.token_ids))}) for p in prompts]
    found = linear_probes(tiny, made, HowRun(2), "prompts", permutations=0, seed=3)
    assert np.isnan(found.null).all()
    rng = np.random.default_rng(3)
    order = rng.permutation(12)
    states = []
    for prompt in prompts:
        stepper = Stepper(tiny)
        stepper.begin(prompt)
        for _ in range(2):
            stepper.step()
        states.append(stepper.recording.layer_states[1, 0])
    x = np.concatenate([states[i] for i in sorted(order[:6])])
    y = np.concatenate([prompts[i].token_ids for i in sorted(order[:6])])
    known, index = np.unique(y, return_inverse=True)
    shares = []
    for i in order[6:]:
        named = known[RidgeReader(x).classes_of(states[i], index, len(known))]
        told = np.isin(prompts[i].token_ids, known)
        shares.append((named == prompts[i].token_ids)[told].mean())
    assert found.accuracy.value[0, 3] == pytest.approx(np.mean(shares), abs=0.01)


def test_too_few_prompts_and_a_label_of_one_prompt_say_so(tiny: Loaded) -> None:
    prompt = tiny.tokenizer.encode("ab ba ? 1 : a b")
    one = Labelled(prompt, {"x": ("a",) * 9})
    with pytest.raises(LoopscopeError, match="label two"):
        linear_probes(tiny, [one], HowRun(1), "p")
    rare = Labelled(prompt, {"x": ("a",) * 9, "y": ("b",) * 9})
    with pytest.raises(LoopscopeError, match="too few prompts have the label “y”"):
        linear_probes(tiny, [one, one, rare], HowRun(1), "p")
    apart = [Labelled(prompt, {"z": (str(i),) * 9}) for i in range(2)]  # none is in both halves
    with pytest.raises(LoopscopeError, match="too few prompts have the label “z”"):
        linear_probes(tiny, apart, HowRun(1), "p")


def test_the_pointer_is_where_another_study_found_it() -> None:
    """0.946 after recurrence 1, at least 0.997 after 2 to 6, of the query's state (6 hops)."""
    stepper = stepped(load("bundled:anytime", "cpu"), 6)
    batch = make_batch(np.random.default_rng(4), np.full(300, 6))
    items = tuple(Item(text_of(row), None, i) for i, row in enumerate(batch.tokens))
    stepper.loaded.shared.prompts = PromptSet("p", "p", items)
    found = fit(stepper, Selection(), Options(prompts=300, permutations=3), Job("probes"))
    assert found.labels == tuple(f"hop {h}" for h in range(7))
    value = found.accuracy.value
    ends = [2 * r for r in range(1, 7)]  # after the second layer of each recurrence
    assert value[1, ends[0]] > 0.85
    assert min(value[r, ends[r - 1]] for r in range(2, 7)) > 0.97
    assert max(value[r + 1, ends[r - 1]] for r in range(1, 6)) < 0.15
    assert found.null.max() < 0.12


# ---- the view ----
def test_the_view_draws_each_label_beside_what_permuted_ones_give(tiny: Loaded) -> None:
    stepper = stepped(tiny, 2)
    recording = stepper.recording
    assert compute(recording, Selection(), Options()).missing == NOT_YET
    found = fit(stepper, Selection(), Options(prompts=24, permutations=2), Job("probes"))
    recording.keep(LINEAR_PROBES, found)
    data = compute(recording, Selection(), Options())
    *labels, null = data.curves
    assert [c.name for c in labels] == [f"hop {h}" for h in range(7)]
    assert labels[0].x.tolist() == [0, 1, 2, 3, 4]
    assert labels[0].places[3] == {"recurrence": 2, "layer": 0}
    assert null.dashed
    np.testing.assert_array_equal(null.y, found.null.max(0))
    assert len(compute(recording, Selection(), Options(null=False)).curves) == 7
    assert "fitted on 12 and tested on 12 of the generated prompts" in data.statement
    assert "; and 4 more" in data.statement
    assert "n = 12 prompts" in data.bands
    rows = list(table(data).rows)
    assert len(rows) == 8 * 5
    assert rows[3][2] == found.accuracy.value[0, 3]
    # It is kept in files.
    results, again = Results(), Results()
    results.put(LINEAR_PROBES, found)
    arrays = flattened(results, MODEL_KEYS)
    put_results(again, json.loads(bytes(arrays["results"])), arrays, "f", MODEL_KEYS)
    kept = again.get(LINEAR_PROBES)
    assert isinstance(kept, LinearProbes)
    np.testing.assert_array_equal(kept.accuracy.value, found.accuracy.value)
    assert kept.places == found.places
