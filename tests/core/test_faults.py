"""What a run and its files survive: memory that ends, a checkpoint that goes, a kill at any moment."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from models import tiny_checkpoint

from loopscope.core.checkpoint.loading import load
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.interventions.states import Noise
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.runner import Runner
from loopscope.core.run.stepper import Stepper

PROMPT = "ab bc ca ? 2 : a b c"
# Kills in the gate; `.ci/full` asks for a hundred.
KILLS = int(os.environ.get("LOOPSCOPE_KILLS", "8"))
WRITER = """
import sys
from pathlib import Path
import numpy as np
from loopscope.app.window.settings import Settings
from loopscope.core.files import write_text
from loopscope.core.run.trace import save_arrays

folder = Path(sys.argv[1])
settings, n = Settings(), 0
print("ready", flush=True)
while True:
    n += 1
    settings.seed = n
    settings.history = ["a prompt"] * 40
    settings.save(folder)
    write_text(folder / "cuts.json", '[' + ','.join(['"x"'] * 20_000) + ']')
    save_arrays(folder / "trace.npz", {"states": np.full((64, 512), float(n))})
"""


def wait(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)


def test_memory_that_ends_in_a_layer_is_said_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(threads=1)
    try:
        runner.open(LoadRequest(str(tiny_checkpoint(tmp_path / "m")), "cpu"))
        runner.begin(RunRequest(PROMPT, recurrences=2))
        wait(lambda: runner.recording is not None and runner.recording.n_recurrences == 2)
        before = runner.recording.states.copy()

        def full(*_: object, **__: object) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        with monkeypatch.context() as patched:
            patched.setattr("loopscope.core.model.layers.DecoderLayer.forward", full)
            runner.advance(1)
            wait(lambda: runner.status.error or runner.status.notice)
        assert "memory" in (runner.status.error or runner.status.notice)
        np.testing.assert_array_equal(runner.recording.states, before)
        runner.advance(2)
        wait(lambda: runner.recording.n_recurrences == 3)
    finally:
        runner.close()


@pytest.mark.parametrize("how", ["removed", "overwritten", "cut short"])
def test_a_checkpoint_that_changes_while_it_is_open_changes_no_number(
    how: str, tmp_path: Path
) -> None:
    folder = tiny_checkpoint(tmp_path / "m")
    whole, other = load(str(folder), "cpu"), load(str(folder), "cpu")
    kept = Stepper(whole)
    kept.begin(whole.tokenizer.encode(PROMPT))
    if how == "removed":
        shutil.rmtree(folder)
    elif how == "overwritten":
        shutil.copytree(tiny_checkpoint(tmp_path / "n", seed=5), folder, dirs_exist_ok=True)
    else:
        with (folder / "model.safetensors").open("r+b") as file:
            file.truncate(100)
    stepper = Stepper(other)
    stepper.begin(other.tokenizer.encode(PROMPT))
    for _ in range(3):
        stepper.step()
        kept.step()
    np.testing.assert_array_equal(stepper.recording.states, kept.recording.states)
    branch = stepper.branch((Noise(recurrence=2, last=2, layer=0),))
    branch.step()
    assert np.isfinite(branch.recording.states).all()


@pytest.mark.slow
@pytest.mark.timeout(max(300, 20 * KILLS))
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_kill_at_any_moment_leaves_whole_files(tmp_path: Path) -> None:
    """Settings, interventions and arrays: each is the one before or the one after."""
    generator = random.Random(3)
    for i in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / ".dev")},
        )  # fmt: skip
        assert process.stdout is not None
        with process:
            assert process.stdout.readline() == "ready\n", i
            time.sleep(generator.uniform(0.02, 0.2))
            process.kill()
        for name in ("settings.json", "cuts.json", "trace.npz"):
            if not (tmp_path / name).exists():
                continue
            if name == "trace.npz":
                states = np.load(tmp_path / name)["states"]
                assert (states == states[0, 0]).all()
            else:
                assert json.loads((tmp_path / name).read_text())
    assert (tmp_path / "settings.json").exists()
