"""What a path names, and who opens it: a checkpoint, a prompt file, a session, a study, a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtWidgets import QFileDialog, QWidget

from loopscope.app.window.opening import Opening
from loopscope.app.window.prompt_files import PromptFiles, is_prompt_file
from loopscope.app.window.recordings import Recordings
from loopscope.app.window.sessions import Sessions
from loopscope.app.window.settings import BUNDLED, Settings
from loopscope.app.window.studies import Studies, is_study
from loopscope.core.sessions.file import is_session_file


class Files:
    """Opens what a path names in one window.

    Parameters
    ----------
    before
        Does what it is given, once runs that would be lost were asked about; see `Unsaved.before`.
    """

    def __init__(
        self,
        settings: Settings,
        opening: Opening,
        sessions: Sessions,
        recordings: Recordings,
        prompt_files: PromptFiles,
        studies: Studies,
        before: Callable[[str, Callable[[], None]], None],
        parent: QWidget,
    ) -> None:
        self._settings, self._opening, self._sessions = settings, opening, sessions
        self._recordings, self._prompt_files, self._studies = recordings, prompt_files, studies
        self._before, self._parent = before, parent

    def open(self, path: str) -> None:
        """Open a checkpoint folder, a prompt file, a session, a recording or a study."""
        from loopscope.core.recordings.reader import is_recording

        if is_session_file(path):
            self._before("opening another", lambda: self._sessions.open(Path(path)))
        elif is_recording(Path(path)):
            self._before("opening another", lambda: self._recordings.open(Path(path)))
        elif is_prompt_file(Path(path)):
            self._prompt_files.open(path)
        elif is_study(Path(path)):
            self._studies.open(path)
        else:
            self._opening.open(path)

    def ask_for_session(self) -> None:
        """Choose a session and open it, once what is unsaved was asked about."""
        self._before("opening another", self._sessions.ask_to_open)

    def ask_for_checkpoint(self) -> None:
        """Choose a checkpoint folder and open it."""
        last = self._settings.checkpoint
        start = "" if last.startswith(BUNDLED) else str(Path(last).parent)
        folder = QFileDialog.getExistingDirectory(self._parent, "Open checkpoint folder", start)
        if folder:
            self._opening.open(folder)


def dropped_path(urls: list[QUrl]) -> str | None:
    """The path that `Files.open` opens for what is dropped; None for what is not one local file."""
    from loopscope.core.recordings.reader import is_recording

    if len(urls) != 1 or not urls[0].isLocalFile():
        return None
    path = Path(urls[0].toLocalFile())
    # A file of the folder (config.json, a shard) stands for its folder.
    files = (is_prompt_file, is_session_file, is_recording, is_study)
    itself = path.is_dir() or any(is_file(path) for is_file in files)
    return str(path if itself else path.parent)
