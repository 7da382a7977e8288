"""One list of changes: settings of views and the second run are taken back in turn with runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from models import tiny_checkpoint
from PySide6.QtTest import QTest
from window_desk import Ctrl, Key, Left, Mod, branch, press, said, undo, wait

from loopscope.app.window.opening import FirstRun
from loopscope.app.window.window import Window
from tests.window_desk import desk

pytestmark = pytest.mark.slow

PROMPT = "ab bc cd de ea ? 3 : a b c d e"


@pytest.fixture
def window(qtbot, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with desk() as window:
        window.opening.open(str(tiny_checkpoint(tmp_path / "m")), FirstRun(PROMPT, 9), device="cpu")
        wait(qtbot, window, 9)
        yield window


def form_of(qtbot, window: Window, key: str):
    frame = window.views.frames[key]
    qtbot.mouseClick(frame.title_bar.buttons["settings"], Left)
    return frame._form


def test_a_setting_chosen_in_the_form_is_taken_back_and_the_form_shows_it(window, qtbot) -> None:
    options = window.bench.displays["settling"].options
    assert window.bench.runs.history.done == []  # the basis that the picture fitted is none
    assert window.bench.displays["state_space"].options.basis is not None
    form = form_of(qtbot, window, "settling")
    box = form.controls["measure"]
    box.setFocus()
    QTest.keyClick(box, Key.Key_Down)
    box.activated.emit(box.currentIndex())
    form.close()
    chosen = window.bench.displays["settling"].options
    assert chosen != options
    assert undo(window) == "Settling: step"
    assert window.bench.displays["settling"].options == options
    assert window.bench.displays["settling"].view.options == options
    assert form.options == options
    assert box.currentData() == options.measure
    QTest.keyClick(window, Key.Key_Z, Ctrl | Mod.ShiftModifier)
    assert window.bench.displays["settling"].options == chosen
    assert said(window) == "Redone: Settling: step"


def test_a_number_turned_step_by_step_is_one_change(window, qtbot) -> None:
    form = form_of(qtbot, window, "settling")
    spin = form.controls["window"]
    before = spin.value()
    for _ in range(3):
        QTest.keyClick(spin, Key.Key_Up)
    assert window.bench.displays["settling"].options.window == before + 3
    assert len(window.bench.runs.history.done) == 1
    form.close()
    assert undo(window) == "Settling: recurrences in a row"
    assert window.bench.displays["settling"].options.window == before
    QTest.keyClick(spin, Key.Key_Up)  # after an undo it is a change of its own
    QTest.keyClick(spin, Key.Key_Up)
    assert len(window.bench.runs.history.done) == 1
    undo(window)
    assert window.bench.displays["settling"].options.window == before


def test_settings_and_runs_are_taken_back_in_the_order_they_were_made(window, qtbot) -> None:
    analysis = window.bench.analysis
    first = window.bench.displays["heads"].options
    analysis.set_options("heads", replace(first, scale="log"))
    branch(qtbot, window, 4)
    analysis.set_options("state_space", replace(
        window.bench.displays["state_space"].options, azimuth=10.0
    ))  # fmt: skip
    assert undo(window) == "State space: view"
    assert undo(window) == "branch 1"
    wait(qtbot, window)
    assert [run.name for run in window.bench.runs.tree] == ["run 1"]
    assert undo(window).startswith("Head consistency: ")
    assert window.bench.displays["heads"].options == first
    assert not window.commands["undo"].isEnabled()


def test_settings_outlive_the_runs_of_a_model_that_goes(window, qtbot, tmp_path: Path) -> None:
    before = window.bench.displays["heads"].options
    window.bench.analysis.set_options("heads", replace(before, scale="log"))
    branch(qtbot, window, 4)
    old = window.bench.session.status.loaded
    window.opening.open(str(tiny_checkpoint(tmp_path / "other")), device="cpu")
    qtbot.waitUntil(lambda: window.bench.session.status.loaded is not old)
    wait(qtbot, window)
    assert not any(change.of_runs for change in window.bench.runs.history.done)
    assert undo(window).startswith("Head consistency: ")
    assert window.bench.displays["heads"].options == before


def test_the_second_run_and_its_pace_are_taken_back(window, qtbot) -> None:
    branch(qtbot, window, 4)
    session, root = window.bench.session, next(iter(window.bench.runs.tree))
    press(window, "alone")
    assert session.second is None
    paces = window.tree._step_pairings
    paces["own"].trigger()
    assert session.step_pairing == "own"
    assert undo(window) == "second run each at its own pace"
    assert session.step_pairing == "depth"
    assert paces["depth"].isChecked()
    assert undo(window) == "show alone"
    assert session.second.run is root
    rows = window.tree.panel.list
    window.docks.apply("Runs and cuts")
    wait(qtbot, window)
    rows.tree.setCurrentItem(rows.items[root.id])
    qtbot.mouseClick(rows.second_run_button, Left)  # shown alone
    assert session.second is None
    assert undo(window) == "show alone"
    assert session.second.run is root
