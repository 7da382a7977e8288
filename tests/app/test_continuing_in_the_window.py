"""Run > Continue the text: by the dialog, as a run of its own, stopped, undone, refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints import write_checkpoint
from models import tiny_architecture, tiny_checkpoint
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from loopscope.app.window.opening import FirstRun
from loopscope.app.window.window import Window
from loopscope.core.checkpoint.loading import load_model
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.generation.continuing import Plan, continue_text
from loopscope.core.labels import visible
from tests.window_desk import desk

pytestmark = pytest.mark.slow
PROMPT = "ab bc ca ? 2 : a b c"


@pytest.fixture
def window(qtbot, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with desk() as window:
        yield window


def wait(qtbot, window: Window, tokens: int, recurrences: int) -> None:
    def done() -> bool:
        recording = window.bench.session.recording
        return (
            recording is not None
            and recording.n_tokens == tokens
            and recording.n_recurrences >= recurrences
            and window.bench.settled_down
        )

    qtbot.waitUntil(done, timeout=60_000)


def opened(qtbot, window: Window, folder: Path, prompt: str = PROMPT, tokens: int = 12) -> None:
    window.opening.open(str(folder), FirstRun(prompt, 4), device="cpu")
    wait(qtbot, window, tokens, 4)


def test_the_new_tokens_are_a_run_that_undo_takes_back(
    qtbot, window: Window, tmp_path: Path
) -> None:
    folder = tiny_checkpoint(tmp_path / "m", tiny_architecture(task=""))
    opened(qtbot, window, folder)
    before = window.bench.session.recording
    window.commands["continue_text"].trigger()
    dialog = window.running.continue_dialog
    assert dialog.isVisible()
    assert dialog.recurrences.value() == 4
    dialog.tokens.setValue(5)
    QTest.mouseClick(dialog.start, Qt.MouseButton.LeftButton)
    wait(qtbot, window, 17, 4)
    recording = window.bench.session.recording
    assert recording is not before
    loaded = load_model(LoadRequest(str(folder), "cpu"))
    expected = list(continue_text(loaded, loaded.tokenizer.encode(PROMPT), Plan(5, 4)))
    assert recording.info.token_ids[12:] == tuple(t.token_id for t in expected)
    assert recording.info.token_ids[:12] == before.info.token_ids
    # What the run reads out at each new position is what was taken.
    answers = recording.answers("coda")
    assert answers is not None
    assert tuple(answers.ids[3, 11:16, 0]) == recording.info.token_ids[12:]
    rows = [[dialog.table.item(i, j).text() for j in range(3)] for i in range(5)]
    assert rows == [
        [visible(loaded.tokenizer.label(t.token_id)), "4", f"{t.probability:.3f}"] for t in expected
    ]
    assert "5 tokens added" in dialog.outcome.text()
    window.commands["undo"].trigger()
    qtbot.waitUntil(lambda: window.bench.session.recording is before, timeout=20_000)


def test_stopped_keeps_what_was_made(qtbot, window: Window, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "m", "llama")
    opened(qtbot, window, folder, "#3,17,5", 3)
    window.commands["continue_text"].trigger()
    dialog = window.running.continue_dialog
    dialog.tokens.setValue(50)
    dialog.recurrences.setValue(1000)
    QTest.mouseClick(dialog.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(
        lambda: (job := window.bench.jobs.current) is not None and job.progress > 0, timeout=60_000
    )
    window.bench.jobs.cancel_all()
    qtbot.waitUntil(lambda: "stopped there" in dialog.outcome.text(), timeout=60_000)
    n = dialog.table.rowCount()
    assert 1 <= n < 50
    wait(qtbot, window, 3 + n, 1)


def test_a_rule_and_its_threshold(qtbot, window: Window, tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "m", tiny_architecture(task=""))
    opened(qtbot, window, folder)
    window.commands["continue_text"].trigger()
    dialog = window.running.continue_dialog
    assert not dialog.threshold.isEnabled()
    assert not dialog.rule.model().item(3).isEnabled()  # no gate here
    dialog.rule.setCurrentIndex(1)
    assert dialog.threshold.text() == "0.01"
    dialog.threshold.setText("soon")
    assert not dialog.start.isEnabled()
    assert "above 0" in dialog.words.text()
    dialog.threshold.setText("0.2")
    dialog.recurrences.setValue(30)
    dialog.tokens.setValue(4)
    QTest.mouseClick(dialog.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.table.rowCount() == 4, timeout=60_000)
    taken = [int(dialog.table.item(i, 1).text()) for i in range(4)]
    assert all(1 <= r < 30 for r in taken)
    wait(qtbot, window, 16, max(taken))


def test_what_cannot_is_refused_with_the_reason(qtbot, window: Window, tmp_path: Path) -> None:
    window.commands["continue_text"].trigger()
    dialog = window.running.continue_dialog
    assert "no run" in dialog.words.text()
    assert not dialog.start.isEnabled()
    opened(qtbot, window, tiny_checkpoint(tmp_path / "m"))  # of the task hops
    window.commands["continue_text"].trigger()
    assert "where they are asked" in dialog.words.text()
    assert not dialog.start.isEnabled()


def test_a_message_becomes_the_prompt_that_was_shown(qtbot, window: Window, tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "m")
    template = "{% for m in messages %}{{ m.content }} {% endfor %}? 1 : a b"
    (folder / "chat_template.jinja").write_text(template)
    opened(qtbot, window, folder)
    window.commands["chat"].trigger()
    dialog = window.chat.dialog
    QTest.keyClicks(dialog.user, "ab ba")
    assert not dialog.use.isEnabled()  # not before it was shown
    qtbot.waitUntil(lambda: dialog.preview.toPlainText() == "ab ba ? 1 : a b", timeout=60_000)
    qtbot.waitUntil(dialog.use.isEnabled, timeout=20_000)
    QTest.mouseClick(dialog.use, Qt.MouseButton.LeftButton)
    loaded = load_model(LoadRequest(str(folder), "cpu"))
    ids = loaded.tokenizer.encode_rendered("ab ba ? 1 : a b").token_ids
    wait(qtbot, window, len(ids), 4)
    assert window.bench.session.recording.info.token_ids == ids


def test_without_a_template_the_dialog_says_so(qtbot, window: Window, tmp_path: Path) -> None:
    opened(qtbot, window, tiny_checkpoint(tmp_path / "m"))
    window.commands["chat"].trigger()
    dialog = window.chat.dialog
    qtbot.waitUntil(lambda: "no chat template" in dialog.words.text(), timeout=60_000)
    assert not dialog.use.isEnabled()
