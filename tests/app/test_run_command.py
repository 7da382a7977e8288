"""`loopscope run`, and recordings wherever a command takes a checkpoint and a prompt."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from loopscope.app.cli.main import main
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.layers import SkipLayer
from loopscope.core.recordings.reader import is_recording, open_recording
from loopscope.core.recordings.segments import segments_of
from loopscope.core.recordings.writing import save
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROMPT = "ab bc ca ? 2 : a b c"
MODEL = ["bundled:looped", "--prompt", PROMPT]


def made(recurrences: int, prompt: str = PROMPT) -> Recording:
    """The same run without the command."""
    loaded = load("bundled:looped", "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode(prompt))
    for _ in range(recurrences):
        stepper.step()
    return stepper.recording


def run(path: Path, recurrences: int, *also: str, code: int = 0) -> None:
    asked = ["run", *MODEL, "--recurrences", str(recurrences), "-o", str(path), *also]
    assert main(asked) == code


def flushed(path: Path, copy: Path) -> int:
    """Whole recurrences that a run which is being made would leave if it were killed now."""
    if not segments_of(path).exists():
        return 0
    try:
        # Opening seals what no process holds, so a copy is opened.
        shutil.copyfile(segments_of(path), segments_of(copy))
        return open_recording(copy).runs[0].n_recurrences
    except (LoopscopeError, IndexError):
        return 0  # not even the head of the run is whole
    finally:
        copy.unlink(missing_ok=True)
        segments_of(copy).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recorded") / "run.h5"
    run(path, 6)
    return path


def test_it_holds_the_run(file: Path) -> None:
    (found,), expected = open_recording(file).runs, made(6)
    np.testing.assert_array_equal(found.states, expected.states)
    np.testing.assert_array_equal(found.layer_states, expected.layer_states)
    np.testing.assert_array_equal(found.patterns_of(1, 6), expected.patterns_of(1, 6))
    assert not segments_of(file).exists()


def test_h5py_alone_reads_it(file: Path) -> None:
    with h5py.File(file) as read:
        np.testing.assert_array_equal(read["runs/0/states"][()], made(6).states)


def test_asked_for_more_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    run(path, 3)
    run(path, 7)
    run(path, 7)  # nothing is left to do
    (found,) = open_recording(path).runs
    np.testing.assert_array_equal(found.states, made(7).states)


def test_another_run_does_not_go_into_the_same_file(tmp_path: Path, capsys) -> None:
    path = tmp_path / "run.h5"
    run(path, 2)
    before = path.read_bytes()
    run(path, 2, "--keep", "states", code=2)
    assert "another than asked for (--keep)" in capsys.readouterr().err
    other = ["run", "bundled:looped", "--prompt", "ab ba ? 1 : a b", "--recurrences", "2"]
    assert main([*other, "-o", str(path)]) == 2
    assert "(prompt)" in capsys.readouterr().err
    assert main(["run", "bundled:orbit", *MODEL[1:], "--recurrences", "3", "-o", str(path)]) == 2
    assert "other weights" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_it_keeps_what_is_asked_for(tmp_path: Path, capsys) -> None:
    path = tmp_path / "run.h5"
    run(path, 2, "--keep", "states,readouts")
    (found,) = open_recording(path).runs
    assert found.patterns is None
    assert found.writes is None
    assert found.coda_entropy is not None
    run(tmp_path / "other.h5", 2, "--keep", "gradients", code=2)
    assert "there is no 'gradients'; there are states, patterns" in capsys.readouterr().err
    # What is not there is said, and the rest drawn.
    assert main(["figures", str(path), "--format", "csv", "-o", str(tmp_path / "f")]) == 0
    assert (tmp_path / "f" / "settling.csv").exists()


def test_prompts_of_a_file_are_runs_of_one_recording(tmp_path: Path, capsys) -> None:
    prompts, path = tmp_path / "p.txt", tmp_path / "run.h5"
    texts = [PROMPT, "ab ba ? 1 : a b"]
    prompts.write_text("\n".join(texts) + "\n")
    asked = ["run", "bundled:looped", "--prompts", str(prompts), "--recurrences", "3"]
    assert main([*asked, "-o", str(path)]) == 0
    for found, text in zip(open_recording(path).runs, texts, strict=True):
        assert found.info.prompt == text
        np.testing.assert_array_equal(found.states, made(3, text).states)
    capsys.readouterr()
    assert main(["measure", str(path), "--run", "1", "--measures", "entropy"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["prompt"] == texts[1]
    assert main(["measure", str(path), "--run", "2"]) == 2
    assert "--run 2:" in capsys.readouterr().err


def test_figures_of_the_file_are_those_of_the_run(file: Path, tmp_path: Path) -> None:
    live, kept = tmp_path / "live", tmp_path / "kept"
    how = ["--format", "csv,png", "--dpi", "40"]
    assert main(["figures", *MODEL, "--recurrences", "6", *how, "-o", str(live)]) == 0
    assert main(["figures", str(file), *how, "-o", str(kept)]) == 0
    names = sorted(path.name for path in live.iterdir())
    assert names == sorted(path.name for path in kept.iterdir())
    assert len(names) > 20
    for name in names:
        assert (live / name).read_bytes() == (kept / name).read_bytes(), name


def test_figures_as_far_as_a_recurrence(file: Path, tmp_path: Path) -> None:
    live, kept = tmp_path / "live", tmp_path / "kept"
    assert main(["figures", *MODEL, "--recurrences", "4", "--format", "csv", "-o", str(live)]) == 0
    asked = ["figures", str(file), "--recurrences", "4", "--format", "csv", "-o", str(kept)]
    assert main(asked) == 0
    for path in live.iterdir():
        assert path.read_bytes() == (kept / path.name).read_bytes(), path.name


def test_figures_that_need_the_model_take_its_checkpoint(file, tmp_path, capsys) -> None:
    asked = ["figures", str(file), "--format", "csv", "--measure", "stability"]
    assert main([*asked, "-o", str(tmp_path / "a")]) == 0
    assert "give --checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "a" / "stability.csv").exists()
    with_it = [*asked, "--checkpoint", "bundled:looped", "-o", str(tmp_path / "b")]
    assert main(with_it) == 0
    live = ["figures", *MODEL, "--recurrences", "6", "--format", "csv", "--measure", "stability"]
    assert main([*live, "-o", str(tmp_path / "c")]) == 0
    there = [(tmp_path / name / "stability.csv").read_text() for name in "bc"]
    assert there[0] == there[1]
    assert main([*asked, "--checkpoint", "bundled:orbit", "-o", str(tmp_path / "d")]) == 2
    assert "other weights" in capsys.readouterr().err


def test_measures_of_the_file_are_those_of_the_run(file: Path, capsys) -> None:
    assert main(["measure", *MODEL, "--recurrences", "6"]) == 0
    live = json.loads(capsys.readouterr().out)
    assert main(["measure", str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == live


def test_trace_and_report_take_the_file(file: Path, tmp_path: Path, capsys) -> None:
    arrays, page = tmp_path / "run.npz", tmp_path / "run.html"
    assert main(["trace", str(file), "-o", str(arrays)]) == 0
    assert "logits are left out" in capsys.readouterr().err
    with np.load(arrays) as found:
        np.testing.assert_array_equal(found["layer_states"], made(6).layer_states)
        assert found["input_ids"].tolist() == [list(made(1).info.token_ids)]
    assert main(["report", str(file), "--beside", str(file), "-o", str(page)]) == 0
    assert main(["report", str(file), "--beside", "bundled:deep", "-o", str(page)]) == 0


def test_inspect_names_the_runs(file: Path, tmp_path: Path, capsys) -> None:
    assert main(["inspect", str(file), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["runs"][0]["recurrences"] == 6
    assert values["runs"][0]["kept"]["states"] == [7, 12, 64]
    assert values["provenance"]["checkpoint"] == "bundled:looped"
    # A branch says what it was cut off.
    loaded = load("bundled:looped", "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.encode(PROMPT))
    stepper.step()
    stepper.step()
    branch = stepper.branch((SkipLayer(recurrence=2, last=2, layer=1),))
    save(tmp_path / "two.h5", [stepper.recording, branch.recording])
    assert main(["inspect", str(tmp_path / "two.h5")]) == 0
    assert "branch of run 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["measure", "RUN", "--prompt", "x"], "--prompt is for a checkpoint"),
        (["figures", "RUN", "--loop", "1:2", "-o", "f"], "--loop is for a checkpoint"),
        (["trace", "RUN", "--dtype", "bfloat16", "-o", "f.npz"], "--dtype is for a checkpoint"),
        (["measure", "RUN", "--recurrences", "7"], "has 6 of this run"),
        (["figures", "bundled:looped", "--recurrences", "2", "-o", "f"], "needs --prompt or"),
        (["report", *MODEL, "-o", "p.html"], "report needs --recurrences"),
        (["measure", *MODEL, "--recurrences", "1", "--run", "1"], "--run is for a recording"),
        (
            ["figures", *MODEL, "--recurrences", "1", "--checkpoint", "x", "-o", "f"],
            "--checkpoint is for a recording",
        ),
        (["run", *MODEL, "--recurrences", "1", "-o", "run.npz"], "must end in .h5"),
    ],
)
def test_what_does_not_fit_is_one_line(file, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main([str(file) if word == "RUN" else word for word in arguments]) == 2
    line = capsys.readouterr().err
    assert words in line
    assert line.count("\n") == 1


def test_a_killed_run_is_inspected_and_goes_on(tmp_path: Path, capsys) -> None:
    path = tmp_path / "run.h5"
    # More recurrences than there is time for.
    asked = ["run", *MODEL, "--recurrences", "100000", "-o", str(path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / ".dev"), "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(
        [sys.executable, "-m", "loopscope.app", *asked], env=environment, stderr=subprocess.DEVNULL
    )
    while flushed(path, tmp_path / "copy.h5") < 1:
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert is_recording(path)
    assert main(["inspect", str(path), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert any("recovered" in note for note in done["notes"])
    n = done["runs"][0]["recurrences"]
    assert n >= 1
    run(path, n + 3)
    (found,) = open_recording(path).runs
    assert found.n_recurrences == n + 3
    np.testing.assert_array_equal(found.states, made(n + 3).states)
