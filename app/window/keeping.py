"""The file that the runs of a window are written to, as they are made, until it is completed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtWidgets import QMessageBox, QWidget

from loopscope.app.bench.bench import Bench
from loopscope.core.run.recording import Recording

if TYPE_CHECKING:
    from loopscope.app.window.sealing import Sealing, SealingDialog
    from loopscope.core.recordings.writing import RecordingWriter

# Milliseconds between two looks whether it is still being written.
WATCH_MS = 1000


class Keeping(QObject):
    """Writes the runs of one bench to a file, at most one at a time.

    written : the runs that the file holds, in its order.

    Signals
    -------
    ended()
        Nothing is written any more: the file is completed, or the disk refuses.
    """

    ended = Signal()

    def __init__(self, bench: Bench, say: Callable[[str], None], parent: QWidget) -> None:
        super().__init__(parent)
        self._bench, self._say, self._parent = bench, say, parent
        self._writer: RecordingWriter | None = None
        self.written: list[Recording] = []
        # What was written and is being completed.
        self._sealing: Sealing | None = None
        self._dialog: SealingDialog | None = None
        bench.session.runs_changed.connect(self._follow_tree)
        # The disk may refuse at any time, also when nothing is run any more.
        self._watch = QTimer(self, interval=WATCH_MS)
        self._watch.timeout.connect(self._tell_problem)

    @property
    def path(self) -> Path | None:
        """Of the file that is being written; None without one."""
        return None if self._writer is None else self._writer.path

    def begin(self, path: Path, command: str, begun: tuple[Recording, ...]) -> None:
        """Begin to write; ``begun`` is there already, and ``command`` is what began the runs.

        Raises `LoopscopeError` where the file cannot be written.
        """
        from loopscope.core.recordings.writing import RecordingWriter

        self._writer = RecordingWriter(path, command, begun)
        self.written = list(begun)
        self._watch.start()
        self._follow_tree()

    def _follow_tree(self) -> None:
        """Write new runs; complete the file once the tree is empty, as its model was replaced."""
        runs = [run.stepper.recording for run in self._bench.runs.tree]
        if self._writer is None:
            return
        if not runs:
            self.finish()
        for recording in runs:
            if self._writer is not None and not any(recording is run for run in self.written):
                self._writer.add(recording)
                self.written.append(recording)

    def _tell_problem(self) -> None:
        writer = self._writer
        if writer is None:
            self._watch.stop()
        elif writer.problem:
            self._writer = None
            writer.leave()
            self._say(writer.problem)
            self._warn(writer.problem)
            self.ended.emit()

    def _warn(self, problem: str) -> None:
        """Say it until it was read: whoever left a run to itself must not miss it."""
        box = QMessageBox(
            QMessageBox.Icon.Warning,
            "Loopscope",
            problem[0].upper() + problem[1:],
            QMessageBox.StandardButton.Ok,
            self._parent,
        )
        box.setInformativeText(
            "Where its disk is there, what was written until then opens as a recording; File > "
            "Save the recording… keeps all runs in another file."
        )
        box.setWindowModality(Qt.WindowModality.NonModal)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.show()

    # ---- the end ----
    def finish(self, then: Callable[[], None] = lambda: None) -> None:
        """Complete the file that is written, if there is one, then do ``then``; says how it ended.

        It happens in a thread of its own; without a file ``then`` is done at once.
        """
        sealing = self._seal()
        if sealing is None:
            then()
            return

        def ended() -> None:
            if self._sealing is sealing:
                self._sealing = None
            self._say(sealing.problem)
            then()

        if not sealing.done:
            self._say(f"Completing {sealing.name} …")
        sealing.when_done(ended)

    def _seal(self) -> Sealing | None:
        """Begin to complete what is written; returns what is being completed, if anything is."""
        writer = self._writer
        if writer is not None:
            from loopscope.app.window.sealing import Sealing

            self._writer, self.written = None, []
            self._sealing = Sealing(writer, self)
            self.ended.emit()
        return self._sealing

    def close(self, then: Callable[[], None]) -> bool:
        """Complete the file as the window closes; returns whether that is over.

        Else a dialog says what is done, and ``then`` is called when it is over.
        """
        sealing = self._seal()
        if sealing is None:
            return True
        from loopscope.app.window.sealing import GRACE, SealingDialog

        if self._dialog is None and sealing.wait(GRACE) and not sealing.problem:
            return True
        if self._dialog is None:
            dialog = self._dialog = SealingDialog(sealing, self._parent)

            def ended() -> None:
                self._sealing = self._dialog = None
                dialog.end(then)

            sealing.when_done(ended)
        return False

    def end(self) -> None:
        """Complete the file as the process is told to end, if that is soon done."""
        sealing = self._seal()
        if sealing is not None:
            from loopscope.app.window.sealing import LAST

            if not sealing.wait(LAST):
                sealing.leave()
                sealing.wait(LAST)
        self._sealing = None
