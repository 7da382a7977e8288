"""Labels of nodes where there is little room: a number is never cut off."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QFont, QFontMetricsF

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
