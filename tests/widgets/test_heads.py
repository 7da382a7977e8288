"""The head consistency matrix, driven by mouse and keys."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording

from loopscope.core.selection import Selection
from loopscope.core.views.heads import Data, Options, compute
from loopscope.widgets.kit.theme import sample_map
from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.plots.matrix import Matrix
from loopscope.widgets.views.heads import HeadsView

AT = Selection(recurrence=3, layer=1, head=0)


def data_of(options: Options | None = None, **kwargs: object) -> Data:
    kwargs = {"recurrences": 6, "heads": 3, **kwargs}
    return compute(synthetic_recording(**kwargs), AT, options or Options())


def shown(
    qtbot: QtBot, data: Data, size: tuple[int, int] = (560, 330), at: Selection = AT
) -> HeadsView:
    view = HeadsView()
    qtbot.addWidget(view)
    view.resize(*size)
    view.show_data(data)
    view.show_selection(at, {})
    view.show()
    qtbot.waitExposed(view)
    return view


def colour(matrix: Matrix, point: QPoint) -> tuple[int, int, int]:
    return matrix.grab().toImage().pixelColor(point).getRgb()[:3]


def test_clicking_a_cell_selects_head_and_recurrence(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    with qtbot.waitSignal(view.select_requested) as caught:
        qtbot.mouseClick(view.matrix, Qt.MouseButton.LeftButton, pos=view.matrix.cell_centre(4, 2))
    assert caught.args == [{"layer": 1, "head": 1, "recurrence": 3}]


def test_clicking_a_label_or_a_number_selects_the_head_alone(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    for point in (view.matrix.row_label_centre(2), view.matrix.side_centre(2, 1)):
        with qtbot.waitSignal(view.select_requested) as caught:
            qtbot.mouseClick(view.matrix, Qt.MouseButton.LeftButton, pos=point)
        assert caught.args == [{"layer": 0, "head": 2}]


def test_sorted_rows_are_clicked_as_they_are_shown(qtbot: QtBot) -> None:
    data = data_of(Options(order="consistency"))
    view = shown(qtbot, data)
    layer, head = divmod(int(data.order[0]), 3)
    with qtbot.waitSignal(view.select_requested) as caught:
        qtbot.mouseClick(view.matrix, Qt.MouseButton.LeftButton, pos=view.matrix.cell_centre(0, 1))
    assert caught.args == [{"layer": layer, "head": head, "recurrence": 2}]
    assert view.matrix.cursor_row == list(data.order).index(1 * 3 + 0)


def test_arrow_keys_walk_the_rows_and_stop_at_the_ends(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    asked: list[dict[str, int]] = []
    view.select_requested.connect(asked.append)
    qtbot.keyClick(view, Qt.Key.Key_Down)
    qtbot.keyClick(view, Qt.Key.Key_Up)
    view.show_selection(Selection(recurrence=3, layer=0, head=0), {})
    qtbot.keyClick(view, Qt.Key.Key_Up)
    view.show_selection(Selection(recurrence=3, layer=1, head=2), {})
    qtbot.keyClick(view, Qt.Key.Key_Down)
    assert asked == [{"layer": 1, "head": 1}, {"layer": 0, "head": 2}]


def test_hovering_tells_value_and_formula(qtbot: QtBot) -> None:
    data = data_of()
    view = shown(qtbot, data)
    hovers: list[dict[str, int]] = []
    messages: list[str] = []
    view.hover_changed.connect(hovers.append)
    view.message.connect(messages.append)
    qtbot.mouseMove(view.matrix, view.matrix.cell_centre(4, 2))
    qtbot.waitUntil(lambda: bool(messages))
    hover, message = hovers[-1], messages[-1]
    assert hover == {"layer": 1, "head": 1, "recurrence": 3}
    assert f"{data.values[2, 1, 1]:.3g}" in message
    assert "‖A − A′‖_F" in message
    assert "2604.11791" in message
    with qtbot.waitSignal(view.message) as caught_absent:
        qtbot.mouseMove(view.matrix, view.matrix.cell_centre(4, 0))
    assert "there is no previous recurrence" in caught_absent.args[0]
    with qtbot.waitSignal(view.message) as caught_side:
        qtbot.mouseMove(view.matrix, view.matrix.side_centre(4, 4))
    assert "induction" in caught_side.args[0]
    assert "no token of the prompt occurs again" in caught_side.args[0]


def test_colours_are_bright_for_same_and_hatched_for_absent(qtbot: QtBot) -> None:
    data = data_of()
    view = shown(qtbot, data, at=Selection())
    level = data.measure.brightness(data.values, data.far)[4, 0, 1]
    expected = sample_map("cividis", np.array([level]))[0, :3]
    assert colour(view.matrix, view.matrix.cell_centre(1, 4)) == tuple(int(v) for v in expected)
    image = view.matrix.grab().toImage()
    centre = view.matrix.cell_centre(1, 0)
    around = {
        image.pixelColor(centre + QPoint(dx, dy)).name() for dx in range(6) for dy in range(6)
    }
    assert around >= {LIGHT.panel.lower(), LIGHT.line.lower()}
    blue = {name for name in around if name.startswith("#00")}
    assert not blue


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_cursor_is_outlined_in_the_accent(qtbot: QtBot, theme: object) -> None:
    view = shown(qtbot, data_of())
    view.set_theme(theme)
    cell = view.matrix.layout_.cell(3, 2)
    corner = QPoint(round(cell.center().x()), round(cell.top()))
    assert "#{:02x}{:02x}{:02x}".format(*colour(view.matrix, corner)) == theme.accent.lower()
    view.show_selection(Selection(recurrence=5, layer=1, head=0), {})
    assert (view.matrix.cursor_row, view.matrix.marks.cursor_column) == (3, 4)


def test_statistics_follow_the_cursor(qtbot: QtBot) -> None:
    data = data_of()
    view = shown(qtbot, data)
    assert view.matrix.marks.side_text(3)[0] == f"{data.statistics.entropy[2, 1, 0]:.3f}"
    view.show_selection(Selection(recurrence=6, layer=1), {})
    assert view.matrix.marks.side_text(3)[1] == f"{data.statistics.sink[5, 1, 0]:.3f}"
    assert view.matrix.marks.side_caption == "at recurrence 6"
    view.show_selection(Selection(recurrence=0), {})
    assert set(view.matrix.marks.side_text(3)[:5]) == {"–"}


def test_statistics_are_hidden_when_narrow_or_not_wanted(qtbot: QtBot) -> None:
    assert len(shown(qtbot, data_of()).matrix.layout_.side) == 5
    assert len(shown(qtbot, data_of(), size=(900, 300)).matrix.layout_.side) == 7
    assert shown(qtbot, data_of(), size=(400, 300)).matrix.layout_.side == ()
    assert shown(qtbot, data_of(Options(statistics=False))).matrix.layout_.side == ()


def test_since_and_group_are_told_with_their_formulas(qtbot: QtBot) -> None:
    data = data_of()
    view = shown(qtbot, data, size=(900, 330))
    texts = view.matrix.marks.side_text(4)
    assert texts[5] == data.since_text(1, 1)
    assert texts[6] == data.groups.label(int(data.groups.of[4]))
    said: list[str] = []
    view.message.connect(said.append)
    qtbot.mouseMove(view.matrix, view.matrix.side_centre(4, 5))
    assert said[-1].startswith(f"head 1.1 stable since {texts[5]}, change below 0.05")
    assert "for all q from r to the last" in said[-1]
    qtbot.mouseMove(view.matrix, view.matrix.side_centre(4, 6))
    assert said[-1].startswith(f"group {texts[6]}: heads ")
    assert "1.1" in said[-1]
    assert "average linkage" in said[-1]
    header = view.matrix.side_centre(0, 5)
    header.setY(int(view.matrix.layout_.cells.top()) - 6)
    qtbot.mouseMove(view.matrix, header)
    assert f"correlation with settling {data.stability.r:.3f} (n = {data.stability.n})" in said[-1]
    assert "rank correlation none (" in said[-1]


def test_rows_by_group_are_bracketed_and_named(qtbot: QtBot) -> None:
    data = data_of(Options(order="group", groups=3), heads=6)
    view = shown(qtbot, data, size=(700, 420))
    matrix = view.matrix
    assert [name for _, _, name in matrix.content.bands] == [data.groups.label(i) for i in range(3)]
    plain = shown(qtbot, data_of(Options(groups=3), heads=6), size=(700, 420)).matrix
    assert matrix.layout_.bands.width() > 0
    assert plain.layout_.bands.width() == 0
    # Between two groups a line of the panel's colour crosses the cells.
    first = matrix.content.bands[1][0]
    cell = matrix.layout_.cell(first, 3)
    line = QPoint(round(cell.center().x()), round(cell.top()))
    assert colour(matrix, line) == QColor(LIGHT.panel).getRgb()[:3]
    # A click still goes to the head that the row shows.
    with qtbot.waitSignal(view.select_requested) as caught:
        qtbot.mouseClick(matrix, Qt.MouseButton.LeftButton, pos=matrix.cell_centre(first, 1))
    layer, head = divmod(int(data.order[first]), 6)
    assert caught.args == [{"layer": layer, "head": head, "recurrence": 2}]


def test_hover_from_another_view_marks_row_and_column(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    view.show_selection(AT, {"recurrence": 5})
    assert (view.matrix.marks.hover_row, view.matrix.marks.hover_column) == (None, 4)
    view.show_selection(AT, {"layer": 0, "head": 2})
    assert (view.matrix.marks.hover_row, view.matrix.marks.hover_column) == (2, None)
    view.show_selection(AT, {})
    assert (view.matrix.marks.hover_row, view.matrix.marks.hover_column) == (None, None)


def test_many_heads_scroll_and_the_cursor_stays_in_sight(qtbot: QtBot) -> None:
    data = data_of(n_block=24, heads=16, d=32, recurrences=3)
    view = shown(qtbot, data)
    where = view.matrix.layout_
    assert where.hidden > 0
    assert where.row_height >= 4
    view.show_selection(Selection(recurrence=1, layer=23, head=15), {})
    where = view.matrix.layout_
    assert where.cells.contains(where.cell(383, 0).center())
    with qtbot.waitSignal(view.select_requested) as caught:
        qtbot.mouseClick(
            view.matrix, Qt.MouseButton.LeftButton, pos=view.matrix.cell_centre(380, 1)
        )
    assert caught.args == [{"layer": 23, "head": 12, "recurrence": 2}]
    view.show_selection(Selection(recurrence=1, layer=0, head=0), {})
    assert view.matrix.layout_.offset == 0


@pytest.mark.parametrize("size", [(300, 200), (520, 330), (1600, 1000)])
@pytest.mark.parametrize("recurrences", [1, 12, 200])
def test_everything_fits(qtbot: QtBot, size: tuple[int, int], recurrences: int) -> None:
    view = shown(qtbot, data_of(recurrences=recurrences, tokens=3), size=size)
    where = view.matrix.layout_
    assert where.cells.width() > 0.19 * size[0] or recurrences == 1
    assert where.row_labels.left() >= 0
    assert where.column_labels.bottom() <= size[1]
    assert where.bar.right() + 30 <= size[0]
    assert where.column_width * recurrences == pytest.approx(where.cells.width())


def test_empty_and_cleared(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of(recurrences=0))
    assert "Press Space" in view.matrix.empty_text
    view.show_data(data_of())
    assert view.matrix.content is not None
    view.clear()
    assert view.matrix.content is None
    view.show_selection(AT, {"recurrence": 2})
    qtbot.mouseClick(view.matrix, Qt.MouseButton.LeftButton)
    view.grab()


def test_filtered_rows_are_clicked_and_walked_as_they_are_shown(qtbot: QtBot) -> None:
    data = data_of(Options(layer=1))
    view = shown(qtbot, data)
    assert view.matrix.content.row_labels == ("1.0", "1.1", "1.2")
    asked: list[dict[str, int]] = []
    view.select_requested.connect(asked.append)
    qtbot.mouseClick(view.matrix, Qt.MouseButton.LeftButton, pos=view.matrix.cell_centre(2, 1))
    assert asked.pop() == {"layer": 1, "head": 2, "recurrence": 2}
    # The cursor on a head that is left out: no row is outlined, an arrow leads to one that is not.
    view.show_selection(Selection(recurrence=3, layer=0, head=1), {"layer": 0, "head": 2})
    assert view.matrix.cursor_row is None
    qtbot.keyClick(view, Qt.Key.Key_Down)
    qtbot.keyClick(view, Qt.Key.Key_Up)
    assert asked == [{"layer": 1, "head": 0}, {"layer": 1, "head": 2}]
    none = shown(qtbot, data_of(Options(layer=9)))
    assert "None of the 6 heads" in none.matrix.empty_text
