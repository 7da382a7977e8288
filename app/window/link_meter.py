"""What travels between this window and the machine that has the model, in the status line."""

from __future__ import annotations

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QMainWindow

from loopscope.app.bench.bench import Bench
from loopscope.core.labels import size
from loopscope.core.run.elsewhere import elsewhere
from loopscope.widgets.kit.plain_text import PlainLabel, plain_tip

# Milliseconds between two looks; what comes in a second is taken over these.
LOOK = 1000


class LinkMeter(PlainLabel):
    """Bytes of rows and results that came, and how fast; hidden while the model is here.

    Signals
    -------
    looked()
        Once a second.
    """

    looked = Signal()

    def __init__(self, bench: Bench, window: QMainWindow) -> None:
        super().__init__()
        self.setParent(window)
        self._bench, self._before = bench, 0
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK)
        self._timer.timeout.connect(self.refresh)
        self.setVisible(False)

    def follow(self) -> None:
        """Look once a second while the model is elsewhere."""
        there = elsewhere(self._bench.session.status.loaded) is not None
        if there != self._timer.isActive():
            self._before = 0
            self._timer.start() if there else self._timer.stop()
        self.setVisible(there)
        if there:
            self.refresh()

    def end(self) -> None:
        """Stop looking: the bench is closing."""
        self._timer.stop()

    def refresh(self) -> None:
        """Show what came until now."""
        self.looked.emit()
        there = elsewhere(self._bench.session.status.loaded)
        if there is None:
            return
        came, per_second = there.travelled, there.travelled - self._before
        self._before = came
        if there.lost:
            self.setText(f"{there.place}: not connected, {size(came)} came")
        else:
            pace = f", {size(per_second)}/s" if per_second else ""
            self.setText(f"from {there.place}: {size(came)}{pace}")
        self.setToolTip(
            plain_tip(
                f"Rows and results that came from {there.place} since it was opened, without what "
                f"the protocol adds (some hundred bytes an answer).\n{there.link_words}"
            )
        )
