"""A window whose model is on a worker: driven by keys, and the worker killed at random moments."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from remote import PROMPT, assert_same_rows, cluster, kill
from window_desk import press, said

from loopscope.app.bench.bench import Bench
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.core.checkpoint.loading import load
from loopscope.core.interventions.states import Noise
from loopscope.core.run.beginning import begin_run
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.requests import RunRequest
from loopscope.widgets.palette import LIGHT

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default"), pytest.mark.timeout(900)]
Key = Qt.Key
MODEL = "bundled:looped"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with cluster() as own:
        yield own.scheduler_address


@pytest.fixture
def window(qtbot, tmp_path: Path, monkeypatch) -> Iterator[Window]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    window = Window(Bench(), Settings(), LIGHT)
    window.resize(1280, 800)
    window.show()
    yield window
    window.close()
    window.deleteLater()
    QApplication.processEvents()


def settled(qtbot, window: Window, recurrences: int) -> None:
    def done() -> bool:
        recording = window.bench.session.recording
        return (
            recording is not None
            and recording.n_recurrences >= recurrences
            and window.bench.settled_down
        )

    qtbot.waitUntil(done, timeout=240_000)


def opened(qtbot, window: Window, address: str, recurrences: int = 2) -> None:
    window.opening.open_on(address, MODEL, FirstRun(PROMPT, recurrences))
    settled(qtbot, window, recurrences)


def as_here(recording: Any, cuts: tuple[Any, ...] = ()) -> Any:
    """The same run in this process, as far."""
    torch.set_num_threads(1)  # as the worker has
    asked = RunRequest(PROMPT, interventions=cuts)
    run: Any = begin_run(load(MODEL), asked, Capture())
    while run.recording.layers_done < recording.layers_done:
        run.step_layer()
    return run.recording


def test_by_keys_it_is_the_window_of_a_model_here(qtbot, window: Window, address: str) -> None:
    opened(qtbot, window, address)
    bench = window.bench
    here = bench.session.status.loaded
    assert here is not None
    assert here.place
    assert here.place in window.bars.header.device.text()
    assert address in window.bars.header.device.toolTip()
    for n in (3, 4):
        QTest.keyClick(window, Key.Key_Space)
        settled(qtbot, window, n)
    QTest.keyClick(window, Key.Key_Space, Qt.KeyboardModifier.ShiftModifier)
    qtbot.waitUntil(lambda: bench.session.recording.layers_done == 4 * 2 + 1, timeout=60_000)
    QTest.keyClick(window, Key.Key_P)
    qtbot.waitUntil(lambda: bench.session.n_recurrences >= 8, timeout=120_000)
    QTest.keyClick(window, Key.Key_S)
    settled(qtbot, window, 8)
    assert_same_rows(bench.session.recording, as_here(bench.session.recording))
    # A branch, its effect, and a measurement that needs the model.
    cuts = (Noise(recurrence=3, last=3, layer=-1, size=0.5),)
    bench.runs.branch(cuts)
    qtbot.waitUntil(lambda: len(bench.runs.tree) == 2, timeout=60_000)
    settled(qtbot, window, 8)
    assert_same_rows(bench.session.recording, as_here(bench.session.recording, cuts))
    window.docks.show("paths")
    window.views.measure("paths")
    key = bench.displays["paths"].spec.request.result
    qtbot.waitUntil(lambda: bench.session.recording.result(key) is not None, timeout=120_000)
    assert f"from {here.place}: " in window.elsewhere.meter.text()
    assert window.elsewhere.meter.isVisible()
    # Nothing of another machine's path is remembered for the next start.
    window.remember()
    assert window.settings.recent == []


def test_a_model_beside_is_on_the_same_worker(qtbot, window: Window, address: str) -> None:
    opened(qtbot, window, address)
    bench = window.bench
    window.tree.open_second_model("bundled:deep")
    qtbot.waitUntil(lambda: bench.session.second is not None, timeout=120_000)
    settled(qtbot, window, 2)
    second: Any = bench.session.second.stepper
    assert second.loaded.connection is bench.session.status.loaded.connection
    QTest.keyClick(window, Key.Key_Space)
    settled(qtbot, window, 3)


def test_a_worker_killed_at_random_moments(qtbot, window: Window, address: str) -> None:
    """What was received stays, the window answers, and the run goes on bit for bit."""
    opened(qtbot, window, address)
    bench, chance = window.bench, random.Random(7)
    model: Any = bench.session.status.loaded
    for _ in range(3):
        QTest.keyClick(window, Key.Key_P)
        at = bench.session.n_recurrences + chance.randrange(1, 6)
        qtbot.waitUntil(lambda at=at: bench.session.n_recurrences >= at, timeout=120_000)
        qtbot.wait(chance.randrange(0, 200))
        epoch, before = model.epoch, bench.session.recording
        kill(model)
        QTest.keyClick(window, Key.Key_S)
        qtbot.waitUntil(lambda epoch=epoch: model.epoch > epoch, timeout=240_000)
        qtbot.waitUntil(lambda: "Connected again" in said(window), timeout=60_000)
        assert bench.session.recording is before
        n = bench.session.n_recurrences
        QTest.keyClick(window, Key.Key_Space)
        settled(qtbot, window, n + 1)
    assert bench.session.status.loaded is model
    assert_same_rows(bench.session.recording, as_here(bench.session.recording))


def test_without_a_scheduler_the_run_is_shown_as_it_is(qtbot, window: Window) -> None:
    with cluster() as own:
        opened(qtbot, window, own.scheduler_address)
        bench, recording = window.bench, window.bench.session.recording
        states = recording.states.copy()
    model: Any = bench.session.status.loaded
    qtbot.waitUntil(lambda: bool(model.lost), timeout=120_000)
    qtbot.waitUntil(lambda: "Not connected" in said(window), timeout=120_000)
    assert not window.commands["step_recurrence"].isEnabled()
    assert window.commands["reconnect"].isEnabled()
    bench.transport.step_recurrence()
    assert "File > Reconnect" in said(window)
    assert bench.session.recording is recording
    assert (recording.states == states).all()
    press(window, "reconnect")
    qtbot.waitUntil(lambda: "no scheduler answers" in said(window), timeout=120_000)
    # Another model, here, is opened as ever.
    window.opening.open(MODEL, FirstRun(PROMPT, 1), device="cpu")
    qtbot.waitUntil(lambda: bench.session.status.loaded is not model, timeout=120_000)
    settled(qtbot, window, 1)
    assert not window.elsewhere.meter.isVisible()


def test_what_cannot_be_opened_is_said(qtbot, window: Window, address: str) -> None:
    window.opening.open_on(address, "/nowhere")
    qtbot.waitUntil(lambda: bool(window.bench.runner.status.error), timeout=120_000)
    assert "/nowhere does not exist" in window.bench.runner.status.error


def test_the_dialog_asks_for_an_address_and_a_path(qtbot, window: Window) -> None:
    asked: list[tuple[str, ...]] = []
    window.elsewhere.dialog.chosen.disconnect()
    window.elsewhere.dialog.chosen.connect(lambda *given: asked.append(given))
    press(window, "run_on")
    dialog = window.elsewhere.dialog
    assert dialog.address.text() == "tcp://localhost:8786"
    assert not dialog.go.isEnabled()
    dialog.path.setText("/models/x")
    QTest.mouseClick(dialog.go, Qt.MouseButton.LeftButton)
    assert asked == [("tcp://localhost:8786", "/models/x", "auto", "float32")]
