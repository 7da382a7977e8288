"""Sweeps without a cluster: what a study may say, what its runs give, what the store keeps."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import random_model

from loopscope.core.analyses.lens import read_run
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.experiments.native_folder import save_native
from loopscope.core.interventions.layers import SkipLayer
from loopscope.core.interventions.states import Noise
from loopscope.core.measures.base import measure
from loopscope.core.measures.exits import signals_of
from loopscope.core.measures.lens import READINGS, Readings
from loopscope.core.measures.over_prompts import HowRun
from loopscope.core.measures.registry import MEASURES
from loopscope.core.over_prompts.quality import quality_over
from loopscope.core.prompts.prompt_set import PromptSet, read_prompts
from loopscope.core.recordings.reader import open_recording
from loopscope.core.remote.models import MODELS
from loopscope.core.run.stepper import Stepper
from loopscope.core.sweeps import store as stores
from loopscope.core.sweeps.cell import NO_PLACE, do_task, measured
from loopscope.core.sweeps.grid import tasks_of
from loopscope.core.sweeps.parts import read_rows
from loopscope.core.sweeps.running import standing
from loopscope.core.sweeps.store import Store
from loopscope.core.sweeps.study import OpenedStudy, open_study
from loopscope.core.views.depth import OFFERED
from loopscope.core.views.lens.curves import read_curve

pytest.importorskip("pyarrow", reason="the extra `cluster` is not installed")

SMALL = """
checkpoints = ["bundled:looped"]
prompts = ["p.txt"]
R = [1, 3]
measures = ["relative_step", "entropy"]
"""
PROMPTS = "ab ba ? 1 : a b\nab bc ca ? 2 : a b c\n"


def write(folder: Path, text: str = SMALL, prompts: str = PROMPTS) -> OpenedStudy:
    (folder / "p.txt").write_text(prompts)
    (folder / "s.toml").write_text(text)
    return open_study(str(folder / "s.toml"))


def sweep(opened: OpenedStudy, folder: Path, most: int = 1000) -> None:
    """Do at most so many tasks, as a cluster would."""
    with Store(folder) as store:
        for task in list(tasks_of(opened, store.done, store.weights, store.recorded))[:most]:
            outcome = do_task(task)
            assert not outcome.failures
            store.say_checkpoint(task.checkpoint.name, {"weights sha256": outcome.weights})
            store.append(task, outcome.blocks)
            store.keep_recordings(task, outcome.recordings)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("relative_step", "relative_stp"), "there is no measure 'relative_stp'; perhaps relative_step"),
        (("entropy", "exit:stp@1"), "there is no exit rule 'stp'; step,"),
        (("entropy", "exit:kl"), "'exit:kl' needs a threshold, as in exit:kl@0.001"),
        (("R = [1, 3]", 'R = "1:1000000000"'), "'R': 1:1000000000 are more than 1,000,000 values"),
        (("R = [1, 3]", 'R = "1:1000"\nseeds = "0:499999"'), "the grid has 2,000,000,000 cells; at most 10,000,000"),
        (("R = [1, 3]", "R = [0]"), "0 recurrences cannot be run"),
        (("R = [1, 3]", "R = []"), "'R': is empty"),
        (("R = [1, 3]", ""), "missing 1 required positional argument: 'R'"),
        (("R = [1, 3]", "R = [1, 3]\nseed = 3"), "there is no 'seed'; "),
        (("R = [1, 3]", "R = [1,"), "s.toml: cannot be read as TOML"),
        (("p.txt", "q.txt"), "q.txt: cannot be read: No such file"),
        (('["bundled:looped"]', '["a/m", "b/m"]'), "two entries are called 'm'; name one of them"),
        (("R = [1, 3]", 'R = [1, 3]\n[[interventions]]\nname = "x"\ncuts = [{kind = "y"}]'), "there is no intervention 'y'"),
        (("R = [1, 3]", 'R = [1, 3]\n[[starts]]\nstart = "warm"'), "'warm' is not one of default, zeros, random"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_study_is_one_line(
    change: tuple[str, str], said: str, tmp_path: Path
) -> None:
    lines = SMALL.replace(*change)
    if "\n[[" in lines:  # a table's keys come last in TOML
        head, _, table = lines.partition("\n[[")
        table, _, rest = table.partition("\nmeasures")
        lines = f"{head}\nmeasures{rest}\n[[{table}\n"
    with pytest.raises(LoopscopeError) as error:
        write(tmp_path, lines)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_bundled_study() -> None:
    with pytest.raises(
        LoopscopeError, match="there is no bundled study 'x'; there is bundled:hops"
    ):
        open_study("bundled:x")


def test_the_grid_is_every_combination_once(tmp_path: Path) -> None:
    text = SMALL.replace('"bundled:looped"', '"bundled:looped", "bundled:deep"')
    opened = write(tmp_path, f'{text}seeds = "3:5"\nprompts_per_task = 4\n')
    tasks = list(tasks_of(opened, {}, {}))
    runs = [(task.checkpoint.name, run.item.line, run.seed) for task in tasks for run in task.runs]
    names = "bundled:looped", "bundled:deep"
    assert sorted(runs) == sorted((c, i, s) for c in names for i in (1, 2) for s in (3, 4, 5))
    assert len({run.key for task in tasks for run in task.runs}) == 12 == opened.n_runs
    assert opened.n_cells == 48 == sum(task.n_cells for task in tasks)
    assert [len(task.runs) for task in tasks] == [2] * 6  # seeds do not share a task


def test_a_path_is_taken_from_the_study_and_is_not_part_of_a_runs_name(tmp_path: Path) -> None:
    keys = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        opened = write(tmp_path / name, SMALL.replace("bundled:looped", "m"))
        (task,) = tasks_of(opened, {}, {})
        assert task.checkpoint.path == str(tmp_path / name / "m")
        keys.append([run.key for run in task.runs])
    assert keys[0] == keys[1]


@pytest.mark.slow
@pytest.mark.parametrize("cut", [False, True])
def test_every_number_is_that_of_a_run_of_R(cut: bool, tmp_path: Path) -> None:
    """Each against a run of its own of just R recurrences; quality and exits against other code."""
    keys = tuple(OFFERED)
    rest = ("quality:accuracy", "quality:nll", "exit:step@0.3", "exit-agreement:kl@0.5")
    listed = ", ".join(f'"{key}"' for key in (*keys, *rest))
    text = f"""
checkpoints = ["bundled:looped"]
prompts = [{{path = "bundled:hops", first = 3}}]
R = [1, 4]
measures = [{listed}]
seeds = [7]
places = "all"
[[starts]]
start = "random"
scale = 0.5
"""
    if cut:
        text += '[[interventions]]\nname = "cut"\ncuts = [{kind = "skip", recurrence = 2, last = 2, layer = 1}]\n'
    cuts = (SkipLayer(recurrence=2, last=2, layer=1),) if cut else ()
    opened = write(tmp_path, text)
    loaded = load("bundled:looped", "cpu")
    (task,) = tasks_of(opened, {}, {})
    run = task.runs[2]
    blocks = {(b.measure, b.r): b for b in measured(loaded, run, every_place=True)}
    assert set(blocks) == set(run.wanted)
    for r in (1, 4):
        stepper = Stepper(loaded)
        stepper.begin(
            loaded.tokenizer.encode(run.item.text), seed=7, start="random", start_scale=0.5,
            interventions=cuts,
        )  # fmt: skip
        for _ in range(r):
            stepper.step()
        recording = stepper.recording
        readings = Readings()
        for lens in ("coda", "logit"):
            readings = readings.put(lens, read_run(loaded, recording, lens, lambda share: None))
        recording.keep(READINGS, readings)
        for key in keys:
            quantity, block = OFFERED[key], blocks[key, r]
            one = (
                measure(recording, quantity) if key in MEASURES else read_curve(recording, quantity)
            )
            if one.missing:
                assert block.note == one.missing
                assert np.isnan(block.value).all()
                continue
            values = one.values[-1]
            at = [getattr(block, axis) for axis in quantity.axes]
            np.testing.assert_allclose(
                block.value, values[tuple(at)], rtol=1e-5, atol=1e-7, err_msg=key
            )
            assert block.value.size == values.size
            if quantity.axes:
                assert len(set(zip(*(a.tolist() for a in at), strict=True))) == values.size
        alone = PromptSet("p", "p", (run.item,))
        quality = quality_over(loaded, alone, HowRun(r, 7, "random", 0.5, cuts))
        assert blocks["quality:accuracy", r].value[0] == quality.accuracy.value[-1]
        np.testing.assert_allclose(
            np.exp(blocks["quality:nll", r].value[0]), quality.perplexity.value[-1], rtol=1e-9
        )
        # Exits, by hand: the answers stand at the last eight places.
        signals = signals_of(recording)
        small = signals.values["step"][:, -8:] < 0.3
        first = np.where(small.any(0), small.argmax(0) + 1, r)
        np.testing.assert_allclose(blocks["exit:step@0.3", r].value[0], first.mean())
        if r == 1:  # there is no change of the readout yet
            assert np.isnan(blocks["exit-agreement:kl@0.5", r].value[0])
            assert "needs 2 recurrences" in blocks["exit-agreement:kl@0.5", r].note
            continue
        small = signals.values["kl"][:, -8:] < 0.5
        first = np.where(small.any(0), small.argmax(0) + 1, r)
        answers = signals.answers[:, -8:]
        same = answers[first - 1, np.arange(8)] == answers[-1]
        np.testing.assert_allclose(blocks["exit-agreement:kl@0.5", r].value[0], same.mean())


def test_layers_average_tokens_and_heads(tmp_path: Path) -> None:
    opened = write(tmp_path)
    (task,) = tasks_of(opened, {}, {})
    loaded = load("bundled:looped", "cpu")
    whole = {(b.measure, b.r): b for b in measured(loaded, task.runs[0], every_place=True)}
    for block in measured(loaded, task.runs[0]):
        every = whole[block.measure, block.r]
        assert (block.token == NO_PLACE).all()
        for layer, value in zip(block.layer, block.value, strict=True):
            average = np.median if block.measure == "relative_step" else np.mean
            np.testing.assert_allclose(
                value, average(every.value[every.layer == layer]), rtol=1e-12
            )


def test_one_run_that_cannot_be_made_stops_no_other(tmp_path: Path) -> None:
    opened = write(tmp_path, prompts="ab ba ? 1 : a b\nnot a prompt of it: é\n#1,2,3\n")
    (task,) = tasks_of(opened, {}, {})
    outcome = do_task(task)
    assert list(outcome.failures) == [task.runs[1].key]
    assert {block.run for block in outcome.blocks} == {task.runs[0].key, task.runs[2].key}
    nowhere = replace(task, checkpoint=replace(task.checkpoint, path="/nowhere"))
    outcome = do_task(nowhere)
    assert len(outcome.failures) == 3
    assert "/nowhere does not exist" in outcome.failures[task.runs[0].key]


def test_a_model_is_loaded_once(tmp_path: Path) -> None:
    opened = write(tmp_path, SMALL + "prompts_per_task = 1\n")
    MODELS.kept.clear()
    before = MODELS.loads
    tasks = list(tasks_of(opened, {}, {}))
    assert len(tasks) == 2
    for task in tasks:
        do_task(task)
    assert MODELS.loads == before + 1


def test_resumed_is_unbroken_row_for_row(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    opened = write(tmp_path, SMALL + "prompts_per_task = 1\nseeds = [0, 1]\n")
    sweep(opened, tmp_path / "whole")
    for most in (1, 2, 100):
        sweep(opened, tmp_path / "broken", most)
    whole, broken = read_rows(tmp_path / "whole"), read_rows(tmp_path / "broken")
    assert whole.num_rows > 10
    assert whole.equals(broken)
    assert len(list((tmp_path / "broken" / "rows").iterdir())) == 4  # the first task's at once


def test_only_what_is_new_is_made(tmp_path: Path) -> None:
    opened = write(tmp_path)
    sweep(opened, tmp_path / "out")
    more = write(tmp_path, SMALL.replace("[1, 3]", "[1, 4]").replace('"entropy"', '"sink"'))
    with Store(tmp_path / "out") as store:
        where = standing(more, store)
        # (relative_step, 1) is there; (relative_step, 4), (sink, 1) and (sink, 4) are not.
        assert (where.done, where.left, where.others) == (2, 6, 6)
        (task,) = tasks_of(more, store.done, store.weights)
        assert task.runs[0].wanted == (("relative_step", 4), ("sink", 1), ("sink", 4))


def test_other_weights_under_the_same_name_are_refused(tmp_path: Path) -> None:
    opened = write(tmp_path)
    (task,) = tasks_of(opened, {}, {"bundled:looped": "0" * 64})
    outcome = do_task(task)
    assert not outcome.blocks
    assert "its weights are not those of the rows there are" in next(
        iter(outcome.failures.values())
    )


def test_the_store_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, out = write(tmp_path), tmp_path / "out"
    sweep(opened, out)
    with Store(out), pytest.raises(LoopscopeError, match="another sweep writes to this folder"):
        Store(out)
    (part,) = (out / "rows").iterdir()
    part.write_bytes(part.read_bytes()[:-50])
    with pytest.raises(LoopscopeError, match=r"part-000001.parquet: cannot be read: .*delete it"):
        Store(out)
    part.unlink()
    (out / "provenance.json").write_text("[1]")
    with pytest.raises(LoopscopeError, match="is not what a sweep writes"):
        Store(out)

    def full(*arguments: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stores.pq, "write_table", full)
    with pytest.raises(LoopscopeError, match=r"cannot write .*part-000001.parquet: No space left"):
        sweep(opened, tmp_path / "full")
    assert list((tmp_path / "full" / "rows").iterdir()) == []


def test_the_bundled_study_is_what_it_says() -> None:
    opened = open_study("bundled:hops")
    assert opened.prompt_sets[0].items == read_prompts("bundled:hops").items[:24]
    assert opened.n_runs == 192


def test_a_series_is_an_axis_of_training_steps(tmp_path: Path) -> None:
    for step in (0, 50):
        save_native(tmp_path / f"t/steps/step-{step:07d}", random_model(seed=step))
    text = SMALL.replace('["bundled:looped"]', '["bundled:looped", { path = "t", series = true }]')
    opened = write(tmp_path, text)
    names = [own.name for own in opened.study.checkpoints]
    assert names == ["bundled:looped", "t@0", "t@50"]
    sweep(opened, tmp_path / "out")
    rows = read_rows(tmp_path / "out").to_pylist()
    assert {(row["checkpoint"], row["step"]) for row in rows} == {
        ("bundled:looped", None), ("t@0", 0), ("t@50", 50)
    }  # fmt: skip
    by_hand = load(str(tmp_path / "t/steps/step-0000050"), "cpu")
    stepper = Stepper(by_hand)
    run = stepper.begin(by_hand.tokenizer.encode("ab ba ? 1 : a b"))
    for _ in range(3):
        stepper.step()
    s = run.states.astype(float)
    expected = np.median(np.linalg.norm(s[3] - s[2], axis=-1) / np.linalg.norm(s[3], axis=-1))
    (found,) = [
        row["value"] for row in rows
        if (row["step"], row["line"], row["R"], row["measure"]) == (50, 1, 3, "relative_step")
    ]  # fmt: skip
    assert found == pytest.approx(expected, rel=1e-6)
    save_native(tmp_path / "t/steps/step-0000100", random_model(seed=100))  # it was trained on
    with Store(tmp_path / "out") as store:
        further = write(tmp_path, text)
        left = list(tasks_of(further, store.done, store.weights))
    assert {task.checkpoint.name for task in left} == {"t@100"}
    with pytest.raises(LoopscopeError, match="holds no series: folders of checkpoints"):
        write(tmp_path, text.replace('"t"', '"nothing"'))


def test_rows_of_a_version_without_steps_are_read(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    opened = write(tmp_path)
    sweep(opened, tmp_path / "out")
    for part in tmp_path.glob("out/rows/*.parquet"):
        pq.write_table(pq.read_table(part, partitioning=None).drop_columns(["step"]), part)
    rows = read_rows(tmp_path / "out")
    assert rows.column("step").null_count == rows.num_rows == 12
    with Store(tmp_path / "out") as store:
        assert not list(tasks_of(opened, store.done, store.weights))


def test_a_condition_of_the_probe_is_a_measure(tmp_path: Path) -> None:
    """What it says is the loss that the same cuts make in runs of the stepper."""
    keys = ("probe:layer 1 skipped", "probe:layer 1 skipped@0.5", "probe:noise on the state at 2@1")
    text = SMALL.replace('["relative_step", "entropy"]', str(list(keys)).replace("'", '"'))
    prompts = '{"prompt": "ab bc cd da ? 2 : a b c", "answer": "c d a"}'
    (tmp_path / "q.jsonl").write_text(prompts)
    opened = write(tmp_path, text.replace("p.txt", "q.jsonl").replace("[1, 3]", "[2, 4]"))
    loaded = load("bundled:looped", "cpu")
    (task,) = tasks_of(opened, {}, {})
    found = {(block.measure, block.r): block for block in do_task(task).blocks}
    assert len(found) == 6
    for key in keys:  # a probe of two recurrences has no room for its cuts
        assert np.isnan(found[key, 2].value[0])
        assert found[key, 2].note.startswith("a probe needs at least 3 recurrences")
    noise = [(Noise(recurrence=2, last=2, layer=-1, size=1.0, seed=seed),) for seed in range(16)]
    draws = {
        keys[0]: [(SkipLayer(recurrence=1, last=4, layer=1),)],
        keys[1]: [(SkipLayer(recurrence=1, last=2, layer=1),)],
        keys[2]: noise,
    }
    items = read_prompts(str(tmp_path / "q.jsonl"))

    def right(cuts: tuple[object, ...]) -> float:
        how = HowRun(4, interventions=cuts)  # type: ignore[arg-type]
        return float(quality_over(loaded, items, how).right[0, -1])

    for key, cuts in draws.items():
        expected = right(()) - np.mean([right(own) for own in cuts])
        assert found[key, 4].value[0] == pytest.approx(expected)
        assert found[key, 4].unit == "share of answers"
    assert found[keys[0], 4].value[0] > 0.3  # a layer that is left out always costs answers
    lasting = replace(task.runs[0], cuts=(SkipLayer(recurrence=1, last=1, layer=0),))
    (block,) = measured(loaded, replace(lasting, wanted=((keys[0], 4),)))
    assert block.note == "a condition of the probe is a cut into a run without others"


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("probe:", "'probe:' names no curve"),
        ("probe:layer 0 skipped@much", "'much' is no dose"),
    ],
)
def test_what_is_no_condition_is_told_at_once(key: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(LoopscopeError, match=told):
        write(tmp_path, SMALL.replace('"entropy"', f'"{key}"'))


def test_a_condition_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    for key, told in (
        ("probe:layer 7 skipped", "the probe has no curve 'layer 7 skipped'; perhaps layer"),
        ("probe:layer 1 skipped@0.3", "has no dose 0.3; it has 0.25, 0.5, 1"),
    ):
        text = SMALL.replace('["relative_step", "entropy"]', f'["{key}"]')
        (tmp_path / "q.jsonl").write_text('{"prompt": "ab ba ? 1 : a b", "answer": "b a"}')
        opened = write(tmp_path, text.replace("p.txt", "q.jsonl").replace("[1, 3]", "[4]"))
        (task,) = tasks_of(opened, {}, {})
        (why,) = do_task(task).failures.values()
        assert told in why


def test_chosen_runs_are_kept_as_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = "\n[[recordings]]\nR = 5\nlines = [2]\nseeds = [1]\n"
    text = SMALL + "seeds = [0, 1]\n"
    sweep(write(tmp_path, text), tmp_path / "out")
    opened = write(tmp_path, text + chosen)
    with Store(tmp_path / "out") as store:
        where = standing(opened, store)
    assert (where.left, where.recordings) == (0, 1)
    sweep(opened, tmp_path / "out")
    (file,) = (tmp_path / "out/recordings").iterdir()
    keys = {
        row["run"] for row in read_rows(tmp_path / "out").to_pylist()
        if (row["line"], row["seed"]) == (2, 1)
    }  # fmt: skip
    assert {file.stem} == {f"bundled_looped-line2-{key}" for key in keys}
    (kept,) = open_recording(file).runs
    loaded = load("bundled:looped", "cpu")
    stepper = Stepper(loaded)
    run = stepper.begin(loaded.tokenizer.encode("ab bc ca ? 2 : a b c"), seed=1)
    for _ in range(5):
        stepper.step()
    np.testing.assert_array_equal(kept.states, run.states)
    np.testing.assert_array_equal(kept.patterns, run.patterns)
    with Store(tmp_path / "out") as store:
        assert standing(opened, store).recordings == 0
        assert not list(tasks_of(opened, store.done, store.weights, store.recorded))
    file.unlink()
    monkeypatch.setattr("loopscope.core.sweeps.cell.MOST_RECORDED", 1000)
    with Store(tmp_path / "out") as store:
        (task,) = tasks_of(opened, store.done, store.weights, store.recorded)
    (why,) = do_task(task).failures.values()
    assert why.startswith("a recording of 5 recurrences takes more than 1000 B")
