"""What stands beside when another prompt, seed or start is begun: never a run of another prompt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from models import tiny_checkpoint
from pytestqt.qtbot import QtBot

from loopscope.app.bench.run_tree import begun_as
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.window import Window
from loopscope.core.experiments.architectures import twin_architecture
from loopscope.core.interventions.base import END
from loopscope.core.interventions.states import Noise
from tests.window_desk import desk

pytestmark = pytest.mark.slow

PROMPT = "ab bc cd de ea ? 3 : a b c d e"
OTHER = "xy yz zx xw ? 1 : z x y"
CUT = Noise(recurrence=2, last=2, layer=END, size=0.5)


@pytest.fixture
def window(qtbot: QtBot):
    with desk(1200, 800) as window:
        window.opening.open("bundled:looped", FirstRun(PROMPT, 4), device="cpu")
        settle(qtbot, window)
        yield window


def settle(qtbot: QtBot, window: Window) -> None:
    bench = window.bench
    qtbot.waitUntil(
        lambda: bench.session.recording is not None and bench.settled_down, timeout=60_000
    )


def begin(qtbot: QtBot, window: Window, **changes: object) -> None:
    before = window.bench.session.recording
    window.bench.restart(**changes)
    qtbot.waitUntil(lambda: window.bench.session.recording is not before, timeout=20_000)
    # Not even for a moment do two prompts stand side by side.
    second, second_run = window.bench.session.second, window.bench.session.second_run
    assert second is None or begun_as(second.stepper.recording) == begun_as(
        window.bench.session.recording
    )
    assert second_run is None or second_run.recording is second.stepper.recording
    settle(qtbot, window)


def test_another_model_beside_is_run_again_on_what_is_begun(window, qtbot: QtBot) -> None:
    window.tree.open_second_model(
        "bundled:looped"
    )  # of the same checkpoint: a start means something
    qtbot.waitUntil(lambda: window.bench.session.second is not None, timeout=30_000)
    settle(qtbot, window)
    model = window.bench.session.second.stepper.loaded
    assert model is not window.bench.runner.loaded
    old = window.bench.session.second.stepper.recording
    for changes in ({"prompt": OTHER}, {"start": "random", "seed": 5, "start_scale": 2.0}):
        begin(qtbot, window, **changes)
        assert window.bench.session.second is not None
        here, there = window.bench.session.recording, window.bench.session.second.stepper.recording
        assert window.bench.session.second.stepper.loaded is model
        assert (there.info.prompt, there.info.seed) == (here.info.prompt, here.info.seed)
        assert (there.info.start, there.info.start_scale) == (
            here.info.start,
            here.info.start_scale,
        )
        np.testing.assert_array_equal(there.states, here.states)
        assert window.bench.session.second_run.recording is there
    window.bench.runs.undo()
    window.bench.runs.undo()
    settle(qtbot, window)
    assert window.bench.session.recording.info.prompt == PROMPT
    np.testing.assert_array_equal(window.bench.session.second.stepper.recording.states, old.states)
    window.tree.show_alone()
    begin(qtbot, window, prompt=OTHER)
    assert window.bench.session.second is None  # taken away for good
    assert window.bars.second_run.text() == ""


def test_a_prompt_that_the_other_model_cannot_read_takes_it_away_and_says_so(
    window, qtbot: QtBot, tmp_path: Path
) -> None:
    _runs, said = window.bench.runs, []
    window.bench.session.message.connect(said.append)
    deep = replace(
        twin_architecture("deep", 6, d_model=16),
        max_positions=window.bench.session.recording.n_tokens,
    )
    window.tree.open_second_model(str(tiny_checkpoint(tmp_path / "short", deep)))
    qtbot.waitUntil(lambda: window.bench.session.second is not None, timeout=30_000)
    settle(qtbot, window)
    begin(qtbot, window, prompt=PROMPT.replace("ea", "ea ad be"))
    assert window.bench.session.second is None
    assert window.bench.displays["readout"].second is None
    assert "positions" in window.bench.second_runs.model.why_not
    assert window.bars.second_run.text() == "short cannot run this prompt"
    assert window.bars.second_run.toolTip() == window.bench.second_runs.model.why_not
    assert "short is not the second run" in window.tree.title_bar.statement.whole()
    assert any("short cannot run this prompt" in text for text in said)
    window.bench.runs.undo()  # brings both back
    settle(qtbot, window)
    assert window.bench.session.recording.info.prompt == PROMPT
    assert window.bench.session.second.stepper.recording.info.prompt == PROMPT
    assert window.bars.second_run.text() == "○ second run: short"


def test_a_model_that_is_opened_beside_is_run_on_the_prompt_that_is_shown_by_then(
    window, qtbot: QtBot
) -> None:
    window.tree.open_second_model("bundled:deep")
    window.bench.restart(prompt=OTHER)  # while it is being loaded
    qtbot.waitUntil(lambda: window.bench.session.recording.info.prompt == OTHER, timeout=30_000)
    qtbot.waitUntil(lambda: window.bench.session.second is not None, timeout=30_000)
    settle(qtbot, window)
    assert window.bench.session.second.stepper.recording.info.prompt == OTHER


def test_a_branch_of_the_old_prompt_goes_and_undo_brings_both_back(window, qtbot: QtBot) -> None:
    runs, said = window.bench.runs, []
    window.bench.session.message.connect(said.append)
    before = window.bench.session.recording
    runs.branch((CUT,))
    qtbot.waitUntil(lambda: window.bench.session.recording is not before, timeout=20_000)
    settle(qtbot, window)
    branch, parent = window.bench.session.run, window.bench.session.second.run
    for changes in ({"prompt": OTHER}, {"start": "random"}, {"start": "random", "seed": 3}):
        runs.show(branch)
        window.bench.second_runs.show(parent)
        begin(qtbot, window, **changes)
        assert window.bench.session.second is None
        assert f"{window.bench.session.run.name} is shown alone: run 1, the second run" in said[-1]
        window.bench.runs.undo()
        settle(qtbot, window)
        assert (window.bench.session.run, window.bench.session.second.run) == (branch, parent)
        assert window.bench.session.second_run.recording is parent.stepper.recording
        window.bench.runs.redo()
        settle(qtbot, window)
        assert window.bench.session.second is None
    # Shown from the list, the branch comes without a run of another prompt as well.
    assert window.bench.session.recording.info.seed == 3
    runs.show(branch)
    window.bench.second_runs.show(parent)
    runs.show(next(r for r in runs.tree if r.stepper.recording.info.prompt == OTHER))
    assert window.bench.session.second is None


def test_a_run_of_another_prompt_that_was_put_beside_stays(window, qtbot: QtBot) -> None:
    first = window.bench.session.run
    begin(qtbot, window, prompt=OTHER)
    window.bench.second_runs.show(first)
    window.bench.restart(seed=4)
    qtbot.waitUntil(lambda: window.bench.session.recording.info.seed == 4, timeout=20_000)
    settle(qtbot, window)
    assert window.bench.session.second.run is first
    window.bench.restart()  # the same again
    qtbot.waitUntil(lambda: window.bench.session.run.name == "run 4", timeout=20_000)
    assert window.bench.session.second.run is first


def test_beginning_again_begins_the_other_model_again(window, qtbot: QtBot) -> None:
    _runs, bench = window.bench.runs, window.bench
    window.tree.open_second_model("bundled:looped")
    qtbot.waitUntil(lambda: window.bench.session.second is not None, timeout=30_000)
    settle(qtbot, window)
    first, old = bench.session.recording, window.bench.session.second.stepper.recording
    assert old.n_recurrences == 4
    window.running.reset()
    qtbot.waitUntil(
        lambda: bench.session.recording is not first and window.bench.session.second is not None,
        timeout=20_000,
    )
    settle(qtbot, window)
    assert bench.session.recording.n_recurrences == 0
    assert window.bench.session.second.stepper.recording.n_recurrences == 0
    window.bench.transport.step_recurrence()
    qtbot.waitUntil(lambda: bench.session.recording.n_recurrences == 1, timeout=20_000)
    settle(qtbot, window)
    assert window.bench.session.second.stepper.recording.n_recurrences == 1
    window.bench.runs.undo()
    settle(qtbot, window)
    assert bench.session.recording is first
    np.testing.assert_array_equal(window.bench.session.second.stepper.recording.states, old.states)
