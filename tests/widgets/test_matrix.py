"""The painted grid and the matrix on it: what a pixel is, what is drawn, what is averaged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from text_boxes import overlaps, texts_of

from loopscope.widgets.kit.theme import colour_map, sample_map
from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.plots.cell_images import (
    ROWS,
    coloured,
    draw_cells,
    image_of,
    one_colour,
    paint_over,
)  # fmt: skip
from loopscope.widgets.plots.matrix import Matrix
from loopscope.widgets.plots.matrix_layout import Bar, Content, Marks, bar_ticks
from loopscope.widgets.plots.painted_grid import NOWHERE, GridLayout
from loopscope.widgets.plots.ticks import nice_step

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def content(rows: int = 8, columns: int = 5, **changes: object) -> Content:
    made = Content(
        rows, columns, "title", "rows", "columns", tuple(map(str, range(rows))),
        tuple(map(str, range(columns))), Bar("bar", bar_ticks(0.0, 1.0)),
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def shown(qtbot: QtBot, rows: int = 8, columns: int = 5, **changes: object) -> Matrix:
    matrix = Matrix()
    qtbot.addWidget(matrix)
    matrix.resize(520, 400)
    matrix.show()
    matrix.show_content(content(rows, columns, **changes), np.full((rows, columns), 0.5))
    return matrix


def grey(values: np.ndarray) -> QImage:
    rgba = np.full((*values.shape, 4), 255, np.uint8)
    rgba[..., :3] = values[..., None]
    return image_of(rgba)


def drawn(image: QImage, width: int, height: int) -> np.ndarray:
    """Reds of ``image`` drawn into this many pixels."""
    out = QImage(width, height, QImage.Format.Format_RGBA8888)
    out.fill(QColor("black"))
    painter = QPainter(out)
    draw_cells(painter, QRectF(0, 0, width, height), image, 1.0)
    painter.end()
    return np.array(out.constBits()).reshape(height, width, 4)[..., 0].astype(int)


# ---- colours ----
@pytest.mark.parametrize("name", ["viridis", "cividis", "magma", "diverging"])
def test_the_table_of_colours_is_the_map(name: str) -> None:
    levels = np.random.default_rng(0).random((40, 50))
    exact = colour_map(name).map(levels, mode="byte").astype(int)
    assert np.abs(sample_map(name, levels) - exact).max() <= 1
    ends = colour_map(name).map(np.array([0.0, 1.0]), mode="byte")
    np.testing.assert_array_equal(sample_map(name, np.array([-3.0, 7.0])), ends)
    assert sample_map(name, np.array(0.5)).shape == (4,)


def test_what_is_not_known_is_transparent_and_weak_cells_are_marked() -> None:
    rgba = coloured(np.array([[0.0, np.nan], [np.inf, 1.0]]), "cividis")
    np.testing.assert_array_equal(rgba[..., 3], [[255, 0], [0, 255]])
    image = one_colour(np.array([[True, False]]), QColor(9, 8, 7, 150))
    assert image.pixelColor(0, 0).getRgb() == (9, 8, 7, 150)
    assert image.pixelColor(1, 0).alpha() == 0


def test_many_rows_are_coloured_as_each_alone() -> None:
    levels = np.random.default_rng(1).random((3 * ROWS - 5, 7))
    levels[ROWS + 3, 2], levels[0, 0] = np.nan, np.inf
    rgba = coloured(levels, "viridis")
    for row, own in enumerate(levels):
        np.testing.assert_array_equal(rgba[row], coloured(own[None], "viridis")[0])
    over = levels > 0.5
    paint_over(rgba, over, QColor(9, 8, 7))
    assert (rgba[over] == (9, 8, 7, 255)).all()
    np.testing.assert_array_equal(rgba[~over], coloured(levels, "viridis")[~over])


def test_cells_smaller_than_a_pixel_are_averaged() -> None:
    """One white cell of ten a pixel is a tenth of white there, wherever in the ten it is."""
    for odd in (1500, 1503, 1507, 1509):
        row = np.zeros((1, 3000), np.uint8)
        row[0, odd] = 255
        pixels = drawn(grey(row), 300, 4)[2]
        assert pixels[150] == pytest.approx(25.5, abs=2)
        assert pixels.sum() == pytest.approx(25.5, abs=3)
    columns = drawn(grey(np.tile([[0], [255]], (500, 1)).astype(np.uint8)), 3, 100)
    assert columns == pytest.approx(np.full((100, 3), 127.5), abs=3)


def test_cells_larger_than_a_pixel_keep_their_edges() -> None:
    pixels = drawn(grey(np.array([[0, 255, 0, 255]], np.uint8)), 40, 5)
    np.testing.assert_array_equal(pixels[2], np.repeat([0, 255, 0, 255], 10))


# ---- marks ----
def pixels_of(matrix: Matrix, row: int, column: int) -> set[int]:
    picture = matrix.grab().toImage()
    rect = matrix.where.cell(row, column).adjusted(3, 3, -3, -3).toRect()
    return {
        picture.pixel(x, y)
        for x in range(rect.left(), rect.right())
        for y in range(rect.top(), rect.bottom())
    }


def test_exactly_the_weak_cells_are_hatched(qtbot: QtBot) -> None:
    matrix = shown(qtbot)
    weak = np.zeros((8, 5), bool)
    weak[2:6, 1] = weak[7, 3] = True
    matrix.show_marks(Marks(weak=weak))
    for row in range(8):
        for column in range(5):
            colours = pixels_of(matrix, row, column)
            assert (len(colours) > 1) == weak[row, column], (row, column)
    matrix.show_marks(Marks(weak=np.ones((2, 2), bool)))  # of another matrix
    assert len(pixels_of(matrix, 0, 0)) == 1


def test_marks_are_given_as_a_whole_and_do_not_change(qtbot: QtBot) -> None:
    matrix = shown(qtbot)
    with pytest.raises(dataclasses.FrozenInstanceError):
        matrix.marks.cursor_row = 3  # type: ignore[misc]
    plain = matrix.grab().toImage()
    matrix.show_marks(Marks(cursor_row=3, cursor_column=2, hover_row=1, path=((0, 0), (7, 4)),
                            dots=((5, 1),), title="another", dimmed=True))  # fmt: skip
    assert matrix.grab().toImage() != plain
    matrix.show_marks(Marks())
    assert matrix.grab().toImage() == plain


def test_the_cursor_has_the_accent_and_the_pointer_its_own(qtbot: QtBot) -> None:
    for theme in (LIGHT, DARK):
        matrix = shown(qtbot)
        matrix.set_theme(theme)
        matrix.show_marks(Marks(cursor_row=3, cursor_column=2, hover_row=6, hover_column=4))
        picture = matrix.grab().toImage()
        for (row, column), colour in (((3, 2), theme.accent), ((6, 4), theme.hover)):
            corner = matrix.where.cell(row, column).topLeft().toPoint()
            near = {picture.pixelColor(corner + QPoint(12, d)).name().upper() for d in (-1, 0, 1)}
            assert colour.upper() in near


# ---- places ----
def test_every_pixel_of_a_cell_is_that_cell(qtbot: QtBot) -> None:
    matrix = shown(qtbot)
    for row in range(8):
        for column in range(5):
            rect = matrix.where.cell(row, column)
            for at in (rect.center(), rect.topLeft() + QPointF(0.6, 0.6)):
                assert matrix.place_at(at) == ("cell", row, column)
    assert matrix.place_at(QPointF(matrix.row_label_centre(4))) == ("row", 4, -1)
    below = QPointF(matrix.where.column(3).center().x(), matrix.where.column_labels.center().y())
    assert matrix.place_at(below) == ("column", -1, 3)
    assert matrix.place_at(matrix.where.bar.center()) == ("bar", -1, -1)
    assert matrix.place_at(QPointF(-5, -5)) == NOWHERE
    matrix.show_empty("nothing")
    assert matrix.place_at(rect.center()) == NOWHERE
    with pytest.raises(ValueError, match="empty"):
        matrix.cell_centre(0, 0)


def test_layout_and_pixels_agree() -> None:
    where = GridLayout(QRectF(10, 20, 100, 60), 12.0, 25.0, 18.0, 60.0)
    assert where.cell(3, 2) == QRectF(60, 38, 25, 12)
    assert where.cell(3, 1, 2) == QRectF(35, 38, 50, 12)
    assert where.whole(10) == QRectF(10, 2, 100, 120)
    # Row 1 is half out of sight; the sixth from it is cut.
    assert where.rows_in_sight(10) == range(1, 7)
    assert [where.row_at(y, 10) for y in (19.9, 20.0, 25.9, 26.0, 79.9, 80.0)] == [
        -1,
        1,
        1,
        2,
        6,
        -1,
    ]
    assert where.row_at(70, 4) == -1
    assert [where.column_at(x, 4) for x in (9.9, 10, 34.9, 35, 109.9, 110)] == [-1, 0, 0, 1, 3, -1]


def turn(widget: Matrix, by: int) -> None:
    event = QWheelEvent(
        QPointF(200, 100), QPointF(200, 100), QPoint(), QPoint(0, by), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(widget, event)


def test_rows_scroll_and_the_cursor_is_followed(qtbot: QtBot) -> None:
    matrix = shown(qtbot, rows=500, scrolls=True)
    assert matrix.where.hidden > 0
    turn(matrix, -240)
    assert matrix.where.offset == 120
    matrix.show_marks(Marks(cursor_row=490))
    assert matrix.where.row(490).bottom() <= matrix.where.cells.bottom() + 1
    turn(matrix, 1200)
    before = matrix.where.offset
    matrix.show_marks(Marks(cursor_row=490, hover_row=2))  # it does not go back for a pointer
    assert matrix.where.offset == before
    matrix.scroll_to_top()
    assert matrix.where.offset == 0


def test_rows_that_scroll_are_never_thinner_than_four_pixels(qtbot: QtBot) -> None:
    for rows in (200, 500):
        where = shown(qtbot, rows=rows, scrolls=True).where
        assert where.row_height == 4.0
        assert where.hidden == pytest.approx(4.0 * rows - where.cells.height())


def test_a_cursor_that_was_set_before_the_first_show_is_in_sight(qtbot: QtBot) -> None:
    matrix = Matrix()
    qtbot.addWidget(matrix)
    matrix.resize(520, 400)
    matrix.show_content(content(500, 5, scrolls=True), np.zeros((500, 5)))
    matrix.show_marks(Marks(cursor_row=490))
    matrix.show()
    assert matrix.where.row(490).bottom() <= matrix.where.cells.bottom() + 1


# ---- ticks ----
@pytest.mark.parametrize(
    ("least", "step"), [(0.7, 1.0), (1.0, 1.0), (1.3, 2.0), (2.2, 5.0), (7.0, 10.0), (0.021, 0.05)]
)
def test_steps_are_one_two_or_five(least: float, step: float) -> None:
    assert nice_step(least) == pytest.approx(step)
    assert nice_step(1000 * least) == pytest.approx(1000 * step)


def test_a_bar_of_a_distance_has_the_same_at_its_bright_end() -> None:
    ticks = {text: level for level, text in bar_ticks(8.0, 0.0)}
    assert ticks["0"] == 1.0
    assert ticks["8"] == 0.0
    assert ticks["4"] == 0.5


@pytest.mark.parametrize("height", [120, 260, 280, 330])
@pytest.mark.parametrize("cursor", [3, 10, 11])
def test_no_row_that_has_the_room_goes_without_a_label(
    qtbot: QtBot, height: int, cursor: int
) -> None:
    names = tuple(f"row {k}" for k in range(12))
    matrix = shown(qtbot, 12, 5, row_labels=names)
    matrix.resize(520, height)
    matrix.show_marks(Marks(cursor_row=cursor))
    boxes = [box for box in texts_of(matrix) if box.text in names]
    assert not overlaps(boxes)
    assert names[cursor] in {box.text for box in boxes}
    if matrix.where.row_stride == 1:
        assert [box.text for box in boxes if box.text in names[:cursor]] == list(names[:cursor])


@pytest.mark.parametrize("height", [90, 130, 400])
def test_the_name_of_the_colour_bar_is_whole_or_not_there(qtbot: QtBot, height: int) -> None:
    bar = Bar("Frobenius distance (log scale)", bar_ticks(0.0, 1.0))
    matrix = shown(qtbot, 8, 5, bar=bar)
    matrix.resize(520, height)
    drawn = {box.text for box in texts_of(matrix) if box.text.startswith("Frob")}
    whole = {90: set(), 130: {"Frobenius distance"}, 400: {bar.label}}
    assert drawn == whole[height]


def test_columns_of_words_are_all_labelled_at_any_width(qtbot: QtBot) -> None:
    names = tuple(f"name {k}" for k in range(8))
    matrix = shown(qtbot, 8, 8, column_labels=names)
    for width in range(300, 700, 3):
        matrix.resize(width, 400)
        assert matrix.where.column_stride == 1, width
