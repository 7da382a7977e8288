"""Garbage is collected on the screen's thread, and only there, while a bench is open.

Python collects cycles in whichever thread happens to allocate. A widget in such a cycle would be
destroyed by the model's thread, and a widget that dies in another thread than the screen's takes
the process with it.
"""

from __future__ import annotations

import gc

from PySide6.QtCore import QObject, QTimer

EVERY_MS = 250


class Collector(QObject):
    """Collects on a timer what Python would have collected by itself, by the same thresholds."""

    _open = 0

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)
        self._timer.start(EVERY_MS)
        self._closed = False
        Collector._open += 1
        gc.disable()

    def spare_libraries(self) -> None:
        """Look no more at what is there by now, most of it torch's and Qt's modules.

        To be called when a model is there, so that torch is imported. Without it a full collection,
        due every half minute, holds the screen for a sixth of a second.
        """
        if not gc.get_freeze_count():
            gc.freeze()

    def _look(self) -> None:
        # A generation is due when those before it were collected often enough.
        due = [i for i, (n, most) in enumerate(zip(gc.get_count(), gc.get_threshold(), strict=True))
               if n > most]  # fmt: skip
        if due:
            gc.collect(max(due))

    def close(self) -> None:
        """Leave it to Python again, when this was the last one."""
        if self._closed:
            return
        self._closed = True
        self._timer.stop()
        Collector._open -= 1
        if not Collector._open:
            gc.unfreeze()
            gc.enable()
