"""A session that was read, shown: its views, its runs, its screen, then what was measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtWidgets import QMainWindow

from loopscope.app.bench.bench import Bench
from loopscope.app.bench.saving import drawn_views, is_measured
from loopscope.app.views import BY_KEY
from loopscope.app.window.docks import Docks
from loopscope.app.window.opening import OpenedSession
from loopscope.app.window.prompt_files import PromptFiles
from loopscope.app.window.recordings import Recordings
from loopscope.app.window.studies import Studies
from loopscope.app.window.view_docks import ViewDocks
from loopscope.core.sessions.file import is_missing, session_name
from loopscope.core.sessions.saved import SavedSession

if TYPE_CHECKING:
    from loopscope.app.bench.restoring import Restored
    from loopscope.core.run.elsewhere import AnyModel

# Milliseconds between two looks whether what a session asks for next can be done.
LOOK_MS = 50


class SessionShowing(QObject):
    """Shows sessions in one window, each part as soon as what it needs is there.

    restoring : whether runs, second run and prompts are not all there yet.

    Signals
    -------
    runs_shown(OpenedSession, bool)
        The runs are made again and shown; whether all of them are.
    restored()
        The runs, the second run and the prompts are there.
    """

    runs_shown = Signal(object, bool)
    restored = Signal()

    def __init__(
        self,
        bench: Bench,
        docks: Docks,
        views: ViewDocks,
        prompt_files: PromptFiles,
        recordings: Recordings,
        studies: Studies,
        say: Callable[[str], None],
        window: QMainWindow,
    ) -> None:
        super().__init__(window)
        self._bench, self._docks, self._views = bench, docks, views
        self._prompt_files, self._recordings, self._studies = prompt_files, recordings, studies
        self._say, self._window = say, window
        self.restoring = False
        self._to_measure: list[str] = []
        # The session whose screen is not quite there yet.
        self._to_arrange: SavedSession | None = None
        self._arranged = False
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)

    @property
    def under_way(self) -> bool:
        """Whether the runs are shown and something is still to be done."""
        return self._timer.isActive()

    def show(self, opened: OpenedSession, loaded: AnyModel) -> None:
        """Show a session on its model; its runs are made again."""
        from loopscope.app.bench.restoring import restore_runs

        notes = self._begin(opened)
        if opened.saved.model.weights not in ("", loaded.weights_hash):
            notes.append("the weights are not those that it was saved with")
        restore_runs(
            self._bench,
            loaded,
            opened.saved,
            opened.recording,
            lambda done: self._on_runs_shown(opened, done, notes),
        )

    def show_recorded(self, opened: OpenedSession) -> None:
        """Show a session whose runs are all in its recording, without a model."""
        from loopscope.app.bench.restoring import show_recorded_runs

        assert opened.recording is not None
        notes = self._begin(opened)
        show_recorded_runs(
            self._bench,
            opened.saved,
            opened.recording,
            lambda done: self._on_runs_shown(opened, done, notes),
        )

    def leave(self) -> None:
        """Do nothing more for the session that is being shown."""
        self.end()
        self.restoring, self._to_measure, self._to_arrange = False, [], None
        self._arranged = False

    def end(self) -> None:
        """Stop: the window is closing."""
        self._timer.stop()

    def _begin(self, opened: OpenedSession) -> list[str]:
        """Begin to show a session: its views; returns what is to be said of them."""
        self.leave()
        self.restoring = True
        left_out = self._restore_views(opened.saved)
        return [*opened.notes, *([f"settings left out: {', '.join(left_out)}"] if left_out else [])]

    def _restore_views(self, saved: SavedSession) -> list[str]:
        """Give every view its settings and its place; returns settings that suit none."""
        from loopscope.app.bench.restoring import restore_views

        options, left_out = restore_views(saved)
        for key, own in options.items():
            self._views.set_options(key, own)
        self._window.resize(*saved.window.size)
        self._studies.restore(saved.study)
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

    def _on_runs_shown(self, opened: OpenedSession, done: Restored, notes: list[str]) -> None:
        from loopscope.app.bench.restoring import restore_second_model

        saved, n = opened.saved, len(self._bench.runs.tree)
        self.runs_shown.emit(opened, done.whole)
        if opened.recording is not None:
            self._recordings.adopt(opened.recording)
        if saved.second_model is not None and saved.model.path:
            notes += restore_second_model(self._bench, saved.second_model)
        self._to_measure, self._to_arrange = list(saved.measured), saved
        self._timer.start(LOOK_MS)
        file = opened.file if done.whole else None
        name = "without a name" if file is None else session_name(file)
        text = f"Opened the session {name}: {n} run{'s' * (n != 1)}"
        self._say("; ".join([text, *done.problems, *notes]))

    def _look(self) -> None:
        """Once everything is there, say so; then finish the screen, then measure."""
        bench = self._bench
        if not (bench.runner.idle and bench.background.idle):
            return
        if self.restoring:
            self.restoring = False
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
