"""Recordings in the window: the runs shown are saved to a file as they are made, or come from one.

One window writes a file, and goes on writing what is run while it is open; another reads only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog, QWidget

from loopscope.app.bench.bench import Bench
from loopscope.app.window.following import Following
from loopscope.app.window.keeping import Keeping
from loopscope.app.window.opening import Opening, OpenRequest
from loopscope.app.window.settings import Settings
from loopscope.core.errors import LoopscopeError
from loopscope.core.run.recording import Recording

if TYPE_CHECKING:
    from loopscope.core.checkpoint.request import LoadRequest
    from loopscope.core.recordings.reader import RecordingFile
    from loopscope.core.run.elsewhere import AnyModel
    from loopscope.core.run.jobs import Job

SUFFIX = ".h5"
FILTER = f"Recordings (*{SUFFIX});;All files (*)"


class Recordings(QObject):
    """The recording of one window, if it has one.

    file : what was opened; None for runs that were begun here.

    Signals
    -------
    changed()
        Its name, or whether it is being written, is another.
    """

    changed = Signal()

    def __init__(
        self,
        bench: Bench,
        settings: Settings,
        opening: Opening,
        say: Callable[[str], None],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self._bench, self._settings, self._opening = bench, settings, opening
        self._say, self._parent = say, parent
        self.file: RecordingFile | None = None
        self._keeping = Keeping(bench, say, parent)
        self._keeping.ended.connect(self.changed)
        # The recording that a model is being loaded for.
        self._awaited: RecordingFile | None = None
        self.following = Following(bench, self._grown, say, self)

    @property
    def name(self) -> str:
        """What the title calls it; "" where the runs are in no file."""
        if self._keeping.path is not None:
            return self._keeping.path.name
        if self.file is None:
            return ""
        return f"{self.file.path.name} (read only)" if self.file.read_only else self.file.path.name

    @property
    def holds_all(self) -> bool:
        """Whether nothing would be lost: every run is written, or was only looked at."""
        return self._keeping.path is not None or self._bench.session.without_model

    @property
    def path(self) -> Path | None:
        """Of the file that holds runs of the tree."""
        return self._keeping.path or (None if self.file is None else self.file.path)

    def index_of(self, recording: Recording) -> int | None:
        """Which run of that file a run is; None for one that it does not hold."""
        held = self._keeping.written if self._keeping.path else (self.file and self.file.runs) or ()
        return next((i for i, run in enumerate(held) if run is recording), None)

    def place_of(self, recording: Recording) -> tuple[str, int]:
        """The file that a run is shown from, and which of its runs it is; ("", 0) for none."""
        if self.file is not None:
            for i, run in enumerate(self.file.runs):
                if run is recording:
                    return str(self.file.path.absolute()), i
        return "", 0

    # ---- opening ----
    def ask(self) -> None:
        """Choose a recording and open it."""
        path, _ = QFileDialog.getOpenFileName(self._parent, "Open a recording", "", FILTER)
        if path:
            self.open(Path(path))

    def open(self, path: Path) -> None:
        """Show the runs of a recording, and go on with them where their checkpoint is there."""
        self.finish(lambda: self._open(path))

    def _open(self, path: Path) -> None:
        self._say(f"Opening {path.name} …")

        def work() -> RecordingFile:
            from loopscope.core.recordings.reader import open_recording

            return open_recording(path)

        def opened(future: Future[RecordingFile]) -> None:
            if (error := future.exception()) is not None:
                self._say(str(error))
                return
            self._settings.remember_recording(str(path.absolute()))
            self._show(future.result())

        self._bench.in_background(work, opened)

    def _show(self, file: RecordingFile) -> None:
        self.file = file

        def shown() -> None:
            self.changed.emit()
            also = "what is written is shown as it comes"
            if file.growing is not None:
                self.following.begin(file, file.growing)
            self._say("; ".join([*file.notes, *([] if file.growing is None else [also])]))
            self._find(file)

        self._bench.show_recorded(file, shown)

    def _find(self, file: RecordingFile) -> None:
        """Look for what made it while it is shown: large weights are read at many places."""
        settings, run = self._settings, file.runs[0]
        recent, families, device = list(settings.recent), dict(settings.families), settings.device

        def work(job: Job[Any]) -> tuple[LoadRequest | None, str]:
            from loopscope.core.checkpoint.folder import folder_name
            from loopscope.core.recordings.finding import find_checkpoint

            beside = str(file.path.parent / folder_name(run.info.checkpoint))
            return find_checkpoint(run, [*recent, beside], families, device)

        def found(result: tuple[LoadRequest | None, str]) -> None:
            request, why = result
            shown = self.file is not None and self.file.runs[0] is run
            if not shown or self._awaited is not None or not self._bench.session.without_model:
                return  # another is shown, or a checkpoint was chosen meanwhile
            if file.growing is not None:
                self.following.model = request
            elif request is not None:
                self._load(file, request)
            else:
                self._say("; ".join([*file.notes, f"{why}: shown without its model"]))

        self._bench.background.start_job("Looking for its checkpoint", work, found)

    def adopt(self, file: RecordingFile) -> None:
        """Take this file for that of the session shown, if any of its runs is: they go on in it."""
        tree = [run.stepper.recording for run in self._bench.runs.tree]
        if not any(run is shown for run in file.runs for shown in tree):
            return
        self.file = file
        if file.growing is not None and self._bench.session.without_model:
            self.following.begin(file, file.growing)
        elif not (file.read_only or self._bench.session.without_model):
            self._write(file.path, file.runs)
        self._settings.remember_recording(str(file.path.absolute()))
        self.changed.emit()

    def _load(self, file: RecordingFile, request: LoadRequest) -> None:
        self.following.end()
        self._awaited = file
        asked = OpenRequest(
            request.path, request.device, request.dtype, request.loop, request.family
        )
        self._opening.requested.emit(request.device, request.dtype)
        self._bench.open(asked)

    def model_loaded(self, loaded: AnyModel) -> bool:
        """Take a model that was loaded for a recording; False for any other."""
        file, self._awaited = self._awaited, None
        if file is None or file is not self.file:
            self._leave()
            return False
        self._bench.go_on(file, lambda why: self._gone_on(file, why))
        return True

    def _gone_on(self, file: RecordingFile, why: str) -> None:
        if why:
            self._say(why)
            return
        if not file.read_only:
            self._write(file.path, file.runs)
        from loopscope.core.recordings.going_on import differences

        loaded = self._bench.runner.loaded
        other = "" if loaded is None else differences(loaded, file.runs[0], file.about)
        what = "read only, what is run is not kept" if file.read_only else "goes on in the file"
        self._say(
            "; ".join([f"{file.path.name}: {what}", *file.notes, *([other] if other else [])])
        )

    def ask_for_checkpoint(self) -> None:
        """Choose the checkpoint that the recording shown was made with, and go on."""
        file = self.file
        if file is None or not self._bench.session.without_model:
            self._say("The run shown has its model already")
            return
        if (request := self.following.model) is not None:
            self._load(file, request)
            return
        folder = QFileDialog.getExistingDirectory(self._parent, "Go on with a checkpoint")
        if folder:
            self.go_on_with(folder)

    def go_on_with(self, path: str) -> None:
        """Load the checkpoint at ``path`` for the recording shown, if it is the one; says so."""
        file = self.file
        assert file is not None

        def work() -> tuple[LoadRequest, str]:
            from loopscope.core.recordings.finding import request_for, why_another

            request = request_for(file.runs[0], path, self._settings.device)
            return request, why_another(file.runs[0], request)

        def found(future: Future[tuple[LoadRequest, str]]) -> None:
            error = future.exception()
            why = "" if error is None else str(error)
            request, other = (None, "") if error is not None else future.result()
            if request is None or other:
                self._say(why or f"{other}: shown as it is")
            elif file is self.file:
                self._load(file, request)

        self._bench.in_background(work, found)

    def _grown(self, file: RecordingFile) -> None:
        """The file that another process writes holds more now."""
        if self.file is not None and self.file.path == file.path:
            self.file = file

    # ---- saving ----
    def ask_to_save(self) -> None:
        """Choose a file for the runs."""
        recording = self._bench.session.recording
        if recording is None:
            self._say("There is no run to save yet")
            return
        name = re.sub(r"[^\w.-]+", "-", recording.info.checkpoint).strip("-.") or "run"
        name += SUFFIX
        path, _ = QFileDialog.getSaveFileName(self._parent, "Save the recording", name, FILTER)
        if path:
            self.save(Path(path))

    def save(self, path: Path) -> None:
        """Write the runs of the tree to ``path``, and what is run from now on as it is made."""
        path = path if path.suffix else path.with_suffix(SUFFIX)
        self.finish(lambda: self._save(path))

    def _save(self, path: Path) -> None:
        self.file = None
        if self._write(path, ()):
            n = len(self._keeping.written)
            runs = "1 run is" if n == 1 else f"{n} runs are"
            self._say(f"{runs} in {path.name}; what is run from now on is written as it is made")

    def _write(self, path: Path, begun: tuple[Recording, ...]) -> bool:
        """Begin to write; ``begun`` is there already. Says why it cannot be."""
        # What is gone on with keeps the command that began it.
        command = self.file.about.command if begun and self.file is not None else "loopscope"
        try:
            self._keeping.begin(path, command, begun)
        except LoopscopeError as error:
            self._say(str(error))
            if self.file is not None:
                self.file = replace(self.file, read_only=True)
        else:
            self._settings.remember_recording(str(path.absolute()))
        self.changed.emit()
        return self._keeping.path is not None

    def _leave(self) -> None:
        """Note that the runs shown no longer come from a file."""
        self.finish()
        if self.file is not None:
            self.file = None
            self.changed.emit()

    # ---- the end ----
    def finish(self, then: Callable[[], None] = lambda: None) -> None:
        """Complete the file that is written, if there is one, then do ``then``; says how it ended.

        It happens in a thread of its own; without a file ``then`` is done at once.
        """
        self.following.end()
        self._keeping.finish(then)

    def close(self, then: Callable[[], None]) -> bool:
        """Complete the file as the window closes; returns whether that is over.

        Else a dialog says what is done, and ``then`` is called when it is over.
        """
        return self._keeping.close(then)

    def end(self) -> None:
        """Complete the file as the process is told to end, if that is soon done."""
        self._keeping.end()
