"""The list of runs by mouse and keys: it holds rows and asks; it changes nothing itself."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLineEdit, QMenu, QWidget
from pytestqt.qtbot import QtBot

from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.runs.run_list import EFFECT, NAME, RunList, RunRow

LEFT, Key = Qt.MouseButton.LeftButton, Qt.Key
ROWS = (
    RunRow(1, None, "run 1", "ab bc ca", 8),
    RunRow(2, 1, "branch 1", "noise of 0.5 at recurrence 3, end", 8, "0.5", "moved the state"),
    RunRow(3, 2, "branch 2", "state set to zero", 8, "nothing", "did nothing: it was zero"),
    RunRow(4, None, "run 2", "xy yz", 4),
)


class Listening(RunList):
    """A list that keeps what it asks for."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.asked: list[tuple[object, ...]] = []
        self.show_requested.connect(lambda i: self.asked.append(("show", i)))
        self.second_run_requested.connect(lambda i: self.asked.append(("second run", i)))
        self.delete_requested.connect(lambda i: self.asked.append(("delete", i)))
        self.renamed.connect(lambda i, name: self.asked.append(("rename", i, name)))
        self.message.connect(lambda text: self.asked.append(("say", text)))

    def centre(self, run: int) -> QPoint:
        """Pixel in the middle of a run's name."""
        return self.tree.visualItemRect(self.items[run]).center()

    def choose(self, qtbot: QtBot, run: int) -> None:
        """Click on a run."""
        qtbot.mouseClick(self.tree.viewport(), LEFT, pos=self.centre(run))
        assert self.chosen == run


@pytest.fixture
def rows(qtbot: QtBot) -> Listening:
    holder = QWidget()
    qtbot.addWidget(holder)
    rows = Listening(holder)
    rows.resize(500, 320)
    holder.resize(500, 320)
    holder.show()
    rows.set_theme(LIGHT)
    rows.show_runs(ROWS, shown_run=2, second_run=1)
    rows.holder = holder  # else it would be collected
    return rows


def test_buttons_act_on_the_run_that_was_clicked(rows: Listening, qtbot: QtBot) -> None:
    rows.choose(qtbot, 3)
    qtbot.mouseClick(rows.show_button, LEFT)
    qtbot.mouseClick(rows.second_run_button, LEFT)
    qtbot.mouseClick(rows.delete_button, LEFT)
    assert rows.asked == [("show", 3), ("second run", 3), ("delete", 3)]
    assert rows.tree.topLevelItemCount() == 2  # nothing is taken away before the app says so
    rows.choose(qtbot, 1)
    assert rows.second_run_button.text() == "Show alone"
    qtbot.mouseClick(rows.second_run_button, LEFT)
    assert rows.asked[-1] == ("second run", -1)


def test_what_cannot_be_done_is_off_and_its_tooltip_says_why(rows: Listening, qtbot: QtBot) -> None:
    rows.choose(qtbot, 2)
    assert not rows.show_button.isEnabled()
    assert not rows.second_run_button.isEnabled()
    assert "shown already" in rows.show_button.toolTip()
    assert rows.delete_button.isEnabled()
    assert "Ctrl+Z" in rows.delete_button.toolTip()
    assert "F2" in rows.rename_button.toolTip()
    rows.choose(qtbot, 3)
    assert "Enter" in rows.show_button.toolTip()
    rows.show_runs(ROWS[:1], shown_run=1, second_run=-1)
    assert not rows.delete_button.isEnabled()
    assert "only run" in rows.delete_button.toolTip()
    rows.show_runs((), shown_run=-1, second_run=-1)
    assert not any(button.isEnabled() for button in rows.buttons)
    assert rows.chosen == -1


def test_keys(rows: Listening, qtbot: QtBot) -> None:
    rows.choose(qtbot, 1)
    QTest.keyClick(rows.tree, Key.Key_Down)
    QTest.keyClick(rows.tree, Key.Key_Down)
    assert rows.chosen == 3
    QTest.keyClick(rows.tree, Key.Key_Return)
    QTest.keyClick(rows.tree, Key.Key_Delete)
    QTest.keyClick(rows.tree, Key.Key_Backspace)
    assert rows.asked == [("show", 3), ("delete", 3), ("delete", 3)]
    QTest.keyClick(rows.tree, Key.Key_Up)
    QTest.keyClick(rows.tree, Key.Key_Enter)
    assert rows.asked[-1] == ("say", "This run is shown already")


def test_a_double_click_shows(rows: Listening, qtbot: QtBot) -> None:
    rows.choose(qtbot, 4)
    qtbot.mouseDClick(rows.tree.viewport(), LEFT, pos=rows.centre(4))
    assert ("show", 4) in rows.asked


def edit(rows: Listening, qtbot: QtBot, text: str, end: Qt.Key = Key.Key_Return) -> None:
    editor = rows.tree.findChild(QLineEdit)
    assert editor is not None
    editor.selectAll()
    QTest.keyClicks(editor, text)
    QTest.keyClick(editor, end)
    qtbot.waitUntil(lambda: rows.tree.findChild(QLineEdit) is None, timeout=3000)


def test_names_are_edited_in_place(rows: Listening, qtbot: QtBot) -> None:
    rows.choose(qtbot, 1)
    assert rows.items[1].text(NAME) == "○ run 1"
    qtbot.mouseClick(rows.rename_button, LEFT)
    editor = rows.tree.findChild(QLineEdit)
    assert editor is not None
    assert editor.text() == "run 1"  # the mark is no part of the name
    # Keys that act on a run are text here.
    QTest.keyClick(editor, Key.Key_End)
    QTest.keyClick(editor, Key.Key_Backspace)
    assert editor.text() == "run "
    edit(rows, qtbot, "  quiet   one ")
    assert rows.asked == [("rename", 1, "quiet one")]
    QTest.keyClick(rows.tree, Key.Key_F2)
    again = rows.tree.findChild(QLineEdit)
    assert again is not None
    assert again.text() == "run 1"
    edit(rows, qtbot, "   ")
    QTest.keyClick(rows.tree, Key.Key_F2)
    edit(rows, qtbot, "lost", end=Key.Key_Escape)
    assert len(rows.asked) == 1
    assert rows.items[1].text(NAME) == "○ run 1"


def test_the_menu_offers_the_buttons(rows: Listening, qtbot: QtBot) -> None:
    rows.choose(qtbot, 3)
    rows.tree.customContextMenuRequested.emit(rows.centre(3))
    menu = rows.findChild(QMenu)
    assert menu is not None
    assert [a.text() for a in menu.actions()] == ["Show", "Put beside", "Rename", "Delete"]
    assert all(a.isEnabled() for a in menu.actions())
    menu.actions()[3].trigger()
    assert rows.asked == [("delete", 3)]
    menu.close()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    assert rows.findChild(QMenu) is None  # none stays for each that was opened
    rows.tree.customContextMenuRequested.emit(QPoint(5, 300))  # under the last run: no menu
    assert QApplication.activePopupWidget() is None


def test_marks_states_and_effects_are_seen(rows: Listening) -> None:
    names = [rows.items[i].text(NAME) for i in (1, 2, 3, 4)]
    assert names == ["○ run 1", "● branch 1", "branch 2", "run 2"]
    assert rows.items[2].font(NAME).bold()
    assert not rows.items[1].font(NAME).bold()
    assert rows.items[2].parent() is rows.items[1]
    assert rows.items[3].parent() is rows.items[2]
    assert "did nothing" in rows.items[3].toolTip(NAME)
    assert "(second run)" in rows.items[1].toolTip(NAME)
    for theme in (LIGHT, DARK):
        rows.set_theme(theme)
        assert rows.items[3].foreground(EFFECT).color().name().upper() == theme.warning
        assert rows.items[2].foreground(EFFECT).color().name().upper() == theme.text


def test_a_run_that_comes_to_be_shown_is_the_chosen_one(rows: Listening, qtbot: QtBot) -> None:
    assert rows.chosen == 2
    rows.choose(qtbot, 4)
    rows.show_runs(ROWS, shown_run=2, second_run=1)  # a refresh leaves the choice alone
    assert rows.chosen == 4
    more = (*ROWS, RunRow(5, 4, "branch 3", "noise", 4))
    rows.show_runs(more, shown_run=5, second_run=4)
    assert rows.chosen == 5
    rows.show_runs(ROWS, shown_run=4, second_run=-1)
    assert rows.chosen == 4
    assert len(rows.items) == 4


def test_without_a_branch_it_says_how_to_make_one(rows: Listening) -> None:
    assert not rows.hint.isVisible()
    rows.show_runs(ROWS[:1], shown_run=1, second_run=-1)
    assert rows.hint.isVisible()
    assert "Ctrl+B" in rows.hint.text()
    rows.show_runs((), shown_run=-1, second_run=-1)
    assert "no run yet" in rows.hint.text()


def test_a_long_name_leaves_room_for_what_is_different(rows: Listening) -> None:
    long = RunRow(1, None, "a name that goes on and on " * 6, "ab bc ca", 8)
    rows.show_runs((long,), shown_run=1, second_run=-1)
    for width in (500, 300):
        rows.resize(width, 320)
        QApplication.processEvents()
        inside = rows.tree.viewport().width()
        assert rows.tree.columnWidth(NAME) <= 0.5 * inside
        assert sum(rows.tree.columnWidth(i) for i in range(4)) <= inside
