"""The recurrence by recurrence map, driven by the mouse."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording

from loopscope.core.selection import Selection
from loopscope.core.views.head_map import Data, Options, compute
from loopscope.widgets.palette import LIGHT
from loopscope.widgets.views.head_map import HeadMapView

AT = Selection(recurrence=3, layer=1, head=1)


def data_of(**kwargs: object) -> Data:
    return compute(synthetic_recording(**{"recurrences": 8, **kwargs}), AT, Options())


def shown(qtbot: QtBot, data: Data) -> HeadMapView:
    view = HeadMapView()
    qtbot.addWidget(view)
    view.resize(520, 330)
    view.show_data(data)
    view.show_selection(AT, {})
    view.show()
    qtbot.waitExposed(view)
    return view


def test_clicking_selects_the_recurrence(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    asked: list[dict[str, int]] = []
    view.select_requested.connect(asked.append)
    for point in (view.matrix.cell_centre(1, 5), view.matrix.row_label_centre(1)):
        qtbot.mouseClick(view.matrix, Qt.MouseButton.LeftButton, pos=point)
    assert asked == [{"recurrence": 6}, {"recurrence": 2}]


def test_the_cross_is_in_the_accent(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    where, image = view.matrix.layout_, view.matrix.grab().toImage()
    on_row = QPoint(round(where.column(6).center().x()), round(where.row(2).top()))
    on_column = QPoint(round(where.column(2).left()), round(where.row(6).center().y()))
    # A line one pixel wide lies on either side of a fractional edge.
    for point, across in ((on_row, QPoint(0, 1)), (on_column, QPoint(1, 0))):
        near = {image.pixelColor(point + across * k).name() for k in (-1, 0, 1)}
        assert LIGHT.accent.lower() in near
    view.show_selection(Selection(recurrence=0), {"recurrence": 4})
    assert view.matrix.cursor_row is None
    assert view.matrix.marks.hover_column == 3


def test_hovering_tells_the_distance(qtbot: QtBot) -> None:
    data = data_of()
    view = shown(qtbot, data)
    hovers: list[dict[str, int]] = []
    messages: list[str] = []
    view.hover_changed.connect(hovers.append)
    view.message.connect(messages.append)
    qtbot.mouseMove(view.matrix, view.matrix.cell_centre(1, 5))
    qtbot.waitUntil(lambda: bool(messages))
    hover, message = hovers[-1], messages[-1]
    assert hover == {"recurrence": 6}
    assert f"{data.values[1, 5]:.3g}" in message
    assert "recurrence 2 against 6" in message


def test_the_diagonal_is_bright(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    image = view.matrix.grab().toImage()
    assert image.pixelColor(view.matrix.cell_centre(6, 6)).lightnessF() > 0.5
    assert image.pixelColor(view.matrix.cell_centre(7, 0)).lightnessF() < 0.2


def test_two_hundred_recurrences_and_none(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of(recurrences=200, tokens=3))
    assert view.matrix.layout_.hidden == 0
    view.grab()
    view.show_data(data_of(recurrences=0))
    assert "Press Space" in view.matrix.empty_text
