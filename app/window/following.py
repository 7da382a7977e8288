"""A recording that another process writes, shown as it grows."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer

from loopscope.app.bench.bench import Bench

if TYPE_CHECKING:
    from loopscope.core.checkpoint.request import LoadRequest
    from loopscope.core.recordings.following import Follower
    from loopscope.core.recordings.parts import SegmentParts
    from loopscope.core.recordings.reader import RecordingFile

# Milliseconds between two looks; what is made is written at least as often.
LOOK_MS = 1000


class Following(QObject):
    """Looks once a second, beside the screen's thread, while the runs are shown without a model.

    model : what loads the model of the runs, where it is there.

    Parameters
    ----------
    grown
        Told what there is of the file when there is more.
    """

    def __init__(
        self,
        bench: Bench,
        grown: Callable[[RecordingFile], None],
        say: Callable[[str], None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._bench, self._grown, self._say = bench, grown, say
        self.model: LoadRequest | None = None
        self._follower: Follower | None = None
        self._timer = QTimer(self, singleShot=True, interval=LOOK_MS)
        self._timer.timeout.connect(self._look)

    def begin(self, file: RecordingFile, growing: SegmentParts) -> None:
        """Follow a file whose runs are shown."""
        from loopscope.core.recordings.following import Follower

        self._follower, self.model = Follower(file, growing), None
        self._timer.start()

    def end(self) -> None:
        """Stop following."""
        self._follower, self.model = None, None
        self._timer.stop()

    def _look(self) -> None:
        follower = self._follower
        if follower is None:
            return

        def looked(future: Future[bool]) -> None:
            if follower is not self._follower or future.cancelled():
                return
            if (error := future.exception()) is not None:
                self._say(str(error))
                self.end()
            else:
                self._take(follower, new=future.result())

        self._bench.in_background(follower.look, looked)

    def _take(self, follower: Follower, *, new: bool) -> None:
        file = follower.file
        if new:
            self._bench.show_grown(file)
            self._grown(file)
        if follower.ended:
            name = file.path.name
            if follower.completed:
                self._say(f"{name} is complete: opened again, it can be gone on with")
            else:
                self._say(f"{name} is written no more: opened again, it is completed")
            self._follower = None
        else:
            self._timer.start()
