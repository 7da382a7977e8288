"""Prompt files in the window: opened, dropped, measured, opened to their prompts, remembered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkpoints import write_checkpoint
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from loopscope.app.bench.bench import Bench
from loopscope.app.window.opening import FirstRun
from loopscope.app.window.prompt_files import is_prompt_file
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window
from loopscope.core.measures.over_prompts import PROMPT_MEASURES
from loopscope.widgets.palette import LIGHT
from tests.window_desk import desk

pytestmark = pytest.mark.slow

TEXTS = ["ab ba ? 1 : a b", "ab bc ca ? 2 : a b c", "xy yz zx ? 1 : z"]
Left = Qt.MouseButton.LeftButton


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with desk(1200, 800, remember=True) as window:
        window.opening.open("bundled:looped", FirstRun(TEXTS[0], 4), device="cpu")
        wait(qtbot, window)
        yield window


def wait(qtbot: QtBot, window: Window, recurrences: int = 4) -> None:
    qtbot.waitUntil(
        lambda: (
            window.bench.session.recording is not None
            and window.bench.session.recording.n_recurrences >= recurrences
            and window.bench.settled_down
        ),
        timeout=60_000,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "some.txt"
    file.write_text("\n".join(TEXTS))
    return file


def drop(window: Window, path: Path) -> bool:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    none = Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(9, 9), Qt.DropAction.CopyAction, mime, Left, none)
    window.dragEnterEvent(enter)
    window.dropEvent(QDropEvent(QPointF(9, 9), Qt.DropAction.CopyAction, mime, Left, none))
    return enter.isAccepted()


def test_from_an_empty_view_to_a_prompt_of_the_set(window, qtbot, file, monkeypatch) -> None:
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *a: (str(file), ""))
    window.docks.maximise("prompts")
    wait(qtbot, window)
    view, frame = window.views.frames["prompts"].view, window.views.frames["prompts"]
    qtbot.mouseClick(view.empty_actions.buttons["open_prompts"], Left)
    qtbot.waitUntil(lambda: window.bench.session.prompt_set is not None, timeout=5000)
    assert "some.txt: 3 prompts" in window.statusBar().currentMessage()
    wait(qtbot, window)
    assert "has not been measured over some.txt (3 prompts)" in frame.title_bar.statement.whole()
    qtbot.mouseClick(frame.measuring.button, Left)
    qtbot.waitUntil(lambda: view.prompt_list.isVisible(), timeout=60_000)
    wait(qtbot, window)
    first, statement = window.bench.session.recording, frame.title_bar.statement.whole()
    assert "mean over 3 prompts of some.txt" in statement
    model = view.prompt_list.model_of_rows
    assert model.rows.current == 0
    spot = view.prompt_list.visualRect(model.index(2, 1)).center()
    qtbot.mouseClick(view.prompt_list.viewport(), Left, pos=spot)
    qtbot.waitUntil(lambda: window.bench.session.recording is not first, timeout=20_000)
    wait(qtbot, window)
    # The prompt is the run; what was found over all of them stays.
    assert window.bench.session.recording.info.prompt == TEXTS[2]
    assert window.bars.prompt.line.text() == TEXTS[2]
    assert frame.title_bar.statement.whole() == statement
    assert model.rows.current == 2
    window.bench.runs.undo()
    wait(qtbot, window)
    assert window.bench.session.recording is first
    assert frame.title_bar.statement.whole() == statement


def test_a_dropped_prompt_file_is_opened_and_a_dropped_folder_still_is_one(
    window, qtbot, tmp_path, file
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": TEXTS[1], "answer": "c a b"}))
    for path, n in ((file, 3), (rows, 1)):
        assert drop(window, path)
        qtbot.waitUntil(lambda p=path: window.settings.prompt_file == str(p), timeout=5000)
        assert len(window.bench.session.prompt_set) == n
    folder = write_checkpoint(tmp_path / "huginn", "huginn")
    (folder / "merges.txt").write_text("a b\n")
    assert not is_prompt_file(folder / "merges.txt")
    assert drop(window, folder / "merges.txt")
    qtbot.waitUntil(
        lambda: (
            window.bench.session.recording is not None
            and window.bench.session.recording.info.checkpoint == "huginn"
        ),
        timeout=60_000,
    )
    # The prompt set is the bench's: another model gets it too, without what was found of the old.
    assert len(window.bench.session.recording.shared.prompts) == 1
    assert len(window.bench.session.recording.shared.results) == 0
    wait(qtbot, window, 0)


def test_a_file_that_cannot_be_read_is_told_and_the_old_set_stays(
    window, qtbot, tmp_path, file
) -> None:
    window.prompt_files.open(str(file))
    qtbot.waitUntil(lambda: window.bench.session.prompt_set is not None, timeout=5000)
    kept = window.bench.session.prompt_set
    (tmp_path / "bad.jsonl").write_text("{")
    window.prompt_files.open(str(tmp_path / "bad.jsonl"))
    qtbot.waitUntil(
        lambda: "bad.jsonl, line 1: cannot be read" in window.statusBar().currentMessage(),
        timeout=5000,
    )
    assert window.bench.session.prompt_set is kept
    assert window.settings.prompt_file == str(file)


def test_a_prompt_the_model_cannot_take_is_told_with_its_line(window, qtbot, tmp_path) -> None:
    (tmp_path / "p.txt").write_text("ab ba ? 1 : a\nÜ\n")
    window.prompt_files.open(str(tmp_path / "p.txt"))
    qtbot.waitUntil(lambda: window.bench.session.prompt_set is not None, timeout=5000)
    window.docks.maximise("prompts")
    wait(qtbot, window)
    said = []
    window.bench.session.message.connect(said.append)
    window.bench.measuring.measure("prompts")
    qtbot.waitUntil(lambda: any("p.txt, line 2: the tokenizer" in s for s in said), timeout=20_000)
    assert window.bench.session.recording.result(PROMPT_MEASURES) is None


def test_cancel_keeps_what_was_found_before(window, qtbot) -> None:
    window.commands["bundled_prompts"].trigger()
    qtbot.waitUntil(lambda: window.bench.session.prompt_set is not None, timeout=5000)
    window.docks.maximise("prompts")
    wait(qtbot, window)
    said = []
    window.bench.session.message.connect(said.append)
    window.bench.measuring.measure("prompts")
    window.views.frames["prompts"].measure_cancelled.emit()
    qtbot.waitUntil(lambda: any("cancelled" in s for s in said), timeout=20_000)
    wait(qtbot, window)
    assert window.bench.displays["prompts"].data.lacks.kind == "measurement"


def test_the_last_prompt_file_is_remembered(window, qtbot, file) -> None:
    window.prompt_files.open(str(file))
    qtbot.waitUntil(lambda: window.bench.session.prompt_set is not None, timeout=5000)
    window.close()
    again = Window(Bench(), Settings.load(), LIGHT, remember=False)
    again.prompt_files.restore()
    qtbot.waitUntil(lambda: again.bench.session.prompt_set is not None, timeout=5000)
    assert [item.text for item in again.bench.session.prompt_set.items] == TEXTS
    again.close()


def test_exits_are_live_and_over_the_set_on_request(window, qtbot) -> None:
    window.docks.maximise("exits")
    wait(qtbot, window)
    frame, display = window.views.frames["exits"], window.bench.displays["exits"]
    assert display.data.over == "run"
    assert display.data.n_recurrences == 4
    window.bench.transport.step_recurrence()
    qtbot.waitUntil(lambda: display.data.n_recurrences == 5, timeout=20_000)
    window.commands["bundled_prompts"].trigger()
    qtbot.waitUntil(lambda: window.bench.session.prompt_set is not None, timeout=5000)
    qtbot.mouseClick(frame.measuring.button, Left)
    qtbot.waitUntil(lambda: display.data.over == "prompts", timeout=60_000)
    assert "512 answer tokens of bundled:hops" in frame.title_bar.statement.whole()
    # The tab goes back to this run, the settings with it.
    view = frame.view
    qtbot.mouseClick(view.tabs, Left, pos=view.tabs.tabRect(0).center())
    qtbot.waitUntil(lambda: display.data.over == "run", timeout=20_000)
    assert display.options.over == "run"
    wait(qtbot, window)


def test_a_click_in_the_quality_view_runs_what_was_scored(window, qtbot, tmp_path) -> None:
    rows = [{"prompt": TEXTS[1], "answer": "c a b"}, {"prompt": TEXTS[0], "answer": "b a"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    window.prompt_files.open(str(tmp_path / "rows.jsonl"))
    qtbot.waitUntil(lambda: window.bench.session.prompt_set is not None, timeout=5000)
    window.docks.maximise("quality")
    wait(qtbot, window)
    window.bench.measuring.measure("quality")
    view = window.views.frames["quality"].view
    qtbot.waitUntil(lambda: view.prompt_list.isVisible(), timeout=60_000)
    statement = window.views.frames["quality"].title_bar.statement
    qtbot.waitUntil(lambda: "Accuracy over 2 prompts of rows.jsonl" in statement.whole())
    spot = view.prompt_list.visualRect(view.prompt_list.model_of_rows.index(0, 1)).center()
    qtbot.mouseClick(view.prompt_list.viewport(), Left, pos=spot)
    qtbot.waitUntil(lambda: window.bench.session.recording.info.prompt == TEXTS[1], timeout=20_000)
    wait(qtbot, window)
    assert "Accuracy over 2 prompts" in statement.whole()


def test_the_preset_shows_the_views_over_a_prompt_set(window, qtbot) -> None:
    action = next(a for a in window.popups.palette.all_actions if a.text() == "Preset: Prompt set")
    action.trigger()
    wait(qtbot, window)
    shown = {key for key, dock in window.docks.by_key.items() if dock.isVisible()}
    assert shown == {"quality", "prompts", "exits", "readout"}
    for key in ("quality", "prompts", "exits"):
        # The curves keep their share of a narrow view.
        view = window.views.frames[key].view
        assert view.plot.width() > 0.4 * view.width()


def test_a_folder_that_is_dropped_is_opened_as_a_checkpoint(window, tmp_path, monkeypatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(window.opening, "open", opened.append)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert drop(window, folder)
    assert drop(window, folder / "config.json")  # a file of it stands for its folder
    assert opened == [str(folder), str(folder)]
