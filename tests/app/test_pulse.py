"""An idle bench beats seldom, and at once when something is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import shiboken6
from PySide6.QtCore import QObject
from pytestqt.qtbot import QtBot
from window_desk import press, wait

from loopscope.app.bench.pulse import FRAME_MS, LOOK, REST_MS, Pulse
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.window import Window
from tests.window_desk import desk


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[Window]:
    with desk() as window:
        window.opening.open("bundled:looped", FirstRun("a b c", 3))
        wait(qtbot, window, 3)
        yield window


def test_it_rests_only_when_all_has_been_at_rest_for_a_while(qtbot: QtBot) -> None:
    parent, busy, frames = QObject(), [True], []
    pulse = Pulse(lambda: frames.append(0), lambda: not busy[0], parent)
    for _ in range(3 * LOOK):
        pulse._beat()
    assert not pulse.resting
    busy[0] = False
    for _ in range(LOOK):
        pulse._beat()
    assert not pulse.resting
    for _ in range(LOOK):
        pulse._beat()
    assert pulse.resting
    busy[0] = True  # what nobody told of is noticed in time
    for _ in range(LOOK):
        pulse._beat()
    assert not pulse.resting
    assert REST_MS > 20 * FRAME_MS
    pulse.stop()


def test_what_is_asked_of_a_bench_at_rest_wakes_it(qtbot: QtBot, window: Window) -> None:
    bench = window.bench

    def measure() -> None:
        window.views.measure("stability")

    asks: dict[str, Callable[[], object]] = {
        "a step": lambda: press(window, "step_recurrence"),
        "a cursor": lambda: bench.session.scrub(1),
        "a setting": lambda: press(window, "joint_pca"),
        "a preset": lambda: window.docks.apply("Heads"),
        "a prompt": lambda: bench.restart(prompt="b c a"),
        "a measurement": measure,
        "work in the background": lambda: bench.in_background(lambda: 1, lambda future: None),
    }
    for name, ask in asks.items():
        qtbot.waitUntil(lambda: bench.pulse.resting)
        ask()
        assert not bench.pulse.resting, name
        wait(qtbot, window)


def test_another_thread_asks_nothing_of_qt(qtbot: QtBot) -> None:
    parent = QObject()
    pulse = Pulse(lambda: None, lambda: True, parent)
    shiboken6.delete(parent)  # as when the window is closed while the model's thread says so
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(pulse.wake).exception(60) is None
