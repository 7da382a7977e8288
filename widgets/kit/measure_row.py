"""The row over a view that is filled by a measurement: its button, its progress, its Cancel."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from loopscope.widgets.kit.plain_text import PlainLabel, describe, plain_tip
from loopscope.widgets.kit.shortening import ShortLabel

# The share and the seconds from which it can be guessed how long a measurement takes.
LEAST_SHARE, LEAST_SECONDS = 0.03, 2.0
# Pixels that the row asks for at the most.
MOST_WIDE = 220


class MeasureRow(QWidget):
    """The button of a measurement that takes long, its progress and its Cancel.

    Beside it stand the view's settings that are wanted most, and why it cannot be made.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.button, self.cancel = QPushButton(), QPushButton("Cancel")
        self.why = ShortLabel(least=100)
        self._help, self._under_way = "", False
        self.clock: Callable[[], float] = time.monotonic
        self._began: float | None = None
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        describe(self.button, "Measure")
        describe(self.bar, "Progress", "How much of the measurement is done")
        describe(self.cancel, "Cancel", "Give the measurement up")
        self.bar.setMaximumHeight(10)
        self.button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(8, 3, 8, 3)
        self.row.addWidget(self.button)
        self.waits = ShortLabel(least=100)
        self.waits.set_whole("waits until the measurement under way is done")
        self.row.addWidget(self.bar, 1)
        self.row.addWidget(self.waits, 1)
        self.left = PlainLabel()
        self.row.addWidget(self.left)
        self.row.addWidget(self.cancel)
        self.row.addWidget(self.why, 1)
        self.show_progress(None)

    def offer(self, label: str, help: str) -> None:
        """Take the button's words."""
        self._help = help
        self.button.setText(label)
        self.button.setAccessibleName(label)
        # The same whatever it shows, so that docks keep their size while a job runs.
        self.setMinimumWidth(min(self.button.sizeHint().width() + 20, MOST_WIDE))
        self.button.setToolTip(plain_tip(self.why.whole() or help))

    def set_why(self, why: str) -> None:
        """Say why the measurement cannot be made; "" when it can."""
        self.why.set_whole(why)
        self.button.setToolTip(plain_tip(why or self._help))
        self.button.setEnabled(not why and not self._under_way)

    def show_progress(self, share: float | None) -> None:
        """Show how much is done, 0 to 1; below 0 while it waits, None when nothing is under way."""
        self._under_way = under_way = share is not None
        self.button.setEnabled(not under_way and not self.why.whole())
        waits = share is not None and share < 0
        self.waits.setVisible(waits)
        self.bar.setVisible(under_way and not waits)
        self.cancel.setVisible(under_way)
        self.why.setVisible(not under_way)
        if share is not None and not waits:
            self.bar.setValue(round(1000 * share))
        self._show_time_left(share)

    def _show_time_left(self, share: float | None) -> None:
        """Say how long it will take if it goes on as it did since it began."""
        if share is None or share < 0:
            self._began = None
        elif self._began is None:
            self._began = self.clock()
        done = 0.0 if self._began is None or not share else self.clock() - self._began
        known = share is not None and share >= LEAST_SHARE and done >= LEAST_SECONDS
        self.left.setText(f"{time_text(done * (1 / share - 1))} left" if known and share else "")
        self.left.setVisible(known)


def time_text(seconds: float) -> str:
    """A time as far ahead as can be guessed: "20 s", "3 min"."""
    if seconds < 55:
        return f"{max(5, 5 * math.ceil(seconds / 5))} s"
    return f"{math.ceil(seconds / 60)} min"
