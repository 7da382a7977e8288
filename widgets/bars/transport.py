"""The transport: step, play, stop, scrub."""

from __future__ import annotations

import math
from collections.abc import Callable

from PySide6.QtCore import QEvent, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QColor, QResizeEvent
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QToolButton,
    QWidget,
)
from typing_extensions import override

from loopscope.widgets.bars.scrub_bar import ScrubBar
from loopscope.widgets.bars.transport_counter import Counter
from loopscope.widgets.kit.icons import GRID, themed_icon
from loopscope.widgets.kit.plain_text import describe, plain_tip
from loopscope.widgets.palette import LIGHT, Theme

# Keys of each action; the window binds them, the tooltips name them.
SHORTCUTS: dict[str, str] = {
    "step_recurrence": "Space",
    "step_layer": "Shift+Space",
    "play": "P",
    "stop": "S",
    "previous_recurrence": "Left",
    "next_recurrence": "Right",
    "previous_layer": "Shift+Left",
    "next_layer": "Shift+Right",
    "to_start": "Home",
    "to_end": "End",
    "reset": "R",
    "stop_at_settling": "T",
    "follow": "L",
}
TIPS: dict[str, str] = {
    "to_start": "Cursor to the initial state, r = 0",
    "previous_recurrence": "Cursor one recurrence back; nothing is recomputed",
    "previous_layer": "Cursor one layer back; nothing is recomputed",
    "play": "Play on from where it was paused",
    "pause": "Pause; playing goes on from here",
    "step_layer": "Run one layer of the recurrent block",
    "step_recurrence": "Run the recurrent block once more, to the end of the recurrence",
    "to_end": "Cursor to the latest recurrence, and follow it",
    "stop": "Stop stepping",
    "stop_at_settling": "End playing when every token has settled at the settling view's tolerance",
    "reset": "Run again from r = 0",
    "follow": "The cursor follows the latest recurrence; scrubbing back ends it",
}
# Words beside the icons of a wide bar.
WORDS = {"step_layer": "layer", "step_recurrence": "step", "stop_at_settling": "stop at settling"}
# Pixels of the scrub bar that words beside the icons leave.
LEAST_SCRUB = 140
# Buttons that run something.
STEPS = ("play", "step_layer", "step_recurrence", "reset")
SPEEDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, math.inf)


class TransportBar(QWidget):
    """Buttons, scrub bar, counter, "latest" and speed.

    Signals
    -------
    step_recurrence(), step_layer(), play_toggled(bool), stop_requested(), reset_requested()
        What to run.
    scrub_requested(int), previous_layer(), previous_recurrence(), follow_toggled(bool)
        Where the cursor is to go; nothing is run.
    speed_changed(float)
        Recurrences a second while playing; infinity for as fast as it goes.
    stop_at_settling_toggled(bool)
        Whether playing ends by itself.
    """

    step_recurrence = Signal()
    step_layer = Signal()
    play_toggled = Signal(bool)
    stop_requested = Signal()
    reset_requested = Signal()
    scrub_requested = Signal(int)
    previous_layer = Signal()
    previous_recurrence = Signal()
    follow_toggled = Signal(bool)
    speed_changed = Signal(float)
    stop_at_settling_toggled = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = LIGHT
        self._playing = False
        self._enabled = True
        self._why_no_steps = ""
        self._cursor = -1
        # From which width on there are words, and for which letters that was measured.
        self._wide, self._wide_for = 0, ("", 0)
        self._least = QSize()
        self.buttons: dict[str, QToolButton] = {}
        self.scrub = ScrubBar()
        describe(self.scrub, "Recurrences", "Drag to move the cursor; with Shift, what views show")
        self.counter = Counter()
        self.speed = QComboBox()
        self._make_buttons()
        self._make_speed()
        self._lay_out()
        self.scrub.scrub_requested.connect(self._on_scrubbed)
        self.set_theme(LIGHT)
        self.show_run(0, 0, 0, False, True, None, 1)

    # ---- making ----
    def _make_buttons(self) -> None:
        actions = {
            "to_start": lambda: self.scrub_requested.emit(0),
            "previous_recurrence": self.previous_recurrence.emit,
            "previous_layer": self.previous_layer.emit,
            "play": lambda: self.play_toggled.emit(not self._playing),
            "step_layer": self.step_layer.emit,
            "step_recurrence": self.step_recurrence.emit,
            "to_end": lambda: self.follow_toggled.emit(True),
            "stop": self.stop_requested.emit,
            "stop_at_settling": lambda: self.stop_at_settling_toggled.emit(
                self.buttons["stop_at_settling"].isChecked()
            ),
            "reset": self.reset_requested.emit,
            "follow": lambda: self.follow_toggled.emit(self.buttons["follow"].isChecked()),
        }
        for name, act in actions.items():
            button = QToolButton()
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.setAutoRaise(True)
            button.setIconSize(QSize(GRID, GRID))
            button.setMinimumSize(28, 28)
            button.setAccessibleName(TIPS[name])
            button.clicked.connect(lambda _=False, act=act: self._do(act))
            self.buttons[name] = button
            self._set_tip(name, TIPS[name])
        for name, text in WORDS.items():
            self.buttons[name].setText(text)
        self.buttons["stop_at_settling"].setCheckable(True)
        follow = self.buttons["follow"]
        follow.setText("latest")
        follow.setAutoRaise(False)
        follow.setCheckable(True)
        follow.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)

    def _make_speed(self) -> None:
        for speed in SPEEDS:
            text = "as fast as it goes" if math.isinf(speed) else f"{speed:g} / s"
            self.speed.addItem(text, speed)
        self.speed.setToolTip("Recurrences a second while playing")
        describe(self.speed, "Speed")
        self.speed.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.speed.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.speed.setItemData(len(SPEEDS) - 1, "as fast as it goes", Qt.ItemDataRole.ToolTipRole)
        self.set_speed(4.0)
        self.speed.activated.connect(
            lambda _: self._do(lambda: self.speed_changed.emit(self.speed.currentData()))
        )

    def _lay_out(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 2, 8, 2)
        row.setSpacing(2)
        groups = (
            ("to_start", "previous_recurrence", "previous_layer"),
            ("play", "step_layer", "step_recurrence", "to_end"),
            ("stop", "stop_at_settling", "reset"),
        )
        self._rules = []
        for i, group in enumerate(groups):
            if i:
                rule = QFrame()
                rule.setFixedSize(1, 20)
                rule.setAutoFillBackground(True)
                self._rules.append(rule)
                row.addSpacing(3)
                row.addWidget(rule)
                row.addSpacing(3)
            for name in group:
                row.addWidget(self.buttons[name])
        row.addWidget(self.scrub, 1)
        row.addWidget(self.counter)
        row.addWidget(self.buttons["follow"])
        row.addSpacing(4)
        row.addWidget(self.speed)
        self._fit()

    def _set_tip(self, name: str, tip: str) -> None:
        key = SHORTCUTS["play" if name == "pause" else name]
        self.buttons["play" if name == "pause" else name].setToolTip(plain_tip(f"{tip} ({key})"))

    # ---- taking ----
    def show_run(
        self,
        latest: int,
        cursor: int,
        trained: int,
        playing: bool,
        following: bool,
        layer_in_progress: int | None,
        n_layers: int,
        mark: str = "",
    ) -> None:
        """Show where run and cursor are; ``layer_in_progress`` layers of the next are done.

        ``mark`` names the last of them where a number alone does not say where it is.
        """
        part = (layer_in_progress or 0) / max(n_layers, 1)
        self.scrub.show_run(latest, cursor, trained, part)
        self.counter.show_run(latest, cursor, layer_in_progress, n_layers, mark)
        if playing != self._playing:
            self._playing = playing
            self._show_playing()
        if self.buttons["follow"].isChecked() != following:
            self.buttons["follow"].setChecked(following)
        if cursor != self._cursor:
            self._cursor = cursor
            self._show_enabled()

    def set_enabled(self, enabled: bool) -> None:
        """Say whether there is a run; speed, settling and stop always work."""
        if enabled != self._enabled:
            self._enabled = enabled
            self._show_enabled()

    def set_why_no_steps(self, why: str) -> None:
        """Say why nothing can be run, on the buttons that would; "" where it can."""
        if why == self._why_no_steps:
            return
        self._why_no_steps = why
        self._show_enabled()
        for name in STEPS:
            self._set_tip(name, why or TIPS[name])

    def set_speed(self, rate: float) -> None:
        """Show the speed nearest to ``rate`` (more than any: as fast as it goes); emits nothing."""
        finite = SPEEDS[:-1]
        nearest = min(finite, key=lambda speed: abs(speed - rate))
        self.speed.setCurrentIndex(SPEEDS.index(math.inf if rate > 2 * finite[-1] else nearest))

    def set_stop_at_settling(self, on: bool) -> None:
        """Show whether playing ends by itself; emits nothing."""
        with QSignalBlocker(self.buttons["stop_at_settling"]):
            self.buttons["stop_at_settling"].setChecked(on)
        self.buttons["stop_at_settling"].update()

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours and draw the icons anew."""
        self.theme = self.scrub.theme = self.counter.theme = theme
        for name, button in self.buttons.items():
            if name != "follow":
                button.setIcon(themed_icon(name, theme))
        self._show_playing()
        for rule in self._rules:
            palette = rule.palette()
            palette.setColor(palette.ColorRole.Window, QColor(theme.line))
            rule.setPalette(palette)
        self.scrub.update()
        self.counter.update()

    # ---- what the user does ----
    def _do(self, act: Callable[[], None]) -> None:
        """Run ``act``, and leave a text field: Space means step from here on."""
        if isinstance(QApplication.focusWidget(), QLineEdit):
            self.window().setFocus()
        act()

    def _on_scrubbed(self, recurrence: int) -> None:
        self._do(lambda: self.scrub_requested.emit(recurrence))

    # ---- showing ----
    def _show_playing(self) -> None:
        name = "pause" if self._playing else "play"
        self.buttons["play"].setIcon(themed_icon(name, self.theme))
        self._set_tip(name, TIPS[name])

    def _show_enabled(self) -> None:
        always = {"stop", "stop_at_settling"}
        back = {"to_start", "previous_recurrence", "previous_layer"}
        for name, button in self.buttons.items():
            if name not in always:
                back_there = name not in back or self._cursor > 0
                barred = bool(self._why_no_steps) and name in STEPS
                button.setEnabled(self._enabled and back_there and not barred)
        self.scrub.setEnabled(self._enabled)
        self.counter.setEnabled(self._enabled)

    def _fit(self) -> None:
        """Words beside the icons, and the long speeds, only where there is room."""
        if self._wide_for != (key := (self.font().key(), self.counter.sizeHint().width())):
            self._wide_for = key
            self._dress(wide=True)
            layout = self.layout()
            assert layout is not None
            others = layout.sizeHint().width() - self.scrub.sizeHint().width()
            self._wide = others + LEAST_SCRUB
            self._dress(wide=False)
            layout.activate()
            self._least = layout.minimumSize()
        self._dress(wide=self.width() >= self._wide)

    @override
    def minimumSizeHint(self) -> QSize:
        """Without the words: they may not keep the window from becoming narrower."""
        return self._least

    def _dress(self, *, wide: bool) -> None:
        styles = Qt.ToolButtonStyle
        style = styles.ToolButtonTextBesideIcon if wide else styles.ToolButtonIconOnly
        for name in WORDS:
            self.buttons[name].setToolButtonStyle(style)
        fastest = "as fast as it goes" if wide else "fastest"
        last = self.speed.count() - 1
        if self.speed.itemText(last) != fastest:
            self.speed.setItemText(last, fastest)
            # The box keeps the least width of its longest text so far until its style changes.
            QApplication.sendEvent(self.speed, QEvent(QEvent.Type.StyleChange))

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit the words."""
        self._fit()
        super().resizeEvent(event)
