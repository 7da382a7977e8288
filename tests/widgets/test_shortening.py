"""Sentences give up clauses, then words; a number is never left without what it is of."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from loopscope.widgets.kit.shortening import ShortLabel, shorten

RUN = "27 tokens at the ends of recurrences 0 to 6; PC1 × PC2 hold 34.8 % of it, axes fitted"
MODEL = "bundled:looped  ·  210 k params  ·  1 + 2-layer block + 1  ·  trained to R = 20"


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        (RUN, 200, RUN),
        (RUN, 80, "27 tokens at the ends of recurrences 0 to 6; PC1 × PC2 hold 34.8 % of it …"),
        (RUN, 50, "27 tokens at the ends of recurrences 0 to 6 …"),
        (RUN, 44, "27 tokens at the ends of recurrences …"),  # not "0 to …"
        (RUN, 24, "27 tokens at the ends …"),
        (RUN, 10, ""),  # not "27 …", nor "…"
        (RUN, 0, ""),
        (MODEL, 60, "bundled:looped  ·  210 k params  ·  1 + 2-layer block + 1 …"),
        (MODEL, 40, "bundled:looped  ·  210 k params …"),
        ("Fixed points: search and measure", 20, "Fixed points …"),
        ("median ×0.394 per recurrence", 20, "median …"),
        ("2 points (radius 0.5)", 14, "2 points …"),
        (
            "27 of 27 tokens (100 %) have settled at 1e-2",
            40,
            "27 of 27 tokens (100 %) have settled …",
        ),
        ("token 3.5 is whole", 17, "token …"),
        ("178 k FLOPs per token", 9, ""),  # not "178 k …"
    ],
)
def test_what_is_left_is_whole(text: str, width: int, shown: str) -> None:
    assert shorten(text, width, len) == shown


def test_a_label_shortens_for_its_width_and_its_letters(qtbot: QtBot) -> None:
    label = ShortLabel()
    qtbot.addWidget(label)
    label.set_whole(RUN)
    label.resize(label.fontMetrics().horizontalAdvance(RUN) + 4, 20)
    label.show()
    assert label.text() == RUN
    font = label.font()
    font.setPointSizeF(font.pointSizeF() * 1.4)
    label.setFont(font)
    QApplication.processEvents()
    assert label.text().endswith(" …")
    assert label.fontMetrics().horizontalAdvance(label.text()) <= label.width()
    label.resize(label.width() * 2, 20)
    assert label.text() == RUN == label.whole() == label.toolTip()
