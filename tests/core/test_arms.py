"""The arms of the experiments: comparable where they say so, trainable, staged seed by seed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import plain_forward

from loopscope.app.cli.measure_arms import waiting
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.architectures import default_architecture
from loopscope.core.experiments.arm_results import Sizes, measure_arm, read_results
from loopscope.core.experiments.arms import ARMS, GROUPS, STEPS, arm
from loopscope.core.experiments.native_folder import RECORD_FILE
from loopscope.core.experiments.small_models import folder_of, train
from loopscope.core.experiments.studies.subject import STUDY_SEED, prompts
from loopscope.core.experiments.training import Training
from loopscope.core.experiments.training_plan import HopsData, differences

# What may differ between the arms of one group, and nothing else.
MAY_DIFFER = {
    "found": {"recurrences", "target"},
    "tying": {"passes", "recurrences.rule"},
    "text": {"passes", "recurrences.rule"},
}


@pytest.mark.parametrize("key", MAY_DIFFER)
def test_arms_of_a_group_differ_in_nothing_but_what_is_compared(key: str) -> None:
    group = next(g for g in GROUPS if g.key == key)
    first = arm("walker") if key == "tying" else arm(next(iter(group.seeds)))
    for name in group.seeds:
        for field, *_ in differences(first.plan.as_json(), arm(name).plan.as_json()):
            assert field in MAY_DIFFER[key] or field.split(".")[0] in MAY_DIFFER[key], (name, field)


def test_harder_arms_differ_in_the_data_alone() -> None:
    for kind in ("looped", "untied", "deep"):
        easy = arm({"looped": "walker"}.get(kind, kind))
        for key, expected in (("quarter", "data.examples"), ("hard", "data.n_letters")):
            hard = arm(f"{kind}-{key}")
            found = {n for n, *_ in differences(easy.plan.as_json(), hard.plan.as_json())}
            assert found == {expected}
            assert hard.arch == easy.arch
    data = arm("looped-quarter").plan.data
    assert isinstance(data, HopsData)
    assert 4 * data.examples == STEPS * arm("walker").plan.batch_size


def test_every_arm_has_seeds_and_a_model_that_its_plan_can_train(tmp_path: Path) -> None:
    assert {a.key for a in ARMS} == {key for g in GROUPS for key in g.seeds}
    assert len({a.key for a in ARMS}) == len(ARMS)
    for model in ARMS:
        if isinstance(model.plan.data, HopsData):
            Training(tmp_path / "none", model.plan, model.arch)
        looped = model.arch.trained_recurrences
        assert looped == (1 if model.plan.passes else model.plan.longest)


def test_stages_go_on_from_the_same_seed(tmp_path: Path) -> None:
    arch = default_architecture(d_model=16, trained_recurrences=2)
    data = HopsData(max_hops=2, n_letters=4)
    plan = replace(arm("walker").plan, data=data, batch_size=4)
    first = replace(arm("walker"), arch=arch, plan=plan)
    second = replace(arm("halting"), arch=arch, plan=replace(plan, learning_rate=1e-30))
    with pytest.raises(LoopscopeError):
        train(second, 3, tmp_path, steps=1)
    train(first, 3, tmp_path, steps=2)
    train(second, 3, tmp_path, steps=1)
    one, other = (load(str(folder_of(m, 3, tmp_path)), "cpu") for m in (first, second))
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name])
    record = json.loads((folder_of(second, 3, tmp_path) / RECORD_FILE).read_text())
    assert (record["arm"], record["plan"]["weights"]) == ("halting", one.weights_hash)
    assert record["plan"]["seed"] == 3


def test_a_text_arm_needs_a_corpus(tmp_path: Path) -> None:
    with pytest.raises(LoopscopeError, match="a corpus is needed"):
        train(arm("text-looped"), 0, tmp_path, steps=1)


def test_the_text_models_are_of_the_sizes_that_are_said() -> None:
    counts = {key: arm(f"text-{key}").arch.n_parameters for key in ("looped", "shallow", "deep")}
    assert counts["looped"] == counts["shallow"]
    assert 1.0e6 < counts["looped"] < 1.2e6
    assert counts["deep"] < 4e6


@pytest.mark.slow
def test_a_row_is_what_the_trained_model_does(tmp_path: Path) -> None:
    model = arm("walker")
    folder = train(model, 3, tmp_path, steps=2)
    row = measure_arm(model, 3, tmp_path, Sizes(accuracy=5, long=2, interchange=2))
    assert (row.arm, row.seed, row.steps) == ("walker", 3, 2)
    loaded = load(str(folder), "cpu").model
    for k in (1, 6):
        batch = prompts(5, k, seed=STUDY_SEED + k)
        right = []
        for tokens, answers in zip(batch.tokens, batch.answers, strict=True):
            for r, expected in ((k, row.at_k), (6, row.after_all)):
                logits = plain_forward(loaded, tuple(tokens), r)["logits"][-1][-8:]
                right.append((r, expected, (logits.argmax(-1) == answers).mean()))
        for expected in (row.at_k, row.after_all):
            shares = [share for _, which, share in right if which is expected]
            assert expected[k - 1] == pytest.approx(np.mean(shares))
    assert [len(v) for v in (row.walked, row.far, row.letters)] == [5, 4, 6]
    assert all(low <= held for low, held in zip(row.lowest, row.held, strict=True))
    text = json.dumps([row.as_json()])
    (tmp_path / "results.json").write_text(text)
    (again,) = read_results(tmp_path / "results.json")
    assert json.dumps([again.as_json()]) == text
    # Measured already: nothing is waiting but the training of another seed.
    train(model, 1, tmp_path, steps=1)
    assert [(a.key, seed) for a, seed in waiting(tmp_path, [again])] == [("walker", 1)]
    with pytest.raises(LoopscopeError, match="arm of text"):
        measure_arm(arm("text-deep"), 0, tmp_path)
    (tmp_path / "results.json").write_text("[{}]")
    with pytest.raises(LoopscopeError, match="no results of arms"):
        read_results(tmp_path / "results.json")
