"""A box of choices: narrow it shortens by meaning, open it is whole."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from loopscope.widgets.kit.choice_box import ChoiceBox

CHOICE = "CKA, debiased: states up to a rotation"


def test_a_narrow_box_leaves_out_whole_clauses(qtbot: QtBot) -> None:
    box = ChoiceBox()
    qtbot.addWidget(box)
    box.addItems(["cosine", CHOICE])
    box.setCurrentIndex(1)
    box.show()
    advance = box.fontMetrics().horizontalAdvance
    seen = []
    for width in range(box.sizeHint().width() + 20, 40, -1):
        box.resize(width, box.height())
        shown = box.shown()
        if shown not in seen:
            seen.append(shown)
    assert seen[:3] == [CHOICE, "CKA, debiased …", "CKA …"]
    assert all(advance(text) <= advance(CHOICE) for text in seen)
    assert box.currentText() == CHOICE


def test_what_is_painted_is_what_is_said(qtbot: QtBot) -> None:
    box, plain = ChoiceBox(), ChoiceBox()
    for each, text in ((box, CHOICE), (plain, "CKA, debiased …")):
        qtbot.addWidget(each)
        each.addItem(text)
        each.resize(150, 26)
        each.show()
    assert box.shown() == "CKA, debiased …"
    assert box.grab().toImage() == plain.grab().toImage()


def test_the_open_list_is_as_wide_as_its_longest_choice(qtbot: QtBot) -> None:
    box = ChoiceBox()
    qtbot.addWidget(box)
    box.addItems(["cosine", CHOICE])
    box.resize(70, 26)
    box.show()
    box.showPopup()
    assert box.view().width() >= box.fontMetrics().horizontalAdvance(CHOICE)
    box.hidePopup()
