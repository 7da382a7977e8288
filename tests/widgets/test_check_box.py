"""The outline of a check box is seen in either theme."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QApplication

from loopscope.widgets.kit.check_box import CheckBox
from loopscope.widgets.kit.theme import apply_theme
from loopscope.widgets.palette import THEMES


@pytest.mark.parametrize("name", ["light", "dark", "switched"])
def test_the_outline_stands_out_from_the_ground(qtbot, name: str) -> None:
    app = QApplication.instance()
    apply_theme(app, THEMES["light" if name == "switched" else name])
    box = CheckBox("x")
    qtbot.addWidget(box)
    if name == "switched":
        apply_theme(app, THEMES["dark"])
    box.resize(60, 24)
    box.show()
    try:
        qtbot.waitExposed(box)
        QApplication.processEvents()
        image = box.grab().toImage()
        row = [image.pixelColor(x, image.height() // 2).lightness() for x in range(20)]
        assert max(row) - min(row) >= 40
    finally:
        apply_theme(app, THEMES["light"])


def test_the_text_and_the_box_take_the_colours_of_a_theme_that_is_switched_to(qtbot) -> None:
    app = QApplication.instance()
    apply_theme(app, THEMES["light"])
    box = CheckBox("x")
    qtbot.addWidget(box)
    box.show()
    qtbot.waitExposed(box)
    try:
        for name in ("dark", "light", "dark"):
            apply_theme(app, THEMES[name])
            QApplication.processEvents()
            for role in (QPalette.ColorRole.WindowText, QPalette.ColorRole.Base):
                assert box.palette().color(role) == app.palette().color(role), (name, role)
    finally:
        apply_theme(app, THEMES["light"])
