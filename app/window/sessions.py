"""Sessions in the window: what is shown is saved to a file, and shown again from one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtWidgets import QFileDialog, QMainWindow

from loopscope.app.bench.bench import Bench
from loopscope.app.bench.restoring import (
    Restored,
    restore_runs,
    restore_second_model,
    restore_views,
    show_recorded_runs,
)
from loopscope.app.bench.saving import drawn_views, is_measured, saved_session
from loopscope.app.views import BY_KEY
from loopscope.app.window.docks import Docks
from loopscope.app.window.opening import OpenedSession, Opening
from loopscope.app.window.prompt_files import PromptFiles
from loopscope.app.window.recordings import FILTER as RECORDINGS
from loopscope.app.window.recordings import Recordings
from loopscope.app.window.settings import Settings
from loopscope.app.window.view_docks import ViewDocks
from loopscope.core.errors import LoopscopeError
from loopscope.core.sessions.file import (
    SUFFIX,
    is_missing,
    located,
    read_session,
    session_name,
    write_session,
)
from loopscope.core.sessions.saved import LARGEST, SMALLEST, SavedSession, SavedWindow

if TYPE_CHECKING:
    from loopscope.core.recordings.reader import RecordingFile
    from loopscope.core.run.elsewhere import AnyModel

FILTER = f"Sessions (*{SUFFIX});;All files (*)"
# Milliseconds between two looks whether what an opened session asks for next can be done.
LOOK_MS = 50


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
        say: Callable[[str], None],
        window: QMainWindow,
    ) -> None:
        super().__init__(window)
        self._bench, self._settings = bench, settings
        self._docks, self._views = docks, views
        self._opening, self._prompt_files = opening, prompt_files
        self._recordings = recordings
        self._say, self._window = say, window
        self.file: Path | None = None
        self._restoring = self._recovered = self._settings_changed = False
        self._saved: object = None
        self._to_measure: list[str] = []
        # The session whose screen is not quite there yet.
        self._to_arrange: SavedSession | None = None
        self._arranged = False
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)
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
        if self._restoring:
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
        return replace(saved, window=window, views=self._views.plain_options(), saved_as=name)

    def worth_keeping(self) -> SavedSession | None:
        """Return the session once more was done than begin the first run."""
        runs = list(self._bench.runs.tree)
        only = runs[0] if len(runs) == 1 else None
        began = 0 if only is None else only.request.recurrences * only.stepper.recording.n_layers
        as_begun = only is not None and only.stepper.recording.layers_done <= began
        done = self.unsaved or self._settings_changed or (runs and not as_begun)
        return self.capture() if done and not self._restoring else None

    def end(self) -> None:
        """The window closes: what an opened session still asks for is left."""
        self._timer.stop()

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
        """Ask where the recording is that is not where the session says; without it, it is said."""
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
        file, saved = opened.recording, opened.saved
        assert file is not None
        if saved.model.path:
            self._opening.open_session(opened)
            return
        notes = self._begin(opened)
        show_recorded_runs(
            self._bench, saved, file, lambda done: self._on_restored(opened, done, notes)
        )

    def model_loaded(self, loaded: AnyModel) -> SavedSession | None:
        """Show the session that a model was loaded for; None, and no session's name, without."""
        opened = self._opening.session_of(loaded)
        if opened is None:
            self._leave()
            self._take_file(None)
            self._is_as_saved()
            return None
        notes = self._begin(opened)
        if opened.saved.model.weights not in ("", loaded.weights_hash):
            notes.append("the weights are not those that it was saved with")
        restore_runs(
            self._bench,
            loaded,
            opened.saved,
            opened.recording,
            lambda done: self._on_restored(opened, done, notes),
        )
        return opened.saved

    def _leave(self) -> None:
        """What was opened before asks for nothing more."""
        self._timer.stop()
        self._restoring, self._to_measure, self._to_arrange = False, [], None
        self._arranged = False

    def _begin(self, opened: OpenedSession) -> list[str]:
        """Begin to show a session: its views; returns what is to be said of them."""
        self._leave()
        self._restoring = True
        left_out = self._restore_views(opened.saved)
        return [*opened.notes, *([f"settings left out: {', '.join(left_out)}"] if left_out else [])]

    def _restore_views(self, saved: SavedSession) -> list[str]:
        """Give every view its settings and its place; returns settings that suit none."""
        options, left_out = restore_views(saved)
        for key, own in options.items():
            self._views.set_options(key, own)
        self._window.resize(*saved.window.size)
        self._arrange(saved)
        if not saved.prompt_file:
            self._bench.set_prompt_set(None)
        elif is_missing(saved.prompt_file):
            left_out.append(f"the prompts, since {saved.prompt_file} is not there")
        else:
            self._prompt_files.open(saved.prompt_file)
        return left_out

    def _arrange(self, saved: SavedSession) -> None:
        window = saved.window
        self._docks.rearrange(window.layout, window.maximised, window.current)

    def _on_restored(self, opened: OpenedSession, done: Restored, notes: list[str]) -> None:
        saved, n = opened.saved, len(self._bench.runs.tree)
        # One that is not whole must not overwrite the file that is.
        self._take_file(opened.file if done.whole else None)
        if opened.recording is not None:
            self._recordings.adopt(opened.recording)
        if saved.second_model is not None and saved.model.path:
            notes += restore_second_model(self._bench, saved.second_model)
        self._to_measure, self._to_arrange = list(saved.measured), saved
        self._recovered = opened.recovered or not done.whole
        self._timer.start(LOOK_MS)
        problems = [*done.problems, *notes]
        text = f"Opened the session {self.name or 'without a name'}: {n} run{'s' * (n != 1)}"
        self._say("; ".join([text, *problems]))

    def _look(self) -> None:
        """Once everything is there, take it for what was saved; then measure what was measured."""
        bench = self._bench
        if not (bench.runner.idle and bench.background.idle):
            return
        if self._restoring:
            self._restoring = False
            self._saved, self._settings_changed = self._experiment(), False
            self.changed.emit()
            self.restored.emit()
            return
        if self._to_arrange is not None:
            self._finish_screen(self._to_arrange)
            return
        if not self._to_measure:
            self._timer.stop()
            return
        key = self._to_measure.pop(0)
        if key in BY_KEY and not is_measured(bench, key):
            self._views.measure(key)

    def _finish_screen(self, saved: SavedSession) -> None:
        """Once the views are filled, give each its size to the pixel, then its place."""
        from loopscope.widgets.plots.places import go_to_places

        if not self._bench.settled_down:
            return
        if not self._arranged:
            self._arranged = True
            self._arrange(saved)
            return
        for name, view in drawn_views(self._bench):
            if name in saved.places:
                view.go_to(saved.places[name])
                go_to_places(view, saved.places[name])
        self._to_arrange = None
