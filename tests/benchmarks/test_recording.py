"""What a long run, a file that is written meanwhile, and opening a large file cost."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import synthetic_recording

from loopscope.core.checkpoint.loading import load
from loopscope.core.recordings.reader import open_recording
from loopscope.core.recordings.writing import RecordingWriter, save
from loopscope.core.run.budget import Budget
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.states import LayerState
from loopscope.core.run.stepper import Stepper

ROOT = Path(__file__).parents[2]
PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"


def steps(stepper: Stepper, n: int) -> list[float]:
    """Processor time of each of ``n`` recurrences, seconds."""
    taken = []
    for _ in range(n):
        started = time.thread_time()
        stepper.step()
        taken.append(time.thread_time() - started)
    return taken


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
def test_recurrence_10000_beside_recurrence_100(say: Callable[..., None]) -> None:
    torch.set_num_threads(1)
    loaded = load("bundled:looped", "cpu")
    early, late = (Stepper(loaded, budget=Budget(256 << 20)) for _ in range(2))
    for stepper in (early, late):
        stepper.begin(loaded.tokenizer.encode(PROMPT))
    steps(late, 9900)
    ratios = []
    for _ in range(15):  # in turn, so that a busy machine slows both
        a, b = statistics.median(steps(late, 10)), statistics.median(steps(early, 10))
        ratios.append(a / b)
    held = late.recording.held
    say(
        "recurrence 10,000 of the bundled model over recurrence 100, budget 256 MiB",
        ratio=round(statistics.median(ratios), 3),
        recorded_mib=late.recording.nbytes >> 20,
        held_mib=held >> 20,
    )


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
def test_recording_to_a_file(say: Callable[..., None], tmp_path: Path) -> None:
    torch.set_num_threads(1)
    loaded = load("bundled:looped", "cpu")
    ratios = []
    for i in range(9):
        taken = []
        for to_file in (False, True):
            stepper = Stepper(loaded, Capture(patterns=False))
            started = time.process_time()  # of every thread, the writer's as well
            recording = stepper.begin(loaded.tokenizer.encode(PROMPT))
            if to_file:
                writer = RecordingWriter(tmp_path / f"{i}.h5")
                writer.add(recording)
            for _ in range(300):
                stepper.step()
            if to_file:
                writer.flush()
            taken.append(time.process_time() - started)
            if to_file:
                writer.close()
        ratios.append(taken[1] / taken[0])
    ratio = round(statistics.median(ratios), 3)
    say("recording 300 recurrences to a file as well, without patterns", ratio=ratio)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file of 2.3 GiB: 256 recurrences of 4 layers, 256 tokens, 8 heads, with patterns."""
    like = synthetic_recording(recurrences=0, n_block=4, tokens=256, d=256, heads=8)
    info = replace(like.info, token_ids=(1,) * 256)
    recording = Recording(info, like.state(0), Capture(True, False, False))
    end, offset = np.random.default_rng(0).normal(size=(2, 256, 256))
    pattern = np.tril(np.ones((8, 256, 256), np.float32))
    pattern /= pattern.sum(-1, keepdims=True)
    for r in range(1, 257):
        for layer in range(4):
            state = (end + 0.97 ** (r + layer / 4) * offset).astype(np.float32)
            recording.append_layer(LayerState(r, layer, state, pattern))
        recording.append_end(state, None, None)
    path = tmp_path_factory.mktemp("large") / "large.h5"
    save(path, [recording])
    yield path
    path.unlink()


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
def test_opening_a_large_recording(say: Callable[..., None], large: Path) -> None:
    taken = []
    for _ in range(7):
        started = time.perf_counter()
        run = open_recording(large).runs[0]
        run.states_of(250, 256)
        run.head_patterns(3, 7)[255]
        taken.append(time.perf_counter() - started)
    size = round(large.stat().st_size / 2**30, 2)
    say("opening a recording and reading its last rows", gib=size, s=statistics.median(taken))


# From File > Open a recording to the first view that is drawn, in a window that is open already.
# The processor time is that of the window and of the process that checks the file.
FIRST_VIEW = """
import json, os, resource, sys, time
from argparse import Namespace
from pathlib import Path
from PySide6.QtWidgets import QApplication
from loopscope.app.cli import desktop
window = desktop.make_window(Namespace(theme="light", size=(1280, 800)), remember=False)
make_views = window.docks.hold()
window.show()
make_views()
until = time.perf_counter() + 1
while time.perf_counter() < until:
    QApplication.processEvents()
    time.sleep(0.01)
def work():
    child = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + child.ru_utime + child.ru_stime
shown = []
window.bench.analysis.data_shown.connect(shown.append)
began, worked = time.perf_counter(), work()
window.recordings.open(Path(sys.argv[1]))
while not shown:
    assert time.perf_counter() - began < 300, window.statusBar().currentMessage()
    QApplication.processEvents()
    time.sleep(0.001)
window.repaint()
QApplication.processEvents()
print(json.dumps([time.perf_counter() - began, work() - worked, shown[0]]), flush=True)
os._exit(0)
"""


@pytest.mark.benchmark
@pytest.mark.timeout(1200)
def test_first_view_of_a_large_recording(
    say: Callable[..., None], large: Path, tmp_path: Path
) -> None:
    env = os.environ | {
        "PYTHONPATH": str(ROOT / ".dev"),
        "QT_QPA_PLATFORM": "offscreen",
        "XDG_CONFIG_HOME": str(tmp_path),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", FIRST_VIEW, str(large)]
    found = []
    for _ in range(7):
        done = subprocess.run(command, check=True, env=env, capture_output=True, text=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    wall, worked, views = zip(*found, strict=True)
    say(
        "opening a recording in a window to its first view",
        gib=round(large.stat().st_size / 2**30, 2),
        s=round(statistics.median(wall), 2),
        best_s=round(min(wall), 2),
        processor_s=round(statistics.median(worked), 2),
        view=sorted(set(views)),
        load=os.getloadavg()[0],
    )
