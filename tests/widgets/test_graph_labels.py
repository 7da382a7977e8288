"""Labels of nodes where there is little room: a number is never cut off."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QFont, QFontMetricsF

from loopscope.widgets.views.graph.painting import fitted_label


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
