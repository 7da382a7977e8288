"""A verdict below what half precision resolves is rechecked in float32 by one button."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from loopscope.app.window.opening import FirstRun
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.core.selection import Selection
from loopscope.core.views import exits, settling, stability
from tests.window_desk import desk

pytestmark = pytest.mark.slow


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[Window]:
    with desk(settings=Settings(dtype="bfloat16")) as window:
        qtbot.waitExposed(window)
        yield window


def test_one_button_says_the_verdict_of_the_same_run_in_float32(
    window: Window, qtbot: QtBot
) -> None:
    first = FirstRun(prompt="ab bc ca ? 2 : a b c", recurrences=24)
    window.opening.open("bundled:looped", first, device="cpu")
    bench = window.bench
    for key in ("settling", "exits"):
        window.docks.show(key)
    frames = window.views.frames

    def unresolved(key: str, wanted: bool) -> bool:
        run, data = bench.session.recording, bench.displays[key].data
        done = run is not None and run.n_recurrences == 24 and data is not None
        return done and bench.analysis.settled and data.unresolved is wanted

    qtbot.waitUntil(lambda: unresolved("settling", True), timeout=60_000)
    assert "below resolution" in bench.displays["settling"].data.class_words()
    qtbot.waitUntil(lambda: frames["settling"].recheck.isVisibleTo(frames["settling"]))
    qtbot.waitUntil(lambda: bench.jobs.current is None, timeout=60_000)
    qtbot.mouseClick(frames["settling"].recheck, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: unresolved("settling", False), timeout=60_000)
    run = bench.session.recording
    twin = run.float32_run
    assert twin.info.dtype == "float32"
    assert twin.info.token_ids == run.info.token_ids
    assert (twin.states[0] == run.states[0]).all()
    said = bench.displays["settling"].data.statement
    exact = settling.compute(twin, Selection(), settling.Options()).statement
    assert said.startswith(f"In float32: {exact}. In bfloat16: ")
    assert not frames["settling"].recheck.isVisibleTo(frames["settling"])
    # The readouts are there too, for the rules that look at them.
    assert twin.answers("coda") is not None
    window.docks.show("exits")
    qtbot.waitUntil(
        lambda: bench.displays["exits"].data.statement.startswith("In float32: "), timeout=60_000
    )
    assert not exits.compute(twin, Selection(), exits.Options()).unresolved


def test_one_button_measures_stability_of_the_same_run_in_float32(
    window: Window, qtbot: QtBot
) -> None:
    first = FirstRun(prompt="ab bc ca ? 2 : a b c", recurrences=6)
    window.opening.open("bundled:looped", first, device="cpu")
    bench = window.bench

    def shown(wanted: str) -> bool:
        run, data = bench.session.recording, bench.displays["stability"].data
        done = run is not None and run.n_recurrences == 6 and data is not None
        return done and bench.analysis.settled and wanted in data.statement

    window.docks.show("stability")
    bench.analysis.set_options("stability", stability.Options(starts=1, n_values=2))
    qtbot.waitUntil(lambda: shown("Nothing has been measured"), timeout=60_000)
    frame = window.views.frames["stability"]
    qtbot.mouseClick(frame.measuring.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: shown("Of the same run in float32"), timeout=60_000)
    assert bench.displays["stability"].data.result.n_recurrences == 6
