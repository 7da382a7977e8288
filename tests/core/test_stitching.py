"""Stitching: against runs of the stepper that start from a mapped state, and where the answer is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import random_model, tiny_architecture, tiny_checkpoint

from loopscope.core.analyses.stitching import run as stitch
from loopscope.core.checkpoint.loading import Loaded, load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.architectures import comparison_architecture
from loopscope.core.experiments.hops import VOCABULARY, make_batch, prompt_lines, text_of
from loopscope.core.experiments.native_folder import save_native
from loopscope.core.measures.linear_maps import LinearMap, ridge_map
from loopscope.core.measures.stitching import STITCHING, Stitching
from loopscope.core.over_prompts.quality import asked_of
from loopscope.core.over_prompts.stitching import Questions, _Runs, _score_all, stitching, train
from loopscope.core.prompts.prompt_set import Item, PromptSet
from loopscope.core.recordings.results import MODEL_KEYS, flattened, put_results
from loopscope.core.results import Results
from loopscope.core.run.jobs import Job
from loopscope.core.run.pairing import Pairing
from loopscope.core.run.stepper import Stepper
from loopscope.core.selection import Selection
from loopscope.core.views.second_run import SecondRun
from loopscope.core.views.stitching import (
    ALONE,
    NOT_YET,
    Options,
    compute,
    compute_second,
    table,
)

pytestmark = pytest.mark.slow


def prompts_of(n: int, hops: int = 0, seed: int = 3) -> PromptSet:
    if hops:
        batch = make_batch(np.random.default_rng(seed), np.full(n, hops))
        names = [" ".join(VOCABULARY[t] for t in row) for row in batch.answers]
        both = zip(batch.tokens, names, strict=True)
        items = [Item(text_of(row), a, i) for i, (row, a) in enumerate(both)]
    else:
        items = [
            Item(p["prompt"], p["answer"], i) for i, p in enumerate(prompt_lines(n, seed=seed))
        ]
    return PromptSet("p", "p", tuple(items))


def questions(loaded: Loaded, recurrences: int, prompts: PromptSet) -> Questions:
    return Questions(loaded, recurrences, asked_of(loaded, prompts))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Loaded]:
    root = tmp_path_factory.mktemp("pair")
    deep = random_model(comparison_architecture("deep", tiny_architecture(), 2), 5)
    save_native(root / "deep", deep)
    return [
        load(str(tiny_checkpoint(root / "looped", seed=4)), "cpu"),
        load(str(root / "deep"), "cpu"),
    ]


def test_a_stitched_run_is_a_run_that_starts_from_the_mapped_state(pair: list[Loaded]) -> None:
    """Maps by least squares with rows for the penalty, runs by the stepper; one model, 3 recurrences."""
    looped, prompts = pair[0], prompts_of(24)
    found = stitching(questions(looped, 3, prompts), questions(looped, 3, prompts), "accuracy", "p")
    assert found.ridge.value.shape == (3, 3)
    assert (found.fitted, found.tested, found.n_tokens) == (12, 12, 12 * 27)
    order = np.random.default_rng(0).permutation(24)
    asked = asked_of(looped, prompts)

    def ends(i: int) -> np.ndarray:
        stepper = Stepper(looped)
        stepper.begin(asked[i].prompt)
        for _ in range(3):
            stepper.step()
        return stepper.recording.states[1:]

    states = {i: ends(int(i)).astype(np.float64) for i in order}
    x, y = (np.stack([states[i][r] for i in order[:12]]) for r in (0, 1))
    mx, my = x.mean(0), y.mean(0)
    a, b = (x - mx).reshape(-1, 16), (y - my).reshape(-1, 16)
    penalty = 1e-3 * np.square(a).sum(0).mean()
    rows = np.vstack([a, np.sqrt(penalty) * np.eye(16)])
    w = np.linalg.lstsq(rows, np.vstack([b, np.zeros((16, 16))]), rcond=None)[0]
    shares, nulls = [], []
    for i in order[12:]:
        for start, into in (((states[i][0] - mx) @ w + my, shares), (my, nulls)):
            stepper = Stepper(looped)
            stepper.begin(asked[i].prompt, initial_state=start.astype(np.float32))
            stepper.step()
            says = stepper.readout()[list(asked[i].positions)].argmax(-1)
            into.append(np.mean(says == asked[i].targets))
    assert found.ridge.value[0, 1] == pytest.approx(np.mean(shares), abs=1e-9)
    assert found.null.value[1] == pytest.approx(np.mean(nulls), abs=1e-9)


def test_a_model_goes_on_from_its_own_state_and_the_ceiling_is_that(pair: list[Loaded]) -> None:
    looped, prompts = pair[0], prompts_of(60)
    own = questions(looped, 2, prompts)
    found = stitching(own, own, "nats", "p", other=own)
    np.testing.assert_allclose(np.diag(found.ridge.value), found.itself.value)
    np.testing.assert_allclose(found.seed.value, found.itself.value)
    # The last state is read out as it was, but for the penalty.
    assert found.itself.value[-1] == pytest.approx(found.uncut, rel=1e-3)
    assert np.isnan(found.trained.value).all()
    low, value, high = (e[0, 0] for e in (found.ridge.low, found.ridge.value, found.ridge.high))
    assert low < value < high


def test_into_a_deep_model_and_back(pair: list[Loaded]) -> None:
    prompts = prompts_of(16)
    looped, deep = questions(pair[0], 2, prompts), questions(pair[1], 1, prompts)
    into = stitching(looped, deep, "accuracy", "p")
    back = stitching(deep, looped, "accuracy", "p")
    assert into.ridge.value.shape == (2, 4)
    assert back.ridge.value.shape == (4, 2)
    assert into.second.label(3) == "layer 3"
    assert back.second.label(1) == "recurrence 2"
    assert into.uncut != back.uncut or into.uncut == pytest.approx(back.uncut)
    with pytest.raises(LoopscopeError, match="is not of the second model's kind"):
        stitching(looped, deep, "accuracy", "p", other=looped)
    with pytest.raises(LoopscopeError, match="two have to ask something"):
        few = prompts_of(1)
        stitching(questions(pair[0], 1, few), questions(pair[1], 1, few), "accuracy", "p")


def test_training_the_map_on_the_task_mends_a_spoilt_one() -> None:
    loaded, prompts = load("bundled:anytime", "cpu"), prompts_of(96, hops=6)
    one = questions(loaded, 6, prompts)
    runs = _Runs(one, one)
    g = np.random.default_rng(0)
    spoilt = LinearMap(np.eye(64) + 0.2 * g.normal(size=(64, 64)), np.zeros((27, 64)))
    before = train(runs, 2, 2, spoilt, 0, np.random.default_rng(1))
    after = train(runs, 2, 2, spoilt, 60, np.random.default_rng(1))
    scores = [_score_all(runs, 0, 2, 2, found, "accuracy").mean() for found in (before, after)]
    assert scores[1] > scores[0] + 0.2
    assert all(p.grad is None for p in loaded.model.parameters())
    assert torch.equal(
        before.weight.detach().double(), torch.from_numpy(spoilt.weight).float().double()
    )


def test_what_another_study_found_of_the_taught_pair() -> None:
    """Ridge, 6 hops, 1,500 fitting prompts there: at most 0.35 right, a deep model into itself 1.00."""
    looped, deep = (load(f"bundled:{name}", "cpu") for name in ("anytime", "deep"))
    prompts = prompts_of(120, hops=6)
    found = stitching(
        questions(looped, 6, prompts), questions(deep, 1, prompts), "accuracy", "prompts"
    )
    assert found.itself.value.min() > 0.95
    assert found.uncut > 0.99
    best = found.of_best(found.ridge.value)
    assert best.max() < 0.6
    assert found.null.value.max() < 0.25


def stepped(loaded: Loaded, recurrences: int) -> Stepper:
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode("ab bc ca ? 2 : a b c"))
    for _ in range(recurrences):
        stepper.step()
    return stepper


def test_the_view_says_what_it_needs_and_what_was_found(pair: list[Loaded]) -> None:
    one, other = stepped(pair[0], 2), stepped(pair[1], 1)
    at, recording = Selection(), one.recording
    arch = [loaded.architecture for loaded in pair]
    beside = SecondRun(other.recording, "deep", Pairing(arch[0], arch[1]), at)
    assert compute(recording, at, Options()).missing == ALONE
    assert compute_second(recording, beside, at, Options()).missing == NOT_YET
    job: Job[Stitching] = Job("s")
    with pytest.raises(LoopscopeError, match="there is no second run"):
        stitch(one, at, Options(prompts=8), job)
    job.second_run = other
    found = stitch(one, at, Options(prompts=12, steps=2), job)
    recording.keep(STITCHING, found)
    data = compute_second(recording, beside, at, Options())
    assert [c.name for c in data.curves] == [
        "ridge, best place", "trained there", "itself there", "position means alone",
    ]  # fmt: skip
    np.testing.assert_array_equal(data.curves[0].y, found.of_best(found.ridge.value))
    assert data.curves[0].notes[0] == f"into layer {found.best[0]}"
    assert data.curves[3].dashed
    assert f"{found.first.name} into deep: by ridge" in data.statement
    assert "tested on 6 of the generated prompts" in data.statement
    rows = list(table(data).rows)
    assert len(rows) == 2 * 4
    assert rows[1][2] == found.ridge.value[0, 1]
    assert sum(row[6] for row in rows) == 2  # type: ignore[misc]
    back = stitch(
        one, at, Options(prompts=12, direction="back", reference=str(pair[0].request.path)), job
    )
    assert (back.first.name, back.second.name) == ("deep", found.first.name)
    assert back.seed_name == found.first.name
    unlike = replace(other.recording.info, checkpoint="third")
    other.recording.info = unlike
    said = compute_second(recording, beside, at, Options()).statement
    assert said.startswith("Stitched with another model than third: stitch again.")
    results, again = Results(), Results()
    results.put(STITCHING, found)
    arrays = flattened(results, MODEL_KEYS)
    put_results(again, json.loads(bytes(arrays["results"])), arrays, "f", MODEL_KEYS)
    kept = again.get(STITCHING)
    assert isinstance(kept, Stitching)
    np.testing.assert_array_equal(kept.ridge.value, found.ridge.value)


def test_a_text_is_scored_by_its_surprise(tmp_path: Path) -> None:
    arch = replace(tiny_architecture(), task="")
    save_native(tmp_path / "t", random_model(arch), with_tokenizer=True)
    loaded = load(str(tmp_path / "t"), "cpu")
    items = tuple(Item(p["prompt"], None, i) for i, p in enumerate(prompt_lines(8)))
    loaded.shared.prompts = PromptSet("t.txt", "t.txt", items)
    one, other = stepped(loaded, 2), stepped(loaded, 2)
    job: Job[Stitching] = Job("s")
    job.second_run = other
    found = stitch(one, Selection(), Options(prompts=8), job)
    assert found.metric == "nats"
    one.recording.keep(STITCHING, found)
    data = compute(one.recording, Selection(), Options())
    assert data.formula.unit == "nats a token"
    # The best place is the one that surprises least.
    assert (found.of_best(found.ridge.value) <= found.ridge.value.max(1)).all()
    says = found.uncut
    by_hand = []
    order = np.random.default_rng(0).permutation(8)[4:]
    for i in order:
        stepper = Stepper(loaded)
        stepper.begin(loaded.tokenizer.encode(items[i].text))
        stepper.step()
        stepper.step()
        logits = stepper.readout().astype(np.float64)
        ids = stepper.recording.info.token_ids
        p = logits[:-1] - np.log(np.exp(logits[:-1]).sum(-1, keepdims=True))
        by_hand.append(-p[np.arange(len(ids) - 1), ids[1:]].mean())
    assert says == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_states_that_are_one_at_each_position_map_to_the_mean() -> None:
    """One prompt to fit on: there is nothing to tell states from one another by."""
    x, y = np.ones((6, 3)), np.arange(12.0).reshape(6, 2)
    positions = np.array([0, 1, 2, 0, 1, 2])
    found = ridge_map(x, y, positions)
    assert not found.weight.any()
    np.testing.assert_allclose(found(x, positions)[:3], (y[:3] + y[3:]) / 2)
