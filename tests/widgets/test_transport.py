"""The transport driven by mouse and keys."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from PySide6.QtCore import QByteArray, QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QIcon, QMouseEvent, QWheelEvent
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication, QLineEdit, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from loopscope.widgets.bars.transport import SHORTCUTS, SPEEDS, WORDS, TransportBar
from loopscope.widgets.kit.icons import themed_icon
from loopscope.widgets.palette import DARK, LIGHT

LEFT = Qt.MouseButton.LeftButton
NONE = Qt.KeyboardModifier.NoModifier
SIGNALS = (
    "step_recurrence", "step_layer", "play_toggled", "stop_requested", "reset_requested",
    "scrub_requested", "previous_layer", "previous_recurrence", "follow_toggled",
    "speed_changed", "stop_at_settling_toggled",
)  # fmt: skip

ICONS = Path(__file__).parents[2] / "resources" / "icons"
NAMES = sorted(path.stem for path in ICONS.glob("*.svg"))


class Desk:
    def __init__(self, qtbot: QtBot, width: int = 1280) -> None:
        self.qtbot, self.window, self.bar = qtbot, QWidget(), TransportBar()
        self.line = QLineEdit()
        layout = QVBoxLayout(self.window)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line)
        layout.addWidget(self.bar)
        qtbot.addWidget(self.window)
        self.window.resize(width, 80)
        self.told: list[tuple[object, ...]] = []
        for name in SIGNALS:
            signal = getattr(self.bar, name)
            signal.connect(lambda *args, name=name: self.told.append((name, *args)))
        self.window.show()
        qtbot.waitExposed(self.window)
        self.run()

    def run(
        self,
        latest: int = 12,
        cursor: int = 7,
        trained: int = 10,
        playing: bool = False,
        following: bool = False,
        done: int | None = None,
    ) -> None:
        self.bar.show_run(latest, cursor, trained, playing, following, done, 2)

    def click(self, name: str) -> None:
        self.qtbot.mouseClick(self.bar.buttons[name], LEFT)

    def at(self, recurrence: float) -> QPoint:
        scrub = self.bar.scrub
        return QPointF(scrub.x_of(recurrence), scrub.groove_y).toPoint()


@pytest.fixture
def desk(qtbot: QtBot) -> Desk:
    return Desk(qtbot)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("to_start", ("scrub_requested", 0)),
        ("previous_layer", ("previous_layer",)),
        ("previous_recurrence", ("previous_recurrence",)),
        ("play", ("play_toggled", True)),
        ("step_recurrence", ("step_recurrence",)),
        ("step_layer", ("step_layer",)),
        ("to_end", ("follow_toggled", True)),
        ("stop", ("stop_requested",)),
        ("stop_at_settling", ("stop_at_settling_toggled", True)),
        ("reset", ("reset_requested",)),
        ("follow", ("follow_toggled", True)),
    ],
)
def test_each_button_tells_its_signal(desk: Desk, name: str, told: tuple[object, ...]) -> None:
    desk.click(name)
    assert desk.told == [told]


def test_play_becomes_pause_while_playing(desk: Desk) -> None:
    play = desk.bar.buttons["play"]
    shown = play.icon().pixmap(16, 16).toImage()
    desk.run(playing=True)
    assert play.icon().pixmap(16, 16).toImage() != shown
    assert play.toolTip().startswith("Pause")
    desk.click("play")
    assert desk.told == [("play_toggled", False)]
    desk.run(playing=False)
    assert play.toolTip().startswith("Play")


def test_latest_is_a_visible_state(desk: Desk) -> None:
    follow = desk.bar.buttons["follow"]
    desk.run(following=True)
    assert follow.isChecked()
    assert desk.told == []
    desk.run(following=False)  # what the window answers to scrubbing
    assert not follow.isChecked()
    desk.run(following=True)
    desk.click("follow")
    assert desk.told == [("follow_toggled", False)]


def test_dragging_scrubs_among_what_was_run(desk: Desk) -> None:
    scrub = desk.bar.scrub
    desk.qtbot.mousePress(scrub, LEFT, pos=desk.at(3))
    for r in (3.1, 4, 5, 40):
        at = QPointF(desk.at(r))
        event = QMouseEvent(
            QEvent.Type.MouseMove, at, scrub.mapToGlobal(at), Qt.MouseButton.NoButton, LEFT, NONE
        )
        QApplication.sendEvent(scrub, event)
    desk.qtbot.mouseRelease(scrub, LEFT, pos=desk.at(5))
    desk.qtbot.mouseMove(scrub, desk.at(2))
    assert desk.told == [("scrub_requested", r) for r in (3, 4, 5, 12)]


def test_what_was_not_run_cannot_be_gone_to(desk: Desk) -> None:
    desk.run(latest=4, cursor=4, trained=16)
    desk.qtbot.mouseClick(desk.bar.scrub, LEFT, pos=desk.at(12))
    assert desk.told == [("scrub_requested", 4)]


def test_the_wheel_scrubs_one_recurrence(desk: Desk) -> None:
    scrub, at = desk.bar.scrub, QPointF(desk.at(7))
    event = QWheelEvent(
        at, scrub.mapToGlobal(at), QPoint(), QPoint(0, -120), Qt.MouseButton.NoButton, NONE,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(scrub, event)
    assert desk.told == [("scrub_requested", 6)]


def test_the_scale_reaches_the_trained_count_and_beyond(desk: Desk) -> None:
    scrub = desk.bar.scrub
    desk.run(latest=3, trained=12)
    assert scrub.end == 12
    desk.run(latest=30, trained=12)
    assert scrub.end == 30
    image = scrub.grab().toImage()
    y = round(scrub.groove_y - 6)
    plain = image.pixelColor(round(scrub.x_of(20)), y).lightness()
    across = [image.pixelColor(round(scrub.x_of(12)) + dx, y).lightness() for dx in (-1, 0, 1)]
    assert max(abs(mark - plain) for mark in across) > 80
    assert "Trained to R = 12" in scrub.tip_at(scrub.x_of(12))
    assert "r = 20" in scrub.tip_at(scrub.x_of(20))


def test_the_handle_is_the_cursor_in_the_accent(desk: Desk) -> None:
    for theme in (LIGHT, DARK):
        desk.bar.set_theme(theme)
        assert desk.bar.scrub.grab().toImage().pixelColor(desk.at(7)) == QColor(theme.accent)


def test_the_counter_has_figures_of_equal_width(desk: Desk) -> None:
    counter = desk.bar.counter
    assert counter.text == "r =  7 / 12"
    width = counter.sizeHint().width()
    desk.run(latest=12, cursor=11, done=1)
    assert counter.text == "r = 11 / 12"
    assert counter.below == "+ 1 of 2 layers"
    assert counter.sizeHint().width() == width
    small = counter.font()
    small.setPointSizeF(max(6.5, small.pointSizeF() - 2.5))
    assert QFontMetricsF(small).horizontalAdvance(counter.below) <= width
    desk.run(latest=200, cursor=3)
    assert counter.text == "r =   3 / 200"
    assert counter.sizeHint().width() > width


def test_speeds(desk: Desk) -> None:
    speed = desk.bar.speed
    assert [speed.itemData(i) for i in range(speed.count())] == list(SPEEDS)
    speed.setFocus()
    for _ in range(4):
        desk.qtbot.keyClick(speed, Qt.Key.Key_Down)
    assert desk.told == [("speed_changed", s) for s in (8.0, 16.0, 32.0, math.inf)]
    for rate, shown in ((1.0, 1.0), (5.0, 4.0), (32, 32.0), (1e9, math.inf), (math.inf, math.inf)):
        desk.bar.set_speed(rate)
        assert speed.currentData() == shown
    assert len(desk.told) == 4


def test_stop_at_settling_can_be_shown_without_telling(desk: Desk) -> None:
    desk.bar.set_stop_at_settling(True)
    assert desk.bar.buttons["stop_at_settling"].isChecked()
    assert desk.told == []


def test_without_a_run_nothing_steps(desk: Desk) -> None:
    desk.bar.set_enabled(False)
    for name in ("to_start", "play", "step_recurrence", "step_layer", "reset", "follow"):
        desk.click(name)
    desk.qtbot.mouseClick(desk.bar.scrub, LEFT, pos=desk.at(3))
    assert desk.told == []
    desk.bar.set_enabled(True)
    desk.run(cursor=0)
    desk.click("previous_recurrence")
    assert desk.told == []
    desk.click("step_recurrence")
    assert desk.told == [("step_recurrence",)]


def test_buttons_never_hold_the_keyboard_and_take_it_from_text(desk: Desk) -> None:
    desk.window.activateWindow()
    desk.line.setFocus()
    assert desk.line.hasFocus()
    desk.click("step_recurrence")
    assert not desk.line.hasFocus()
    for button in desk.bar.buttons.values():
        assert button.focusPolicy() == Qt.FocusPolicy.NoFocus


def test_tooltips_name_the_keys(desk: Desk) -> None:
    for name, button in desk.bar.buttons.items():
        assert button.toolTip().endswith(f"({SHORTCUTS[name]})")
    assert SHORTCUTS["step_recurrence"] == "Space"
    assert SHORTCUTS["next_layer"] == "Shift+Right"


@pytest.mark.parametrize("width", [1280, 960, 800])
def test_nothing_is_clipped(qtbot: QtBot, width: int) -> None:
    desk = Desk(qtbot, width)
    desk.run(latest=200, cursor=150, trained=32, done=1)
    desk.bar.set_speed(math.inf)
    QApplication.processEvents()
    assert desk.window.width() == width
    assert desk.bar.minimumSizeHint().width() <= 800
    children = [*desk.bar.buttons.values(), desk.bar.scrub, desk.bar.counter, desk.bar.speed]
    for child in children:
        assert child.width() >= child.minimumSizeHint().width()
        assert desk.bar.rect().contains(child.geometry())
    for name, button in desk.bar.buttons.items():
        assert button.width() >= button.sizeHint().width(), name
    assert desk.bar.speed.width() >= desk.bar.speed.sizeHint().width()
    words = {n for n in WORDS if desk.bar.buttons[n].toolButtonStyle().name.endswith("Icon")}
    assert words == (set(WORDS) if width >= 960 else set())


@pytest.mark.parametrize("name", NAMES)
def test_icons_are_crisp_and_take_the_theme(qtbot: QtBot, name: str) -> None:
    icon = themed_icon(name, LIGHT)
    assert max(s.width() for s in icon.availableSizes()) >= 32
    large = icon.pixmap(icon.availableSizes()[0], 2.0).toImage()
    inked = [
        large.pixelColor(x, y) for x in range(large.width()) for y in range(large.height())
        if large.pixelColor(x, y).alpha() > 250
    ]  # fmt: skip
    assert inked
    assert all(c.lightness() < 60 for c in inked)
    dark = themed_icon(name, DARK).pixmap(16, 16).toImage()
    assert dark != icon.pixmap(16, 16).toImage()
    off = icon.pixmap(16, 16, QIcon.Mode.Disabled).toImage()
    assert off != icon.pixmap(16, 16).toImage()


def test_every_icon_is_one_colour_of_the_theme() -> None:
    """A file that names a colour of its own would not be seen on one of the grounds."""
    assert len(NAMES) == 17
    for name in NAMES:
        text = (ICONS / f"{name}.svg").read_text("utf-8")
        assert set(re.findall(r'(?:fill|stroke)="([^"]*)"', text)) <= {"none", "currentColor"}
        assert QSvgRenderer(QByteArray(text.encode())).isValid()
