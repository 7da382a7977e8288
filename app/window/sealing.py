"""A recording is completed in a thread of its own, with progress; nobody waits for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtWidgets import QProgressBar, QProgressDialog, QWidget

from loopscope.core.errors import Cancelled, LoopscopeError, log_unforeseen, one_line
from loopscope.core.recordings.segments import segments_of

if TYPE_CHECKING:
    from loopscope.core.recordings.writing import RecordingWriter

# Milliseconds between two looks whether it is done.
LOOK_MS = 30
# Seconds that closing a window waits for it before it says what it waits for.
GRACE = 0.4
# Seconds that it may take when the process is told to end.
LAST = 1.0


class Sealing(QObject):
    """Seals one recording; what is not sealed is whole all the same, and sealed when it is opened.

    problem : why it is not sealed, or "".  share : how far it is, 0 to 1.
    segments : where what is not sealed is kept.
    """

    def __init__(self, writer: RecordingWriter, parent: QObject) -> None:
        super().__init__(parent)
        self.name, self.problem, self.share = writer.path.name, "", 0.0
        self.segments = segments_of(writer.path)
        # Whether nobody waits for it any more.
        self.left = False
        self._writer = writer
        self._then: list[Callable[[], None]] = []
        # The process waits for it a moment when it ends, see `app.cli.leaving`.
        self._thread = threading.Thread(target=self._seal, name="loopscope-sealing", daemon=True)
        self._thread.start()
        self._timer = QTimer(self, interval=LOOK_MS)
        self._timer.timeout.connect(self._look)
        self._timer.start()

    def _seal(self) -> None:
        try:
            self._writer.close(self._report)
        except Cancelled:
            self.problem = f"{self.name} is completed when it is opened next"
        except LoopscopeError as error:
            self.problem = str(error)
        except Exception as error:  # the thread's end is waited for
            self.problem = f"{self.name} cannot be completed: {one_line(error)}"
            log_unforeseen("sealing a recording", error)

    def _report(self, share: float) -> None:
        self.share = share
        if self.left:
            raise Cancelled(f"{self.name}: left as it is")

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> bool:
        """Wait at most so long; returns whether it has ended."""
        self._thread.join(seconds)
        return self.done

    def leave(self) -> None:
        """Give it up: the segments hold everything."""
        self.left = True

    def when_done(self, then: Callable[[], None]) -> None:
        """Call ``then`` here once it has ended."""
        self._then.append(then)

    def _look(self) -> None:
        if self.done:
            self._timer.stop()
            waiting, self._then = self._then, []
            for then in waiting:
                then()


class SealingDialog(QProgressDialog):
    """Says in front of a window that closes what it still waits for, and why it failed."""

    def __init__(self, sealing: Sealing, window: QWidget) -> None:
        super().__init__("", "Close now", 0, 1000, window)
        self.setWindowTitle("Loopscope")
        self.setLabelText(
            f"Completing {sealing.name} …\nClosed now, it is completed when it is opened next; "
            "nothing is lost."
        )
        self.setWindowModality(Qt.WindowModality.WindowModal)
        self.setMinimumDuration(0)
        self.setAutoClose(False)
        self.setAutoReset(False)
        self._sealing = sealing
        self.canceled.connect(sealing.leave)
        self._timer = QTimer(self, interval=LOOK_MS)
        self._timer.timeout.connect(self._look)
        self._timer.start()
        self.show()

    def _look(self) -> None:
        self.setValue(int(1000 * self._sealing.share))

    def end(self, then: Callable[[], None]) -> None:
        """Do ``then``; where the file cannot be completed, once the user has read why."""
        self._timer.stop()
        self.canceled.disconnect()
        if not self._sealing.problem or self._sealing.left:
            self.deleteLater()
            then()
            return
        self.canceled.connect(then)
        self.canceled.connect(self.deleteLater)
        self.setCancelButtonText("Close")
        for bar in self.findChildren(QProgressBar):
            bar.hide()
        segments = self._sealing.segments
        kept = (
            f"What was recorded is in {segments.name}, and is completed when the recording is "
            "opened next."
            if segments.exists()
            else f"{segments.name}, which had what was recorded, is gone."
        )
        self.setLabelText(f"{self._sealing.problem}\n{kept}")
        self.show()
