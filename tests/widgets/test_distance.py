"""The distance map driven by the mouse."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording
from work import calls

from loopscope.core.measures.base import NO_RUN
from loopscope.core.run.recording import Recording
from loopscope.core.selection import Selection
from loopscope.core.views.distance import Options, compute
from loopscope.widgets.kit.theme import sample_map
from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.views.distance import DistanceView, log_bar

LEFT = Qt.MouseButton.LeftButton


class Desk:
    """A shown view, and what it said."""

    def __init__(
        self,
        qtbot: QtBot,
        recording: Recording,
        options: Options | None = None,
        selection: Selection | None = None,
        size: tuple[int, int] = (520, 330),
    ) -> None:
        self.qtbot, self.view = qtbot, DistanceView(options)
        self.picked: list[dict[str, int]] = []
        self.hovered: list[dict[str, int]] = []
        self.said: list[str] = []
        self.view.select_requested.connect(self.picked.append)
        self.view.hover_changed.connect(self.hovered.append)
        self.view.message.connect(self.said.append)
        qtbot.addWidget(self.view)
        self.view.set_theme(LIGHT)
        self.view.resize(*size)
        self.view.show()
        selection = selection or Selection()
        self.data = compute(recording, selection, options or Options())
        self.view.show_data(self.data)
        self.view.show_selection(selection, {})

    @property
    def matrix(self):
        return self.view.matrix

    def colour(self, row: int, column: int) -> QColor:
        at = self.matrix.cell_centre(row, column)
        return self.view.grab().toImage().pixelColor(at)


@pytest.fixture
def desk(qtbot: QtBot) -> Desk:
    return Desk(qtbot, synthetic_recording(recurrences=12, tokens=5))


def test_cells_are_magma_on_a_log_scale(desk: Desk) -> None:
    levels = np.log(desk.data.distances / desk.data.low) / np.log(desk.data.high / desk.data.low)
    for row, column in ((1, 0), (2, 5), (4, 11)):
        expected = sample_map("magma", np.array(levels[row, column]))
        got = desk.colour(row, column).getRgb()[:3]
        assert got == pytest.approx(tuple(int(c) for c in expected[:3]), abs=2)


def test_labels(qtbot: QtBot) -> None:
    recording = synthetic_recording(recurrences=3, tokens=3, labels=["a", " ", "Ġinter"])
    content = Desk(qtbot, recording, selection=Selection(tokens=(1, 2))).matrix.content
    assert content.row_labels == ("1 ␣", "2 Ġinter")
    assert content.column_labels == ("0", "1", "2")
    assert content.bar.label == "‖sᵣ − s₃‖ (state units)"


def test_bar_ticks_lie_where_their_values_do(desk: Desk) -> None:
    data = desk.data
    ticks = log_bar(data).ticks
    assert len(ticks) >= 2
    for level, text in ticks:
        assert 0 <= level <= 1
        value = data.low * (data.high / data.low) ** level
        shown = float(text) if "10" not in text else 10.0 ** -"⁰¹²³⁴⁵⁶⁷⁸⁹".index(text[-1])
        assert value == pytest.approx(shown, rel=1e-6)


def test_click_selects_recurrence_and_token(qtbot: QtBot) -> None:
    desk = Desk(qtbot, synthetic_recording(), selection=Selection(tokens=(1, 4)))
    qtbot.mouseClick(desk.matrix, LEFT, pos=desk.matrix.cell_centre(1, 7))
    assert desk.picked == [{"recurrence": 7, "token": 4}]
    qtbot.mouseClick(desk.matrix, LEFT, pos=desk.matrix.row_label_centre(0))
    assert desk.picked[-1] == {"token": 1}


def test_columns_of_a_layer_count_from_1(qtbot: QtBot) -> None:
    desk = Desk(qtbot, synthetic_recording(recurrences=6), Options(layer=1), Selection(2, token=3))
    assert desk.matrix.content.column_labels == ("1", "2", "3", "4", "5")
    assert (desk.matrix.cursor_row, desk.matrix.marks.cursor_column) == (3, 1)
    qtbot.mouseClick(desk.matrix, LEFT, pos=desk.matrix.cell_centre(0, 4))
    assert desk.picked == [{"recurrence": 5, "token": 0}]


def test_hover_says_value_unit_and_formula(desk: Desk) -> None:
    desk.qtbot.mouseMove(desk.matrix, desk.matrix.cell_centre(3, 7))
    assert desk.hovered[-1] == {"recurrence": 7, "token": 3}
    value = f"{desk.data.distances[3, 7]:.3g}"
    for part in (value, "state units", "recurrence 7", "token 3 'd'", "‖s_r − s_R‖", "R = 12"):
        assert part in desk.said[-1]
    desk.qtbot.mouseMove(desk.matrix, QPoint(1, 1))
    assert desk.hovered[-1] == {}


def test_cursor_and_hover_cells_are_outlined(desk: Desk) -> None:
    desk.view.show_selection(Selection(5, token=2), {"recurrence": 8, "token": 1})
    image = desk.view.grab().toImage()
    for (row, column), colour in (((2, 5), LIGHT.accent), ((1, 8), LIGHT.hover)):
        rect = desk.matrix.layout_.cell(row, column)
        edge = image.pixelColor(round(rect.left()), round(rect.center().y()))
        assert edge == QColor(colour)


def test_end_has_no_cell_and_outlines_only_the_row(desk: Desk) -> None:
    desk.view.show_selection(Selection(12, token=2), {})
    assert (desk.matrix.cursor_row, desk.matrix.marks.cursor_column) == (2, None)


def test_tokens_not_shown_are_not_marked(qtbot: QtBot) -> None:
    desk = Desk(qtbot, synthetic_recording(), selection=Selection(3, token=2, tokens=(0, 1)))
    assert desk.matrix.cursor_row is None


def test_empty(qtbot: QtBot) -> None:
    desk = Desk(qtbot, synthetic_recording(recurrences=0))
    assert desk.matrix.empty_text == f"{NO_RUN} Press Space to run one."
    qtbot.mouseClick(desk.matrix, LEFT, pos=desk.matrix.rect().center())
    assert desk.picked == []
    desk.view.show_selection(Selection(1), {"recurrence": 2})
    desk.view.show_data(compute(synthetic_recording(), Selection(), Options()))
    assert desk.matrix.content is not None
    desk.view.clear()
    assert desk.matrix.content is None
    desk.view.show_selection(Selection(1), {"recurrence": 2})


def test_dark(desk: Desk) -> None:
    desk.view.set_theme(DARK)
    assert desk.view.grab().toImage().pixelColor(1, 1) == QColor(DARK.panel)


@pytest.mark.parametrize("size", [(300, 200), (520, 330), (1600, 1000)])
@pytest.mark.parametrize(("n", "tokens"), [(1, 1), (12, 30), (200, 64)])
def test_draws_any_run_inside_its_panel(
    qtbot: QtBot, size: tuple[int, int], n: int, tokens: int
) -> None:
    labels = ["Ġinternationalisation"] * tokens
    recording = synthetic_recording(recurrences=n, tokens=tokens, d=4, labels=labels)
    desk = Desk(qtbot, recording, size=size)
    desk.view.grab()
    where = desk.matrix.layout_
    assert desk.matrix.rect().toRectF().contains(where.cells)
    assert where.bar.right() < size[0]


def test_moving_a_mark_takes_no_more_work_in_a_large_matrix(qtbot: QtBot) -> None:
    def work(recurrences: int, tokens: int) -> int:
        desk = Desk(qtbot, synthetic_recording(recurrences=recurrences, tokens=tokens, d=4))
        desk.view.grab()

        def move() -> None:
            desk.view.show_selection(Selection(2, token=2), {"recurrence": 3, "token": 1})
            desk.matrix.grab()

        return calls(move)

    # 80 times the cells, and a few more labels.
    assert work(200, 64) < 2 * work(20, 8)
