"""An opened session's file read, and the recording and the checkpoint that it needs found."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog, QWidget

from loopscope.app.bench.bench import Bench
from loopscope.app.window.opening import OpenedSession, Opening
from loopscope.app.window.recordings import FILTER as RECORDINGS
from loopscope.app.window.recordings import Recordings
from loopscope.core.sessions.file import is_missing, located, read_session

if TYPE_CHECKING:
    from loopscope.core.recordings.reader import RecordingFile


class SessionReading(QObject):
    """Reads sessions for one window, up to the loading of their model.

    Signals
    -------
    without_model(OpenedSession)
        A session is read whose recorded runs are shown without their model.
    refused()
        A session could not be read.
    declined()
        A session was not opened, though it can be read: what it needs is not there.
    """

    without_model = Signal(object)
    refused = Signal()
    declined = Signal()

    def __init__(
        self,
        bench: Bench,
        opening: Opening,
        recordings: Recordings,
        say: Callable[[str], None],
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._bench, self._opening, self._recordings = bench, opening, recordings
        self._say, self._window = say, window

    def read(self, path: Path, *, recovered: bool) -> None:
        """Read a session and load its model; what is wrong with it is told.

        A ``recovered`` one has the name of the file that it was last saved to.
        """

        def read() -> OpenedSession:
            saved = read_session(path)
            name = Path(saved.saved_as) if saved.saved_as else None
            return OpenedSession(located(saved, path), name if recovered else path, recovered)

        self._bench.in_background(read, self._on_read)

    def _on_read(self, future: Future[OpenedSession]) -> None:
        error = future.exception()
        if error is not None:
            self._say(str(error))
            self.refused.emit()
            return
        opened = self._with_model_found(self._with_recording_found(future.result()))
        if opened is None:
            return
        if opened.saved.recording is None:
            self._opening.open_session(opened)
        else:
            self._recordings.finish(lambda: self._read_recording(opened))

    def _with_recording_found(self, opened: OpenedSession) -> OpenedSession:
        """Ask for the recording if it is not where the session says; without one, add a note."""
        recording = opened.saved.recording
        if recording is None or not is_missing(recording.path):
            return opened
        name = Path(recording.path).name
        path, _ = QFileDialog.getOpenFileName(
            self._window, f"Where is the recording “{name}” of the session?", "", RECORDINGS
        )
        found = replace(recording, path=path) if path else None
        notes = () if path else (f"its recording {name} is not there",)
        return replace(
            opened,
            saved=replace(opened.saved, recording=found),
            notes=(*opened.notes, *notes),
        )

    def _with_model_found(self, opened: OpenedSession) -> OpenedSession | None:
        """Ask where the checkpoint is that is not where the session says; None when cancelled.

        Runs that are recorded are shown without it.
        """
        model, recorded = opened.saved.model, opened.saved.recording is not None
        if model.path and not is_missing(model.path):
            return opened
        folder = ""
        if model.path:
            folder = QFileDialog.getExistingDirectory(
                self._window, f"Where is the checkpoint “{Path(model.path).name}” of the session?"
            )
        if not folder and not recorded:
            missing = "; ".join(
                [*opened.notes, *([f"its checkpoint {model.path} is not there"] * bool(model.path))]
            )
            self._say(f"The session was not opened: {missing}")
            self.declined.emit()
            return None
        return replace(opened, saved=replace(opened.saved, model=replace(model, path=folder)))

    def _read_recording(self, opened: OpenedSession) -> None:
        """Open the recording of a session's runs, then its model."""
        recording = opened.saved.recording
        assert recording is not None

        def work() -> RecordingFile:
            from loopscope.core.recordings.reader import open_recording

            return open_recording(Path(recording.path))

        def read(future: Future[RecordingFile]) -> None:
            if (error := future.exception()) is None:
                file = future.result()
                self._go_on(replace(opened, recording=file, notes=(*opened.notes, *file.notes)))
            elif opened.saved.model.path:
                self._opening.open_session(replace(opened, notes=(*opened.notes, str(error))))
            else:
                self._say(str(error))
                self.declined.emit()

        self._bench.in_background(work, read)

    def _go_on(self, opened: OpenedSession) -> None:
        if opened.saved.model.path:
            self._opening.open_session(opened)
        else:
            self.without_model.emit(opened)
