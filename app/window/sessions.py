"""Sessions in the window: what is shown is saved to a file, and shown again from one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog, QMainWindow

from loopscope.app.bench.bench import Bench
from loopscope.app.bench.saving import saved_session
from loopscope.app.window.docks import Docks
from loopscope.app.window.opening import OpenedSession, Opening
from loopscope.app.window.prompt_files import PromptFiles
from loopscope.app.window.recordings import Recordings
from loopscope.app.window.session_reading import SessionReading
from loopscope.app.window.session_showing import SessionShowing
from loopscope.app.window.settings import Settings
from loopscope.app.window.studies import Studies
from loopscope.app.window.view_docks import ViewDocks
from loopscope.core.errors import LoopscopeError
from loopscope.core.sessions.file import (
    SUFFIX,
    session_name,
    write_session,
)
from loopscope.core.sessions.saved import LARGEST, SMALLEST, SavedSession, SavedWindow

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyModel

FILTER = f"Sessions (*{SUFFIX});;All files (*)"


class Sessions(QObject):
    """The session of one window.

    file : that it was opened from or saved to; None for one without a name.

    Signals
    -------
    changed()
        Its name, or whether it holds what its file does not, may be another.
    restored()
        An opened session is there: its runs, its second run and its prompts.
    refused()
        A session could not be read.
    declined()
        A session was not opened, though it can be read: what it needs is not there.
    """

    changed = Signal()
    restored = Signal()
    refused = Signal()
    declined = Signal()

    def __init__(
        self,
        bench: Bench,
        settings: Settings,
        docks: Docks,
        views: ViewDocks,
        opening: Opening,
        prompt_files: PromptFiles,
        recordings: Recordings,
        studies: Studies,
        say: Callable[[str], None],
        window: QMainWindow,
    ) -> None:
        super().__init__(window)
        self._bench, self._settings = bench, settings
        self._docks, self._views = docks, views
        self._opening, self._recordings, self._studies = opening, recordings, studies
        self._say, self._window = say, window
        self._reading = SessionReading(bench, opening, recordings, say, window)
        self.showing = SessionShowing(
            bench, docks, views, prompt_files, recordings, studies, say, window
        )
        self.file: Path | None = None
        self._recovered = self._settings_changed = False
        self._saved: object = None
        self._reading.refused.connect(self.refused)
        self._reading.declined.connect(self.declined)
        self._reading.without_model.connect(self.showing.show_recorded)
        self.showing.runs_shown.connect(self._on_runs_shown)
        self.showing.restored.connect(self._on_restored)
        bench.session.settings_changed.connect(self._on_settings_changed)
        bench.session.progressed.connect(self.changed)
        # A step that the cursor follows is told by the cursor alone.
        bench.session.selection_changed.connect(lambda *_: self.changed.emit())

    # ---- what it is ----
    @property
    def name(self) -> str:
        """What the session is called; "" for one that was never saved."""
        return "" if self.file is None else session_name(self.file)

    @property
    def unsaved(self) -> bool:
        """Whether runs would be lost that neither a file nor the next start brings back.

        The only run of a session without a name is remembered by the settings.
        """
        if self.showing.restoring:
            return False
        if self.file is not None:
            return self._recovered or self._settings_changed or self._experiment() != self._saved
        if self._recordings.holds_all:
            return False
        tree = self._bench.runs.tree
        return self._recovered or len(tree) > 1 or any(run.named for run in tree)

    def _experiment(self) -> object:
        """What makes the experiment: runs as far as they are, the second run, the prompt set."""
        session, second = self._bench.session, self._bench.session.second
        runs = [
            (run.id, run.name, run.stepper.recording.layers_done) for run in self._bench.runs.tree
        ]
        second_run = None if second is None else (second.name, second.run)
        prompts = None if session.prompt_set is None else session.prompt_set.path
        return runs, second_run, session.step_pairing, prompts

    def _on_settings_changed(self, key: str) -> None:
        self._settings_changed = True
        self.changed.emit()

    def _is_as_saved(self) -> None:
        self._saved = self._experiment()
        self._settings_changed = self._recovered = False
        self.changed.emit()

    def capture(self) -> SavedSession | None:
        """Return the session as it is now, its paths absolute; None with nothing open."""
        recordings = self._recordings
        saved = saved_session(self._bench, recordings.path, recordings.index_of)
        if saved is None:
            return None
        sides = zip((self._window.width(), self._window.height()), SMALLEST, LARGEST, strict=True)
        width, height = (max(low, min(side, high)) for side, low, high in sides)
        window = SavedWindow(
            size=(width, height),
            layout=self._docks.state(),
            maximised=self._docks.layout.maximised or "",
            current=self._docks.current,
        )
        name = "" if self.file is None else str(self.file)
        return replace(
            saved, window=window, views=self._views.plain_options(), saved_as=name,
            study=self._studies.saved(),
        )  # fmt: skip

    def worth_keeping(self) -> SavedSession | None:
        """Return the session once more was done than begin the first run."""
        runs = list(self._bench.runs.tree)
        only = runs[0] if len(runs) == 1 else None
        began = 0 if only is None else only.request.recurrences * only.stepper.recording.n_layers
        as_begun = only is not None and only.stepper.recording.layers_done <= began
        done = self.unsaved or self._settings_changed or (runs and not as_begun)
        return self.capture() if done and not self.showing.restoring else None

    def end(self) -> None:
        """Leave what an opened session still asks for, as the window closes."""
        self.showing.end()

    # ---- saving ----
    def save(self) -> bool:
        """Save to the session's file, which is asked for where it has none; returns whether."""
        return self.save_as() if self.file is None else self.save_to(self.file)

    def save_as(self) -> bool:
        """Ask for a file and save the session to it; returns whether it was saved."""
        start = self._settings.session or f"session{SUFFIX}"
        path, _ = QFileDialog.getSaveFileName(self._window, "Save the session", start, FILTER)
        if not path:
            return False
        return self.save_to(Path(path if path.endswith(SUFFIX) else path + SUFFIX))

    def save_to(self, path: Path) -> bool:
        """Save the session to ``path``; says how it ended and returns whether it was saved."""
        session = self.capture()
        if session is None:
            self._say("There is no session to save yet: no checkpoint is open")
            return False
        try:
            write_session(path, replace(session, saved_as=""))
        except LoopscopeError as error:
            self._say(str(error))
            return False
        self._take_file(path)
        self._is_as_saved()
        n = len(session.runs)
        self._say(f"Saved the session with {n} run{'s' * (n != 1)} to {path}")
        return True

    def _take_file(self, path: Path | None) -> None:
        self.file = None if path is None else path.absolute()
        if self.file is not None:
            self._settings.session = str(self.file)
            self._settings.remember_recent(str(self.file))

    # ---- opening ----
    def ask_to_open(self) -> None:
        """Choose a session and open it."""
        start = self._settings.session
        path, _ = QFileDialog.getOpenFileName(self._window, "Open a session", start, FILTER)
        if path:
            self.open(Path(path))

    def open(self, path: Path, *, recovered: bool = False) -> None:
        """Open a session; what is wrong with it is told, and the present one stays then.

        A ``recovered`` one has the name of the file that it was last saved to, and is unsaved.
        """
        self._reading.read(path, recovered=recovered)

    def model_loaded(self, loaded: AnyModel) -> SavedSession | None:
        """Show the session that a model was loaded for; None, and no session's name, without."""
        opened = self._opening.session_of(loaded)
        if opened is None:
            self.showing.leave()
            self._take_file(None)
            self._is_as_saved()
            return None
        self.showing.show(opened, loaded)
        return opened.saved

    def _on_runs_shown(self, opened: OpenedSession, whole: bool) -> None:
        """Take the session's name; one that is not whole must not overwrite the file that is."""
        self._take_file(opened.file if whole else None)
        self._recovered = opened.recovered or not whole

    def _on_restored(self) -> None:
        """Everything is there: it is what was saved."""
        self._saved, self._settings_changed = self._experiment(), False
        self.changed.emit()
        self.restored.emit()
