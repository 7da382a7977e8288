"""The beat of a bench: 60 frames a second while anything is under way, two while nothing is."""

from __future__ import annotations

import threading
from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer

# A frame draws one thing (one view's data, or one view's marks), so that no frame is long.
FRAME_MS = 16
# At rest nothing can happen that nobody asks for; who asks calls `wake`. The slow beat catches
# what does not, such as a window that comes back from another desktop.
REST_MS = 500
# Frames between two looks whether all is at rest, which cost more than an idle frame.
LOOK = 16


class Pulse(QObject):
    """Calls ``frame`` again and again, seldom once ``at_rest`` has been true for a while."""

    def __init__(
        self, frame: Callable[[], None], at_rest: Callable[[], bool], parent: QObject
    ) -> None:
        super().__init__(parent)
        self._frame, self._at_rest = frame, at_rest
        self._beats = 0
        self._home = threading.get_ident()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._beat)
        self._timer.start(FRAME_MS)

    @property
    def resting(self) -> bool:
        """Whether the slow beat is on."""
        return self._timer.interval() == REST_MS

    def wake(self) -> None:
        """Beat fast again: something was asked for. In another thread it does nothing.

        Not even ask Qt, whose object for a thread of Python's ends with that thread.
        """
        if threading.get_ident() != self._home:
            return
        self._beats = 0
        if self.resting:
            self._timer.setInterval(FRAME_MS)

    def stop(self) -> None:
        """Stop beating."""
        self._timer.stop()

    def _beat(self) -> None:
        self._frame()
        self._beats += 1
        if self._beats % LOOK:
            return
        if not self._at_rest():
            self.wake()
        elif not self.resting and self._beats >= 2 * LOOK:
            self._timer.setInterval(REST_MS)
