"""The computation graph driven by the mouse: clicks, hovers, scrolling, speed."""

from __future__ import annotations

import pytest
from graph_desk import Desk
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QFontMetricsF
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from work import calls

from loopscope.core.selection import Selection
from loopscope.core.views.graph.compute import Options
from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.views.graph.painting import fitted_label

LEFT = Qt.MouseButton.LeftButton


def test_a_click_on_a_copy_moves_the_cursor_there(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 4, Selection(1))
    qtbot.mouseClick(desk.view, LEFT, pos=desk.at("block.1", 2))
    assert desk.picked == [{"recurrence": 2, "layer": 1}]


def test_a_click_in_the_loop_moves_only_the_layer(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 4, Selection(1))
    qtbot.mouseClick(desk.view, LEFT, pos=desk.at("block.1"))
    assert desk.picked == [{"layer": 1}]


def test_a_double_click_opens_a_layer_with_its_norms(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 4, Selection(2))
    qtbot.mouseDClick(desk.view, LEFT, pos=desk.at("block.0"))
    assert desk.options[-1].expanded == ("block.0",)
    opened = Desk(qtbot, 4, Selection(2), desk.options[-1])
    qtbot.mouseMove(opened.view, opened.at("block.0", None, 1))
    # In the loop: the norm at the cursor's recurrence.
    assert f"{opened.data.norm(2, 0, 1):.3g}" in opened.said[-1]
    with pytest.raises(LookupError):
        opened.at("block.1", None, 1)


def test_hovering_says_what_a_node_is_and_marks_the_others(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 4, Selection(1))
    qtbot.mouseMove(desk.view, desk.at("block.1", 2))
    assert desk.hovered[-1] == {"recurrence": 2, "layer": 1}
    node = desk.data.node_by_key["block.1"]
    for word in ("layer 1 at recurrence 2", node.shape, node.formula, "FLOPs"):
        assert word in desk.said[-1]
    before = desk.view.grab().toImage()
    qtbot.mouseMove(desk.view, QPoint(2, 2))
    assert desk.hovered[-1] == {}
    # Copies in both graphs were outlined.
    after = desk.view.grab().toImage()
    for place in (desk.at("block.1"), desk.at("block.1", 1), desk.at("block.1", 2)):
        column = [place.y() - dy for dy in range(1, 26)]
        assert any(before.pixel(place.x(), y) != after.pixel(place.x(), y) for y in column)


def test_the_cursor_is_outlined_in_both_graphs(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 4, Selection(2, 0))
    assert desk.accent_at(desk.at("block.0"))
    assert desk.accent_at(desk.at("block.0", 2))
    assert not desk.accent_at(desk.at("block.0", 1))


def test_the_strip_follows_the_cursor(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 200, Selection(1), Options(fold="never"))
    with pytest.raises(LookupError):
        desk.at("block.0", 150)
    desk.view.show_selection(Selection(150, 0), {})
    place = desk.at("block.0", 150)
    assert desk.view.rect().contains(place)
    desk.qtbot.mouseClick(desk.view, LEFT, pos=place)
    assert desk.picked[-1] == {"recurrence": 150, "layer": 0}


def test_what_fits_has_no_scroll_bar(qtbot: QtBot) -> None:
    """The size of its panel at the start at 1280 x 800, and one a line lower than all."""
    desk = Desk(qtbot, 12, Selection(12), size=(595, 205))
    assert not desk.view.bar.isVisible()
    lowest = next(
        h for h in range(120, 205)
        if not (desk.view.resize(595, h), desk.view.side_bar.isVisible())[1]
    )  # fmt: skip
    desk.view.resize(595, lowest)
    # Without a bar at the foot the picture has its room as well.
    assert desk.view.pixels.viewport == lowest
    assert desk.view.pixels.whole_height <= lowest


def test_columns_have_room_for_the_labels_of_larger_text(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 12, Selection(12), size=(600, 400))
    font = desk.view.font()
    font.setPointSizeF(1.5 * font.pointSizeF())
    desk.view.setFont(font)
    QApplication.processEvents()
    pixels = desk.view.pixels
    strip = pixels.bands[0].strip
    boxes = [b for i in range(strip.end + 1) for b in strip.boxes(i)]
    for box in boxes:
        if box.node.part == "block" and box.node.kind == "layer":
            room = round(pixels.rect_of(box).width() - 6)
            assert fitted_label(box.label, QFontMetricsF(font), room) == box.label


def test_before_a_run_and_before_a_model(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 0, Selection(0))
    assert desk.data.n_copies == 12
    for theme in (LIGHT, DARK):
        desk.view.set_theme(theme)
        assert not desk.view.grab().isNull()
    desk.view.clear()
    qtbot.mouseClick(desk.view, LEFT, pos=QPoint(200, 150))
    assert desk.picked == []


def test_a_thousand_copies_cost_no_more_than_those_in_sight(qtbot: QtBot) -> None:
    desk = Desk(qtbot, 1000, Selection(500), Options(fold="never"))
    pixels = desk.view.pixels
    first, last = pixels.in_sight(pixels.bands[0].strip)
    assert last - first <= 8
    few = Desk(qtbot, 20, Selection(10), Options(fold="never"))
    # In other colours, so that nothing kept of an earlier painting is used.
    for shown in (desk, few):
        shown.view.set_theme(DARK)
    assert calls(desk.view.grab) < 1.2 * calls(few.view.grab)
