"""The attention pattern view, driven by the mouse."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording

from loopscope.core.selection import Selection
from loopscope.core.views.pattern import Data, Options, compute
from loopscope.widgets.kit.theme import sample_map
from loopscope.widgets.palette import DARK
from loopscope.widgets.views.pattern import PatternView

AT = Selection(recurrence=4, layer=1, head=1, token=2)


def data_of(**kwargs: object) -> Data:
    return compute(synthetic_recording(**{"recurrences": 6, **kwargs}), AT, Options())


def shown(qtbot: QtBot, data: Data, size: tuple[int, int] = (520, 330)) -> PatternView:
    view = PatternView()
    qtbot.addWidget(view)
    view.resize(*size)
    view.show_data(data)
    view.show_selection(AT, {})
    view.show()
    qtbot.waitExposed(view)
    return view


def colour(view: PatternView, row: int, column: int) -> tuple[int, ...]:
    point = view.matrix.cell_centre(row, column)
    return view.matrix.grab().toImage().pixelColor(point).getRgb()[:3]


def mapped(value: float) -> tuple[int, ...]:
    return tuple(int(v) for v in sample_map("cividis", np.array([value]))[0, :3])


def test_the_cursor_picks_the_recurrence(qtbot: QtBot) -> None:
    data = data_of()
    view = shown(qtbot, data)
    assert view.matrix.marks.title == "Head 1.1 at recurrence 4"
    assert colour(view, 4, 1) == mapped(data.patterns[3][4, 1])
    view.show_selection(Selection(recurrence=1, layer=1, head=1, token=0), {})
    assert colour(view, 4, 1) == mapped(data.patterns[0][4, 1])
    assert view.matrix.marks.title == "Head 1.1 at recurrence 1"
    assert view.matrix.cursor_row == 0


def test_entries_that_cannot_be_are_blank(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    assert colour(view, 1, 4) == (255, 255, 255)
    view.set_theme(DARK)
    assert "#{:02x}{:02x}{:02x}".format(*colour(view, 1, 4)) == DARK.panel.lower()


def test_recurrence_zero_is_dimmed_and_says_so(qtbot: QtBot) -> None:
    data = data_of()
    view = shown(qtbot, data)
    view.show_selection(Selection(recurrence=0, layer=1, head=1), {})
    assert "Recurrence 0 has no pattern" in view.matrix.marks.title
    assert view.matrix.marks.dimmed
    assert colour(view, 4, 1) != mapped(data.patterns[0][4, 1])
    view.show_selection(AT, {})
    assert not view.matrix.marks.dimmed


def test_clicking_selects_the_query(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    for point in (view.matrix.cell_centre(3, 1), view.matrix.row_label_centre(3)):
        with qtbot.waitSignal(view.select_requested) as caught:
            qtbot.mouseClick(view.matrix, Qt.MouseButton.LeftButton, pos=point)
        assert caught.args == [{"token": 3}]


def test_hovering_tells_query_key_and_value(qtbot: QtBot) -> None:
    data = data_of()
    view = shown(qtbot, data)
    hovers: list[dict[str, int]] = []
    messages: list[str] = []
    view.hover_changed.connect(hovers.append)
    view.message.connect(messages.append)
    qtbot.mouseMove(view.matrix, view.matrix.cell_centre(4, 1))
    qtbot.waitUntil(lambda: bool(messages))
    hover, message = hovers[-1], messages[-1]
    assert hover == {"token": 4}
    assert f"A[query 4 'e', key 1 'b'] = {data.patterns[3][4, 1]:.3g}" in message
    assert "softmax" in message
    with qtbot.waitSignal(view.message) as later:
        qtbot.mouseMove(view.matrix, view.matrix.cell_centre(1, 4))
    assert "cannot attend" in later.args[0]


def test_a_new_recurrence_does_not_lay_out_again(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of())
    view.grab()
    content = view.matrix.content
    other = compute(synthetic_recording(recurrences=6), Selection(layer=0, head=0), Options())
    view.show_data(other)
    assert colour(view, 4, 1) == mapped(other.patterns[3][4, 1])
    longer = data_of(recurrences=7)
    view.show_data(longer)
    assert view.matrix.content is content
    view.show_selection(Selection(recurrence=7, layer=1, head=1), {})
    assert colour(view, 4, 1) == mapped(longer.patterns[6][4, 1])


def test_long_labels_are_upright_and_thinned(qtbot: QtBot) -> None:
    labels = ["Ġinternationalisation", "a"] * 15
    view = shown(qtbot, data_of(tokens=30, labels=labels), size=(300, 200))
    where = view.matrix.layout_
    assert where.upright
    assert where.row_stride > 1
    assert where.row_labels.width() <= 0.22 * 300
    assert where.column_labels.bottom() <= 200
    assert where.cells.height() > 80


def test_empty(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of(recurrences=0))
    assert "Press Space" in view.matrix.empty_text
    view.show_data(data_of())
    view.clear()
    view.show_selection(AT, {})
    assert view.matrix.content is None


def wheel(view: PatternView, row: int, column: int, steps: int) -> None:
    matrix = view.matrix
    at = QPointF(matrix.cell_centre(row, column))
    event = QWheelEvent(
        at, QPointF(matrix.mapToGlobal(at.toPoint())), QPoint(), QPoint(0, 120 * steps),
        Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(matrix, event)


def test_the_wheel_zooms_into_a_large_pattern(qtbot: QtBot) -> None:
    data = data_of(tokens=60)
    view = shown(qtbot, data)
    wheel(view, 40, 10, 6)
    content = view.matrix.content
    rows, columns = view._slices
    assert rows.start <= 40 < rows.stop
    assert columns.start <= 10 < columns.stop
    assert content.n_rows == content.n_columns == rows.stop - rows.start < 20
    assert content.row_labels == data.labels[rows]
    assert f"queries {rows.start} to {rows.stop - 1}" in view.matrix.marks.title
    # Numbers and clicks are of the tokens in sight.
    row, column = 40 - rows.start, 10 - columns.start
    assert colour(view, row, column) == mapped(data.patterns[3][40, 10])
    with qtbot.waitSignal(view.select_requested, check_params_cb=lambda at: at == {"token": 40}):
        qtbot.mouseClick(
            view.matrix, Qt.MouseButton.LeftButton, pos=view.matrix.cell_centre(row, column)
        )
    wheel(view, row, column, -30)
    assert view.matrix.content.n_rows == 60


def test_shift_and_drag_zoom_into_a_rectangle(qtbot: QtBot) -> None:
    view = shown(qtbot, data_of(tokens=40))
    matrix, left, shift = view.matrix, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier
    qtbot.mousePress(matrix, left, shift, matrix.cell_centre(20, 5))
    qtbot.mouseMove(matrix, matrix.cell_centre(34, 15))
    qtbot.mouseRelease(matrix, left, shift, matrix.cell_centre(34, 15))
    assert view._slices == (slice(20, 35), slice(5, 16))
    view.show_selection(Selection(recurrence=4, layer=1, head=1, token=22), {})
    assert matrix.cursor_row == 2
    view.reset_view()
    assert matrix.content.n_rows == 40


def test_a_broad_head_is_seen_on_its_own_scale(qtbot: QtBot) -> None:
    recording = synthetic_recording(recurrences=3, tokens=30)
    data = compute(recording, AT, Options(scale="own"))
    largest = max(float(p[1:].max()) for p in data.patterns)
    assert data.far == pytest.approx(largest)
    level = data.levels(data.patterns[2])
    np.testing.assert_allclose(level[1:], np.asarray(data.patterns[2][1:], float) / largest)
    log = compute(recording, AT, Options(scale="log"))
    np.testing.assert_allclose(
        log.levels(np.array([[1.0, 1e-2, 1e-4, 1e-9, 0.0]], np.float32)),
        [[1, 0.5, 0, 0, 0]],
        atol=1e-6,
    )
    view = shown(qtbot, log)
    assert view.matrix.content.bar.label == "attention (log scale)"


def test_a_zoom_is_kept_as_a_place_and_taken_up_again(qtbot: QtBot) -> None:
    data = data_of(tokens=60)
    view, again = shown(qtbot, data), shown(qtbot, data)
    assert view.place() == {}
    wheel(view, 40, 10, 6)
    place = view.place()
    assert len(place) == 4
    again.go_to(place)
    assert again._slices == view._slices != (slice(0, 60), slice(0, 60))
    assert again.matrix.content.row_labels == view.matrix.content.row_labels
    for damaged in ({}, place | {"after keys": 61.0}, place | {"first key": float("nan")}):
        again.reset_view()
        again.go_to(damaged)
        assert again.place() == {}
    short = shown(qtbot, data_of(tokens=8))
    short.go_to(place)  # of a longer prompt
    assert short.place() == {}
