"""Opening, loading and stepping checkpoints of the published sizes, with random weights.

The folders are generated (7 GB for Huginn) and removed again.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from big import HUGINN, ouro, write_big

# What safetensors alone needs to have every tensor in memory of its own (its tensors are lazy
# views of the mapped file until they are copied).
SAFETENSORS_ALONE = """
import glob, sys, time
import torch
from safetensors import safe_open
torch.set_num_threads(1)
started, tensors = time.perf_counter(), {}
for file in sorted(glob.glob(sys.argv[1] + "/*.safetensors")):
    with safe_open(file, "pt") as opened:
        for name in opened.keys():
            tensors[name] = opened.get_tensor(name).clone()
print(time.perf_counter() - started)
"""
OURS = """
import json, sys, time
import torch
from loopscope.core.checkpoint.loading import load
torch.set_num_threads(1)
def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024
before, started = peak(), time.perf_counter()
loaded = load(sys.argv[1], "cpu", sys.argv[2])
seconds = time.perf_counter() - started
report = {"seconds": seconds, "peak_over_weights": (peak() - before) / loaded.nbytes}
if len(sys.argv) > 3:
    from loopscope.core.run.stepper import Stepper
    torch.set_num_threads(2)
    stepper = Stepper(loaded)
    prompt = loaded.tokenizer.from_ids(tuple(range(1, 33)))
    stepper.begin(prompt)
    times = []
    for _ in range(int(sys.argv[3])):
        started = time.perf_counter()
        stepper.step()
        times.append(time.perf_counter() - started)
    report |= {"seconds_a_recurrence": sorted(times)[len(times) // 2],
               "weights_gib": loaded.nbytes / 2**30, "peak_gib": peak() / 2**30,
               "recording_mib": stepper.recording.nbytes / 2**20}
print(json.dumps(report))
"""

# `loopscope run` with patterns and all else, one thread, and a memory budget of so many bytes.
RECORD = """
import json, os, sys, time
import torch
from loopscope.app.cli.main import main
from loopscope.core.recordings.reader import open_recording
from loopscope.core.run.budget import shared_budget
torch.set_num_threads(1)
path, output, tokens, recurrences, limit = sys.argv[1:]
budget = shared_budget()
budget.limit = int(limit)
started, worked = time.perf_counter(), time.process_time()
ids = ",".join(str(i + 1) for i in range(int(tokens)))
code = main(["run", path, "--token-ids", ids, "--recurrences", recurrences, "--dtype", "bfloat16",
             "--device", "cpu", "-o", output])
with open("/proc/self/status") as file:
    said = dict(line.split(":", 1) for line in file)
run = open_recording(__import__("pathlib").Path(output)).runs[0]
print(json.dumps({"code": code, "recurrences": run.n_recurrences, "held": budget.held,
    "spilled": budget.spilled, "rows": sum(len(r) * r.row_bytes for r in run.kept.values()),
    "patterns": list(run.patterns_of(run.n_recurrences, run.n_recurrences).shape),
    "peak": int(said["VmHWM"].split()[0]) * 1024, "file": os.path.getsize(output),
    "seconds": time.perf_counter() - started, "processor": time.process_time() - worked}))
"""


def run(code: str, *arguments: object, timeout: float = 900) -> str:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=timeout)
    return done.stdout


def warm(folder: Path) -> None:
    """Read every file once, so that both sides find it in the page cache."""
    for path in folder.glob("*.safetensors"):
        with path.open("rb", buffering=0) as file:
            while file.read(64 << 20):
                pass


@pytest.fixture(scope="module")
def huginn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("big") / "huginn-3.5b"
    write_big(folder, "huginn", HUGINN)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_inspecting_seven_gigabytes(say, huginn: Path) -> None:
    from loopscope.core.checkpoint.folder import open_checkpoint
    from loopscope.core.run.card import card

    times, whole = [], []
    for _ in range(9):
        started = time.perf_counter()
        values = card(open_checkpoint(str(huginn)))
        times.append(time.perf_counter() - started)
        started = time.perf_counter()
        run(
            "from loopscope.app.cli.main import main; import sys; main(sys.argv[1:])",
            "inspect",
            huginn,
        )
        whole.append(time.perf_counter() - started)
    say("inspect", seconds=statistics.median(times), whole_process=statistics.median(whole),
        parameters=values["parameters"])  # fmt: skip
    assert statistics.median(times) < 0.3


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
def test_loading_against_safetensors_alone(say, huginn: Path) -> None:
    alone, ours, peaks = [], [], []
    for _ in range(5):
        warm(huginn)
        alone.append(float(run(SAFETENSORS_ALONE, huginn)))
        warm(huginn)
        report = json.loads(run(OURS, huginn, "bfloat16"))
        ours.append(report["seconds"])
        peaks.append(report["peak_over_weights"])
    wide = json.loads(run(OURS, huginn, "float32"))
    ratio = statistics.median(a / b for a, b in zip(ours, alone, strict=True))
    say("loading", seconds=statistics.median(ours), safetensors_alone=statistics.median(alone),
        ratio=ratio, peak_over_weights=max(peaks), float32=wide)  # fmt: skip
    assert max(*peaks, wide["peak_over_weights"]) <= 1.15
    assert ratio <= 1.3


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_stepping_huginn(say, huginn: Path, dtype: str) -> None:
    say("huginn 3.5 B", dtype=dtype, tokens=32, **json.loads(run(OURS, huginn, dtype, 4)))


@pytest.mark.benchmark
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "n_layers"), [("ouro 1.4 B", 24), ("ouro 2.6 B", 48)])
def test_stepping_ouro(say, tmp_path: Path, name: str, n_layers: int) -> None:
    write_big(tmp_path / "ouro", "ouro", ouro(n_layers))
    for dtype in ("bfloat16", "float32"):
        say(name, dtype=dtype, tokens=32, **json.loads(run(OURS, tmp_path / "ouro", dtype, 4)))
    shutil.rmtree(tmp_path / "ouro")


@pytest.mark.benchmark
@pytest.mark.timeout(7200)
def test_recording_huginn_inside_a_budget(say, huginn: Path, tmp_path: Path) -> None:
    limit, recurrences = 1 << 30, 64
    said = run(RECORD, huginn, tmp_path / "run.h5", 256, recurrences, limit, timeout=7000)
    report = json.loads(said.splitlines()[-1])  # before it the command names the file
    assert report["code"] == 0
    assert report["recurrences"] == recurrences
    assert report["patterns"] == [1, 4, 55, 256, 256]
    assert report["held"] <= limit < report["spilled"]
    gib = {name: round(report[name] / 2**30, 2) for name in ("peak", "held", "spilled", "file")}
    each = round(report["processor"] / recurrences, 2)
    say("huginn 3.5 B, 64 recurrences at T = 256 with patterns into a file, budget 1 GiB",
        gib=gib, processor_s_a_recurrence=each, seconds=round(report["seconds"]))  # fmt: skip
