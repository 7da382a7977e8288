"""Labels of nodes where there is little room: a number is never cut off."""

from __future__ import annotations

import re

import pytest
from graph_desk import Desk
from PySide6.QtGui import QFont, QFontMetricsF
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording
from text_boxes import texts_of

from loopscope.core.selection import Selection
from loopscope.core.views.graph.compute import Options, compute
from loopscope.widgets.views.graph.painting import fitted_label
from loopscope.widgets.views.graph.short_labels import longest_labels, stem


@pytest.mark.parametrize("part", ["prelude", "layer", "coda"])
@pytest.mark.parametrize("number", [0, 9, 10, 99, 100])
def test_the_number_of_a_layer_stands_wherever_it_fits(qapp, part: str, number: int) -> None:
    metrics = QFontMetricsF(QFont())
    whole = metrics.horizontalAdvance(f"{part} {number}")
    least = metrics.horizontalAdvance(f"pre {number}") + 1
    for room in (whole + 5, whole - 1, (whole + least) / 2, least):
        label = fitted_label(f"{part} {number}", metrics, room)
        assert label.endswith(str(number)), (room, label)
        assert metrics.horizontalAdvance(label) <= room


def test_all_of_a_kind_are_spelled_alike(qapp) -> None:
    """No "coda 9" over "c 10" in one column."""
    metrics = QFontMetricsF(QFont())
    names = [f"coda {number}" for number in range(14)]
    longest = longest_labels([*names, "layer 0", "final norm"])
    assert longest == {"coda ": "coda 13", "layer ": "layer 0", "final norm": "final norm"}
    for room in range(20, 90):
        drawn = [fitted_label(name, metrics, room, longest[stem(name)]) for name in names]
        assert len({stem(label) for label in drawn if label}) <= 1, (room, drawn)


SPELLINGS = (("prelude", "pre"), ("adapter", "cat"), ("embedding", "embed"), ("coda", "c"))


@pytest.mark.slow
@pytest.mark.parametrize(("recurrences", "n_block"), [(6, 2), (40, 12)])
def test_a_name_is_spelled_alike_in_the_loop_and_in_its_unrolling(
    qtbot: QtBot, recurrences: int, n_block: int
) -> None:
    recording = synthetic_recording(recurrences=recurrences, n_block=n_block)
    at, seen = Selection(recurrence=recurrences), set()
    for width in range(260, 1400, 120):
        desk = Desk(qtbot, compute(recording, at, Options()), at, size=(width, 330))
        boxes = texts_of(desk.view)
        names = {stem(box.text).strip() for box in boxes}
        for whole, short in SPELLINGS:
            assert not {whole, short} <= names, (width, names)
        assert any(box.text in ("pre 0", "prelude 0") for box in boxes), width
        seen |= names
        # What is said of sizes gives up clauses: a digit never stands beside what was left out.
        assert not [box.text for box in boxes if re.search(r"\d ?…", box.text)]
        desk.view.close()
    assert "pre" in seen
    assert "prelude" in seen or recurrences == 40  # there is room for it
