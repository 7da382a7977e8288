"""Runs and cuts as a researcher uses them: branch, compare, name, delete, undo, replay."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from models import tiny_checkpoint
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QFileDialog, QLineEdit

from loopscope.app.bench.bench import Bench
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.tree_commands import RUNS
from loopscope.app.window.window import Window
from loopscope.core.experiments.architectures import twin_architecture
from loopscope.core.interventions.base import END, FOREVER
from loopscope.core.interventions.states import Noise, Replace, Zero
from loopscope.widgets.palette import LIGHT
from tests.window_desk import desk, wait

pytestmark = pytest.mark.slow

PROMPT = "ab bc cd de ea ? 3 : a b c d e"
OTHER = "xy yz zx xw ? 1 : z x y"
Left, Key = Qt.MouseButton.LeftButton, Qt.Key


@pytest.fixture
def window(qtbot, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with desk() as window:
        window.opening.open("bundled:looped", FirstRun(PROMPT, 8), device="cpu")
        wait(qtbot, window, 8)
        window.docks.apply("Runs and cuts")
        wait(qtbot, window, 8)
        yield window


def choose(window, kind: str, **fields):
    form = window.tree.panel.form
    form.kind.setCurrentIndex(form.kind.findData(kind))
    form._show_kind()
    for name, value in fields.items():
        control = form._form.controls[name]
        if isinstance(control, QLineEdit):
            control.setText(str(value))
            control.editingFinished.emit()
        else:
            control.setValue(value)
    return form


def branch(qtbot, window, kind="noise", at=4, **fields):
    window.bench.session.scrub(at)
    form = choose(window, kind, **fields)
    before = window.bench.session.recording
    qtbot.mouseClick(form.button, Left)
    qtbot.waitUntil(lambda: window.bench.session.recording is not before, timeout=20_000)
    wait(qtbot, window, 8)


def test_a_branch_is_cut_at_the_cursor_and_drawn_beside_its_parent(window, qtbot) -> None:
    _runs, parent = window.bench.runs, window.bench.session.recording
    window.bench.session.select({"recurrence": 4, "layer": 1, "token": 3})
    form = choose(window, "noise", size=0.5)
    assert form.words.text() == "Noise of 0.5 (seed 0) at recurrence 4, layer 1"
    form.tokens.setCurrentIndex(form.tokens.findData("cursor"))
    form.layer.setCurrentIndex(form.layer.findData("end"))
    form._say()
    assert form.words.text() == "Noise of 0.5 (seed 0) at recurrence 4, end, token 3"
    qtbot.mouseClick(form.button, Left)
    qtbot.waitUntil(lambda: window.bench.session.recording is not parent, timeout=20_000)
    wait(qtbot, window, 8)
    branch = window.bench.session.recording
    cut = Noise(recurrence=4, last=4, layer=END, tokens=(3,), size=0.5)
    assert branch.info.interventions == (cut,)
    assert branch.n_recurrences == parent.n_recurrences == 8
    np.testing.assert_array_equal(branch.states[:4], parent.states[:4])
    # Causal: what comes before token 3 does not know of it.
    np.testing.assert_array_equal(branch.states[:, :3], parent.states[:, :3])
    assert not np.allclose(branch.states[4, 3], parent.states[4, 3])
    assert branch.effects[0, 4] > 0
    assert window.bench.session.selection.recurrence == 4  # where it was cut
    # The parent stands beside, in every view that is there.
    assert window.bench.session.second.run.stepper.recording is parent
    second_run = window.bench.displays["readout"].second
    assert second_run is not None
    # Its panel has no room for both here: the caption names the key, and more room shows both.
    frame = window.views.frames["readout"]
    assert not second_run.view.isVisible()
    assert frame.panes.captions[0].whole().endswith("key O: ○ run 1")
    window.docks.maximise("readout")
    qtbot.waitUntil(second_run.view.isVisible, timeout=20_000)
    qtbot.waitUntil(lambda: second_run.data is not None, timeout=20_000)
    assert frame.panes.captions[1].whole().startswith("○ run 1: ")
    rows = window.tree.panel.list.rows
    assert [(r.name, r.parent is None) for r in rows] == [("run 1", True), ("branch 1", False)]
    assert "noise of 0.5" in rows[1].description
    assert float(rows[1].effect) > 0
    assert "second run: run 1" in window.bars.second_run.text()


def test_one_cursor_and_one_transport_drive_both(window, qtbot) -> None:
    branch(qtbot, window)
    second = window.bench.session.second.stepper.recording
    window.bench.transport.step_recurrence()
    wait(qtbot, window, 9)
    assert second.n_recurrences == 9
    other = window.bench.displays["readout"].second.view
    other.select_requested.emit({"recurrence": 5, "token": 2})
    assert (window.bench.session.selection.recurrence, window.bench.session.selection.token) == (
        5,
        2,
    )
    assert window.bench.session.second_run.selection.recurrence == 5
    other.hover_changed.emit({"recurrence": 3})
    assert window.bench.session.hover["recurrence"] == 3


def test_swap_alone_and_show(window, qtbot) -> None:
    parent = window.bench.session.recording
    branch(qtbot, window)
    cut = window.bench.session.recording
    QTest.keyClick(window, Key.Key_X)
    wait(qtbot, window)
    assert window.bench.session.recording is parent
    assert window.bench.session.second.run.stepper.recording is cut
    QTest.keyClick(window, Key.Key_X, Qt.KeyboardModifier.ShiftModifier)
    wait(qtbot, window)
    assert window.bench.session.second is None
    assert window.bench.displays["readout"].second is None
    assert window.views.frames["readout"].panes.count() == 1
    rows = window.tree.panel.list
    item = rows.items[rows.rows[1].id]
    rows.tree.setCurrentItem(item)
    qtbot.mouseClick(rows.show_button, Left)
    wait(qtbot, window)
    assert window.bench.session.recording is cut
    qtbot.mouseClick(rows.second_run_button, Left)  # the run shown cannot stand beside itself
    assert window.bench.session.second is None
    rows.tree.setCurrentItem(rows.items[rows.rows[0].id])
    qtbot.mouseClick(rows.second_run_button, Left)
    wait(qtbot, window)
    assert window.bench.session.second.run.stepper.recording is parent
    assert rows.second_run_button.text() == "Show alone"


def test_undo_and_redo_of_branches_names_and_deletions(window, qtbot) -> None:
    runs, parent = window.bench.runs, window.bench.session.recording
    branch(qtbot, window)
    first = window.bench.session.run
    branch(qtbot, window, kind="zero", at=6)
    second = window.bench.session.run
    assert second.parent is first
    runs.rename(second, "no memory")
    assert window.tree.panel.list.rows[2].name == "no memory"
    runs.delete(first)
    wait(qtbot, window)
    assert [r.name for r in runs.tree] == ["run 1"]
    assert window.bench.session.recording is parent
    assert window.bench.session.second is None
    for expected in (["run 1", "branch 1", "no memory"], ["run 1", "branch 1", "branch 2"]):
        QTest.keyClick(window, Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        wait(qtbot, window)
        assert [r.name for r in runs.tree] == expected
    assert window.bench.session.run is second
    QTest.keyClick(window, Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    wait(qtbot, window)
    assert [r.name for r in runs.tree] == ["run 1", "branch 1"]
    assert window.bench.session.run is first
    window.bench.runs.undo()
    wait(qtbot, window)
    assert window.bench.session.recording is parent
    assert not runs.history.done
    window.bench.runs.undo()
    assert "nothing to undo" in window.statusBar().currentMessage()
    for _ in range(4):
        window.bench.runs.redo()
        wait(qtbot, window)
    assert [r.name for r in runs.tree] == ["run 1"]
    assert not runs.history.undone


def test_another_prompt_begins_a_tree_of_its_own_and_undo_shows_the_first(window, qtbot) -> None:
    first = window.bench.session.recording
    branch(qtbot, window)
    window.bench.restart(prompt=OTHER)
    qtbot.waitUntil(lambda: window.bench.session.recording.info.prompt == OTHER, timeout=20_000)
    wait(qtbot, window, 8)
    assert window.bench.session.recording.info.interventions == ()
    assert [r.parent is None for r in window.bench.runs.tree] == [True, False, True]
    window.bench.runs.undo()
    wait(qtbot, window)
    assert window.bench.session.recording.info.interventions  # the branch, as it was left
    assert window.bars.prompt.line.text() == PROMPT
    assert first is not window.bench.session.recording


def test_a_state_of_another_run_is_put_in_and_short_prompts_are_refused(window, qtbot) -> None:
    window.bench.restart(prompt="ab bc cd de ea ? 2 : e d c b a")
    qtbot.waitUntil(lambda: window.bench.session.run.name == "run 2", timeout=20_000)
    wait(qtbot, window, 8)
    window.bench.session.scrub(5)
    form = choose(window, "replace")
    form.source.setCurrentIndex(form.source.findText("run 1"))
    form.source_recurrence.setValue(3)
    form.layer.setCurrentIndex(form.layer.findData("end"))
    form._say()
    before = window.bench.session.recording
    qtbot.mouseClick(form.button, Left)
    qtbot.waitUntil(lambda: window.bench.session.recording is not before, timeout=20_000)
    wait(qtbot, window, 8)
    first = next(r for r in window.bench.runs.tree if r.name == "run 1").stepper.recording
    np.testing.assert_array_equal(window.bench.session.recording.states[5], first.states[3])
    (cut,) = window.bench.session.recording.info.interventions
    assert isinstance(cut, Replace)
    assert cut.source.token_ids == first.info.token_ids
    # A prompt of another length: said in the status line, nothing is lost.
    window.bench.restart(prompt=OTHER)
    qtbot.waitUntil(lambda: window.bench.session.recording.info.prompt == OTHER, timeout=20_000)
    wait(qtbot, window, 8)
    runs = len(window.bench.runs.tree)
    window.bench.session.scrub(2)
    form._say()
    qtbot.mouseClick(form.button, Left)
    qtbot.waitUntil(lambda: len(window.bench.runs.tree) > runs, timeout=20_000)
    qtbot.waitUntil(lambda: window.bench.session.status.error is not None, timeout=20_000)
    assert "choose a prompt of the same length" in window.bench.session.status.error


def test_a_cut_that_does_nothing_says_so(window, qtbot) -> None:
    branch(qtbot, window, kind="scale", at=3, factor=1)
    row = window.tree.panel.list.rows[1]
    assert row.effect == "nothing"
    assert row.effect_words.startswith("did nothing")


def test_interventions_are_saved_and_replayed_exactly(
    window, qtbot, tmp_path: Path, monkeypatch
) -> None:
    path = tmp_path / "cuts.json"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a: (str(path), ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: (str(path), ""))
    window.tree.ask_to_save_interventions()
    assert "no interventions to save" in window.statusBar().currentMessage()
    parent = window.bench.session.run
    branch(qtbot, window, size=0.3, seed=7)
    made = window.bench.session.recording
    window.tree.ask_to_save_interventions()
    assert json.loads(path.read_text())[0]["kind"] == "noise"
    window.bench.runs.show(parent)
    wait(qtbot, window)
    window.tree.ask_for_interventions()
    qtbot.waitUntil(lambda: len(window.bench.runs.tree) == 3, timeout=20_000)
    wait(qtbot, window, 8)
    assert window.bench.session.recording is not made
    np.testing.assert_array_equal(window.bench.session.recording.layer_states, made.layer_states)
    path.write_text('[{"kind": "noise", "layer": 9}]')
    window.tree.ask_for_interventions()
    said = []
    window.bench.session.message.connect(said.append)
    qtbot.waitUntil(lambda: any("there is no layer 9" in text for text in said), timeout=20_000)
    path.write_text("[]x")
    window.tree.ask_for_interventions()
    assert "cannot be read as JSON" in window.statusBar().currentMessage()


def test_layers_cannot_be_cut_at_the_start_but_the_state_can(window, qtbot) -> None:
    window.bench.session.scrub(0)
    form = choose(window, "skip")
    assert not form.button.isEnabled()
    assert "Layers run from recurrence 1" in form.words.text()
    choose(window, "noise")
    # Zeros have no norm that noise could be a share of: it is said to have done nothing.
    assert form.words.text() == "Noise of 0.1 (seed 0) at the initial state"
    branch(qtbot, window, at=0)
    assert window.bench.session.recording.info.interventions == (
        Noise(recurrence=0, last=0, layer=END, size=0.1),
    )
    assert window.tree.panel.list.rows[1].effect == "nothing"


def test_a_lasting_cut(window, qtbot) -> None:
    form = window.tree.panel.form
    form.lasting.setChecked(True)
    branch(qtbot, window, kind="zero", at=5)
    assert window.bench.session.recording.info.interventions == (
        Zero(recurrence=5, last=FOREVER, layer=0),
    )
    assert "at recurrence 5 and on" in window.tree.panel.list.rows[1].description


def test_a_deep_model_beside_goes_by_effective_depth(window, qtbot, tmp_path: Path) -> None:
    deep = twin_architecture("deep", 6, d_model=16)
    window.tree.open_second_model(str(tiny_checkpoint(tmp_path / "deep", deep)))
    qtbot.waitUntil(lambda: window.bench.session.second is not None, timeout=30_000)
    wait(qtbot, window)
    there = window.bench.session.second.stepper.recording
    assert (there.n_recurrences, there.layers_done) == (1, 12)
    window.bench.session.select({"recurrence": 3, "layer": 1})
    assert (
        window.bench.session.second_run.selection.recurrence,
        window.bench.session.second_run.selection.layer,
    ) == (1, 5)
    window.bench.session.select_in_second({"layer": 8})
    assert (window.bench.session.selection.recurrence, window.bench.session.selection.layer) == (
        5,
        0,
    )
    window.bench.second_runs.set_step_pairing("own")
    window.bench.session.select_in_second({"layer": 2})
    assert (window.bench.session.selection.recurrence, window.bench.session.selection.layer) == (
        5,
        0,
    )
    assert window.bench.session.second_run.selection.layer == 2
    window.tree.swap()
    assert "of another model" in window.statusBar().currentMessage()
    window.tree.open_second_model(str(tmp_path / "nowhere"))
    qtbot.waitUntil(lambda: "does not exist" in window.statusBar().currentMessage(), timeout=20_000)


def test_keys_of_the_list(window, qtbot) -> None:
    branch(qtbot, window)
    rows = window.tree.panel.list
    rows.tree.setFocus()
    rows.tree.setCurrentItem(rows.items[rows.rows[0].id])
    QTest.keyClick(rows.tree, Key.Key_Return)
    wait(qtbot, window)
    assert window.bench.session.run.name == "run 1"
    rows.tree.setCurrentItem(rows.items[rows.rows[1].id])
    qtbot.mouseClick(rows.rename_button, Left)
    editor = rows.tree.findChild(QLineEdit)
    editor.setText("quiet")
    QTest.keyClick(editor, Key.Key_Return)
    branch_ = window.bench.runs.tree.find(rows.rows[1].id)
    qtbot.waitUntil(lambda: branch_.name == "quiet", timeout=5000)
    QTest.keyClick(rows.tree, Key.Key_Delete)
    assert [r.name for r in window.bench.runs.tree] == ["run 1"]
    QTest.keyClick(rows.tree, Key.Key_Delete)  # the only one stays
    assert len(window.bench.runs.tree) == 1


def test_ctrl_b_shows_the_form_first(window, qtbot) -> None:
    window.docks.apply("Heads")
    assert not window.docks.by_key[RUNS].isVisible()
    window.tree.branch_by_form()
    assert window.docks.by_key[RUNS].isVisible()
    assert len(window.bench.runs.tree) == 1
    window.bench.session.scrub(3)
    window.tree.branch_by_form()
    qtbot.waitUntil(lambda: len(window.bench.runs.tree) == 2, timeout=20_000)
    wait(qtbot, window)


def test_opening_another_model_forgets_the_runs(window, qtbot, tmp_path: Path) -> None:
    branch(qtbot, window)
    before = window.bench.runner.loaded
    window.opening.open(str(tiny_checkpoint(tmp_path / "m")), FirstRun(PROMPT, 2))
    qtbot.waitUntil(lambda: window.bench.runner.loaded is not before, timeout=20_000)
    wait(qtbot, window, 2)
    assert [r.name for r in window.bench.runs.tree] == ["run 3"] or len(window.bench.runs.tree) == 1
    assert window.bench.session.second is None
    assert not window.bench.runs.history.done


def test_starting_again_keeps_the_cuts_and_reopening_makes_them_again(window, qtbot) -> None:
    branch(qtbot, window, kind="zero", at=2)
    cuts = window.bench.session.recording.info.interventions
    before = window.bench.session.recording
    window.running.reset()
    qtbot.waitUntil(lambda: window.bench.session.recording is not before, timeout=20_000)
    wait(qtbot, window)
    assert window.bench.session.recording.info.interventions == cuts
    assert window.bench.session.recording.n_recurrences == 0
    window.bench.transport.step_recurrence()
    wait(qtbot, window, 1)
    window.remember()
    again = Window(Bench(), window.settings, LIGHT, remember=False)
    again.show()
    again.opening.open("bundled:looped")
    wait(qtbot, again, 1)
    assert again.bench.session.recording.info.prompt == PROMPT
    assert again.bench.session.recording.info.interventions == cuts
    again.close()
    again.deleteLater()


def test_a_window_is_opened_with_interventions_from_a_file(tmp_path: Path, monkeypatch) -> None:
    from loopscope.app.cli.main import main

    monkeypatch.chdir(tmp_path)
    cuts = tmp_path / "cuts.json"
    cuts.write_text('[{"kind": "zero", "recurrence": 2, "last": 2, "layer": -1}]')
    command = ["--prompt", PROMPT, "--recurrences", "3", "--exit", "--screenshot", "a.png"]
    assert main([*command, "--interventions", str(cuts)]) == 0
    assert (tmp_path / "a.png").stat().st_size > 10_000
    cuts.write_text('[{"kind": "zero", "layer": 7}]')
    assert main([*command, "--interventions", str(cuts)]) == 2
    cuts.write_text("{}")
    assert main([*command, "--interventions", str(cuts)]) == 2


def test_the_bundled_deep_twin_is_put_beside_by_its_command(window, qtbot) -> None:
    window.commands["open_deep_twin"].trigger()
    qtbot.waitUntil(lambda: window.bench.session.second is not None, timeout=30_000)
    wait(qtbot, window)
    second = window.bench.session.second
    assert second.name == "bundled:deep"
    assert second.stepper.recording.info.prompt == PROMPT
    assert window.bars.second_run.text() == "○ second run: bundled:deep"
