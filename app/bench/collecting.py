"""Garbage is collected on the screen's thread, and only there, while a bench has other threads.

Python collects cycles in whichever thread happens to allocate. A widget in such a cycle would be
destroyed by the model's thread, and a widget that dies in another thread than the screen's takes
the process with it.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import ClassVar

from PySide6.QtCore import QObject, QTimer

from loopscope.core.system import give_back_memory, share_arenas

EVERY_MS = 250


class Collector(QObject):
    """Collects on a timer what Python would have collected by itself, by the same thresholds.

    What a full collection freed is given back to the system.
    """

    # Those whose bench still has a thread, closed or not; none has a parent to die with.
    _working: ClassVar[set[Collector]] = set()
    _spared: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self._ended: Callable[[], bool] | None = None
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)
        self._timer.start(EVERY_MS)
        self._working.add(self)
        gc.disable()
        share_arenas()

    def spare_libraries(self) -> None:
        """Leave what exists now out of every collection, most of it torch's and Qt's modules.

        To be called when a model is there, so that torch is imported. Without it a full collection,
        due every half minute, holds the screen for a sixth of a second.
        """
        if not Collector._spared:  # counting what is frozen walks all of it
            Collector._spared = True
            gc.freeze()

    def close(self, ended: Callable[[], bool] = lambda: True) -> None:
        """Leave it to Python again as soon as the threads have ended, if this was the last one."""
        self._ended = ended
        self._end()

    def _look(self) -> None:
        self._end()
        # A generation is due when those before it were collected often enough.
        due = [i for i, (n, most) in enumerate(zip(gc.get_count(), gc.get_threshold(), strict=True))
               if n > most]  # fmt: skip
        if due:
            gc.collect(max(due))
            if max(due) == len(gc.get_threshold()) - 1:
                threading.Thread(target=give_back_memory, daemon=True).start()

    def _end(self) -> None:
        if self._ended is None or not self._ended() or self not in self._working:
            return
        self._timer.stop()
        self._working.discard(self)
        if not self._working:
            Collector._spared = False
            gc.unfreeze()
            gc.enable()
