"""What header, status line and empty views say is whole, true and out of the way of the rest."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QDialog
from pytestqt.qtbot import QtBot
from text_boxes import overlaps, texts_of
from window_desk import desk, press, said, wait

from loopscope.app.window.opening import FirstRun
from loopscope.app.window.settings import Settings
from loopscope.app.window.window import Window

pytestmark = pytest.mark.slow
LONG = (
    "relative step of layer 0, recurrence 3, token 26 'h' = 0.0123  ·  ‖s_r − s_(r−1)‖ / ‖s_r‖  ·  "
    "Geiping et al. 2025, arXiv 2502.05171, and as the measure is written in the documentation"
)


def place(part, window: Window) -> QRect:
    return QRect(part.mapTo(window, QPoint(0, 0)), part.size())


def test_the_header_shows_whole_parts_of_the_model_beside_a_job(qtbot: QtBot) -> None:
    with desk(1000, 700) as window:
        window.opening.open("bundled:looped", FirstRun("ab bc ca ? 2 : a b c", 2), device="cpu")
        wait(qtbot, window, 2)
        header = window.bars.header
        whole = header.model.whole()
        assert header.model.text() == whole
        high = header.height()
        header.show_progress(0.3, "Fixed points and stability: search and measure stability")
        QApplication.processEvents()
        assert header.height() == high  # nothing below moves
        assert header.model.text().endswith(" …")
        assert whole.startswith(header.model.text().removesuffix(" …"))
        assert header.doing.text() == "Fixed points and stability …"
        parts = (header.model, header.doing, header.progress, header.cancel, header.device)
        rects = [place(part, window) for part in parts]
        assert all(a.right() < b.left() for a, b in pairwise(rects))
        header.show_progress(None)
        QApplication.processEvents()
        assert header.model.text() == whole


def test_the_status_line_gives_up_clauses_and_never_runs_under_the_cursors_place(
    qtbot: QtBot,
) -> None:
    with desk(1000, 700) as window:
        window.opening.open("bundled:looped", FirstRun("ab bc ca ? 2 : a b c", 2), device="cpu")
        wait(qtbot, window, 2)
        line = window.statusBar()
        window.say(LONG)
        assert said(window) == LONG
        boxes = texts_of(line)
        (sentence,) = [box for box in boxes if box.text.startswith("relative step")]
        assert sentence.text == line.shown()
        assert sentence.text.endswith("'h' = 0.0123 …")
        assert overlaps(boxes) == []
        assert place(window.bars.place, window).left() > sentence.rect.right()
        assert "arXiv 2502.05171" in line.toolTip()
        window.say("Undone: seed")
        assert line.shown() == "Undone: seed"


def test_before_there_is_a_run_views_say_what_they_wait_for(qtbot: QtBot, tmp_path: Path) -> None:
    with desk(1280, 800) as window:
        frame, graph = window.views.frames["settling"], window.views.frames["graph"]
        window.opening.open(str(tmp_path), device="cpu")
        qtbot.waitUntil(lambda: "No checkpoint is open" in frame.under_way.text(), timeout=30_000)
        assert frame.under_way.isVisible()
        assert not graph.under_way.isVisible()  # it is drawn before anything has run
        seen = set()
        window.bench.session.status_changed.connect(lambda _: seen.add(frame.under_way.text()))
        window.opening.open("bundled:looped", FirstRun("ab bc ca ? 2 : a b c", 0), device="cpu")
        qtbot.waitUntil(lambda: window.bench.session.recording is not None, timeout=30_000)
        wait(qtbot, window)
        assert "The checkpoint is being loaded." in seen
        assert not frame.under_way.isVisible()
        QTest.mouseClick(frame.step_button, Qt.MouseButton.LeftButton)
        wait(qtbot, window, 1)
        assert not frame.step_button.isVisible()


def test_about_is_a_window_that_escape_closes(qtbot: QtBot) -> None:
    with desk(900, 700) as window:
        press(window, "about")
        (dialog,) = [d for d in window.findChildren(QDialog) if d.isVisible()]
        assert "Apache-2.0" in dialog.text.text()
        assert "torch 2" in dialog.text.text()
        QTest.mouseClick(dialog.copy_button, Qt.MouseButton.LeftButton)
        assert QApplication.clipboard().text() == dialog.text.text()
        QTest.keyClick(dialog, Qt.Key.Key_Escape)
        assert not dialog.isVisible()


def test_the_first_preset_brings_the_sizes_of_the_start(qtbot: QtBot) -> None:
    settings = Settings()
    settings.size = [1280, 800]
    with desk(1280, 800, settings=settings) as window:

        def sizes() -> dict[str, tuple[int, int]]:
            QApplication.processEvents()
            docks = window.docks.by_key.items()
            shown = {k: d for k, d in docks if not d.visibleRegion().isEmpty()}
            return {k: d.size().toTuple() for k, d in shown.items()}

        first = sizes()
        for key in (Qt.Key.Key_3, Qt.Key.Key_6, Qt.Key.Key_1):
            QTest.keyClick(window, key, Qt.KeyboardModifier.ControlModifier)
        assert sizes() == first
        assert len(first) > 6
