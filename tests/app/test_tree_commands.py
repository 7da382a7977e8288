"""The commands of runs and cuts in the window: keys, menus, what is said, what is remembered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from models import tiny_checkpoint
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QFileDialog, QMenu

from loopscope.app.bench.bench import Bench
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.tree_commands import RUNS
from loopscope.app.window.window import Window
from loopscope.core.experiments.architectures import twin_architecture
from loopscope.widgets.palette import LIGHT
from tests.window_desk import branch, desk, press, said, wait

pytestmark = pytest.mark.slow

PROMPT = "ab bc cd de ea ? 3 : a b c d e"
OTHER = "xy yz zx xw wx ? 2 : z x y w z"
Left, Key, Ctrl = Qt.MouseButton.LeftButton, Qt.Key, Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def window(qtbot, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with desk() as window:
        window.docks.apply("Runs and cuts")
        window.opening.open(str(tiny_checkpoint(tmp_path / "m")), FirstRun(PROMPT, 4), device="cpu")
        wait(qtbot, window, 4)
        yield window


def pairings(window: Window) -> dict[str, QAction]:
    menu = next(m for m in window.findChildren(QMenu) if m.title() == "Second run goes")
    return {action.text(): action for action in menu.actions()}


def test_a_run_with_branches_is_deleted_and_brought_back_whole(window, qtbot) -> None:
    rows = window.tree.panel.list
    assert "Ctrl+B" in rows.hint.text()
    assert rows.hint.isVisible()
    branch(qtbot, window, 2)
    branch(qtbot, window, 3)
    assert not rows.hint.isVisible()
    assert rows.chosen == window.bench.session.run.id  # the new branch is the one to act on
    assert [r.recurrences for r in rows.rows] == [4, 4, 4]
    before = [r.stepper.recording for r in window.bench.runs.tree]
    rows.tree.setCurrentItem(rows.items[rows.rows[1].id])
    qtbot.mouseClick(rows.delete_button, Left)
    assert [r.name for r in window.bench.runs.tree] == ["run 1"]
    assert said(window).startswith("Deleted branch 1 and its 1 branch; Undo")
    assert rows.hint.isVisible()
    wait(qtbot, window)
    rows.tree.setFocus()
    QTest.keyClick(rows.tree, Key.Key_Delete)  # the only one stays, and it is said why
    assert said(window).startswith("run 1 is the only run")
    QTest.keyClick(window, Key.Key_Z, Ctrl)
    wait(qtbot, window)
    assert [r.stepper.recording for r in window.bench.runs.tree] == before
    assert window.bench.session.recording is before[2]
    assert window.bench.session.second.run.stepper.recording is before[1]
    QTest.keyClick(rows.tree, Key.Key_Return)
    assert said(window) == "This run is shown already"
    rows.tree.setCurrentItem(rows.items[rows.rows[0].id])
    qtbot.mouseClick(rows.delete_button, Left)
    assert "run 1 is the run that all others branched from" in said(window)
    assert len(window.bench.runs.tree) == 3


def test_branch_swap_and_alone_by_keys_and_menu(window, qtbot) -> None:
    runs, parent = window.bench.runs, window.bench.session.recording
    for name in ("swap", "alone"):
        assert not window.commands[name].isEnabled()
    window.tree.swap()
    assert "There is no second run" in said(window)
    window.tree.show_alone()
    assert "shown alone already" in said(window)
    # What cannot be cut is said where the key was pressed as well as in the form.
    form = window.tree.panel.form
    form.kind.setCurrentIndex(form.kind.findData("skip"))
    form._show_kind()
    window.bench.session.scrub(0)
    QTest.keyClick(window, Key.Key_B, Ctrl)
    assert said(window) == f"Cannot branch here. {form.words.text()}"
    assert "move the cursor" in form.words.text()
    window.bench.session.scrub(2)
    QTest.keyClick(window, Key.Key_B, Ctrl)
    qtbot.waitUntil(lambda: len(runs.tree) == 2, timeout=20_000)
    wait(qtbot, window, 4)
    cut = window.bench.session.recording
    assert window.bars.second_run.text() == "○ second run: run 1"
    captions = [c.whole() for c in window.views.frames["readout"].panes.captions]
    assert captions[0] == "● branch 1   key O: ○ run 1"  # no room for both there
    assert captions[1].startswith("○ run 1")
    window.docks.apply("Measures")
    wait(qtbot, window)
    caption = window.views.frames["depth"].panes.captions[0]  # both runs on one pair of axes
    assert caption.isVisible()
    assert caption.whole() == "● branch 1: solid   ○ run 1: dotted"
    assert not window.views.frames["depth"].panes.captions[1].isVisible()
    press(window, "swap")
    wait(qtbot, window)
    assert window.bench.session.recording is parent
    assert window.bench.session.second.run.stepper.recording is cut
    press(window, "alone")
    wait(qtbot, window)
    assert window.bench.session.second is None
    assert window.bench.session.recording is parent
    assert window.bars.second_run.text() == ""
    assert not caption.isVisible()


def test_the_pace_is_chosen_in_the_menu_said_and_remembered(window, qtbot) -> None:
    actions = pairings(window)
    assert [a.isChecked() for a in actions.values()] == [True, False, False]
    actions["Recurrence by recurrence"].trigger()
    assert "There is no second run yet" in said(window)
    assert "recurrence by recurrence" in said(window)
    assert window.bench.session.step_pairing == "recurrence"
    window.remember()
    assert window.settings.step_pairing == "recurrence"
    branch(qtbot, window, 2)
    assert "recurrence by recurrence" in window.tree.title_bar.statement.whole()
    actions["Each at its own pace"].trigger()
    wait(qtbot, window)
    assert window.bench.session.second_run.pairing.step_pairing == "own"
    window.remember()
    again = Window(Bench(), window.settings, LIGHT, remember=False)
    assert again.bench.session.step_pairing == "own"
    assert pairings(again)["Each at its own pace"].isChecked()
    again.close()
    again.deleteLater()


def test_the_list_is_up_to_date_when_it_comes_into_sight(window, qtbot) -> None:
    rows = window.tree.panel.list
    window.docks.apply("Heads")
    assert not window.docks.by_key[RUNS].isVisible()
    press(window, "step_recurrence")
    wait(qtbot, window, 5)
    press(window, "branch")  # shows the form first
    assert window.docks.by_key[RUNS].isVisible()
    assert "Ctrl+B again" in said(window)
    assert rows.rows[0].recurrences == 5


def test_cuts_are_saved_replayed_and_an_empty_file_is_said(
    window, qtbot, tmp_path: Path, monkeypatch
) -> None:
    path = tmp_path / "cuts"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a: (str(path), ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: (f"{path}.json", ""))
    press(window, "save_cuts")
    assert "no interventions to save" in said(window)
    branch(qtbot, window, 2)
    press(window, "save_cuts")
    written = tmp_path / "cuts.json"  # the suffix is put on
    assert "Saved 1 intervention to" in said(window)
    assert len(json.loads(written.read_text())) == 1
    window.bench.runs.undo()
    wait(qtbot, window)
    press(window, "replay_cuts")
    qtbot.waitUntil(lambda: len(window.bench.runs.tree) == 2, timeout=20_000)
    wait(qtbot, window, 4)
    assert window.bench.session.recording.info.interventions
    written.write_text("[]")
    press(window, "replay_cuts")
    assert "holds no interventions" in said(window)
    assert len(window.bench.runs.tree) == 2
    # A dialog that is left does nothing.
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: ("", ""))
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *a: ("", ""))
    press(window, "replay_cuts")
    press(window, "save_cuts")
    wait(qtbot, window)
    assert len(window.bench.runs.tree) == 2


def test_a_second_model_from_the_empty_view_to_a_click_in_the_matrix(
    window, qtbot, tmp_path: Path, monkeypatch
) -> None:
    bench = window.bench
    deep = str(tiny_checkpoint(tmp_path / "deep", twin_architecture("deep", 4, d_model=16)))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: deep)
    window.docks.apply("Looped against deep")
    wait(qtbot, window)
    frame, view = window.views.frames["correspondence"], bench.displays["correspondence"].view
    assert not frame.measuring.button.isEnabled()
    assert "There is no second model" in frame.measuring.button.toolTip()
    qtbot.mouseClick(view.empty_actions.buttons["open_second_model"], Left)
    qtbot.waitUntil(lambda: bench.session.second is not None, timeout=30_000)
    wait(qtbot, window)
    assert window.bars.second_run.text().startswith("○ second run: ")
    assert frame.measuring.button.isEnabled()
    assert not view.empty_actions.isVisible()
    options = replace(bench.displays["correspondence"].options, prompts=6, permutations=3)
    bench.analysis.set_options("correspondence", options)
    frame.set_options(options)
    qtbot.mouseClick(frame.measuring.button, Left)
    assert not frame.measuring.button.isEnabled()
    qtbot.waitUntil(lambda: not bench.displays["correspondence"].data.missing, timeout=60_000)
    wait(qtbot, window)
    qtbot.waitUntil(frame.measuring.button.isEnabled, timeout=5000)
    data = bench.displays["correspondence"].data
    assert data.hatched
    assert data.path
    qtbot.mouseClick(view.matrix, Left, pos=view.matrix.cell_centre(2, 5))
    assert (bench.session.selection.recurrence, bench.session.selection.layer) == (2, 0)
    assert view.matrix.marks.cursor_column == bench.session.second_run.selection.layer
    where = view.matrix.layout_
    label = QPoint(int(where.column(5).center().x()), int(where.column_labels.center().y()))
    qtbot.mouseClick(view.matrix, Left, pos=label)
    assert bench.session.second_run.selection.layer == 5
    control = frame.quick.controls["compared"]
    control.setFocus()
    QTest.keyClick(control, Key.Key_Down)
    wait(qtbot, window)
    assert bench.displays["correspondence"].data.compared == "heads"
    # Another prompt is run on both.
    bench.restart(prompt=OTHER)
    qtbot.waitUntil(
        lambda: (
            bench.session.second is not None
            and bench.session.second.stepper.recording.info.prompt == OTHER
        ),
        timeout=20_000,
    )
    wait(qtbot, window)
    assert bench.session.recording.info.prompt == OTHER
    press(window, "alone")
    wait(qtbot, window)
    assert not frame.measuring.button.isEnabled()


@pytest.mark.parametrize("size", [(1280, 800), (1920, 1200)])
def test_presets_give_what_matters_its_share(window, qtbot, size: tuple[int, int]) -> None:
    window.resize(*size)
    QApplication.processEvents()
    docks, room = window.docks.by_key, size[1] - 200
    window.docks.apply("Looped against deep")
    qtbot.waitUntil(lambda: docks["correspondence"].height() > 0.4 * room, timeout=5000)
    assert docks["graph"].height() < 0.6 * room
    assert docks["correspondence"].width() > 0.55 * size[0]
    window.docks.apply("Runs and cuts")
    qtbot.waitUntil(lambda: docks[RUNS].width() < 0.36 * size[0], timeout=5000)
    assert docks[RUNS].height() > 0.9 * room  # a column
    assert docks["state_space"].height() > 0.45 * room
    assert docks["settling"].height() > 0.35 * room


def test_pointing_at_something_does_not_list_the_runs_anew(window, qtbot, monkeypatch) -> None:
    # The first word of the cursor after the run may still be about where the run has gone.
    window.bench.session.set_hover({"recurrence": 1, "layer": 0, "token": 1})
    listed = []
    monkeypatch.setattr(window.tree.panel.list, "show_runs", lambda *a: listed.append(a))
    window.bench.session.set_hover({"recurrence": 1, "layer": 0, "token": 2})
    window.bench.session.set_hover({})
    assert listed == []
    window.bench.session.select({"recurrence": 1})
    assert listed
