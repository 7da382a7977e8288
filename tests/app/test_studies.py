"""A study in the window, by mouse and keys: opened, drawn, followed, run, clicked, kept."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QComboBox, QFileDialog
from pytestqt.qtbot import QtBot
from studies import made_study, run_tasks, write_study
from window_desk import Key, Left, desk, press, said, undo, wait

from loopscope.app.window.opening import FirstRun
from loopscope.app.window.window import Window
from loopscope.core.sweeps.parts import read_rows
from loopscope.core.sweeps.picture import StudyCurves, StudyMap
from loopscope.core.sweeps.study import open_study

pytest.importorskip("pyarrow", reason="the extra `cluster` is not installed")
pytestmark = pytest.mark.slow

PROMPT = "ab bc cd de ea ? 3 : a b c d e"


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with desk(1366, 768) as window:
        window.opening.open("bundled:looped", FirstRun(PROMPT, 2), device="cpu")
        wait(qtbot, window, 2)
        yield window


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that is done."""
    folder = tmp_path_factory.mktemp("made")
    made_study(folder)
    return folder


@pytest.fixture
def rows(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "done")
    return tmp_path / "done" / "s-study"


def opened(qtbot: QtBot, window: Window, path: Path) -> None:
    window.studies.open(str(path))
    qtbot.waitUntil(lambda: window.studies.seen is not None, timeout=20_000)


def choose(qtbot: QtBot, window: Window, name: str, text: str) -> None:
    """Choose with the keyboard where it is the next one, and wait until it is drawn."""
    box = window.studies.panel.choosers.boxes[name]
    assert box.isVisible(), name
    before = window.studies.seen
    pick(box, text)
    qtbot.waitUntil(lambda: window.studies.seen is not before, timeout=20_000)


def pick(box: QComboBox, text: str) -> None:
    at = box.findText(text)
    assert at >= 0, [box.itemText(i) for i in range(box.count())]
    box.setFocus()
    if at == box.currentIndex() + 1:
        QTest.keyClick(box, Key.Key_Down)
    else:
        box.setCurrentIndex(at)
        box.activated.emit(at)


def test_it_is_drawn_as_it_is_chosen_and_taken_back(window, qtbot, rows) -> None:
    opened(qtbot, window, rows)
    panel, studies = window.studies.panel, window.studies
    assert studies.dock.isVisible()
    assert panel.words.text() == "Two models and a cut: 144 of 144 cells"
    assert not panel.button.isVisible()  # there is nothing left, nor a file to run
    assert isinstance(studies.seen.picture, StudyCurves)
    choose(qtbot, window, "measure", "layer_relative_step")
    choose(qtbot, window, "kind", "Heat map")
    choose(qtbot, window, "along", "layer")
    choose(qtbot, window, "by", "intervention")
    found = studies.seen.picture
    assert isinstance(found, StudyMap)
    assert found.names == (("0", "1"), ("none", "layer 1 skipped"))
    assert panel.stack.currentWidget() is panel.map
    assert not panel.choosers.boxes["layer"].isVisible()
    choose(qtbot, window, "checkpoint", "bundled:orbit")
    assert "checkpoint bundled:orbit" in studies.title_bar.statement.whole()
    assert undo(window) == "Study: what is drawn"
    qtbot.waitUntil(
        lambda: studies.seen.choice.kept["checkpoint"] == "bundled:looped", timeout=20_000
    )
    assert panel.choosers.boxes["checkpoint"].currentText() == "bundled:looped"


def test_space_and_esc_are_the_windows_in_the_panel(window, qtbot, tmp_path) -> None:
    _, rows = made_study(tmp_path, most=4)
    opened(qtbot, window, rows)
    n = window.bench.session.recording.n_recurrences
    box = window.studies.panel.choosers.boxes["measure"]
    box.setFocus()
    QTest.keyClick(box, Key.Key_Space)
    wait(qtbot, window, n + 1)
    window.docks.maximise("state_space")
    QTest.keyClick(window, Key.Key_Escape)
    assert window.studies.dock.isVisible()
    assert window.docks.layout.maximised is None


def test_a_click_on_a_cell_opens_its_run(window, qtbot, rows) -> None:
    opened(qtbot, window, rows)
    choose(qtbot, window, "kind", "Heat map")
    choose(qtbot, window, "along", "prompt")
    choose(qtbot, window, "by", "intervention")
    choose(qtbot, window, "seed", "1")
    matrix = window.studies.panel.map.matrix
    QTest.mouseMove(matrix, matrix.cell_centre(1, 2))
    qtbot.waitUntil(lambda: "click: open its first run" in said(window), timeout=5_000)
    assert "intervention layer 1 skipped, prompt 3" in said(window)
    runs = len(window.bench.runs.tree)
    qtbot.mouseClick(matrix, Left, pos=matrix.cell_centre(1, 2))
    qtbot.waitUntil(lambda: len(window.bench.runs.tree) == runs + 1, timeout=20_000)
    wait(qtbot, window, 4)
    info = window.bench.session.recording.info
    assert info.checkpoint == "bundled:looped"  # in use already: nothing is loaded
    assert (info.prompt, info.seed, info.start) == ("xy yz zx ? 1 : z x y", 1, "random")
    assert [(i.kind, i.recurrence, i.layer) for i in info.interventions] == [("skip", 2, 1)]
    assert window.bench.session.recording.n_recurrences == 4
    # Its numbers are those of the cell.
    from loopscope.core.measures.base import measure
    from loopscope.core.measures.registry import find

    step = measure(window.bench.session.recording, find("relative_step")).by_depth()[3]
    [row] = [
        row
        for row in read_rows(rows).to_pylist()
        if (row["measure"], row["R"], row["line"], row["seed"]) == ("relative_step", 4, 3, 1)
        and (row["intervention"], row["checkpoint"]) == ("layer 1 skipped", "bundled:looped")
    ]
    # Workers keep no patterns, so attention is summed in another order there.
    assert step.item() == pytest.approx(row["value"], rel=1e-5)


def test_a_point_of_a_curve_opens_another_checkpoint(window, qtbot, rows) -> None:
    opened(qtbot, window, rows)
    curves = window.studies.panel.curves
    picture = window.studies.seen.picture
    assert [c.name for c in picture.curves] == ["bundled:looped", "bundled:orbit"]
    c = picture.curves[1]
    at = curves.plot.pixel_of(float(c.x[1]), float(c.y[1])).toPoint()
    assert curves.plot.place_at(at.toPointF()) == (1, 1)
    qtbot.mouseClick(curves.plot.viewport(), Left, pos=at)

    def shown() -> bool:
        recording = window.bench.session.recording
        return recording is not None and recording.info.checkpoint == "bundled:orbit"

    qtbot.waitUntil(shown, timeout=60_000)
    wait(qtbot, window, 2)
    info = window.bench.session.recording.info
    assert (info.prompt, info.seed) == ("ab ba ? 1 : a b", 0)
    assert window.bench.session.recording.n_recurrences == 2
    assert window.studies.seen is not None  # the study stays


def test_it_follows_what_another_process_writes(window, qtbot, tmp_path) -> None:
    file, rows = made_study(tmp_path, most=2)
    opened(qtbot, window, rows)
    some = window.studies.seen.done
    assert "Open its TOML file" in window.studies.panel.words.text()
    run_tasks(open_study(str(file)), rows)
    qtbot.waitUntil(lambda: window.studies.seen.done == 144, timeout=20_000)
    assert 0 < some < 144
    assert window.studies.panel.progress.value() == 1000


LITTLE = """
checkpoints = ["bundled:looped"]
prompts = [{ path = "p.txt", first = 1 }]
R = [2]
measures = ["relative_step"]
"""


def test_from_a_file_to_rows(window, qtbot, tmp_path) -> None:
    pytest.importorskip("distributed")
    opened(qtbot, window, write_study(tmp_path, LITTLE))
    panel, studies = window.studies.panel, window.studies
    assert panel.curves.plot.empty_text == "There are no rows yet."
    qtbot.mouseClick(panel.button, Left)
    assert panel.button.text() == "Cancel"
    qtbot.waitUntil(lambda: studies.seen.done == 1, timeout=280_000)
    qtbot.waitUntil(lambda: not panel.button.isVisible(), timeout=280_000)
    assert panel.problem.text() == ""
    assert read_rows(tmp_path / "s-study").num_rows == 1
    assert studies.seen.provenance["loopscope"]


def test_cancel_ends_it_and_start_is_there_again(window, qtbot, tmp_path) -> None:
    pytest.importorskip("distributed")
    opened(qtbot, window, write_study(tmp_path))
    panel, studies = window.studies.panel, window.studies
    qtbot.mouseClick(panel.button, Left)
    qtbot.mouseClick(panel.button, Left)
    assert "ending" in panel.words.text()
    qtbot.waitUntil(lambda: not studies.process.running, timeout=280_000)
    assert panel.button.text() == "Start"
    assert panel.problem.text() == ""


def test_what_goes_wrong_stands_in_the_panel(window, qtbot, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: (str(tmp_path / "no.toml"), ""))
    window.docks.apply("Study")
    panel = window.studies.panel
    qtbot.waitUntil(lambda: panel.isVisible(), timeout=5_000)
    qtbot.mouseClick(panel.empty_actions.buttons["open_study"], Left)
    qtbot.waitUntil(lambda: "no.toml" in panel.problem.text(), timeout=20_000)
    assert panel.empty_actions.isVisible()
    file = write_study(tmp_path)
    opened(qtbot, window, file)
    assert panel.problem.text() == ""
    panel.address.setText("nonsense")
    qtbot.mouseClick(panel.button, Left)
    qtbot.waitUntil(lambda: not window.studies.process.running, timeout=120_000)
    assert "nonsense" in panel.problem.text()
    assert panel.button.text() == "Start"
    assert panel.button.isEnabled()


def test_figure_and_numbers_say_what_they_are_of(window, qtbot, rows, tmp_path) -> None:
    opened(qtbot, window, rows)
    qtbot.mouseClick(window.studies.title_bar.buttons["export"], Left)
    dialog = window.studies.dialog
    dialog.folder.setText(str(tmp_path / "out"))
    for name, box in dialog.boxes.items():
        box.setChecked(name in ("png", "csv", "txt"))
    qtbot.mouseClick(dialog.export_button, Left)
    qtbot.waitUntil(lambda: len(list((tmp_path / "out").glob("study-*"))) == 3, timeout=60_000)
    wait(qtbot, window)
    dialog.close()
    [file] = (tmp_path / "out").glob("*.csv")
    lines = file.read_text().splitlines()
    head = [line for line in lines if line.startswith("# ")]
    assert "# study: Two models and a cut" in head
    assert "# cells: 144 of 144" in head
    assert any(line.startswith("# weights of bundled:orbit: ") for line in head)
    numbers = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    picture = window.studies.seen.picture
    assert len(numbers) == 6
    assert float(numbers[5]["relative step [1]"]) == picture.curves[1].y[2]
    assert numbers[5]["checkpoint"] == "bundled:orbit"


def test_a_session_brings_it_back(window, qtbot, tmp_path) -> None:
    _, rows = made_study(tmp_path, most=4)
    opened(qtbot, window, rows)
    choose(qtbot, window, "along", "seed")
    choice = window.studies.seen.choice
    path = tmp_path / "one.loopscope.json"
    assert window.sessions.save_to(path)
    assert f'"path": "{rows.relative_to(tmp_path).as_posix()}"' in path.read_text()
    with desk(1366, 768) as other:
        other.sessions.open(path)
        qtbot.waitUntil(lambda: other.studies.seen is not None, timeout=60_000)
        wait(qtbot, other, 2)
        assert other.studies.seen.choice == choice
        assert other.studies.dock.isVisible()
        assert other.studies.found.folder == rows


def test_closing_ends_what_it_started_and_reads_off_the_screens_thread(
    window, qtbot, tmp_path, monkeypatch
) -> None:
    import threading

    from loopscope.core.sweeps import following

    threads: set[str] = set()
    read = following.read_part

    def noted(part: Path, columns: tuple[str, ...]) -> object:
        threads.add(threading.current_thread().name)
        return read(part, columns)

    monkeypatch.setattr(following, "read_part", noted)
    file, _ = made_study(tmp_path, most=2)
    opened(qtbot, window, file)
    assert all(name.startswith("loopscope-study") for name in threads)
    assert threads
    qtbot.mouseClick(window.studies.panel.button, Left)
    process = window.studies.process._process
    window.close()
    assert process.wait(120) is not None


def test_menu_drop_and_bundled(window, qtbot, tmp_path, monkeypatch) -> None:
    _, rows = made_study(tmp_path, most=2)
    toml = str(rows / "study.toml")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: (toml, ""))
    press(window, "open_study")
    qtbot.waitUntil(lambda: window.studies.seen is not None, timeout=20_000)
    assert window.studies.found.folder == rows  # the copy in a folder of rows stands for it
    press(window, "bundled_study")
    qtbot.waitUntil(lambda: window.studies.found.file == "bundled:hops", timeout=20_000)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *a: "")
    qtbot.waitUntil(lambda: window.studies.panel.button.isVisible(), timeout=20_000)
    qtbot.mouseClick(window.studies.panel.button, Left)  # no folder was chosen
    assert not window.studies.process.running
    window.files.open(str(rows))
    qtbot.waitUntil(lambda: window.studies.found.folder == rows, timeout=20_000)
    assert window.studies.dock.mapTo(window, QPoint(0, 0)).x() >= 0
