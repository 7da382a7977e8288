"""The table of settling classes driven by the mouse."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording

from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.states import LayerState
from loopscope.core.selection import Selection
from loopscope.core.views.settling import Options, compute
from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.plots.painted_grid import NOWHERE
from loopscope.widgets.views.settling import LEAST_HEIGHT, SettlingView


def run(n_block: int = 2, n: int = 30) -> Recording:
    """Token 0 settles everywhere; token 1 goes round after the last layer, with period 5."""
    like = synthetic_recording(recurrences=0, n_block=n_block, tokens=2, d=2, heads=1)
    i = np.arange(n + 1)[:, None]
    calm = 3 + 0.5**i * np.array([1.0, 2.0])
    angle = 2 * np.pi * i / 5
    round_ = 2 + np.concatenate([np.cos(angle), np.sin(angle)], 1)
    ends = np.stack([calm, round_], 1).astype(np.float32)
    recording = Recording(like.info, ends[0], Capture(False, False, False))
    for r in range(1, n + 1):
        for layer in range(n_block):
            last = layer == n_block - 1
            state = ends[r] if last else np.stack([calm[r], calm[r]]).astype(np.float32)
            recording.append_layer(LayerState(r, layer, state))
        recording.append_end(ends[r], None, None)
    return recording


class Desk:
    def __init__(self, qtbot: QtBot, recording: Recording, options: Options | None = None) -> None:
        self.qtbot, self.view = qtbot, SettlingView(options)
        self.picked: list[dict[str, int]] = []
        self.said: list[str] = []
        self.view.select_requested.connect(self.picked.append)
        self.view.message.connect(self.said.append)
        qtbot.addWidget(self.view)
        self.view.resize(700, LEAST_HEIGHT + 60)
        self.view.show()
        self.data = compute(recording, Selection(), options or Options())
        self.view.show_data(self.data)
        QApplication.processEvents()

    @property
    def table(self):
        return self.view.table

    def at(self, place: int, word: str) -> QPoint:
        return self.table.where.cell(place, self.table.words.index(word)).center().toPoint()


@pytest.fixture
def desk(qtbot: QtBot) -> Desk:
    return Desk(qtbot, run())


def test_clicking_a_count_goes_to_its_first_token_and_layer(desk: Desk) -> None:
    left = Qt.MouseButton.LeftButton
    desk.qtbot.mouseClick(desk.table, left, pos=desk.at(0, "orbit"))
    desk.qtbot.mouseClick(desk.table, left, pos=desk.at(2, "orbit"))
    desk.qtbot.mouseClick(desk.table, left, pos=desk.at(1, "orbit"))  # none there
    desk.qtbot.mouseClick(desk.table, left, pos=QPoint(2, 2))
    assert desk.picked == [{"token": 1}, {"layer": 1, "token": 1}, {"layer": 0}]


def test_pointing_names_the_tokens_and_the_rules(desk: Desk) -> None:
    desk.qtbot.mouseMove(desk.table, desk.at(2, "orbit"))
    assert desk.said[-1].startswith("orbit, layer 1: 1 'b' · tolerance 1e-2 (relative step, 3 ")
    assert desk.data.class_formula.formula in desk.said[-1]
    desk.qtbot.mouseMove(desk.table, desk.at(1, "orbit"))
    assert desk.said[-1].startswith("orbit, layer 0: no token")
    desk.qtbot.mouseMove(desk.table, QPoint(1, 1))
    assert desk.said[-1] == ""


def test_the_numbers_drawn_are_the_counts(desk: Desk) -> None:
    # Two cells of one share are painted alike, an empty one is not.
    picture = desk.table.grab().toImage()
    ratio = picture.width() / desk.table.width()

    def cell(place: int, word: str):
        r = desk.table.where.cell(place, desk.table.words.index(word))
        return picture.copy(*(round(v * ratio) for v in (r.x(), r.y(), r.width(), r.height())))

    assert cell(0, "settled") == cell(2, "settled")
    assert cell(0, "settled") != cell(1, "settled")
    assert cell(1, "orbit") != cell(0, "orbit")


def test_it_hides_where_there_is_no_room_and_when_switched_off(desk: Desk, qtbot: QtBot) -> None:
    assert desk.table.isVisible()
    desk.view.resize(700, LEAST_HEIGHT - 1)
    assert not desk.table.isVisible()
    desk.view.resize(700, LEAST_HEIGHT)
    assert desk.table.isVisible()
    desk.view.clear()
    assert not desk.table.isVisible()
    off = Desk(qtbot, run(), Options(counts=False))
    assert not off.table.isVisible()


def test_many_layers_scroll(qtbot: QtBot) -> None:
    desk = Desk(qtbot, run(n_block=7))
    assert desk.table.place_at(QPointF(desk.at(5, "settled"))) == NOWHERE
    for _ in range(9):
        event = QWheelEvent(
            QPointF(30, 30), QPointF(30, 30), QPoint(), QPoint(0, -120), Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        QApplication.sendEvent(desk.table, event)
    assert desk.table.first == 3
    assert desk.table.place_at(QPointF(desk.at(7, "orbit")))[1] == 7
    desk.view.show_data(compute(run(), Selection(), Options()))
    assert desk.table.first == 0


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_themes_and_narrow_panels(desk: Desk, theme) -> None:
    desk.view.set_theme(theme)
    for width in (160, 240, 900):
        desk.view.resize(width, 500)
        desk.view.grab()
        right = desk.table.where.cell(0, len(desk.table.words) - 1).right()
        assert right <= max(width, 160)
