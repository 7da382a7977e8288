"""Measurements that take long, from the button to the picture."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PySide6.QtCore import Qt

from loopscope.app.views import BY_KEY, VIEW_SPECS
from loopscope.app.window.opening import FirstRun
from loopscope.core.measures.lens import READINGS
from loopscope.core.measures.path_independence import PATHS
from loopscope.core.measures.stability import STABILITY
from tests.window_desk import desk, wait

pytestmark = pytest.mark.slow

HEAVY = [p.key for p in VIEW_SPECS if p.request is not None]
# Of these the test asks for less than a user would.
SMALL = {"probe": {"prompts": 2, "draws": 1, "recurrences": 4, "mid": 1, "late": 2}}


@pytest.fixture
def window(qtbot):
    with desk(1200, 800) as window:
        window.prompt_files.open("bundled:hops")
        window.opening.open("bundled:looped", FirstRun("ab bc ca ? 2 : a b c", 6))
        wait(qtbot, window, 6)
        yield window


def test_there_are_heavy_views() -> None:
    assert {"stability", "paths"} <= set(HEAVY)


@pytest.mark.parametrize("key", [k for k in HEAVY if not BY_KEY[k].request.second_run])
def test_the_button_fills_the_view(window, qtbot, key: str) -> None:
    window.docks.maximise(key)
    options = replace(window.bench.displays[key].options, **SMALL.get(key, {}))
    window.bench.analysis.set_options(key, options)
    frame = window.views.frames[key]
    qtbot.waitUntil(lambda: window.bench.settled_down, timeout=20000)
    assert frame.measuring.isVisible()
    request = BY_KEY[key].request
    assert request.live or window.bench.displays[key].data.missing
    qtbot.mouseClick(frame.measuring.button, Qt.MouseButton.LeftButton)
    assert not frame.measuring.button.isEnabled()
    assert frame.measuring.cancel.isVisible()
    recording = window.bench.session.recording
    qtbot.waitUntil(lambda: recording.result(request.result) is not None, timeout=60000)
    qtbot.waitUntil(lambda: window.bench.settled_down, timeout=20000)
    assert not getattr(window.bench.displays[key].data, "missing", "")
    qtbot.waitUntil(frame.measuring.button.isEnabled, timeout=2000)
    assert not frame.measuring.cancel.isVisible()


def test_cancel_ends_it_and_says_so(window, qtbot) -> None:
    window.docks.maximise("stability")
    said = []
    window.bench.session.message.connect(said.append)
    window.bench.measuring.measure("stability")
    window.views.frames["stability"].measure_cancelled.emit()
    qtbot.waitUntil(lambda: any("cancelled" in text for text in said), timeout=20000)
    assert window.bench.session.recording.result(STABILITY) is None
    qtbot.waitUntil(window.views.frames["stability"].measuring.button.isEnabled, timeout=20000)


def test_a_view_may_be_made_while_progress_is_told(window, qtbot) -> None:
    window.docks.maximise("stability")
    later = next(spec.key for spec in VIEW_SPECS if spec.key not in window.bench.displays)
    told = []

    def show_another(key: str, share: float | None) -> None:
        told.append((key, share))
        if share is None:  # told by the frame alone
            window.docks.maximise(later)

    window.bench.measuring.progressed.connect(show_another)
    window.bench.measuring.measure("stability")
    window.bench.measuring.cancel("stability")
    qtbot.waitUntil(lambda: ("stability", None) in told, timeout=60000)
    assert later in window.bench.displays


def test_a_new_run_starts_without_results(window, qtbot) -> None:
    window.docks.maximise("paths")
    window.bench.measuring.measure("paths")
    qtbot.waitUntil(lambda: window.bench.session.recording.result(PATHS) is not None, timeout=60000)
    first = window.bench.session.recording
    window.bench.restart(prompt="ab ba ? 1 : a")
    qtbot.waitUntil(lambda: window.bench.session.recording is not first and window.bench.settled_down,
                    timeout=20000)  # fmt: skip
    assert window.bench.displays["paths"].data.missing
    window.bench.runs.undo()
    qtbot.waitUntil(lambda: window.bench.settled_down, timeout=20000)
    assert not window.bench.displays["paths"].data.missing


def test_hidden_docks_appear_in_the_window(window, qtbot) -> None:
    assert "depth" not in window.views.frames
    window.docks.by_key["depth"].toggleViewAction().trigger()
    qtbot.waitUntil(lambda: "depth" in window.views.frames, timeout=5000)
    dock = window.docks.by_key["depth"]
    assert not dock.isFloating()
    assert dock.width() > 100
    assert window.rect().contains(dock.geometry())


def test_a_view_without_its_measurement_is_not_exported_empty(window, qtbot) -> None:
    assert window.exporter.ask("stability") is None
    assert "Search and measure stability" in window.statusBar().currentMessage()
    window.docks.maximise("paths")
    window.bench.measuring.measure("paths")
    qtbot.waitUntil(lambda: window.bench.session.recording.result(PATHS) is not None, timeout=60000)
    dialog = window.exporter.ask("paths")
    assert dialog is not None
    dialog.close()


def test_what_is_of_one_run_is_measured_of_the_run_beside_as_well(window, qtbot) -> None:
    window.docks.maximise("lens")
    window.tree.open_second_model("bundled:deep")
    qtbot.waitUntil(
        lambda: window.bench.session.second is not None and window.bench.settled_down, timeout=30000
    )
    second = window.bench.displays["lens"].second
    qtbot.waitUntil(lambda: second.data is not None and bool(second.data.missing), timeout=20000)
    qtbot.mouseClick(window.views.frames["lens"].measuring.button, Qt.MouseButton.LeftButton)
    there = window.bench.session.second.stepper.recording
    qtbot.waitUntil(lambda: there.result(READINGS) is not None, timeout=60000)
    qtbot.waitUntil(lambda: window.bench.settled_down, timeout=60000)
    assert window.bench.session.recording.result(READINGS) is not None
    assert not window.bench.displays["lens"].data.missing
    assert not second.data.missing
    assert second.data.n_recurrences == 1
