"""The state-space plotter driven by the mouse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording

from loopscope.core.measures.projection import turn
from loopscope.core.run.kept_rows import Capture
from loopscope.core.run.recording import Recording
from loopscope.core.run.states import LayerState
from loopscope.core.selection import Selection
from loopscope.core.views.state_space.compute import Data, Options, compute
from loopscope.widgets.palette import DARK, LIGHT
from loopscope.widgets.views.state_space import items, picture
from loopscope.widgets.views.state_space.view import EMPTY, StateSpaceView

BARE = Capture(patterns=False, writes=False, readout=False)
Make = Callable[..., "Desk"]


class Desk:
    """A view with an app around it: options that it asks for are computed and shown."""

    def __init__(self, qtbot: QtBot, recording: Recording, options: Options) -> None:
        self.qtbot, self.recording = qtbot, recording
        self.view = StateSpaceView(options)
        self.asked: list[Options] = []
        self.picked: list[dict[str, int]] = []
        self.hovered: list[dict[str, int]] = []
        self.said: list[str] = []
        self.view.options_changed.connect(self._on_view_options_changed)
        self.view.select_requested.connect(self.picked.append)
        self.view.hover_changed.connect(self.hovered.append)
        self.view.message.connect(self.said.append)
        qtbot.addWidget(self.view)
        self.view.resize(520, 330)
        self.view.show()
        self.run(recording)

    def _on_view_options_changed(self, options: Options) -> None:
        self.asked.append(options)
        self.view.set_options(options)
        self.run(self.recording)

    def run(self, recording: Recording) -> None:
        self.recording = recording
        self.view.show_data(compute(recording, self.view.selection, self.view.options))
        QApplication.processEvents()

    @property
    def data(self) -> Data:
        assert self.view.data is not None
        return self.view.data

    def pixel(self, token: int, station: int) -> QPoint:
        """Where a point is on the canvas, from pyqtgraph's own mapping."""
        assert self.view.canvas.picture is not None
        at = self.view.canvas.picture.place[self.data.tokens.index(token), station]
        return self.view.canvas.box.mapViewToScene(QPointF(*at)).toPoint()

    def click(self, at: QPoint) -> None:
        self.qtbot.mouseClick(self.view.canvas.viewport(), Qt.MouseButton.LeftButton, pos=at)

    def drag(self, start: QPoint, by: QPoint, shift: bool = False) -> None:
        port, button = self.view.canvas.viewport(), Qt.MouseButton.LeftButton
        keys = Qt.KeyboardModifier.ShiftModifier if shift else Qt.KeyboardModifier.NoModifier
        self.qtbot.mousePress(port, button, keys, pos=start)
        for i in range(1, 5):
            at = QPointF(start + by * (i / 4))
            move(port, at, button, keys)
        self.qtbot.mouseRelease(port, button, keys, pos=start + by)


def move(port, at: QPointF, button: Qt.MouseButton, keys: Qt.KeyboardModifier) -> None:
    """A move with a button held, which QTest cannot make."""
    from PySide6.QtCore import QEvent
    from PySide6.QtGui import QMouseEvent

    event = QMouseEvent(
        QEvent.Type.MouseMove, at, port.mapToGlobal(at), Qt.MouseButton.NoButton, button, keys
    )
    QApplication.sendEvent(port, event)


@pytest.fixture
def make(qtbot: QtBot) -> Make:
    def made(options: Options | None = None, **kwargs: object) -> Desk:
        recording = synthetic_recording(capture=BARE, **kwargs)
        return Desk(qtbot, recording, options or Options())

    return made


def test_clicking_a_point_selects_its_recurrence_and_token(make: Make) -> None:
    desk = make()
    desk.click(desk.pixel(3, 1))
    assert desk.picked == [{"recurrence": 1, "token": 3}]


def test_clicking_among_layers_selects_the_layer_too(make: Make) -> None:
    desk = make(Options(states="layers"))
    station = desk.data.station(1, 1)
    assert station is not None
    desk.click(desk.pixel(2, station))
    assert desk.picked == [{"recurrence": 1, "token": 2, "layer": 1}]


def test_clicking_beside_every_point_selects_nothing(make: Make) -> None:
    desk = make()
    area = desk.view.canvas.box.sceneBoundingRect()
    desk.click(area.topLeft().toPoint() + QPoint(2, 2))
    assert desk.picked == []


def test_hovering_previews_a_point_and_says_its_coordinates(make: Make, qtbot: QtBot) -> None:
    desk = make()
    port = desk.view.canvas.viewport()
    qtbot.mouseMove(port, desk.pixel(1, 0))
    assert desk.hovered == [{"recurrence": 0, "token": 1}]
    x, y = desk.data.points[1, 0]
    assert f"token 1 'b', recurrence 0: PC1 = {x:.3g}, PC2 = {y:.3g} (state units)" in desk.said[0]
    assert "v_k · (s − mean)" in desk.said[0]
    qtbot.mouseMove(
        port, desk.view.canvas.box.sceneBoundingRect().topLeft().toPoint() + QPoint(2, 2)
    )
    assert desk.hovered[-1] == {}
    assert desk.said[-1] == ""


def test_the_cursor_mark_is_the_accent_ring_at_the_cursor(make: Make) -> None:
    desk = make()
    desk.view.show_selection(Selection(recurrence=5, token=2), {"recurrence": 2})
    (cursor,), (hover,) = desk.view.canvas.cursor_mark.marks, desk.view.canvas.hover_mark.marks
    np.testing.assert_array_equal(cursor.points, desk.data.points[2, 5][None])
    np.testing.assert_array_equal(hover.points, desk.data.points[2, 2][None])
    assert cursor.pen is not None
    assert hover.pen is not None
    assert cursor.pen.color() == QColor(LIGHT.accent)
    assert hover.pen.color() == QColor(LIGHT.hover)
    assert desk.view.text_overlay.isVisible()
    desk.view.show_selection(Selection(recurrence=5, token=2, head=1), {"head": 1})
    assert desk.view.canvas.hover_mark.marks == []
    desk.view.show_selection(Selection(recurrence=99, token=2), {})
    assert desk.view.canvas.cursor_mark.marks == []


def test_moving_the_cursor_draws_no_trajectory_again(make: Make) -> None:
    desk = make()
    lines, cursor = desk.view.canvas.lines.lines, desk.view.canvas.cursor_lines.lines
    desk.view.show_selection(Selection(recurrence=5), {"recurrence": 1})
    assert desk.view.canvas.lines.lines is lines
    assert desk.view.canvas.cursor_lines.lines is cursor
    desk.view.show_selection(Selection(recurrence=5, token=1), {})
    assert desk.view.canvas.lines.lines is lines
    assert desk.view.canvas.cursor_lines.lines is not cursor


def test_the_same_points_are_not_drawn_twice(make: Make) -> None:
    desk = make(Options(axes="random"))
    lines = desk.view.canvas.lines.lines
    desk.run(desk.recording)
    assert desk.view.canvas.lines.lines is lines


def test_only_the_cursor_token_is_drawn_wide(make: Make) -> None:
    desk = make(tokens=30)
    assert {line.pen.widthF() for line in desk.view.canvas.lines.lines} == {1.0}
    assert len(desk.view.canvas.lines.lines) <= 16
    assert {line.pen.widthF() for line in desk.view.canvas.cursor_lines.lines} == {2.2}
    assert all(line.pen.isCosmetic() for line in desk.view.canvas.lines.lines)


def test_old_recurrences_fade_and_the_newest_does_not(make: Make) -> None:
    alphas = [line.pen.color().alphaF() for line in make().view.canvas.lines.lines]
    assert alphas == sorted(alphas)
    assert alphas[0] < 0.5
    assert alphas[-1] == 1


def test_each_layer_has_its_own_shape_and_the_last_cycle_is_closed(make: Make) -> None:
    desk = make(Options(states="layers"), n_block=3, recurrences=12)
    assert {m.marker for m in desk.view.canvas.ends.marks} == {"o", "s", "^"}
    assert [e.marker for e in desk.view.legend.entries] == ["o", "s", "^"]
    assert [e.text for e in desk.view.legend.entries] == ["layer 0", "layer 1", "layer 2"]
    polygon = desk.view.canvas.cursor_lines.lines[-1]
    cycle = desk.data.points[0, -3:]
    np.testing.assert_array_equal(polygon.points, np.vstack([cycle, cycle[:1]]))
    np.testing.assert_array_equal(polygon.joined, [True, True, True, False])
    assert desk.data.closing[0] <= 0.01
    assert polygon.pen.style() == Qt.PenStyle.SolidLine
    early = make(Options(states="layers"), n_block=3, recurrences=3)
    assert early.view.canvas.cursor_lines.lines[-1].pen.style() == Qt.PenStyle.DashLine


def test_a_state_left_out_breaks_the_line(make: Make) -> None:
    desk = make(tokens=1)
    points = desk.data.points.copy()
    points[0, 4] = np.nan
    desk.view.show_data(replace(desk.data, points=points))
    joined = sum(int(line.joined.sum()) for line in desk.view.canvas.lines.lines)
    assert joined == 12 - 2
    assert all(np.isfinite(line.points).all() for line in desk.view.canvas.lines.lines)


def test_the_basis_is_kept_from_eight_recurrences_on(make: Make) -> None:
    desk = make(recurrences=7)
    assert desk.asked == []
    assert desk.data.provisional
    desk.run(synthetic_recording(capture=BARE, recurrences=20))
    assert len(desk.asked) == 1
    basis = desk.view.options.basis
    assert basis is not None
    assert basis.n_recurrences == 8
    assert desk.data.locked
    desk.run(synthetic_recording(capture=BARE, recurrences=30))
    assert desk.data.basis is basis
    assert len(desk.asked) == 1
    words = "Axes fitted on the ends of recurrences 0 to 8, all 5 tokens"
    assert desk.view.status.toolTip() == words


def test_refit_fits_on_what_is_shown_now_and_stays(make: Make, qtbot: QtBot) -> None:
    desk = make(recurrences=8)
    desk.run(synthetic_recording(capture=BARE, recurrences=20))
    qtbot.mouseClick(desk.view.refit_button, Qt.MouseButton.LeftButton)
    assert desk.asked[-2].basis is None
    basis = desk.view.options.basis
    assert basis is not None
    assert basis.n_recurrences == 20
    assert desk.data.locked
    desk.run(synthetic_recording(capture=BARE, recurrences=30))
    assert desk.data.basis is basis
    desk.view.reset_view()
    assert desk.view.options.basis is not None
    assert desk.view.options.basis.n_recurrences == 8


def test_axes_of_other_states_are_told_of_and_refit_is_a_button(make: Make, qtbot: QtBot) -> None:
    desk = make(recurrences=9)
    assert desk.view.refit_button.autoRaise()
    desk._on_view_options_changed(replace(desk.view.options, states="layers"))
    assert desk.view.status.toolTip().startswith("These axes are of the ends of recurrences")
    assert not desk.view.refit_button.autoRaise()
    qtbot.mouseClick(desk.view.refit_button, Qt.MouseButton.LeftButton)
    assert desk.data.elsewhere == ""
    assert desk.view.refit_button.autoRaise()
    assert desk.view.options.basis is not None
    assert desk.view.options.basis.states == "layers"


def test_a_massive_token_is_left_out_and_put_back_by_one_click(qtbot: QtBot) -> None:
    like = synthetic_recording(capture=BARE)
    start = like.state(0).copy()
    start[2] *= 200
    recording = Recording(like.info, start, BARE)
    for r in range(1, 10):
        state = like.state(r).copy()
        state[2] *= 200
        for layer in range(like.n_layers):
            recording.append_layer(LayerState(r, layer, state))
        recording.append_end(state, None, None)
    desk = Desk(qtbot, recording, Options())
    button = desk.view.massive_button
    assert button.text() == "Leave out token 2"
    assert "× the median norm" in button.toolTip()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert desk.data.tokens == (0, 1, 3, 4)
    assert desk.view.options.basis is not None
    assert 2 not in desk.view.options.basis.tokens
    assert button.text() == "Put token 2 back"
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert desk.data.tokens == (0, 1, 2, 3, 4)


def test_a_new_run_gets_axes_of_its_own(make: Make) -> None:
    desk = make()
    first = desk.view.options.basis
    desk.run(synthetic_recording(capture=BARE, seed=1, labels=list("vwxyz")))
    assert desk.view.options.basis is not first
    assert desk.data.locked
    desk.run(synthetic_recording(capture=BARE, d=32))
    assert desk.data.basis is not None
    assert desk.data.basis.width == 32


def test_dragging_turns_and_the_angle_is_kept(make: Make) -> None:
    desk = make(Options(dimensions="3-D"))
    asked = len(desk.asked)
    scale = desk.view.canvas.box.viewRange()
    middle = desk.view.canvas.box.sceneBoundingRect().center().toPoint()
    desk.drag(middle, QPoint(40, 20))
    assert len(desk.asked) == asked + 1
    assert desk.asked[-1].azimuth == pytest.approx(-60 - 0.5 * 40)
    assert desk.asked[-1].elevation == pytest.approx(25 + 0.5 * 20)
    assert desk.picked == []
    assert desk.view.canvas.box.viewRange() == scale
    points = desk.data.points
    centre = (points.max((0, 1)) + points.min((0, 1))) / 2
    expected = turn(points - centre, -80, 35)[..., :2]
    assert desk.view.canvas.picture is not None
    np.testing.assert_allclose(desk.view.canvas.picture.place, expected, atol=1e-12)
    desk.run(synthetic_recording(capture=BARE, recurrences=14))
    assert desk.view.angle == (-80, 35)


def test_shift_dragging_moves_a_solid_instead_of_turning_it(make: Make) -> None:
    desk = make(Options(dimensions="3-D"))
    before = np.array(desk.view.canvas.box.viewRange())
    asked = len(desk.asked)
    middle = desk.view.canvas.box.sceneBoundingRect().center().toPoint()
    desk.drag(middle, QPoint(60, 0), shift=True)
    after = np.array(desk.view.canvas.box.viewRange())
    assert (after[0] < before[0]).all()
    np.testing.assert_allclose(np.diff(after), np.diff(before))
    assert len(desk.asked) == asked


def test_the_wheel_zooms_until_the_view_is_reset(make: Make) -> None:
    desk = make()
    whole = np.diff(desk.view.canvas.box.viewRange())
    at = desk.view.canvas.box.sceneBoundingRect().center()
    port = desk.view.canvas.viewport()
    event = QWheelEvent(
        at, port.mapToGlobal(at), QPoint(), QPoint(0, 240), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(port, event)
    zoomed = np.diff(desk.view.canvas.box.viewRange())
    assert (zoomed < whole).all()
    desk.run(synthetic_recording(capture=BARE, recurrences=16))
    np.testing.assert_allclose(np.diff(desk.view.canvas.box.viewRange()), zoomed)
    desk.view.reset_view()
    assert (np.diff(desk.view.canvas.box.viewRange()) > zoomed).all()
    assert desk.view.options.basis is not None
    assert desk.view.options.basis.n_recurrences == 8


@pytest.mark.parametrize("dimensions", ["2-D", "3-D"])
def test_every_point_is_inside_the_plot(make: Make, dimensions: str) -> None:
    desk = make(Options(dimensions=dimensions))
    for size in ((300, 200), (520, 330), (1600, 1000)):
        desk.view.resize(*size)
        QApplication.processEvents()
        area = desk.view.canvas.box.sceneBoundingRect()
        assert desk.view.canvas.picture is not None
        pixels = desk.view.canvas.pixels(desk.view.canvas.picture.place).reshape(-1, 2)
        assert all(area.contains(QPointF(*p)) for p in pixels)
        ours = desk.view.canvas.pixels(desk.view.canvas.picture.place[2, 3])
        theirs = desk.pixel(2, 3)
        assert np.abs(ours - (theirs.x(), theirs.y())).max() <= 1


def test_the_picture_fills_its_panel(make: Make) -> None:
    """Of width and height alike, most is between the outermost points."""
    desk = make()
    area = desk.view.canvas.box.sceneBoundingRect()
    assert desk.view.canvas.picture is not None
    pixels = desk.view.canvas.pixels(desk.view.canvas.picture.place).reshape(-1, 2)
    across, up = np.ptp(pixels, axis=0)
    assert across > 0.7 * area.width()
    assert up > 0.7 * area.height()


def test_the_same_scale_holds_on_both_axes_if_asked_for(make: Make) -> None:
    desk = make(Options(equal_scale=True))
    area, box = desk.view.canvas.box.sceneBoundingRect(), desk.view.canvas.box
    (x0, x1), (y0, y1) = box.viewRange()
    assert (x1 - x0) / area.width() == pytest.approx((y1 - y0) / area.height(), rel=0.005)


def test_axis_labels_say_component_and_share_and_shorten_when_small(make: Make) -> None:
    desk = make()
    assert desk.view.canvas.plot.getAxis("bottom").labelText == desk.data.axes[0].label
    assert "%" in desk.data.axes[0].label
    desk.view.resize(300, 200)
    QApplication.processEvents()
    assert desk.view.canvas.plot.getAxis("left").labelText == desk.data.axes[1].short
    assert not desk.view.legend.isVisible()


def test_a_token_that_looks_like_markup_stays_text(make: Make, qtbot: QtBot) -> None:
    desk = make(Options(axes="readout"))
    recording = synthetic_recording(capture=BARE)
    recording.readout_directions.update({i: np.eye(16, dtype=np.float32)[i] for i in (0, 1)})
    recording.label = lambda i: "<b>"
    desk.run(recording)
    assert desk.view.canvas.plot.getAxis("bottom").labelText.startswith("readout of '&lt;b&gt;'")
    assert not desk.view.refit_button.isVisible()


def test_token_colours_are_in_the_legend(make: Make) -> None:
    desk = make(Options(colour="token"))
    assert [e.text for e in desk.view.legend.entries[2:]] == ["0 a", "1 b", "2 c", "3 d", "4 e"]
    assert [e.colour for e in desk.view.legend.entries[2:4]] == ["#0072B2", "#56B4E9"]
    assert desk.view.legend.scale == []
    desk.run(synthetic_recording(capture=BARE, tokens=64))
    assert desk.view.legend.shown_entries()[-1].text.startswith("+ ")


def test_empty_and_cleared_views_say_what_to_do(make: Make) -> None:
    desk = make(recurrences=0)
    assert desk.view.empty_words() == EMPTY
    desk.run(synthetic_recording(capture=BARE))
    assert desk.view.canvas.plot.getAxis("left").isVisible()
    desk.view.clear()
    assert desk.view.empty_words() == EMPTY
    assert desk.view.canvas.lines.lines == []
    assert desk.view.canvas.ends.marks == []
    assert not desk.view.canvas.plot.getAxis("left").isVisible()
    desk.click(QPoint(100, 100))
    assert desk.picked == []


def test_missing_directions_are_told_in_the_middle(make: Make) -> None:
    desk = make(Options(axes="readout"))
    assert desk.view.empty_words() == desk.data.statement
    assert "have not been read from the model yet" in desk.data.statement


def test_the_theme_reaches_marks_and_background(make: Make) -> None:
    desk = make()
    desk.view.show_selection(Selection(recurrence=5), {})
    desk.view.set_theme(DARK)
    (cursor,) = desk.view.canvas.cursor_mark.marks
    assert cursor.pen is not None
    assert cursor.pen.color() == QColor(DARK.accent)
    image = desk.view.grab().toImage()
    assert image.pixelColor(desk.view.width() - 3, desk.view.height() - 3) == QColor(DARK.panel)


def test_what_is_painted_has_the_accent_where_the_cursor_is(make: Make) -> None:
    desk = make()
    desk.view.show_selection(Selection(recurrence=1, token=3), {})
    QApplication.processEvents()
    image = desk.view.canvas.grab().toImage()
    at = desk.pixel(3, 1)
    near = [image.pixelColor(at.x() + dx, at.y()) for dx in range(-10, 11)]
    accent = QColor(LIGHT.accent)
    assert min(abs(c.hue() - accent.hue()) + abs(c.red() - accent.red()) for c in near) < 12


def test_the_transport_keys_stay_with_the_window(make: Make) -> None:
    view = make().view
    assert view.canvas.focusPolicy() == Qt.FocusPolicy.NoFocus
    assert view.refit_button.focusPolicy() == Qt.FocusPolicy.TabFocus


def test_a_cursor_that_moves_neither_stamps_all_marks_again_nor_measures_the_way(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = synthetic_recording(recurrences=12, tokens=2 * items.MANY, capture=BARE)
    every = Selection(tokens=tuple(range(2 * items.MANY)))
    view = StateSpaceView(Options())
    qtbot.addWidget(view)
    view.resize(520, 330)
    view.show()
    view.show_data(compute(recording, every, Options()))
    view.grab()
    stamped: list[int] = []
    real = items._stamp
    monkeypatch.setattr(
        items, "_stamp", lambda m, ratio: stamped.append(len(m.points)) or real(m, ratio)
    )
    monkeypatch.setattr(picture, "colour_positions", lambda data: pytest.fail("measured again"))
    for token in (3, 7):
        view.show_selection(Selection(recurrence=12, token=token), {})
        view.grab()
    assert stamped
    assert max(stamped) < items.MANY
