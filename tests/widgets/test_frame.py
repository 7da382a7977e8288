"""The panel frame, its settings form, the command palette: mouse and keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest
from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QAction, QColor
from PySide6.QtWidgets import QApplication, QLabel, QWidget
from pytestqt.qtbot import QtBot

from loopscope.core.formula import Formula
from loopscope.core.options import setting
from loopscope.core.results import ResultKey
from loopscope.core.views.base import Lack, Request, ViewData
from loopscope.widgets.kit.command_palette import CommandPalette, score
from loopscope.widgets.kit.frame import ViewFrame
from loopscope.widgets.kit.measure_row import MeasureRow
from loopscope.widgets.kit.menu import Menu, with_letters
from loopscope.widgets.kit.settings_form import SettingsForm
from loopscope.widgets.kit.shortcuts_page import ShortcutsPage
from loopscope.widgets.kit.view import View
from loopscope.widgets.palette import DARK, LIGHT

LEFT, Key = Qt.MouseButton.LeftButton, Qt.Key


@dataclass(frozen=True)
class Options:
    measure: Literal["cosine", "frobenius"] = setting("cosine", "Measure", labels={"cosine": "Cos"})
    numbers: bool = setting(False, "Show numbers")
    window: int = setting(3, "Window", low=1, high=9)
    tolerance: float = setting(1e-2, "Tolerance", "Below it", low=1e-12, high=1)
    name: str = setting("x", "Name")
    basis: tuple[int, ...] = field(default=())


class Bare(View):
    def set_theme(self, theme) -> None:
        self.theme = theme


@pytest.fixture
def frame(qtbot: QtBot) -> ViewFrame:
    holder = QWidget()
    frame = ViewFrame("Heads", Bare(Options()), holder)
    frame.title_bar.setParent(holder)
    frame.title_bar.resize(500, 26)
    holder.resize(600, 400)
    frame.set_options(Options(basis=(1, 2)))
    frame.set_theme(LIGHT)
    qtbot.addWidget(holder)
    holder.show()
    frame.holder = holder
    return frame


def test_the_title_bar_says_what_is_shown_and_elides(frame: ViewFrame) -> None:
    statement = "12 of 12 tokens have settled at tolerance 1e-2 " * 4
    frame.set_data(ViewData(statement, (Formula("step", "‖Δs‖", "state units", "2502.05171"),)))
    label = frame.title_bar.statement
    assert label.toolTip().split() == statement.split()
    assert label.text().endswith("…")
    assert label.whole() == statement


def test_the_caption_of_the_second_run_elides_within_its_margins(frame: ViewFrame) -> None:
    frame.resize(500, 300)
    colours = []
    for _ in range(2):  # the second time in the place of the first
        frame.panes.show_second_run(Bare(Options()))
        frame.panes.set_captions(
            "branch 1", "run 1: 27 of 27 tokens have settled at tolerance 1e-2" * 3
        )
        QApplication.processEvents()
        caption = frame.panes.captions[1]
        assert caption.text().endswith("…")
        room = caption.contentsRect().width()
        assert caption.fontMetrics().horizontalAdvance(caption.text()) <= room
        colours.append(caption.palette().color(caption.palette().ColorRole.WindowText).name())
    assert colours == [QColor(LIGHT.muted).name()] * 2


def test_a_view_that_lags_says_of_which_recurrence_it_is(frame: ViewFrame) -> None:
    statement = frame.title_bar.statement
    frame.set_data(ViewData("All settled.", ()))
    frame.set_lag(512)
    assert statement.whole() == "Shown up to r = 512, catching up: All settled."
    frame.set_data(ViewData("None settled.", ()))
    frame.set_lag(None)
    assert statement.whole() == "None settled."


def test_the_buttons_tell(frame: ViewFrame, qtbot: QtBot) -> None:
    buttons = frame.title_bar.buttons
    with qtbot.waitSignal(frame.export_requested):
        qtbot.mouseClick(buttons["export"], LEFT)
    with qtbot.waitSignal(frame.close_requested):
        qtbot.mouseClick(buttons["close"], LEFT)
    with qtbot.waitSignal(frame.maximise_toggled, check_params_cb=lambda on: on):
        qtbot.mouseClick(buttons["maximise"], LEFT)
    frame.set_maximised(True)
    with qtbot.waitSignal(frame.maximise_toggled, check_params_cb=lambda on: not on):
        qtbot.mouseDClick(frame.title_bar, LEFT)


def test_the_formulas_are_shown_to_read_and_copy(frame: ViewFrame, qtbot: QtBot) -> None:
    frame.set_data(ViewData("", (Formula("step", "‖s_r − s_{r−1}‖", "state units", "2502.05171"),)))
    qtbot.mouseClick(frame.title_bar.buttons["help"], LEFT)
    texts = [label.text() for label in frame.formulas_popup.findChildren(QLabel)]
    assert {"step", "‖s_r − s_{r−1}‖", "state units", "2502.05171"} <= set(texts)
    frame.formulas_popup.close()


def test_an_error_stands_in_the_panel(frame: ViewFrame) -> None:
    frame.set_error("ValueError: x")
    assert "ValueError: x" in frame.error.text()
    frame.set_error(None)
    assert frame.error.isHidden()


@pytest.mark.parametrize("height", [60, 74, 90, 300])
def test_the_button_of_an_empty_panel_is_seen_whole(frame: ViewFrame, height: int) -> None:
    frame.set_empty(True)
    frame.resize(300, height)
    QApplication.processEvents()
    assert frame.step_button.isVisible()
    assert frame.rect().contains(frame.step_button.geometry())


def test_every_kind_of_setting_is_changed_by_hand(qtbot: QtBot) -> None:
    form = SettingsForm(Options(basis=(7,)))
    qtbot.addWidget(form)
    form.show()
    seen: list[Options] = []
    form.changed.connect(seen.append)
    form.controls["measure"].setFocus()
    qtbot.keyClick(form.controls["measure"], Key.Key_Down)
    qtbot.mouseClick(
        form.controls["numbers"],
        LEFT,
        pos=form.controls["numbers"].rect().center()
        - form.controls["numbers"].rect().center()
        + _inside(),
    )
    form.controls["window"].setValue(5)
    line = form.controls["tolerance"]
    line.selectAll()
    qtbot.keyClicks(line, "1e-3")
    qtbot.keyClick(line, Key.Key_Return)
    last = seen[-1]
    assert (last.numbers, last.window, last.tolerance) == (True, 5, 1e-3)
    assert last.basis == (7,)  # what is no setting stays
    count = len(seen)
    line.selectAll()
    qtbot.keyClicks(line, "7")  # out of range: not taken
    qtbot.keyClick(line, Key.Key_Return)
    assert len(seen) == count
    qtbot.mouseClick(form.defaults_button, LEFT)
    assert (seen[-1].window, seen[-1].tolerance, seen[-1].basis) == (3, 1e-2, (7,))
    form.set_options(Options(window=8))
    assert form.controls["window"].value() == 8
    assert seen[-1].window == 3  # showing is not changing


def _inside():
    from PySide6.QtCore import QPoint

    return QPoint(8, 8)


def test_the_fuzzy_score_prefers_word_beginnings() -> None:
    assert score("zz", "Step one layer") is None
    assert score("sol", "Step one layer") < score("sol", "Show absolute")
    assert score("exp", "Export this view") < score("exp", "Next place")
    twin = "Put the bundled deep twin beside"
    for words in ("twin", "deep twin", "twin deep"):
        assert score(words, twin) < (score(words, "Copy a picture of the window") or 0), words


@pytest.fixture
def actions(qtbot: QtBot) -> list[QAction]:
    made = []
    for text, keys in (("Step one layer", "Shift+Space"), ("Export all views", ""), ("Stop", "S")):
        action = QAction(text)
        action.setShortcut(keys)
        made.append(action)
    made[2].setEnabled(False)
    return made


def test_the_palette_finds_and_runs_by_keys(actions: list[QAction], qtbot: QtBot) -> None:
    parent = QWidget()
    parent.resize(800, 600)
    qtbot.addWidget(parent)
    parent.show()
    palette = CommandPalette(actions, parent)
    palette.open()
    assert palette.list.topLevelItemCount() == 3
    qtbot.keyClicks(palette.filter, "exall")
    assert palette.list.topLevelItemCount() == 1
    with qtbot.waitSignal(actions[1].triggered):
        qtbot.keyClick(palette.filter, Key.Key_Return)
    assert palette.isHidden()
    palette.open()
    qtbot.keyClick(palette.filter, Key.Key_Down)
    assert palette.list.currentItem().text(0) == "Export all views"
    palette.filter.setText("stop")
    qtbot.keyClick(palette.filter, Key.Key_Return)  # disabled: stays open
    assert palette.isVisible()
    qtbot.keyClick(palette, Key.Key_Escape)
    assert palette.isHidden()


def test_the_palette_finds_settings_only_by_their_words(
    actions: list[QAction], qtbot: QtBot
) -> None:
    parent = QWidget()
    parent.resize(800, 600)
    qtbot.addWidget(parent)
    parent.show()
    done: list[str] = []

    def settings(holder: QObject) -> list[QAction]:
        action = QAction("Similarity: Measure: Frobenius distance", holder)
        action.setCheckable(True)
        action.setChecked(True)
        action.triggered.connect(lambda: done.append("frobenius"))
        return [action]

    palette = CommandPalette(actions, parent, settings)
    palette.open()
    assert palette.list.topLevelItemCount() == 3  # nothing typed: commands alone
    palette.filter.setText("mfd")  # letters in order are enough for commands only
    assert not palette.list.topLevelItem(0).flags() & Qt.ItemFlag.ItemIsEnabled
    assert "is called that" in palette.list.topLevelItem(0).text(0)
    qtbot.keyClick(palette.filter, Key.Key_Return)
    assert palette.isVisible()
    palette.filter.setText("frob sim")
    assert palette.list.currentItem().text(0) == "✓ Similarity: Measure: Frobenius distance"
    qtbot.keyClick(palette.filter, Key.Key_Return)
    assert done == ["frobenius"]


def test_menu_texts_get_a_letter_of_their_own() -> None:
    assert with_letters(["Open", "Open recent", "Save & close", "ooo"]) == [
        "&Open", "Open &recent", "&Save && close", "ooo",
    ]  # fmt: skip


def test_a_menu_has_letters_only_while_open_and_stays_open_for_ticks(qtbot: QtBot) -> None:
    menu = Menu("View")
    qtbot.addWidget(menu)
    one, two = menu.addAction("Fish & chips"), menu.addAction("Follow")
    two.setCheckable(True)
    menu.popup(menu.pos())
    assert [one.text(), two.text()] == ["&Fish && chips", "F&ollow"]
    qtbot.mouseMove(menu, menu.actionGeometry(two).center())
    menu.setActiveAction(two)
    qtbot.mouseClick(menu, LEFT, pos=menu.actionGeometry(two).center())
    assert two.isChecked()
    assert menu.isVisible()
    menu.close()
    assert [one.text(), two.text()] == ["Fish & chips", "Follow"]


def test_the_shortcuts_page_lists_and_searches(actions: list[QAction], qtbot: QtBot) -> None:
    parent = QWidget()
    qtbot.addWidget(parent)
    gestures = (("Wheel", "Zoom", "Curves zoom"),)
    page = ShortcutsPage({"Run": actions[::2], "File": actions[1:2]}, parent, gestures)
    page.set_theme(DARK)
    groups = [page.table.topLevelItem(i) for i in range(3)]
    assert [group.text(0) for group in groups] == ["Run", "File", "Mouse, and keys in a view"]
    rows = [groups[0].child(0), groups[0].child(1), groups[2].child(0)]
    assert [row.text(0) for row in rows] == ["Shift+Space", "S", "Wheel"]
    qtbot.keyClicks(page.search, "layer")
    assert [group.isHidden() for group in groups] == [False, True, True]
    assert [row.isHidden() for row in rows] == [False, True, True]
    page.show()
    qtbot.keyClick(page.search, Key.Key_Escape)
    assert page.isHidden()
    QApplication.processEvents()


def test_a_line_that_cannot_be_taken_says_what_it_has_to_be(qtbot: QtBot) -> None:
    form = SettingsForm(Options())
    qtbot.addWidget(form)
    form.show()
    line = form.controls["tolerance"]
    line.selectAll()
    qtbot.keyClicks(line, "7")
    assert form.problem == "Tolerance has to be a number from 1e-12 to 1."
    assert form.problem_label.isVisible()
    assert form.problem_label.text() == form.problem
    line.selectAll()
    qtbot.keyClicks(line, "0.5")
    assert not form.problem_label.isVisible()


@dataclass(frozen=True)
class AtHand(Options):
    measure: Literal["cosine", "frobenius"] = setting("cosine", "Measure", at_hand=True)
    numbers: bool = setting(False, "Show numbers", at_hand=True)


def test_some_settings_stand_beside_the_button_and_agree_with_the_form(qtbot: QtBot) -> None:
    holder = QWidget()
    qtbot.addWidget(holder)
    frame = ViewFrame("Heads", Bare(AtHand()), holder)
    frame.title_bar.setParent(holder)
    frame.resize(600, 400)
    frame.set_options(AtHand())
    frame.set_request(Request("Measure", "Takes long", ResultKey("it", int)))
    holder.show()
    seen: list[Options] = []
    frame.options_changed.connect(seen.append)
    assert list(frame.quick.controls) == ["measure", "numbers"]
    assert "Measure:" in frame.quick.controls["measure"].toolTip()
    frame.quick.controls["measure"].setFocus()
    qtbot.keyClick(frame.quick.controls["measure"], Key.Key_Down)
    qtbot.mouseClick(frame.quick.controls["numbers"], LEFT, pos=_inside())
    assert (seen[-1].measure, seen[-1].numbers) == ("frobenius", True)
    qtbot.mouseClick(frame.title_bar.buttons["settings"], LEFT)
    form = frame._form
    assert form.controls["measure"].currentData() == "frobenius"
    form.controls["measure"].setFocus()
    qtbot.keyClick(form.controls["measure"], Key.Key_Up)
    assert frame.quick.controls["measure"].currentData() == "cosine"
    form.close()
    frame.set_options(AtHand(measure="frobenius"))
    assert frame.quick.controls["measure"].currentData() == "frobenius"


def test_a_measurement_that_cannot_be_made_says_why(frame: ViewFrame, qtbot: QtBot) -> None:
    frame.set_request(Request("Compare", "Takes long", ResultKey("it", int)))
    frame.resize(600, 400)
    QApplication.processEvents()
    row = frame.measuring
    row.set_why("Put a second model beside first.")
    assert not row.button.isEnabled()
    assert row.button.toolTip() == row.why.whole() == "Put a second model beside first."
    assert row.why.text() == row.why.whole()
    row.show_progress(0.5)
    row.show_progress(None)
    assert not row.button.isEnabled()  # it still cannot
    row.set_why("")
    assert row.button.isEnabled()
    assert row.button.toolTip() == "Takes long"
    row.show_progress(0.5)
    row.set_why("")
    assert not row.button.isEnabled()  # it is being made


def test_a_measurement_that_waits_for_another_says_so(frame: ViewFrame) -> None:
    row = frame.measuring
    row.show_progress(-1.0)
    assert not row.waits.isHidden()
    assert row.bar.isHidden()
    assert not row.cancel.isHidden()
    assert not row.button.isEnabled()
    assert row.waits.whole() == "waits until the measurement under way is done"
    row.show_progress(0.0)
    assert row.waits.isHidden()
    assert not row.bar.isHidden()


def test_the_view_of_the_run_beside_stands_in_the_same_frame(frame: ViewFrame) -> None:
    assert frame.panes.count() == 1
    frame.panes.set_captions("● run 1", "○ run 2")
    assert not frame.panes.captions[0].isVisible()  # alone it needs no name
    frame.resize(800, 400)
    other = Bare(Options())
    frame.panes.show_second_run(other)
    frame.panes.set_captions("● run 1", "○ run 2: 3 of 5 tokens have settled")
    QApplication.processEvents()
    assert frame.panes.count() == 2
    assert other.isVisible()
    assert [c.whole() for c in frame.panes.captions] == [
        "● run 1",
        "○ run 2: 3 of 5 tokens have settled",
    ]
    assert all(c.isVisible() for c in frame.panes.captions)
    assert abs(frame.view.width() - other.width()) <= 6
    assert frame.panes.orientation() == Qt.Orientation.Horizontal
    frame.resize(400, 600)
    QApplication.processEvents()
    assert frame.panes.orientation() == Qt.Orientation.Vertical
    frame.panes.show_second_run(other)  # the same again changes nothing
    assert frame.panes.count() == 2
    frame.panes.show_second_run(None)
    assert frame.panes.count() == 1
    assert not frame.panes.captions[0].isVisible()
    another = Bare(Options())
    frame.panes.show_second_run(another)
    frame.panes.set_captions("● run 1", "○ run 3")
    assert frame.panes.captions[1].isVisible()


def test_a_measurement_says_how_long_it_still_takes(qtbot: QtBot) -> None:
    row, now = MeasureRow(), [100.0]
    qtbot.addWidget(row)
    row.clock = lambda: now[0]
    row.show_progress(0.0)
    assert row.left.text() == ""
    now[0] = 110.0
    row.show_progress(0.25)  # 10 s for a quarter
    assert row.left.text() == "30 s left"
    now[0] = 140.0
    row.show_progress(0.3)
    assert row.left.text() == "2 min left"
    row.show_progress(None)
    assert row.left.text() == ""
    row.show_progress(0.5)  # another one begins its own time
    assert row.left.text() == ""


def test_an_empty_view_says_what_is_under_way_and_why_it_failed(frame: ViewFrame) -> None:
    frame.set_request(Request("Search", "It takes a while", ResultKey("x", int)))
    lacks = Lack("measurement", "Search")
    frame.set_data(ViewData("Nothing has been measured.", (), lacks=lacks))
    assert frame.under_way.isHidden()
    frame.show_measuring(0.4)
    assert frame.under_way.isVisible()
    assert frame.under_way.text() == "“Search” is under way: 40 %"
    assert frame.title_bar.statement.whole() == "“Search” is under way: 40 %"
    frame.show_measuring(-1.0)
    assert "waits until" in frame.under_way.text()
    frame.show_measuring(None)
    frame.set_failure("this checkpoint has no tokenizer")
    assert "gave no result: this checkpoint has no tokenizer" in frame.under_way.text()
    assert "no tokenizer" in frame.title_bar.statement.whole()
    frame.set_failure("")
    assert frame.under_way.isHidden()
    # A view that shows something says it beside that, in sentences.
    frame.set_data(ViewData("Three points.", ()))
    frame.set_failure("No prompt file is open.")
    assert frame.title_bar.statement.whole() == (
        "“Search” gave no result: No prompt file is open. Three points."
    )
    frame.set_failure("")
    frame.set_data(ViewData("Three points.", ()))
    frame.show_measuring(0.5)
    assert frame.under_way.isHidden()
    assert frame.title_bar.statement.whole() == "“Search” is under way: 50 %. Three points."
