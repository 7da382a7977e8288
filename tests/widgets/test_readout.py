"""The readout driven by mouse and keys."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QFontMetricsF
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording

from loopscope.core.measures.base import NO_RUN
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.states import LayerState, TopAnswers
from loopscope.core.selection import Selection
from loopscope.core.views.readout import Data, Options, compute
from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.views.answers.readout import ReadoutView
from loopscope.widgets.views.answers.readout_painting import dark_text

LEFT = Qt.MouseButton.LeftButton
WORDS = ("a", "Ġinternationalisation", "c", " ", "Ġof", "f", "g", "h", "i", "j")


def recorded(r: int, t: int, labels: list[str] | None = None, p: float | None = None) -> Recording:
    """Answers that change every third recurrence up to the middle; probabilities rise."""
    like = synthetic_recording(recurrences=0, tokens=t, labels=labels)
    capture = Capture(patterns=False, writes=False)
    recording = Recording(like.info, like.states[0], capture, label=lambda i: WORDS[i % 10])
    for i in range(1, r + 1):
        for layer in range(2):
            recording.append_layer(LayerState(i, layer, like.states[0]))
        ids = (np.arange(t)[:, None] + min(i, r // 2) // 3 + np.arange(5)) % 10
        top = i / (r + 1) if p is None else p
        rest = (1 - top) * np.array([0.5, 0.25, 0.125, 0.0625])
        q = np.tile([top, *rest], (t, 1)).astype(np.float32)
        answers = TopAnswers(ids.astype(np.int64), q)
        recording.append_end(like.states[0], answers, answers)
    return recording


class Desk:
    def __init__(
        self,
        qtbot: QtBot,
        recording: Recording,
        size: tuple[int, int] = (520, 330),
        options: Options | None = None,
        selection: Selection | None = None,
    ) -> None:
        self.qtbot, self.view = qtbot, ReadoutView(options)
        self.picked: list[dict[str, int]] = []
        self.hovered: list[dict[str, int]] = []
        self.said: list[str] = []
        self.view.select_requested.connect(self.picked.append)
        self.view.hover_changed.connect(self.hovered.append)
        self.view.message.connect(self.said.append)
        qtbot.addWidget(self.view)
        self.view.resize(*size)
        self.view.show()
        selection = selection or Selection(1)
        self.data: Data = compute(recording, selection, self.view.options)
        self.view.show_data(self.data)
        self.view.show_selection(selection, {})
        QApplication.processEvents()

    @property
    def canvas(self):  # type: ignore[no-untyped-def]
        return self.view.canvas

    def click(self, at: QPoint) -> None:
        self.qtbot.mouseClick(self.canvas, LEFT, pos=at)

    def point(self, at: QPoint) -> None:
        self.qtbot.mouseMove(self.canvas, at)

    def colour(self, at: QPoint) -> QColor:
        return self.canvas.grab().toImage().pixelColor(at)


def test_clicking_a_cell_selects_recurrence_and_token(qtbot: QtBot) -> None:
    desk = Desk(qtbot, recorded(12, 5))
    desk.click(desk.canvas.cell_centre(3, 7))
    assert desk.picked == [{"recurrence": 7, "token": 3}]


def test_rows_are_the_chosen_tokens(qtbot: QtBot) -> None:
    desk = Desk(qtbot, recorded(12, 9), selection=Selection(1, tokens=(2, 6)))
    desk.click(desk.canvas.cell_centre(1, 2))
    assert desk.picked == [{"recurrence": 2, "token": 6}]


def test_labels_select_a_token_or_a_recurrence(qtbot: QtBot) -> None:
    desk = Desk(qtbot, recorded(12, 5))
    where = desk.canvas.layout_
    row = QPoint(int(where.row_labels.center().x()), desk.canvas.cell_centre(2, 1).y())
    desk.click(row)
    column = QPoint(desk.canvas.cell_centre(0, 9).x(), int(where.column_labels.center().y()))
    desk.click(column)
    assert desk.picked == [{"token": 2}, {"recurrence": 9}]


def test_pointing_says_five_answers_with_three_digits_and_the_formula(qtbot: QtBot) -> None:
    desk = Desk(qtbot, recorded(12, 5))
    desk.point(desk.canvas.cell_centre(1, 3))
    assert desk.hovered[-1] == {"recurrence": 3, "token": 1}
    text = desk.said[-1]
    assert text.startswith("Recurrence 3, token 1 'b': c 0.231, ␣ 0.385, Ġof 0.192, f 0.0962")
    assert "g 0.0481" in text
    assert "flip: Ġinternationalisation before" in text
    assert "softmax(head(coda(s_r)))" in text
    assert "arXiv 2502.05171" in text
    desk.point(desk.canvas.rect().bottomRight() - QPoint(1, 1))
    assert desk.hovered[-1] == {}


def test_pointing_at_a_token_says_since_when_it_is_unchanged(qtbot: QtBot) -> None:
    desk = Desk(qtbot, recorded(12, 5))
    where = desk.canvas.layout_
    desk.point(QPoint(int(where.row_labels.center().x()), desk.canvas.cell_centre(2, 1).y()))
    assert "answer Ġof unchanged since recurrence 6" in desk.said[-1]
    assert desk.hovered[-1] == {"token": 2}


def test_the_cursor_is_outlined_in_the_accent_and_nothing_else_is(qtbot: QtBot) -> None:
    desk = Desk(qtbot, recorded(12, 5), selection=Selection(4, 0, 0, 2))
    for theme in (LIGHT, DARK):
        desk.view.set_theme(theme)
        where = desk.canvas.layout_
        cell = where.cell(2, 3)
        corner = QPoint(round(cell.left()), round(cell.center().y()))
        accent = QColor(theme.accent)
        near = [desk.colour(corner + QPoint(d, 0)) for d in (-1, 0, 1)]
        assert accent in near
        other = where.cell(1, 6)
        around = [
            desk.colour(QPoint(round(other.left()) + d, round(other.center().y())))
            for d in (-1, 0, 1)
        ]
        assert accent not in around


def test_shade_is_cividis_of_the_probability(qtbot: QtBot) -> None:
    desk = Desk(qtbot, recorded(12, 1, p=1.0), selection=Selection(0))
    cell = desk.canvas.layout_.cell(0, 4)
    found = desk.colour(QPoint(round(cell.right() - 4), round(cell.top() + 3)))
    expected = (255, 234, 70)  # the bright end of cividis (Nunez et al. 2018)
    assert np.abs(np.array(found.getRgb()[:3]) - expected).max() < 6


def test_text_is_white_on_dark_and_black_on_bright() -> None:
    dark = dark_text(np.array([0.0, 0.2, 0.8, 1.0]))
    assert dark.tolist() == [False, False, True, True]


def test_flips_are_marked_at_the_left_edge(qtbot: QtBot) -> None:
    desk = Desk(qtbot, recorded(12, 2, p=1.0), selection=Selection(0))
    assert np.flatnonzero(desk.data.flip[:, 0]).tolist() == [2, 5]
    where, mark = desk.canvas.layout_, QColor(LIGHT.text)
    marked = []
    for column in range(1, 12):
        cell = where.cell(0, column)
        at = QPoint(round(cell.left()), round(cell.top() + 4))
        colours = [desk.colour(at + QPoint(d, 0)) for d in (-1, 0, 1)]
        if any(c.lightness() < mark.lightness() + 30 for c in colours):
            marked.append(column)
    assert marked == [2, 5]


def test_answers_that_flip_at_every_recurrence_leave_their_shade_in_sight(qtbot: QtBot) -> None:
    like = synthetic_recording(recurrences=0, tokens=1)
    capture = Capture(patterns=False, writes=False)
    recording = Recording(like.info, like.states[0], capture, label=str)
    for i in range(1, 1001):
        for layer in range(2):
            recording.append_layer(LayerState(i, layer, like.states[0]))
        answers = TopAnswers(
            np.array([[i % 2, 5, 6, 7, 8]]), np.array([[1, 0, 0, 0, 0]], np.float32)
        )
        recording.append_end(like.states[0], answers, answers)
    desk = Desk(qtbot, recording, selection=Selection(0))
    where = desk.canvas.layout_
    cells = where.cell(0, 500)
    shade, bars = QColor(255, 234, 70), QColor(LIGHT.text)  # cividis at 1
    above = desk.colour(QPoint(round(cells.left()), round(cells.top() + cells.height() / 3)))
    at = QPoint(round(cells.left()), round(cells.bottom() - 2))
    foot = min(desk.colour(at + QPoint(d, 0)).lightness() for d in range(-3, 4))
    assert abs(above.lightness() - shade.lightness()) < 25
    assert foot < bars.lightness() + 60


def test_many_tokens_scroll_and_the_cursor_comes_into_sight(qtbot: QtBot) -> None:
    desk = Desk(qtbot, recorded(200, 64))
    assert desk.canvas.scroll_bar.isVisible()
    desk.view.show_selection(Selection(150, 0, 0, 60), {})
    desk.click(desk.canvas.cell_centre(60, 150))
    assert desk.picked[-1]["token"] == 60
    assert abs(desk.picked[-1]["recurrence"] - 150) <= 1
    assert desk.canvas.layout_.cells.contains(QPointF(desk.canvas.cell_centre(60, 150)))
    desk.canvas.resize(desk.canvas.width(), desk.canvas.height() - 40)
    assert desk.canvas.layout_.cells.contains(QPointF(desk.canvas.cell_centre(60, 150)))
    desk.view.show_selection(Selection(150, 0, 0, 0), {})
    desk.view.reset_view()
    assert desk.canvas.scroll_bar.value() == 0


@pytest.mark.parametrize("size", [(300, 200), (520, 330), (1600, 1000)])
@pytest.mark.parametrize(("r", "t"), [(1, 1), (12, 30), (200, 64)])
@pytest.mark.parametrize("label", ["a", "Ġinternationalisation"])
@pytest.mark.parametrize("numbers", [True, False])
def test_nothing_overlaps(
    qtbot: QtBot, size: tuple[int, int], r: int, t: int, label: str, numbers: bool
) -> None:
    recording = recorded(r, t, labels=[label] * t)
    desk = Desk(qtbot, recording, size, Options(numbers=numbers))
    where = desk.canvas.layout_
    desk.canvas.grab()
    whole = desk.canvas.rect().toRectF()
    parts = [where.legend, where.cells, where.column_labels, where.row_labels]
    parts += [where.side] if where.side else []
    for part in parts:
        assert whole.contains(part)
    for i, one in enumerate(parts):
        for other in parts[i + 1 :]:
            assert not one.adjusted(1, 1, -1, -1).intersects(other.adjusted(1, 1, -1, -1))
    line = QFontMetricsF(desk.canvas.fonts[0]).height()
    assert where.row_height >= line
    assert (where.side is not None) == (size[0] >= 420)


def test_narrow_cells_share_the_text_of_a_run(qtbot: QtBot) -> None:
    assert Desk(qtbot, recorded(3, 3)).canvas.layout_.each
    assert not Desk(qtbot, recorded(200, 3)).canvas.layout_.each


def test_the_same_data_is_not_drawn_again_and_marks_only_repaint(qtbot: QtBot) -> None:
    desk = Desk(qtbot, recorded(12, 5))
    desk.canvas.grab()
    back = desk.canvas._back
    assert back is not None
    desk.view.show_data(desk.data)
    desk.view.show_selection(Selection(3, 0, 0, 1), {"token": 2, "recurrence": 4})
    desk.canvas.grab()
    assert desk.canvas._back is back
    assert desk.canvas.cursor_cell == (1, 3)
    assert desk.canvas.hover_cell == (2, 4)


def test_up_and_down_go_through_the_shown_tokens(qtbot: QtBot) -> None:
    desk = Desk(qtbot, recorded(12, 9), selection=Selection(1, 0, 0, 4, (2, 4, 8)))
    qtbot.keyClick(desk.view, Qt.Key.Key_Down)
    qtbot.keyClick(desk.view, Qt.Key.Key_Up)
    assert desk.picked == [{"token": 8}, {"token": 2}]


def test_empty_says_what_would_fill_it(qtbot: QtBot) -> None:
    desk = Desk(qtbot, recorded(0, 3))
    assert desk.canvas.empty_text == f"{NO_RUN} Press Space to run one."
    desk.view.show_data(compute(recorded(3, 3), Selection(), Options()))
    assert desk.canvas.data is not None
    desk.view.clear()
    assert desk.canvas.data is None
    desk.click(QPoint(100, 100))
    desk.point(QPoint(120, 120))
    assert desk.picked == []


def test_answers_that_are_not_finite_are_shown_as_none(qtbot: QtBot) -> None:
    desk = Desk(qtbot, recorded(4, 2, p=float("nan")))
    desk.canvas.grab()
    desk.point(desk.canvas.cell_centre(0, 2))
    assert "not finite" in desk.said[-1]


def test_cursor_elsewhere_leaves_no_outline(qtbot: QtBot) -> None:
    desk = Desk(qtbot, recorded(4, 6), selection=Selection(0, 0, 0, 0, (2, 3)))
    assert desk.canvas.cursor_cell == (None, None)
    desk.canvas.grab()
    desk.view.show_selection(Selection(9, 0, 0, 2), {"head": 1})
    assert desk.canvas.cursor_cell == (0, None)
    assert desk.canvas.hover_cell == (None, None)
    desk.canvas.grab()


def test_a_number_never_pushes_its_answer_out(qtbot: QtBot) -> None:
    letters = "iljtfrIim"  # of very different widths
    seen = set()
    for r in range(3, 13):
        recording = recorded(r, 12)
        recording.label = lambda i: letters[i % 9]
        desk = Desk(qtbot, recording, options=Options(numbers=True))
        where = desk.canvas.layout_
        text, number = (QFontMetricsF(font) for font in desk.canvas.fonts)
        seen.add(where.numbers)
        if where.numbers == "beside":
            answer = max(text.horizontalAdvance(desk.data.text(a)) for a in desk.data.texts)
            assert answer + number.horizontalAdvance("0.00") + 9 <= where.column_width
    assert seen >= {"beside", "below"}
