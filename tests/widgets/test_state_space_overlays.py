"""Overlays on the screen: what is drawn, pointed at, clicked and switched off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording, with_results

from loopscope.core.measures.path_independence import PATHS
from loopscope.core.measures.stability import STABILITY
from loopscope.core.run.kept_rows import Capture
from loopscope.core.selection import Selection
from loopscope.core.views.state_space.compute import Options, compute
from loopscope.widgets.palette import DARK, LIGHT, token_colour
from loopscope.widgets.views.state_space.view import StateSpaceView

BARE = Capture(patterns=False, writes=False, readout=False)


class Desk:
    def __init__(self, qtbot: QtBot, options: Options, tokens: tuple[int, ...], n_block: int):
        self.qtbot, self.view = qtbot, StateSpaceView(options)
        self.picked: list[dict[str, int]] = []
        self.hovered: list[dict[str, int]] = []
        self.said: list[str] = []
        self.view.select_requested.connect(self.picked.append)
        self.view.hover_changed.connect(self.hovered.append)
        self.view.message.connect(self.said.append)
        qtbot.addWidget(self.view)
        self.view.resize(640, 420)
        self.view.show()
        self.recording = with_results(
            synthetic_recording(recurrences=6, n_block=n_block, capture=BARE)
        )
        self.data = compute(self.recording, Selection(tokens=tokens), options)
        self.view.show_data(self.data)
        QApplication.processEvents()

    def pixel(self, role: str, row: int, station: int = 0) -> QPoint:
        overlay = next(o for o in self.data.overlays if o.role == role)
        at = self.view.canvas.overlays.places[self.data.overlays.index(overlay)][row, station]
        return self.view.canvas.box.mapViewToScene(QPointF(*at)).toPoint()

    def point_at(self, pixel: QPoint) -> str:
        self.qtbot.mouseMove(self.view.canvas.viewport(), pixel)
        return self.said[-1] if self.said else ""


@pytest.fixture
def make(qtbot: QtBot) -> Callable[..., Desk]:
    def made(
        options: Options | None = None, tokens: tuple[int, ...] = (0, 2), n_block: int = 2
    ) -> Desk:
        return Desk(qtbot, options or Options(), tokens, n_block)

    return made


def test_pointing_at_a_point_tells_what_it_is_and_a_click_takes_its_token(make) -> None:
    desk = make()
    at = desk.pixel("unstable", 1)
    said = desk.point_at(at)
    assert said.startswith("token 2 'c', unstable fixed point 2, relative residual 2.0e-06")
    assert desk.hovered[-1] == {"token": 2}
    desk.qtbot.mouseClick(desk.view.canvas.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert desk.picked == [{"token": 2}]
    desk.point_at(desk.view.canvas.box.sceneBoundingRect().topLeft().toPoint() + QPoint(2, 2))
    assert desk.said[-1] == ""
    assert desk.hovered[-1] == {}


def test_a_path_tells_its_start_and_takes_its_recurrence(make) -> None:
    desk = make(Options(show_points=False, modes=0, show_starts=True))
    at = desk.pixel("run", 0, 3)
    assert desk.point_at(at).startswith("token 0 'a', the run from another start, random, seed 1")
    desk.qtbot.mouseClick(desk.view.canvas.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert desk.picked == [{"token": 0, "recurrence": 3}]


def test_another_run_that_has_not_stepped_yet_draws_nothing(make) -> None:
    """Branched where no layer has run: a path without a station."""
    desk = make(Options(show_points=False, modes=0, show_starts=True))
    path = next(o for o in desk.data.overlays if o.kind == "path")
    none = np.zeros(0, np.int64)
    empty = replace(path, points=path.points[:, :0], recurrences=none, layers=none)
    desk.view.show_data(replace(desk.data, overlays=(empty,)))
    QApplication.processEvents()
    assert desk.view.canvas.overlay_lines.lines == []
    assert desk.view.canvas.overlays.marks() == []


def test_a_segment_is_found_along_its_length(make) -> None:
    desk = make(Options(show_points=False))
    overlay = next(o for o in desk.data.overlays if o.role == "mode")
    place = desk.view.canvas.overlays.places[desk.data.overlays.index(overlay)]
    longest = int(np.linalg.norm(place[:, 1] - place[:, 0], axis=1).argmax())
    at = place[longest, 0] + 0.875 * (place[longest, 1] - place[longest, 0])
    pixel = desk.view.canvas.box.mapViewToScene(QPointF(*at)).toPoint()
    assert "mode 1 of the Jacobian at recurrence 6" in desk.point_at(pixel)


def test_points_of_the_run_win_where_they_are_nearer(make) -> None:
    desk = make()
    place = desk.view.canvas.picture.place[1, 2]
    pixel = desk.view.canvas.box.mapViewToScene(QPointF(*place)).toPoint()
    assert desk.point_at(pixel).startswith("token 2 'c', recurrence ")
    assert "PC1 = " in desk.said[-1]


def test_one_line_item_holds_all_paths_and_segments(make) -> None:
    desk = make(Options(show_starts=True), tokens=())
    lines = desk.view.canvas.overlay_lines.lines
    assert len(lines) == 3  # one start, two parts of a mode, whatever the tokens
    assert len(lines[0].points) == 5 * 7
    assert lines[0].joined.reshape(5, 7)[:, -1].tolist() == [False] * 5
    assert lines[0].pen.width() == 1
    assert lines[0].pen.color().name() == token_colour(0).lower()


def test_looks_of_stable_unstable_and_slow_points(make) -> None:
    marks = make(Options(modes=0)).view.canvas.overlay_marks.marks
    assert [(m.marker, m.fill is None) for m in marks] == [("D", False), ("D", True), ("x", False)]
    layered = make(Options(states="layers"), n_block=3).view.canvas.overlay_marks.marks
    assert [m.marker for m in layered[:3]] == ["o", "s", "^"]
    assert [m.marker for m in layered[6:]] == ["x"] * 3


def test_other_starts_come_when_their_button_is_pressed(make) -> None:
    desk = make(Options(show_points=False, modes=0))
    button, asked = desk.view.starts_button, []
    desk.view.options_changed.connect(asked.append)
    assert desk.view.canvas.overlay_lines.lines == []
    assert button.isVisible()
    assert button.text() == "Show 1 other start"
    desk.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    (wanted,) = asked
    assert wanted.show_starts
    desk.view.show_data(compute(desk.recording, Selection(tokens=(0, 2)), wanted))
    assert len(desk.view.canvas.overlay_lines.lines) == 1
    assert button.text() == "Hide other start"
    button.setFocus()
    desk.qtbot.keyClick(button, Qt.Key.Key_Space)
    assert not asked[-1].show_starts
    # Not kept for every layer: none to offer.
    layered = compute(desk.recording, Selection(tokens=(0, 2)), Options(states="layers"))
    desk.view.show_data(layered)
    assert not button.isVisible()


def test_a_fixed_point_and_the_end_that_leads_there_are_both_seen(make) -> None:
    desk = make(Options(modes=0))
    canvas = desk.view.canvas
    items = canvas.box.childGroup.childItems()
    assert items.index(canvas.overlay_marks) > items.index(canvas.ends)
    filled = [m.size for m in canvas.overlay_marks.marks if m.fill and m.marker != "x"]
    assert filled
    assert max(filled) < min(m.size for m in canvas.ends.marks if m.fill is not None)


def test_the_legend_names_them(make) -> None:
    texts = [e.text for e in make(Options(show_starts=True)).view.legend.entries]
    assert texts[:5] == [
        "random, seed 1", "stable point", "unstable point", "slow point", "mode 1, |λ| 0.67",
    ]  # fmt: skip
    plain = Options(show_points=False, modes=0)
    assert [e.text for e in make(plain).view.legend.entries] == ["start s₀", "end"]


def test_everything_is_in_sight(make) -> None:
    for changes in ({}, {"dimensions": "3-D"}, {"equal_scale": True}):
        options = Options(show_starts=True, **changes)
        desk = make(options)
        area = desk.view.canvas.box.sceneBoundingRect().adjusted(-1, -1, 1, 1)
        for overlay, place in zip(
            desk.data.overlays, desk.view.canvas.overlays.places, strict=True
        ):
            for xy in place.reshape(-1, 2):
                at = desk.view.canvas.box.mapViewToScene(QPointF(*xy))
                assert area.contains(at), overlay.name


def test_a_result_that_arrives_is_drawn_and_one_that_goes_is_not(make) -> None:
    desk = make()
    recording = desk.recording
    results = {key: recording.result(key) for key in (PATHS, STABILITY)}
    recording.results.clear()
    desk.view.show_data(compute(desk.recording, Selection(tokens=(0, 2)), Options()))
    assert desk.view.canvas.overlay_lines.lines == []
    assert desk.view.canvas.overlay_marks.marks == []
    for key, result in results.items():
        recording.keep(key, result)
    desk.view.show_data(compute(desk.recording, Selection(tokens=(0, 2)), Options()))
    assert desk.view.canvas.overlay_marks.marks
    desk.view.clear()
    assert desk.view.canvas.overlay_marks.marks == []


def test_what_has_not_changed_is_not_drawn_again(make) -> None:
    desk = make(Options())
    kept = desk.view.canvas.overlay_lines.lines
    options = Options(basis=desk.data.basis)
    for _ in range(2):
        desk.view.show_data(compute(desk.recording, Selection(tokens=(0, 2)), options))
        again = desk.view.canvas.overlay_lines.lines
        changed, kept = again is not kept, again
    assert not changed
    desk.view.set_theme(DARK)
    assert desk.view.canvas.overlay_lines.lines is not kept
    turning = make(Options(dimensions="3-D"))
    kept = turning.view.canvas.overlay_marks.marks
    turning.view.angle = (10.0, 20.0)
    turning.view._redraw()
    assert turning.view.canvas.overlay_marks.marks is not kept


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("options", [Options(), Options(dimensions="3-D", states="layers")])
def test_themes_and_turning(make, theme, options: Options) -> None:
    desk = make(options)
    desk.view.set_theme(theme)
    assert not desk.view.grab().isNull()
    # What is hollow shows the panel inside, what is filled does not.
    if options.states == "ends":
        image = desk.view.canvas.grab().toImage()
        inside = image.pixelColor(desk.pixel("unstable", 0))
        assert inside.name() == theme.panel.lower()
