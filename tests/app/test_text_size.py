"""Larger text: all of it, kept, and fields that are seen in the dark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtGui import QColor, QFontDatabase
from PySide6.QtWidgets import QApplication, QLineEdit, QSpinBox
from pytestqt.qtbot import QtBot
from window_desk import press, said, wait

from loopscope.app.window.opening import FirstRun
from loopscope.app.window.settings import TEXT_SIZES
from loopscope.app.window.window import Window
from loopscope.widgets.kit.theme import apply_theme, number_font
from loopscope.widgets.palette import DARK, LIGHT, THEMES
from tests.window_desk import desk


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[Window]:
    with desk() as window:
        window.opening.open("bundled:looped", FirstRun("a b c", 3))
        wait(qtbot, window, 3)
        yield window
        window.settings.text_size = 100
        window.appearance.set_theme(LIGHT)


def sizes(window: Window) -> list[float]:
    """The size of text in a bar, in a title, on an axis, of numbers and in a matrix."""
    frames = window.views.frames
    axis = frames["settling"].view.plot.getPlotItem().getAxis("bottom")
    fonts = (
        window.bars.place.font(), frames["heads"].title_bar.title.font(), axis.label.font(),
        number_font(), frames["heads"].view.matrix.label_font(),
    )  # fmt: skip
    return [font.pointSizeF() for font in fonts]


def test_larger_text_is_larger_everywhere_and_kept(qtbot: QtBot, window: Window) -> None:
    before = sizes(window)
    press(window, "larger_text")
    press(window, "larger_text")
    assert said(window) == "Text at 120 % of the system's size"

    def larger() -> None:
        ratios = [after / b for after, b in zip(sizes(window), before, strict=True)]
        assert min(ratios) >= 1.19, ratios

    qtbot.waitUntil(larger)
    assert window.settings.text_size == 120
    press(window, "usual_text")
    qtbot.waitUntil(lambda: sizes(window) == before)
    system = QFontDatabase.systemFont(QFontDatabase.SystemFont.GeneralFont)
    assert QApplication.font().pointSizeF() == system.pointSizeF()


def test_text_has_a_largest_and_a_smallest_size(window: Window) -> None:
    for command, end in (("larger_text", TEXT_SIZES[1]), ("smaller_text", TEXT_SIZES[0])):
        for _ in range(20):
            press(window, command)
        assert window.settings.text_size == end


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_a_field_has_an_edge_that_is_seen(qtbot: QtBot, theme) -> None:
    """The outline differs in lightness from the ground around it and within it."""
    app = QApplication.instance()
    assert isinstance(app, QApplication)
    apply_theme(app, theme)
    try:
        for field in (QLineEdit(), QSpinBox()):
            qtbot.addWidget(field)
            field.resize(120, 26)
            field.show()
            picture = field.grab().toImage()
            inside = picture.pixelColor(4, 13).lightness()
            edge = [picture.pixelColor(x, 13).lightness() for x in range(3)]
            around = QColor(theme.window).lightness()
            assert max(min(abs(e - inside), abs(e - around)) for e in edge) > 30
    finally:
        apply_theme(app, THEMES["light"])
