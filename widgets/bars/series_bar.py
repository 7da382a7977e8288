"""The bar of a series: a slider over the training steps of one model's checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtWidgets import QHBoxLayout, QSlider, QToolButton, QWidget

from loopscope.widgets.kit.plain_text import PlainLabel, describe, plain_tip
from loopscope.widgets.kit.theme import number_font
from loopscope.widgets.palette import LIGHT, Theme

# A slider that is dragged asks for what it rests on so long.
REST_MS = 120


class SeriesBar(QWidget):
    """Buttons and slider to go along a series; which one is shown is said beside them.

    Signals
    -------
    member_requested(int)
        The place in the series of the checkpoint to show, from 0.
    """

    member_requested = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.theme: Theme = LIGHT
        self._steps: tuple[int, ...] = ()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.slider.setPageStep(1)
        describe(self.slider, "Training steps", "Drag to another checkpoint of the series")
        self.label = PlainLabel()
        self.label.setFont(number_font())
        self.back, self.on = self._button("‹", "Earlier"), self._button("›", "Later")
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 2, 12, 2)
        for widget in (PlainLabel("training step"), self.back, self.slider, self.on, self.label):
            row.addWidget(widget, 1 if widget is self.slider else 0)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST_MS)
        self._rest.timeout.connect(self._ask)
        self.slider.valueChanged.connect(self._on_moved)
        self.back.clicked.connect(lambda: self._go(-1))
        self.on.clicked.connect(lambda: self._go(1))

    def _button(self, text: str, name: str) -> QToolButton:
        button = QToolButton()
        button.setText(text)
        button.setAutoRaise(True)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        describe(button, f"{name} checkpoint", f"{name} checkpoint of the series")
        return button

    def show_series(self, steps: Sequence[int], at: int) -> None:
        """Show the steps of a series, and which of its checkpoints is shown."""
        self._steps = tuple(steps)
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, len(steps) - 1)
            self.slider.setTickPosition(QSlider.TickPosition.TicksBelow)
            self.slider.setTickInterval(1)
            self.slider.setValue(at)
        self._rest.stop()
        self._name(at)

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours: the style sheet of the window has them."""
        self.theme = theme

    def _name(self, at: int) -> None:
        widest = f"{max(self._steps):,} of {max(self._steps):,}"
        self.label.setMinimumWidth(self.label.fontMetrics().horizontalAdvance(widest))
        self.label.setText(f"{self._steps[at]:,} of {self._steps[-1]:,}")
        self.slider.setToolTip(plain_tip(f"checkpoint {at + 1} of {len(self._steps)}"))
        self.back.setEnabled(at > 0)
        self.on.setEnabled(at < len(self._steps) - 1)

    def _on_moved(self, at: int) -> None:
        self._name(at)
        self._rest.start()

    def _go(self, by: int) -> None:
        self.slider.setValue(self.slider.value() + by)

    def _ask(self) -> None:
        self.member_requested.emit(self.slider.value())
