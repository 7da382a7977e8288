"""The prompt bar driven by keys and mouse."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from loopscope.core.model.token_layout import TokenLayout
from loopscope.core.selection import Selection
from loopscope.widgets.bars.prompt_bar import PromptBar
from loopscope.widgets.bars.token_chips import READABLE
from loopscope.widgets.palette import DARK, LIGHT

LEFT, CTRL, SHIFT = (
    Qt.MouseButton.LeftButton,
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.ShiftModifier,
)
Key = Qt.Key


class Desk:
    """A window with the bar in it, as the bench has it: what is selected is shown."""

    def __init__(self, qtbot: QtBot) -> None:
        self.qtbot, self.window, self.bar = qtbot, QWidget(), PromptBar()
        layout = QVBoxLayout(self.window)
        layout.addWidget(self.bar)
        qtbot.addWidget(self.window)
        self.window.resize(1280, 120)
        self.prompts: list[str] = []
        self.picked: list[dict[str, object]] = []
        self.hovered: list[dict[str, int]] = []
        self.seeds: list[int] = []
        self.starts: list[tuple[str, float]] = []
        self.selection = Selection()
        self.bar.prompt_edited.connect(self.prompts.append)
        self.bar.select_requested.connect(self._on_picked)
        self.bar.hover_changed.connect(self.hovered.append)
        self.bar.seed_changed.connect(self.seeds.append)
        self.bar.start_changed.connect(lambda *args: self.starts.append(args))
        self.bar.show_tokens(tuple("abcdefgh"))
        self.window.show()
        qtbot.waitExposed(self.window)
        self.window.activateWindow()

    def _on_picked(self, changes: dict[str, object]) -> None:
        from dataclasses import replace

        self.picked.append(changes)
        self.selection = replace(self.selection, **changes)  # type: ignore[arg-type]
        self.bar.show_selection(self.selection, {})

    def click(self, token: int, keys: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        chips = self.bar.chips
        self.qtbot.mouseClick(chips, LEFT, keys, chips.chip_centre(token))


@pytest.fixture
def desk(qtbot: QtBot) -> Desk:
    return Desk(qtbot)


# ---- the line ----
def test_typing_runs_once_after_a_pause(desk: Desk) -> None:
    desk.bar.edit()
    with desk.qtbot.waitSignal(desk.bar.prompt_edited, timeout=2000):
        desk.qtbot.keyClicks(desk.bar.line, "ab c")
        assert desk.prompts == []
    assert desk.prompts == ["ab c"]


def test_enter_runs_at_once_and_only_once(desk: Desk) -> None:
    desk.bar.edit()
    desk.qtbot.keyClicks(desk.bar.line, "#1,2")
    desk.qtbot.keyClick(desk.bar.line, Key.Key_Return)
    assert desk.prompts == ["#1,2"]
    desk.qtbot.wait(450)
    assert desk.prompts == ["#1,2"]
    assert not desk.bar.line.hasFocus()


def test_a_refused_prompt_gets_the_keyboard_back(desk: Desk) -> None:
    desk.bar.edit()
    desk.qtbot.keyClick(desk.bar.line, Key.Key_Return)
    desk.bar.show_error("the prompt is empty")
    assert desk.bar.line.hasFocus()


def test_escape_returns_to_the_window(desk: Desk) -> None:
    desk.bar.edit()
    assert desk.bar.line.hasFocus()
    desk.qtbot.keyClick(desk.bar.line, Key.Key_Escape)
    assert not desk.bar.line.hasFocus()
    assert desk.prompts == []


def test_a_run_does_not_overwrite_what_is_being_typed(desk: Desk) -> None:
    desk.bar.set_prompt("old")
    assert desk.bar.line.text() == "old"
    desk.bar.line.setFocus()
    desk.qtbot.keyClicks(desk.bar.line, "er")
    desk.bar.set_prompt("old")
    assert desk.bar.line.text() == "older"


def test_up_and_down_walk_the_history_and_come_back(desk: Desk) -> None:
    desk.bar.set_history(["newest", "middle", "oldest"])
    desk.bar.set_prompt("newest")
    line = desk.bar.line
    seen = []
    for key in (Key.Key_Up, Key.Key_Up, Key.Key_Up, Key.Key_Down, Key.Key_Down):
        desk.qtbot.keyClick(line, key)
        seen.append(line.text())
    assert seen == ["middle", "oldest", "oldest", "middle", "newest"]
    assert desk.prompts == []


def test_a_walk_survives_the_history_being_reordered_by_its_own_run(desk: Desk) -> None:
    desk.bar.set_history(["a", "b", "c"])
    desk.bar.set_prompt("a")
    desk.qtbot.keyClick(desk.bar.line, Key.Key_Up)
    desk.qtbot.waitUntil(lambda: desk.prompts == ["b"], timeout=2000)
    desk.bar.set_prompt("b")
    desk.bar.set_history(["b", "a", "c"])
    desk.qtbot.keyClick(desk.bar.line, Key.Key_Up)
    assert desk.bar.line.text() == "c"


# ---- tokens ----
def test_click_moves_the_cursor_only(desk: Desk) -> None:
    desk.click(5)
    assert desk.picked == [{"token": 5}]


def test_ctrl_and_shift_make_the_set(desk: Desk) -> None:
    desk.click(2)
    desk.click(4, CTRL)
    assert desk.picked[-1] == {"token": 4, "tokens": (4,)}
    desk.click(6, CTRL)
    assert desk.picked[-1] == {"token": 6, "tokens": (4, 6)}
    desk.click(4, CTRL)
    assert desk.picked[-1] == {"token": 4, "tokens": (6,)}
    desk.click(1)
    desk.click(3, SHIFT)
    assert desk.picked[-1] == {"token": 3, "tokens": (1, 2, 3)}
    desk.click(0, SHIFT)
    assert desk.picked[-1] == {"token": 0, "tokens": (0, 1)}
    desk.click(7, CTRL | SHIFT)
    assert desk.picked[-1] == {"token": 7, "tokens": ()}  # every one is all


def test_all_clears_the_set(desk: Desk) -> None:
    assert not desk.bar.all.isEnabled()
    desk.click(2, CTRL)
    assert desk.bar.all.isEnabled()
    desk.qtbot.mouseClick(desk.bar.all, LEFT)
    assert desk.picked[-1] == {"tokens": ()}
    assert not desk.bar.all.isEnabled()


def test_pointing_at_a_chip_hovers_its_token(desk: Desk) -> None:
    chips = desk.bar.chips
    desk.qtbot.mouseMove(chips, chips.chip_centre(3))
    desk.qtbot.mouseMove(chips, QPoint(chips.width() - 3, 3))
    assert desk.hovered == [{"token": 3}, {}]
    assert "Token 3 'd'" in chips.tip_at(QPointF(chips.chip_centre(3)))


def test_a_chip_click_takes_the_keyboard_from_the_line(desk: Desk) -> None:
    desk.bar.edit()
    desk.click(1)
    assert not desk.bar.line.hasFocus()


def test_the_cursor_token_is_outlined_in_the_accent(desk: Desk) -> None:
    for theme in (LIGHT, DARK):
        desk.bar.set_theme(theme)
        desk.bar.show_selection(Selection(token=2), {})
        image = desk.bar.chips.grab().toImage()
        accented = []
        for token in range(8):
            rect = desk.bar.chips.chip(token)
            colour = image.pixelColor(round(rect.left() + 1), round(rect.center().y()))
            if colour == QColor(theme.accent):
                accented.append(token)
        assert accented == [2]


@pytest.mark.parametrize(("side", "readable"), [(9, True), (30, False)])
def test_tokens_of_a_grid_stand_in_rows_and_columns(desk: Desk, side: int, readable: bool) -> None:
    layout = TokenLayout(side, side, before=3)
    labels = tuple(["p"] * 3 + [str(i % 4) for i in range(side * side)])
    row = desk.bar.chips.height()
    desk.bar.show_tokens(labels, layout)
    QApplication.processEvents()
    chips = desk.bar.chips
    assert row < chips.height() <= 190
    token = 3 + 2 * side + 4  # row 3, column 5
    here, right, below = (chips.chip(t) for t in (token, token + 1, token + side))
    assert (here.width() >= READABLE) == readable
    assert (right.left() - here.left(), right.top()) == (here.width() + 1, here.top())
    assert (below.left(), below.top() - here.top()) == (here.left(), here.height() + 1)
    assert chips.chip(0).left() > chips.chip(3 + side - 1).right()  # beside the grid
    places = [(place.left(), place.top()) for place in map(chips.chip, range(len(labels)))]
    assert len(set(places)) == len(labels)
    desk.click(token)
    assert desk.picked[-1] == {"token": token}
    tip = chips.tip_at(QPointF(chips.chip_centre(token)))
    assert f"Token {token}, row 3, column 5 '{labels[token]}'" in tip
    desk.bar.show_selection(Selection(token=token), {})
    image = chips.grab().toImage()
    outlined = image.pixelColor(round(here.left() + 1), round(here.center().y()))
    assert outlined == QColor(desk.bar.theme.accent)
    desk.bar.show_tokens(labels[:-1], layout)  # which does not fill the grid
    assert chips.height() == row


def test_long_prompts_scroll_and_never_widen_the_window(desk: Desk) -> None:
    before = desk.bar.minimumSizeHint().width()
    desk.bar.show_tokens(("Ġinternationalisation", " ", "\n") * 60)
    QApplication.processEvents()
    assert desk.bar.minimumSizeHint().width() == before <= 800
    assert desk.window.width() == 1280
    chips = desk.bar.chips
    desk.bar.show_selection(Selection(token=150), {})
    assert chips.rect().contains(chips.chip_centre(150))
    desk.click(150)
    assert desk.picked == [{"token": 150}]
    offset = chips.offset
    desk.qtbot.mouseClick(chips, LEFT, pos=QPoint(5, 10))
    assert chips.offset < offset
    assert desk.picked == [{"token": 150}]


def test_spaces_and_newlines_are_visible(desk: Desk) -> None:
    desk.bar.show_tokens((" ", "\n"))
    chips = desk.bar.chips
    assert "'␣'" in chips.tip_at(QPointF(chips.chip_centre(0)))
    assert "'⏎'" in chips.tip_at(QPointF(chips.chip_centre(1)))


# ---- errors ----
def test_an_error_is_shown_in_place_and_dims_the_old_tokens(desk: Desk) -> None:
    height = desk.bar.sizeHint().height()
    desk.bar.show_error("the tokenizer has no token for 'é' (character 3)")
    QApplication.processEvents()
    assert desk.bar.notice.isVisible()
    assert "no token for 'é'" in desk.bar.notice.text()
    assert desk.bar.chips.dimmed
    assert desk.bar.sizeHint().height() == height  # the views below do not jump
    for theme in (LIGHT, DARK):
        desk.bar.set_theme(theme)
        colour = desk.bar.notice.palette().color(QPalette.ColorRole.WindowText)
        assert colour == QColor(theme.warning)
    desk.bar.show_error(None)
    assert not desk.bar.notice.isVisible()
    assert not desk.bar.chips.dimmed


def test_a_long_error_is_elided_with_all_of_it_in_the_tooltip(desk: Desk) -> None:
    message = "the prompt has far too many tokens " * 20
    desk.bar.show_error(message)
    QApplication.processEvents()
    assert desk.bar.notice.text().endswith("…")
    assert desk.bar.notice.toolTip().split() == message.split()
    assert desk.window.width() == 1280
    assert desk.bar.chips.width() >= 200


# ---- seed and start ----
def test_the_seed_is_told_when_it_is_finished(desk: Desk) -> None:
    desk.bar.seed.setFocus()
    desk.bar.seed.selectAll()
    desk.qtbot.keyClicks(desk.bar.seed, "123")
    assert desk.seeds == []
    desk.qtbot.keyClick(desk.bar.seed, Key.Key_Return)
    assert desk.seeds == [123]
    assert not desk.bar.seed.hasFocus()
    desk.bar.set_run(7, "zeros", 1.0)
    assert desk.seeds == [123]
    assert desk.bar.seed.value() == 7


def test_escape_in_the_seed_takes_nothing(desk: Desk) -> None:
    desk.bar.seed.setFocus()
    desk.bar.seed.selectAll()
    desk.qtbot.keyClicks(desk.bar.seed, "99")
    desk.qtbot.keyClick(desk.bar.seed, Key.Key_Escape)
    assert desk.seeds == []
    assert desk.bar.seed.value() == 0
    assert not desk.bar.seed.hasFocus()


def test_the_scale_belongs_to_the_random_start(desk: Desk) -> None:
    bar = desk.bar
    assert not bar.scale.isEnabled()
    bar.start.setFocus()
    desk.qtbot.keyClick(bar.start, Key.Key_Down)
    assert desk.starts == [("random", 1.0)]
    assert bar.scale.isEnabled()
    bar.scale.setFocus()
    desk.qtbot.keyClick(bar.scale, Key.Key_Up)
    assert desk.starts[-1] == ("random", pytest.approx(1.1))


def test_the_model_says_which_starts_there_are(desk: Desk) -> None:
    desk.bar.set_starts(("embedding",))
    assert not desk.bar.start.isEnabled()
    assert not desk.bar.scale.isEnabled()
    assert desk.bar.start.currentText() == "embedding"
    desk.bar.set_starts(("zeros", "random"))
    desk.bar.set_run(1, "random", 0.5)
    assert desk.bar.start.currentText() == "random"
    assert desk.bar.scale.value() == 0.5
    assert desk.bar.scale.isEnabled()
    desk.bar.set_run(1, "default", 0.5)
    assert desk.starts == []


def test_everything_has_a_tooltip(desk: Desk) -> None:
    bar = desk.bar
    for widget in (bar.line, bar.seed, bar.start, bar.scale, bar.all):
        assert widget.toolTip()
    assert "#1,2,3" in bar.line.toolTip()


def test_escape_brings_the_running_prompt_back_when_the_typed_one_cannot_be_run(desk: Desk) -> None:
    desk.bar.set_prompt("a b c")
    desk.bar.line.setFocus()
    desk.bar.line.setText("#")
    desk.bar.show_error("'#' is no list of token ids")
    desk.qtbot.keyClick(desk.bar.line, Key.Key_Escape)
    assert desk.bar.line.text() == "a b c"
    assert not desk.bar.notice.isVisible()
    # What is fine stays as it was typed.
    desk.bar.line.setText("a b")
    desk.qtbot.keyClick(desk.bar.line, Key.Key_Escape)
    assert desk.bar.line.text() == "a b"
