"""The GUI thread while a large model steps, and redraw times."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from models import tiny_architecture, tiny_checkpoint
from PySide6.QtCore import Qt, QTimer
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording, with_results
from timing import median_ms

from loopscope.app.bench.bench import Bench
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.core.checkpoint.request import Loop
from loopscope.core.model.layer_shape import LayerShape
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.runner import Runner
from loopscope.widgets.palette import LIGHT

# The folder of a language model of 30 layers, for the one benchmark that needs it.
MODEL = os.environ.get("LOOPSCOPE_LANGUAGE_MODEL", "")
PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"


@dataclass(frozen=True)
class Gaps:
    """How long a timer of 5 ms was kept waiting, ms, while a model stepped as fast as it goes."""

    p50_ms: float
    p99_ms: float
    longest_ms: float
    recurrences: int
    stop_ms: float


def gaps_while_playing(qtbot: QtBot, path: str, prompt: str, loop: Loop | None = None) -> Gaps:
    """Play for twelve seconds with the views of the start open, then stop."""
    window = Window(Bench(Runner()), Settings(), LIGHT, remember=False)
    window.resize(1280, 800)
    window.show()
    window.opening.open(path, FirstRun(prompt, 0), device="cpu", loop=loop)
    bench = window.bench
    qtbot.waitUntil(
        lambda: bench.session.recording is not None and bench.settled_down, timeout=60_000
    )
    bench.transport.set_rate(float("inf"))
    gaps: list[float] = []
    last = [time.perf_counter()]

    def tick() -> None:
        now = time.perf_counter()
        gaps.append(now - last[0])
        last[0] = now

    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(tick)
    timer.start(5)
    bench.transport.set_playing(True)
    ended = time.perf_counter() + 12
    qtbot.waitUntil(lambda: time.perf_counter() > ended, timeout=60_000)
    timer.stop()
    asked = time.perf_counter()
    bench.transport.stop()
    while not bench.runner.idle:
        time.sleep(0.001)
    stop_ms = (time.perf_counter() - asked) * 1e3
    recurrences = bench.session.recording.n_recurrences
    window.close()
    p50, p99 = np.percentile(gaps, (50, 99)) * 1e3
    longest = max(gaps) * 1e3
    return Gaps(*(round(float(v), 1) for v in (p50, p99, longest)), recurrences, round(stop_ms, 1))


@pytest.mark.benchmark
def test_gui_gap_while_a_model_of_fifty_times_the_size_steps(
    say, qtbot: QtBot, tmp_path: Path
) -> None:
    layer = LayerShape(448, 8, 8, 56, 4 * 448, activation="gelu", gated=False)
    arch = replace(tiny_architecture(n_block=2), layer=layer)
    assert arch.n_parameters > 45 * 210_432
    found = gaps_while_playing(qtbot, str(tiny_checkpoint(tmp_path / "large", arch)), PROMPT)
    say("GUI gap of a 5 ms timer, all views open, model 50 times the bundled one", **asdict(found))
    assert found.p99_ms < 33
    assert found.stop_ms < 200


@pytest.mark.benchmark
@pytest.mark.skipif(not MODEL, reason="LOOPSCOPE_LANGUAGE_MODEL names no folder")
def test_gui_gap_while_a_language_model_steps(say, qtbot: QtBot) -> None:
    """One of 30 layers, layers 10 to 15 of it looped; docs/convert.md says how to make one."""
    prompt = "The capital of France is Paris. The capital of Germany is"
    found = gaps_while_playing(qtbot, MODEL, prompt, (10, 16, 0.5))
    say("GUI gap of a 5 ms timer, all views open, a language model", **asdict(found))


@pytest.mark.benchmark
def test_redraw_of_a_thousand_trajectories(say, qtbot: QtBot) -> None:
    from loopscope.core.selection import Selection
    from loopscope.core.views.state_space import compute as state_space
    from loopscope.widgets.views.state_space.view import StateSpaceView

    recording = synthetic_recording(recurrences=32, n_block=1, tokens=1000, heads=1)
    options = state_space.Options()
    selection = Selection(recurrence=32)
    datas = [state_space.compute(recording, selection, options) for _ in range(2)]
    view = StateSpaceView()
    view.resize(520, 330)
    view.show()
    state = [0]

    def redraw() -> None:
        state[0] ^= 1
        view.show_data(datas[state[0]])
        view.show_selection(selection, {})
        view.grab()

    say("redraw 1,000 trajectories x 32, new data and paint", ms=round(median_ms(redraw), 1))
    view.close()


@pytest.mark.benchmark
def test_redraw_of_trajectories_with_overlays(say, qtbot: QtBot) -> None:
    from loopscope.core.selection import Selection
    from loopscope.core.views.state_space import compute as state_space
    from loopscope.widgets.views.state_space.view import StateSpaceView

    bare = Capture(patterns=False, writes=False, readout=False)
    options, selection = state_space.Options(), Selection(recurrence=32)
    figures = {}
    for tokens in (27, 1000):
        run = synthetic_recording(recurrences=32, n_block=1, tokens=tokens, heads=1, capture=bare)
        plain = [state_space.compute(run, selection, options) for _ in range(2)]
        with_results(run)
        second_run = [state_space.compute(run, selection, options) for _ in range(2)]
        for name, datas in (("plain", plain), ("with overlays", second_run)):
            view = StateSpaceView()
            view.resize(520, 330)
            view.show()
            state = [0]

            def redraw(view=view, datas=datas, state=state) -> None:
                state[0] ^= 1
                view.data = None  # whatever was kept is drawn again
                view.show_data(datas[state[0]])
                view.show_selection(selection, {})
                view.grab()

            figures[f"{tokens} tokens, {name}, ms"] = round(median_ms(redraw), 1)
            view.close()
    say("redraw trajectories x 32 beside one other start, three points and a mode", **figures)


@pytest.mark.benchmark
def test_redraw_of_a_large_matrix(say, qtbot: QtBot) -> None:
    from loopscope.core.selection import Selection
    from loopscope.core.views import pattern
    from loopscope.widgets.views.pattern import PatternView

    recording = synthetic_recording(recurrences=2, n_block=1, tokens=1024, heads=1)
    data = [pattern.compute(recording, Selection(recurrence=2), pattern.Options()) for _ in "ab"]
    view = PatternView()
    view.resize(700, 700)
    view.show()
    state = [0]

    def redraw() -> None:
        state[0] ^= 1
        view.show_data(data[state[0]])
        view.show_selection(Selection(recurrence=1 + state[0]), {})
        view.grab()

    say("redraw a 1024 x 1024 matrix, new data and paint", ms=round(median_ms(redraw), 1))
    view.close()
