"""What a window asks before runs are lost, and what it offers after a crash."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from models import tiny_architecture, tiny_checkpoint
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QMessageBox
from session_desk import OTHER, Make, choose, saved, windows
from window_desk import Ctrl, Key, Left, branch, said, wait

from loopscope.app.window.window import Window
from loopscope.core.sessions.file import read_session

pytestmark = pytest.mark.slow


@pytest.fixture
def make(qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    with windows(qtbot, tmp_path, monkeypatch) as make:
        yield make


def answer(qtbot, window: Window, which: QMessageBox.StandardButton) -> None:
    box = window.unsaved.box
    qtbot.waitUntil(box.isVisible)
    qtbot.mouseClick(box.button(which), Left)
    assert window.unsaved.box is None


def test_unsaved_runs_are_asked_about_once_on_quit(
    make: Make, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, path = make(attended=True), tmp_path / "a.loopscope.json"
    branch(qtbot, window, 4)
    assert window.windowTitle() == "m[*] – Loopscope"
    assert window.isWindowModified()
    QTest.keyClick(window, Key.Key_Q, Ctrl)
    assert window.unsaved.box is not None
    first = window.unsaved.box
    window.close()
    assert window.unsaved.box is first  # not a second question
    answer(qtbot, window, QMessageBox.StandardButton.Cancel)
    assert window.isVisible()
    window.close()
    choose(monkeypatch, "")  # no file is chosen: it stays
    answer(qtbot, window, QMessageBox.StandardButton.Save)
    assert window.isVisible()
    window.close()
    choose(monkeypatch, path)
    answer(qtbot, window, QMessageBox.StandardButton.Save)
    assert not window.isVisible()
    assert [run.name for run in read_session(path).runs] == ["run 1", "branch 1"]


@pytest.mark.parametrize(
    "leave",
    [
        lambda window, other: window.files.open(str(other)),
        lambda window, other: window.bars.header.device_chosen.emit("cpu", "bfloat16"),
        lambda window, other: window.opening.reloop(0, 1, 0.5, 2),
    ],
    ids=["another model", "another dtype", "another span"],
)
def test_runs_are_asked_about_before_another_model_takes_their_place(
    make: Make,
    qtbot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    leave: Callable[[Window, Path], None],
) -> None:
    window, path = make(attended=True), tmp_path / "a.loopscope.json"
    other = tiny_checkpoint(tmp_path / "models" / "other", tiny_architecture(n_block=2), seed=4)
    branch(qtbot, window, 4)
    runs, loaded = list(window.bench.runs.tree), window.bench.session.status.loaded
    leave(window, other)
    answer(qtbot, window, QMessageBox.StandardButton.Cancel)
    wait(qtbot, window)
    assert list(window.bench.runs.tree) == runs
    assert window.bench.session.status.loaded is loaded
    leave(window, other)
    choose(monkeypatch, path)
    answer(qtbot, window, QMessageBox.StandardButton.Save)
    assert len(read_session(path).runs) == 2
    wait(qtbot, window)
    leave(window, other)  # nothing is lost now
    assert window.unsaved.box is None


@pytest.mark.parametrize("attended", [True, False])
def test_nothing_is_asked_where_nothing_is_lost_or_nobody_works(
    make: Make, qtbot, attended: bool, tmp_path: Path
) -> None:
    window = make(attended=attended)
    if not attended:
        branch(qtbot, window, 4)
    window.close()
    assert window.unsaved.box is None
    assert not window.isVisible()


def test_discarded_it_closes_and_is_not_offered_again(make: Make, qtbot) -> None:
    window = make(attended=True)
    branch(qtbot, window, 4)
    window.autosave._timer.timeout.emit()
    qtbot.waitUntil(window.autosave.file.exists)
    wait(qtbot, window)
    window.close()
    answer(qtbot, window, QMessageBox.StandardButton.Discard)
    assert not window.isVisible()
    assert not window.autosave.file.exists()
    other = make(attended=True)
    other.recovery.offer()
    assert other.recovery.box is None


def test_a_session_told_to_end_is_offered_and_opened_again(
    make: Make, qtbot, tmp_path: Path
) -> None:
    window, path = make(attended=True), tmp_path / "a.loopscope.json"
    saved(qtbot, window, path)
    QTest.keyClick(window, Key.Key_Space)
    wait(qtbot, window, 10)
    living = make(attended=True)
    branch(qtbot, living, 3)
    living.autosave._timer.timeout.emit()
    qtbot.waitUntil(living.autosave.file.exists)
    window.end()
    assert window.unsaved.box is None
    assert window.autosave.file.exists()
    again = make(attended=True, path="bundled:looped", n=2)
    again.recovery.offer()  # that of the window that lives is not
    box = again.recovery.box
    qtbot.waitUntil(box.isVisible)
    qtbot.mouseClick(box.button(QMessageBox.StandardButton.Open), Left)
    qtbot.waitUntil(lambda: again.sessions.file == path and not again.sessions.showing.under_way)
    wait(qtbot, again)
    assert again.bench.session.n_recurrences == 10
    assert again.isWindowModified()  # the file has one recurrence less
    assert [run.layers for run in read_session(path).runs] == [18, 18]
    again.autosave._timer.timeout.emit()
    qtbot.waitUntil(lambda: not window.autosave.file.exists())
    assert again.autosave.file.exists()
    assert living.autosave.file.exists()


def test_a_kept_session_that_lacks_its_checkpoint_is_offered_again(
    make: Make, qtbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = make(attended=True, n=2)
    branch_at = window.bench.session.n_recurrences
    window.bench.restart(prompt=OTHER)
    wait(qtbot, window, branch_at)
    window.end()
    kept = window.autosave.file
    assert kept.exists()
    shutil.rmtree(tmp_path / "models" / "m")
    choose(monkeypatch, "")  # nobody knows where it is
    again = make(attended=True, path="bundled:looped", n=2)
    again.recovery.offer()
    qtbot.waitUntil(again.recovery.box.isVisible)
    qtbot.mouseClick(again.recovery.box.button(QMessageBox.StandardButton.Open), Left)
    qtbot.waitUntil(lambda: "was not opened" in said(again))
    again.autosave.kept.emit()  # what this window does is kept; that one is still there
    assert kept.exists()
