"""Trainings: what is asked for, what is drawn, what is trained, and that one goes on exactly."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import random_model, tiny_architecture

from loopscope.app.cli.main import main
from loopscope.core.checkpoint.folder import open_checkpoint
from loopscope.core.checkpoint.loading import load
from loopscope.core.checkpoint.series import series_in
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.architectures import (
    default_architecture,
)
from loopscope.core.experiments.batches import Curriculum
from loopscope.core.experiments.hops_batches import HopsTask
from loopscope.core.experiments.native_folder import RECORD_FILE, save_native
from loopscope.core.experiments.training import STATE_FILE, Training, read_state
from loopscope.core.experiments.training_plan import (
    MODEL_NAMES,
    RECIPES,
    HopsData,
    Recurrences,
    TrainingPlan,
    plan_of,
)

SMALL = HopsData(max_hops=2, n_letters=4)
NOWHERE = Path("nowhere")


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
        counted[hops - 1] += task.batch(Curriculum(step, hops, 0.0, -1, [])).counts
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


def test_a_weight_that_half_precision_cannot_hold_is_told_before_anything_is_written(
    tmp_path: Path,
) -> None:
    model = random_model(tiny_architecture())
    weight = model.state_dict()["block.0.mlp_down.weight"]
    weight[0, 0] = 65504  # the largest number of float16
    save_native(tmp_path / "fits", model, half=True)
    assert (
        load(str(tmp_path / "fits"), "cpu").model.state_dict()["block.0.mlp_down.weight"].max()
        == 65504
    )
    weight[0, 0] = -7e4
    with pytest.raises(LoopscopeError, match="'block.0.mlp_down.weight' holds 7e.04, more than"):
        save_native(tmp_path / "no", model, half=True)
    assert not (tmp_path / "no").exists()
    save_native(tmp_path / "no", model)


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
