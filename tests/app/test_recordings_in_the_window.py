"""Recordings in the window: opened without a model or with it, gone on with, saved, shared."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from models import tiny_checkpoint
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QApplication, QMessageBox, QPushButton

from loopscope.app.bench.bench import Bench
from loopscope.app.bench.session import WITHOUT_MODEL
from loopscope.app.views import BY_KEY
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.sealing import SealingDialog
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.core.checkpoint.loading import load
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.states import Noise
from loopscope.core.recordings import writing
from loopscope.core.recordings.reader import open_recording
from loopscope.core.recordings.segments import SegmentWriter, segments_of
from loopscope.core.recordings.writing import save
from loopscope.core.run.recording import Recording
from loopscope.core.run.stepper import Stepper
from loopscope.widgets.palette import LIGHT
from tests.window_desk import branch, press, said, wait

pytestmark = pytest.mark.slow
IDS = (1, 2, 3, 4, 5)


def title(window: Window) -> str:
    """The title without the place of the mark of what is unsaved."""
    return window.windowTitle().replace("[*]", "")


def close(qtbot, window: Window) -> None:
    """Close a window and wait until its recording is complete."""
    window.close()
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=60_000)


def made(folder: Path, recurrences: int) -> Recording:
    loaded = load(str(folder), "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.from_ids(IDS))
    for _ in range(recurrences):
        stepper.step()
    return stepper.recording


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_checkpoint(tmp_path / "tiny")


@pytest.fixture
def file(tmp_path: Path, folder: Path) -> Path:
    """A run of four recurrences with a branch at the second."""
    loaded = load(str(folder), "cpu")
    stepper = Stepper(loaded)
    stepper.begin(loaded.tokenizer.from_ids(IDS))
    for _ in range(4):
        stepper.step()
    other = stepper.branch((Noise(recurrence=2, last=2, layer=-1, size=0.5),))
    for _ in range(3):
        other.step()
    path = tmp_path / "elsewhere" / "run.h5"
    path.parent.mkdir()
    save(path, [stepper.recording, other.recording], "loopscope run tiny")
    return path


@pytest.fixture
def make_window(qtbot, tmp_path: Path, monkeypatch) -> Iterator[Callable[[], Window]]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    windows: list[Window] = []

    def make() -> Window:
        windows.append(Window(Bench(), Settings(), LIGHT, remember=False))
        windows[-1].show()
        return windows[-1]

    yield make
    for window in windows:
        close(qtbot, window)
        window.deleteLater()
    QApplication.processEvents()


def test_without_its_checkpoint_it_is_shown_and_goes_no_further(
    qtbot, make_window, folder: Path, file: Path
) -> None:
    expected = made(folder, 4)
    shutil.rmtree(folder)
    window = make_window()
    window.recordings.open(file)
    wait(qtbot, window, 4)
    recording = window.bench.session.recording
    assert recording is not None
    np.testing.assert_array_equal(recording.states, expected.states)
    assert "tiny was not found: shown without its model" in said(window)
    assert title(window) == "run.h5 – tiny, without its model – Loopscope"
    assert window.bench.session.selection.recurrence == 4
    # Runs and cursor work.
    assert [run.parent is None for run in window.bench.runs.tree] == [True, False]
    window.bench.session.scrub(2)
    assert window.bench.session.selection.recurrence == 2
    window.bench.runs.show(list(window.bench.runs.tree)[1])
    wait(qtbot, window, 3)
    # What needs the model says so, and is not there to press.
    for name in ("step_recurrence", "branch", "play", "reset"):
        assert not window.commands[name].isEnabled(), name
        # However its lines are broken.
        assert " ".join(window.commands[name].toolTip().split()) == WITHOUT_MODEL
    assert not window.bars.transport.buttons["step_recurrence"].isEnabled()
    assert WITHOUT_MODEL.split(",")[0] in window.bars.transport.buttons["play"].toolTip()
    window.docks.fill("stability")
    assert window.bench.measuring.why_not("stability") == WITHOUT_MODEL
    for ask in (
        window.bench.transport.step_recurrence,
        lambda: window.bench.transport.set_playing(True),
        lambda: window.bench.restart(seed=3),
        lambda: window.bench.runs.branch(()),
    ):
        window.say("")
        ask()
        assert said(window) == WITHOUT_MODEL
    assert recording.n_recurrences == 4
    assert not window.bench.transport.playing


def test_every_view_shows_it_without_a_model(qtbot, make_window, folder, file) -> None:
    shutil.rmtree(folder)
    window = make_window()
    window.recordings.open(file)
    wait(qtbot, window, 4)
    for key in BY_KEY:
        window.docks.maximise(key)
        qtbot.waitUntil(lambda: window.bench.settled_down, timeout=60_000)
        display = window.bench.displays[key]
        assert display.first.error is None, (key, display.first.error)
        assert display.data is not None, key
        window.docks.unmaximise()


def test_with_its_checkpoint_it_goes_on_bit_for_bit_and_in_the_file(
    qtbot, make_window, folder: Path, file: Path
) -> None:
    window = make_window()
    window.settings.recent = [str(folder)]
    window.recordings.open(file)
    qtbot.waitUntil(lambda: "goes on in the file" in said(window), timeout=60_000)
    wait(qtbot, window, 4)
    assert title(window) == "run.h5 – tiny – Loopscope"
    press(window, "step_recurrence")
    wait(qtbot, window, 5)
    branch(qtbot, window, 3)
    close(qtbot, window)
    sealed = open_recording(file)
    found = sealed.runs
    assert sealed.about.command == "loopscope run tiny"
    np.testing.assert_array_equal(found[0].states, made(folder, 5).states)
    assert [run.n_recurrences for run in found] == [5, 4, 5]
    assert not segments_of(file).exists()


def test_nothing_run_leaves_the_file_as_it_was(qtbot, make_window, folder, file) -> None:
    before = file.read_bytes(), file.stat().st_mtime_ns
    window = make_window()
    window.settings.recent = [str(folder)]
    window.recordings.open(file)
    qtbot.waitUntil(lambda: "goes on in the file" in said(window), timeout=60_000)
    assert segments_of(file).exists()
    close(qtbot, window)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert not segments_of(file).exists()


def test_other_weights_are_said_and_not_used(
    qtbot, make_window, tmp_path: Path, folder: Path, file: Path
) -> None:
    shutil.rmtree(folder)
    other = tiny_checkpoint(folder, seed=5)
    window = make_window()
    window.settings.recent = [str(other)]
    window.recordings.open(file)
    wait(qtbot, window, 4)
    assert "has other weights" in said(window)
    assert window.bench.session.without_model
    window.recordings.go_on_with(str(other))
    qtbot.waitUntil(lambda: "shown as it is" in said(window), timeout=60_000)
    window.recordings.go_on_with("bundled:looped")
    qtbot.waitUntil(lambda: "another architecture" in said(window), timeout=60_000)
    assert window.bench.session.without_model


def test_a_chosen_checkpoint_goes_on(
    qtbot, make_window, tmp_path: Path, folder: Path, file: Path
) -> None:
    moved = folder.rename(tmp_path / "moved")
    window = make_window()
    window.recordings.open(file)
    wait(qtbot, window, 4)
    assert window.bench.session.without_model
    window.recordings.go_on_with(str(moved))
    qtbot.waitUntil(lambda: "goes on in the file" in said(window), timeout=60_000)
    press(window, "step_recurrence")
    wait(qtbot, window, 5)


def test_what_is_saved_is_written_on_while_it_is_run(
    qtbot, make_window, tmp_path: Path, folder: Path
) -> None:
    window, path = make_window(), tmp_path / "kept.h5"
    window.opening.open(str(folder), FirstRun("#1,2,3,4,5", 3))
    wait(qtbot, window, 3)
    window.recordings.save(path)
    assert "1 run is in kept.h5" in said(window)
    assert title(window).startswith("kept.h5 – ")
    press(window, "step_recurrence")
    wait(qtbot, window, 4)
    branch(qtbot, window, 2)
    # A second window reads what there is so far, and says that it only reads.
    second = make_window()
    qtbot.waitUntil(lambda: segments_of(path).stat().st_size > 1000, timeout=20_000)
    second.settings.recent = [str(folder)]
    second.recordings.open(path)
    qtbot.waitUntil(lambda: "read only" in said(second), timeout=60_000)
    wait(qtbot, second)
    assert title(second).startswith("kept.h5 (read only)")
    # It follows what is written: the run shown, and runs that come.
    follows(qtbot, window, second)
    # The model is there, and loaded when that is asked for; then it goes its own way.
    press(second, "go_on")
    qtbot.waitUntil(lambda: "what is run is not kept" in said(second), timeout=60_000)
    assert not second.bench.session.without_model
    wait(qtbot, second)
    assert title(second).startswith("kept.h5 (read only)")
    close(qtbot, second)
    assert segments_of(path).exists()
    close(qtbot, window)
    found = open_recording(path).runs
    np.testing.assert_array_equal(found[0].states, made(folder, 5).states)
    assert [run.n_recurrences for run in found] == [5, 5, 5]
    assert found[1].parent is found[0]


def follows(qtbot, window: Window, second: Window) -> None:
    """Step and branch in one window and wait until the other shows it."""

    def lengths(own: Window) -> list[int]:
        return sorted(run.stepper.recording.n_recurrences for run in own.bench.runs.tree)

    press(window, "step_recurrence")
    wait(qtbot, window, 5)
    branch(qtbot, window, 3)
    qtbot.waitUntil(lambda: len(second.bench.runs.tree) == 3, timeout=60_000)
    qtbot.waitUntil(lambda: lengths(second) == lengths(window), timeout=60_000)
    assert second.bench.session.selection.recurrence == second.bench.session.n_recurrences
    for own, other in zip(window.bench.runs.tree, second.bench.runs.tree, strict=True):
        assert (own.parent is None) == (other.parent is None)
        np.testing.assert_array_equal(own.stepper.recording.states, other.stepper.recording.states)


def test_a_file_that_is_followed_to_its_end_says_so(
    qtbot, make_window, tmp_path: Path, folder: Path
) -> None:
    window, path = make_window(), tmp_path / "kept.h5"
    window.opening.open(str(folder), FirstRun("#1,2,3,4,5", 3))
    wait(qtbot, window, 3)
    window.recordings.save(path)
    second = make_window()
    qtbot.waitUntil(lambda: segments_of(path).stat().st_size > 1000, timeout=20_000)
    second.recordings.open(path)
    qtbot.waitUntil(lambda: "shown as it comes" in said(second), timeout=60_000)
    press(window, "step_recurrence")
    wait(qtbot, window, 4)
    close(qtbot, window)
    qtbot.waitUntil(lambda: "kept.h5 is complete" in said(second), timeout=60_000)
    wait(qtbot, second, 4)
    shown = second.bench.session.recording
    np.testing.assert_array_equal(shown.states, made(folder, 4).states)


def test_a_disk_that_is_full_is_told_until_it_was_read(
    qtbot, make_window, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, path = make_window(), tmp_path / "kept.h5"
    window.opening.open(str(folder), FirstRun("#1,2,3,4,5", 3))
    wait(qtbot, window, 3)
    window.recordings.save(path)
    qtbot.waitUntil(lambda: segments_of(path).stat().st_size > 1000, timeout=20_000)

    def refuse(self: SegmentWriter, data: memoryview | bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(SegmentWriter, "_write", refuse)
        press(window, "step_recurrence")
        wait(qtbot, window, 4)
        qtbot.waitUntil(lambda: window.findChild(QMessageBox) is not None, timeout=60_000)
    box = window.findChild(QMessageBox)
    assert "has ended: No space left on device; the run goes on" in box.text()
    assert not box.isModal()
    press(window, "step_recurrence")
    wait(qtbot, window, 5)
    assert not window.recordings.holds_all  # what comes now is asked about
    box.close()
    # Whoever opens it meanwhile completes what there is of it.
    assert "3 recurrences were recovered" in open_recording(path).notes[0]
    # All of it can be kept elsewhere.
    window.recordings.save(tmp_path / "other.h5")
    close(qtbot, window)
    assert open_recording(tmp_path / "other.h5").runs[0].n_recurrences == 5


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is held open stays there")
def test_a_removed_drive_is_told(qtbot, make_window, tmp_path: Path, folder: Path) -> None:
    window, path = make_window(), tmp_path / "drive" / "kept.h5"
    path.parent.mkdir()
    window.opening.open(str(folder), FirstRun("#1,2,3,4,5", 3))
    wait(qtbot, window, 3)
    window.recordings.save(path)
    qtbot.waitUntil(lambda: segments_of(path).stat().st_size > 1000, timeout=20_000)
    shutil.rmtree(path.parent)
    qtbot.waitUntil(lambda: window.findChild(QMessageBox) is not None, timeout=60_000)
    assert "the file or its drive is gone" in window.findChild(QMessageBox).text()
    assert not title(window).startswith("kept.h5")


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is held open stays there")
def test_a_window_that_closes_on_a_removed_drive_says_what_is_lost(
    qtbot, make_window, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopscope.app.window.keeping.WATCH_MS", 1 << 30)
    window, path = make_window(), tmp_path / "drive" / "kept.h5"
    path.parent.mkdir()
    window.opening.open(str(folder), FirstRun("#1,2,3,4,5", 3))
    wait(qtbot, window, 3)
    window.recordings.save(path)
    qtbot.waitUntil(lambda: segments_of(path).stat().st_size > 1000, timeout=20_000)
    shutil.rmtree(path.parent)
    window.close()
    dialog = window.findChild(SealingDialog)
    qtbot.waitUntil(lambda: "cannot write" in dialog.labelText(), timeout=60_000)
    assert "No such file or directory" in dialog.labelText()
    assert "kept.h5.segments, which had what was recorded, is gone" in dialog.labelText()
    qtbot.mouseClick(dialog.findChild(QPushButton), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=60_000)


def test_another_model_ends_the_recording(qtbot, make_window, tmp_path, folder) -> None:
    window, path = make_window(), tmp_path / "kept.h5"
    window.opening.open(str(folder), FirstRun("#1,2,3,4,5", 2))
    wait(qtbot, window, 2)
    window.recordings.save(path)
    other = tiny_checkpoint(tmp_path / "other", seed=3)
    window.opening.open(str(other), FirstRun("#1,2,3", 1))
    qtbot.waitUntil(lambda: title(window) == "other – Loopscope", timeout=60_000)
    wait(qtbot, window, 1)
    qtbot.waitUntil(lambda: not segments_of(path).exists(), timeout=60_000)
    (found,) = open_recording(path).runs
    assert found.n_recurrences == 2


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk that writes nothing until the event is set."""
    ready = threading.Event()
    real = writing.seal

    def seal(path: Path, recordings, said, report) -> None:
        while not ready.wait(0.01):
            report(0.25)
        real(path, recordings, said, report)

    monkeypatch.setattr(writing, "seal", seal)
    yield ready
    ready.set()


@pytest.mark.parametrize("patient", [True, False])
def test_closing_waits_in_sight_for_a_slow_disk_or_leaves_it_for_the_next_opening(
    qtbot, make_window, tmp_path: Path, folder: Path, slow_disk, patient: bool
) -> None:
    window, path = make_window(), tmp_path / "kept.h5"
    window.opening.open(str(folder), FirstRun("#1,2,3,4,5", 3))
    wait(qtbot, window, 3)
    window.recordings.save(path)
    window.close()
    assert window.isVisible()
    dialog = window.findChild(SealingDialog)
    assert dialog.isVisible()
    assert "kept.h5" in dialog.labelText()
    qtbot.waitUntil(lambda: dialog.value() == 250)
    window.close()  # there is no second dialog
    assert len(window.findChildren(SealingDialog)) == 1
    if patient:
        slow_disk.set()
    else:
        qtbot.mouseClick(dialog.findChild(QPushButton), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=60_000)
    assert path.exists() == patient
    slow_disk.set()
    file = open_recording(path)
    assert ("recovered" in " ".join(file.notes)) != patient
    np.testing.assert_array_equal(file.runs[0].states, made(folder, 3).states)


def test_the_screen_does_not_wait_for_a_file_that_is_completed(
    qtbot, make_window, tmp_path: Path, folder: Path, slow_disk
) -> None:
    window, path = make_window(), tmp_path / "kept.h5"
    window.opening.open(str(folder), FirstRun("#1,2,3,4,5", 2))
    wait(qtbot, window, 2)
    window.recordings.save(path)
    other = tiny_checkpoint(tmp_path / "other", seed=3)
    window.opening.open(str(other), FirstRun("#1,2,3", 1))
    qtbot.waitUntil(lambda: title(window) == "other – Loopscope", timeout=60_000)
    wait(qtbot, window, 1)
    press(window, "step_recurrence")
    wait(qtbot, window, 2)
    assert not path.exists()
    window.recordings.open(path)  # waits for it
    slow_disk.set()
    qtbot.waitUntil(lambda: title(window).startswith("kept.h5 – tiny"), timeout=60_000)


def test_a_recording_that_cannot_be_completed_is_told_before_the_window_goes(
    qtbot, make_window, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window, path = make_window(), tmp_path / "kept.h5"
    window.opening.open(str(folder), FirstRun("#1,2,3,4,5", 3))
    wait(qtbot, window, 3)
    window.recordings.save(path)

    def full(*_: object) -> None:
        raise LoopscopeError("cannot write kept.h5: No space left on device")

    monkeypatch.setattr(writing, "seal", full)
    window.close()
    dialog = window.findChild(SealingDialog)
    qtbot.waitUntil(lambda: "No space left" in dialog.labelText(), timeout=60_000)
    qtbot.mouseClick(dialog.findChild(QPushButton), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=60_000)
    monkeypatch.undo()
    assert "recovered" in open_recording(path).notes[0]


def test_a_dropped_recording_is_opened_and_remembered(
    qtbot, make_window, folder, file, tmp_path
) -> None:
    window = make_window()
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(file))])
    event = QDropEvent(
        QPointF(10, 10), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    window.dropEvent(event)
    wait(qtbot, window, 4)
    assert window.settings.recent[0] == str(file)
    assert window.settings.checkpoint == "bundled:looped"
    # What is no recording is one line, and what is shown stays.
    bad = tmp_path / "bad.h5"
    bad.write_bytes(file.read_bytes()[:3000])
    window.files.open(str(bad))
    qtbot.waitUntil(lambda: "bad.h5" in said(window) and "…" not in said(window), timeout=20_000)
    assert window.bench.session.n_recurrences == 4
