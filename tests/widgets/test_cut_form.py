"""The form of cuts by mouse and keys: every kind, what it asks, what it makes, why it cannot."""

from __future__ import annotations

from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QCheckBox, QComboBox, QLineEdit, QSpinBox, QWidget
from pytestqt.qtbot import QtBot
from recordings import architecture

from loopscope.core.interventions.base import END, FOREVER, Intervention, Source
from loopscope.core.interventions.registry import KINDS
from loopscope.core.interventions.states import Noise, Replace
from loopscope.core.selection import Selection
from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.runs.cut_form import NO_RUN, CutForm
from loopscope.widgets.runs.runs_panel import RunsPanel

LEFT, Key = Qt.MouseButton.LeftButton, Qt.Key
AT = Selection(recurrence=4, layer=1, head=1, token=3, tokens=(0, 2))
# Of each kind: the settings it asks for, and which of where, tokens and source it shows.
ASKS: dict[str, tuple[set[str], set[str]]] = {
    "noise": ({"size", "seed"}, {"layer", "tokens"}),
    "zero": (set(), {"layer", "tokens"}),
    "mean": (set(), {"layer", "tokens"}),
    "replace": (set(), {"layer", "tokens", "source", "source_recurrence"}),
    "ablate head": ({"head"}, set()),
    "freeze head": ({"head", "held"}, set()),
    "drop injection": (set(), set()),
    "skip": (set(), set()),
    "repeat": ({"times"}, set()),
    "scale": ({"factor", "part"}, set()),
    "borrow": ({"of"}, set()),
    "perturb": ({"size", "seed", "anew"}, set()),
}


@pytest.fixture
def form(qtbot: QtBot) -> CutForm:
    holder = QWidget()
    qtbot.addWidget(holder)
    form = CutForm(holder)
    holder.resize(420, 380)
    form.resize(420, 380)
    holder.show()
    form.set_theme(LIGHT)
    form.show_place(architecture(), 6, AT)
    form.show_sources([(7, "run 1"), (9, "branch 1")])
    form.made = []
    form.branch_requested.connect(form.made.append)
    form.holder = holder  # else it would be collected
    return form


def pick(qtbot: QtBot, combo: QComboBox, value: object) -> None:
    """Choose an entry with the keyboard, as a user would."""
    combo.setFocus()
    index = combo.findData(value)
    assert index >= 0
    QTest.keyClick(combo, Key.Key_Home)
    for _ in range(index):
        QTest.keyClick(combo, Key.Key_Down)
    assert combo.currentIndex() == index
    combo.activated.emit(index)


def control(form: CutForm, name: str) -> Any:
    assert form._form is not None
    return form._form.controls[name]


def made(form: CutForm, qtbot: QtBot) -> Intervention:
    qtbot.mouseClick(form.button, LEFT)
    assert form.made
    return form.made[-1]


def test_every_kind_is_in_the_table() -> None:
    assert set(ASKS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_shows_its_own_fields_and_makes_its_cut(
    form: CutForm, qtbot: QtBot, kind: str
) -> None:
    form.make_source = lambda run, r, layer: Source(
        token_ids=(1,) * 6, prompt="p", recurrence=r, layer=layer
    )
    pick(qtbot, form.kind, kind)
    settings, places = ASKS[kind]
    assert set(form._form.controls if form._form else ()) == settings
    for name in ("layer", "tokens", "source", "source_recurrence"):
        assert getattr(form, name).isVisibleTo(form) == (name in places), name
    assert KINDS[kind].help in form.kind.toolTip()
    if kind == "borrow":  # a layer that borrows its own weights would do nothing
        assert form.button.isEnabled() == (form.cut().of != 1)
    cut = made(form, qtbot)
    assert type(cut) is KINDS[kind]
    assert (cut.recurrence, cut.last) == (4, 4)
    if KINDS[kind].sites:
        assert cut.layer == 1
    assert form.words.text().lower().startswith(cut.action().lower())
    if "head" in settings:
        assert cut.head == 1


@pytest.mark.parametrize("kind", KINDS)
def test_lasting_goes_on_to_the_end(form: CutForm, qtbot: QtBot, kind: str) -> None:
    form.make_source = lambda run, r, layer: Source(
        token_ids=(1,) * 6, prompt="p", recurrence=r, layer=layer
    )
    pick(qtbot, form.kind, kind)
    form.lasting.setFocus()
    QTest.keyClick(form.lasting, Key.Key_Space)
    assert form.lasting.isChecked()
    assert "and on" in form.words.text()
    assert made(form, qtbot).last == FOREVER


def test_numbers_are_taken_while_they_are_typed_and_what_is_none_is_said(
    form: CutForm, qtbot: QtBot
) -> None:
    size = control(form, "size")
    assert isinstance(size, QLineEdit)
    size.selectAll()
    QTest.keyClicks(size, "0.25")
    assert form.words.text() == "Noise of 0.25 (seed 0) at recurrence 4, layer 1"
    assert form.button.isEnabled()
    QTest.keyClicks(size, "e")
    assert form.words.text() == "Size has to be a number from 0 to 1e+06."
    assert not form.button.isEnabled()
    assert form.words.palette().windowText().color().name().upper() == LIGHT.warning
    assert not form.branch()  # as Ctrl+B would
    assert form.made == []
    QTest.keyClicks(size, "1")
    assert "noise of 2.5" in form.words.text().lower()
    size.selectAll()
    QTest.keyClick(size, Key.Key_Delete)
    assert not form.button.isEnabled()
    QTest.keyClicks(size, "0.5")
    seed = control(form, "seed")
    assert isinstance(seed, QSpinBox)
    seed.setFocus()
    QTest.keyClick(seed, Key.Key_Up)
    assert made(form, qtbot) == Noise(recurrence=4, last=4, layer=1, size=0.5, seed=1)


def test_where_and_which_tokens(form: CutForm, qtbot: QtBot) -> None:
    pick(qtbot, form.layer, "end")
    pick(qtbot, form.tokens, "cursor")
    assert form.words.text() == "Noise of 0.1 (seed 0) at recurrence 4, end, token 3"
    cut = made(form, qtbot)
    assert (cut.layer, cut.tokens) == (END, (3,))
    pick(qtbot, form.tokens, "selected")
    assert made(form, qtbot).tokens == (0, 2)
    pick(qtbot, form.tokens, "all")
    assert made(form, qtbot).tokens == ()


def test_it_follows_the_cursor(form: CutForm, qtbot: QtBot) -> None:
    pick(qtbot, form.kind, "ablate head")
    form.show_place(architecture(), 6, Selection(recurrence=2, layer=0, head=0))
    assert (made(form, qtbot).recurrence, form.made[-1].layer, form.made[-1].head) == (2, 0, 0)
    head = control(form, "head")
    head.setFocus()
    QTest.keyClick(head, Key.Key_Up)
    assert made(form, qtbot).head == 1
    QTest.keyClick(head, Key.Key_Up)  # the block has two heads
    assert not form.button.isEnabled()
    assert "head" in form.words.text()
    form.show_place(architecture(), 6, Selection(recurrence=0))
    assert form.words.text() == "Layers run from recurrence 1 on: move the cursor there (Right)."


def test_at_the_start_the_state_can_be_cut_and_other_problems_keep_their_words(
    form: CutForm, qtbot: QtBot
) -> None:
    form.show_place(architecture(), 6, Selection(recurrence=0))
    assert form.words.text() == "Noise of 0.1 (seed 0) at the initial state"
    assert made(form, qtbot).layer == END
    pick(qtbot, form.kind, "replace")
    assert "has no state there" in form.words.text()
    assert not form.button.isEnabled()


def test_without_a_run_it_says_so(form: CutForm) -> None:
    form.show_place(None, 0, Selection())
    assert form.words.text() == NO_RUN
    assert not form.button.isEnabled()


def test_the_source_of_a_replaced_state(form: CutForm, qtbot: QtBot) -> None:
    asked: list[tuple[int, int, int]] = []

    def source(run: int, r: int, layer: int) -> Source | None:
        asked.append((run, r, layer))
        return Source(token_ids=(1,) * 6, prompt="p", recurrence=r, layer=layer) if r < 5 else None

    form.make_source = source
    pick(qtbot, form.kind, "replace")
    pick(qtbot, form.source, 9)
    form.source_recurrence.setFocus()
    QTest.keyClick(form.source_recurrence, Key.Key_Up)
    QTest.keyClick(form.source_recurrence, Key.Key_Up)
    assert asked[-1] == (9, 2, 1)
    cut = made(form, qtbot)
    assert isinstance(cut, Replace)
    assert cut.source.recurrence == 2
    form.source_recurrence.setValue(5)
    assert "has no state there; choose another run or recurrence" in form.words.text()
    assert not form.button.isEnabled()
    # Runs that come and go keep the choice while it is there.
    form.show_sources([(9, "renamed"), (11, "run 3")])
    assert form.source.currentData() == 9
    form.show_sources([(11, "run 3")])
    assert form.source.currentData() == 11


def test_a_choice_and_a_flag_are_taken(form: CutForm, qtbot: QtBot) -> None:
    pick(qtbot, form.kind, "scale")
    part = control(form, "part")
    assert isinstance(part, QComboBox)
    pick(qtbot, part, part.itemData(1))
    assert made(form, qtbot).part == part.itemData(1)
    pick(qtbot, form.kind, "perturb")
    anew = control(form, "anew")
    assert isinstance(anew, QCheckBox)
    before = made(form, qtbot).anew
    anew.setFocus()
    QTest.keyClick(anew, Key.Key_Space)
    assert made(form, qtbot).anew != before
    # A kind that is gone back to is as it was left.
    pick(qtbot, form.kind, "zero")
    pick(qtbot, form.kind, "perturb")
    assert made(form, qtbot).anew != before


def test_labels_stand_in_one_column_and_colours_follow_the_theme(form: CutForm) -> None:
    for kind in ("noise", "perturb", "freeze head"):
        form.kind.setCurrentIndex(form.kind.findData(kind))
        form._show_kind()
        QApplication.processEvents()
        fields = [form.kind, *form._form.controls.values()]
        lefts = {
            w.mapTo(form, w.rect().topLeft()).x() for w in fields if not isinstance(w, QCheckBox)
        }
        assert max(lefts) - min(lefts) <= 1, kind
    form.set_theme(DARK)
    assert form.words.palette().windowText().color().name().upper() == DARK.muted


def test_the_button_stays_in_sight_in_a_low_panel(qtbot: QtBot) -> None:
    panel = RunsPanel()
    qtbot.addWidget(panel)
    panel.set_theme(LIGHT)
    panel.resize(800, 180)
    panel.show()
    QApplication.processEvents()
    assert panel.splitter.orientation() == Qt.Orientation.Horizontal
    button = panel.form.button
    assert panel.rect().contains(button.mapTo(panel, button.rect().center()))
    assert button.height() >= button.sizeHint().height()
    panel.resize(360, 800)
    QApplication.processEvents()
    assert panel.splitter.orientation() == Qt.Orientation.Vertical
    assert abs(panel.form.height() - panel.form.whole_height) <= 8
    assert panel.form.lasting.visibleRegion().boundingRect().height() == panel.form.lasting.height()
    # Where the user puts the handle it stays.
    panel.splitter.moveSplitter(200, 1)
    QApplication.processEvents()
    panel.resize(360, 840)
    QApplication.processEvents()
    assert panel.list.height() < 250
    assert panel.rect().contains(button.mapTo(panel, button.rect().center()))


@pytest.mark.parametrize("kind", KINDS)
def test_no_field_has_to_be_scrolled_to_sideways(qtbot: QtBot, form: CutForm, kind: str) -> None:
    form.resize(300, 420)  # the narrowest that a dock gives it at 1366 pixels
    pick(qtbot, form.kind, kind)
    QApplication.processEvents()
    bar = form.area.horizontalScrollBar()
    assert bar.maximum() == 0, f"{form.fields.minimumSizeHint().width()} pixels wanted"
