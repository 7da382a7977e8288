"""The main window: docks, bars and menus put together; the bench does the rest."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer
from PySide6.QtGui import (
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QPaintEvent,
)
from PySide6.QtWidgets import (
    QApplication,
    QLineEdit,
    QMainWindow,
    QMenu,
    QWidget,
)
from typing_extensions import override

from loopscope.app.bench.bench import Bench
from loopscope.app.window import remembering
from loopscope.app.window.actions import Targets, lift_text_keys, make_actions, show_states
from loopscope.app.window.appearance import Appearance
from loopscope.app.window.autosave import Autosave, Recovery
from loopscope.app.window.bars import Bars
from loopscope.app.window.chat import ChatPrompt
from loopscope.app.window.copying import Copying
from loopscope.app.window.docks import Docks
from loopscope.app.window.elsewhere import Elsewhere
from loopscope.app.window.exporting import Exporter
from loopscope.app.window.files import Files, dropped_path
from loopscope.app.window.memory_meter import MemoryMeter
from loopscope.app.window.menus import RecentMenu, make_menus
from loopscope.app.window.opening import Opening, first_token
from loopscope.app.window.prompt_files import PromptFiles
from loopscope.app.window.recordings import Recordings
from loopscope.app.window.run_commands import RunCommands
from loopscope.app.window.scripts import Scripts
from loopscope.app.window.sessions import Sessions
from loopscope.app.window.settings import Settings
from loopscope.app.window.studies import Studies
from loopscope.app.window.tree_commands import RUNS, TreeCommands
from loopscope.app.window.unsaved import Unsaved
from loopscope.app.window.view_docks import ViewDocks
from loopscope.app.window.view_menu import ViewMenu
from loopscope.app.window.words import model_name, waits_for
from loopscope.core.plugins import left_out
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.status import Status
from loopscope.core.selection import Selection
from loopscope.widgets.palette import Theme

if TYPE_CHECKING:
    from loopscope.app.window.popups import Popups
    from loopscope.app.window.series import Series
    from loopscope.core.run.elsewhere import AnyModel
    from loopscope.core.run.recording import Recording

# Milliseconds that a sentence stays in the status line.
SENTENCE_MS = 10_000


class Window(QMainWindow):
    """The bench in a window.

    Parameters
    ----------
    bench
        Wires runner, cursor and views.
    settings
        What is remembered; saved on closing when ``remember`` is true.
    attended
        Whether somebody works in it: unsaved runs are asked about, and kept against a crash.
    """

    def __init__(
        self,
        bench: Bench,
        settings: Settings,
        theme: Theme,
        *,
        remember: bool = True,
        attended: bool = False,
    ) -> None:
        super().__init__()
        self.bench, self.settings = bench, settings
        self.appearance = Appearance(settings, theme, self.say, self)
        self._remember = remember
        self._closing = self._ended = False
        self._after_paint: Callable[[], None] | None = None
        self._shown_model: object = None
        self._first_run: RunRequest | None = None
        self._selection: Selection | None = None  # the one that the controls show
        self.setWindowTitle("Loopscope")
        self.setAcceptDrops(True)
        self.setDockNestingEnabled(True)
        self.resize(*settings.size)
        self.bars = Bars(self, bench)
        self.docks = Docks(self)
        self.views = ViewDocks(self, self.docks, bench, settings, theme)
        self.running = RunCommands(bench, self.say, self)
        self.tree = TreeCommands(bench, settings, self.say, self)
        self.docks.add(RUNS, self.tree.dock, self.tree.make_panel)
        self.opening = Opening(bench, settings, self)
        self.recordings = Recordings(bench, settings, self.opening, self.say, self)
        self.elsewhere = Elsewhere(bench, settings, self.opening, self.say, self)
        self.exporter = Exporter(bench, settings, self.say, self)
        self.studies = Studies(
            bench, settings, self.opening, self.docks, self.exporter, self.say, self
        )
        self.prompt_files = PromptFiles(bench, settings, self.say, self)
        self.sessions = Sessions(
            bench, settings, self.docks, self.views, self.opening, self.prompt_files,
            self.recordings, self.studies, self.say, self,
        )  # fmt: skip
        self.unsaved = Unsaved(self.sessions, attended=attended, window=self)
        self.opening.before = self.unsaved.before
        self.files = Files(
            settings, self.opening, self.sessions, self.recordings, self.prompt_files,
            self.studies, self.unsaved.before, self,
        )  # fmt: skip
        self.recovery = Recovery(lambda file: self.sessions.open(file, recovered=True), self)
        self.autosave: Autosave | None = None
        if attended:
            keep = self.sessions.worth_keeping
            self.autosave = Autosave(keep, bench.in_background, self.say, self)
        self.chat = ChatPrompt(bench, self.say, self)
        targets = Targets(
            self, self.files, self.appearance, bench, self.bars, self.docks, self.views,
            self.opening, self.exporter, self.chat,
            self.prompt_files, self.running,
            self.tree, self.sessions, Scripts(bench, self.say, self.recordings.place_of),
            Copying(bench, self.views, self.say), self.recordings, self.elsewhere, self.studies,
        )  # fmt: skip
        self.commands = make_actions(self, targets)
        recent = RecentMenu(settings, self.files.open, self)
        self._groups = make_menus(self, self.commands, self.docks, self.tree, recent)
        self.view_menu = ViewMenu(self.docks, self.views, self.commands, self)
        self.appearance.changed.connect(self._show_theme)
        self.appearance.set_theme(theme)
        remembering.restore(settings, self, self.docks, self.bars, bench)
        self.meter = MemoryMeter(bench, self)
        self.statusBar().addPermanentWidget(self.elsewhere.meter)
        self.statusBar().addPermanentWidget(self.meter)
        self._connect()
        self.show_progress()
        problems = [settings.problem, *(plugin.text() for plugin in left_out())]
        self.say("; ".join(filter(None, problems)))

    def _connect(self) -> None:
        bench, views, bars = self.bench, self.views, self.bars
        bench.session.status_changed.connect(self._on_status_changed)
        bench.session.run_changed.connect(self._on_run_changed)
        bench.session.progressed.connect(self.show_progress)
        bench.session.selection_changed.connect(self._on_selection_changed)
        bench.session.message.connect(self.say)
        bench.session.runs_changed.connect(self._on_runs_changed)
        bars.transport.reset_requested.connect(self.running.reset)
        bars.header.device_chosen.connect(self.opening.change_device)
        bars.header.offer_taken.connect(self.opening.take_offer)
        views.export_requested.connect(self.exporter.ask)
        views.step_requested.connect(bench.transport.step_recurrence)
        views.command_requested.connect(lambda name: self.commands[name].trigger())
        self.opening.requested.connect(bars.header.set_wish)
        self.recordings.changed.connect(self._show_title)
        self.running.loop_requested.connect(self.opening.reloop)
        self._connect_sessions()
        _application().focusChanged.connect(self._on_focus_changed)

    def _connect_sessions(self) -> None:
        sessions, recovery = self.sessions, self.recovery
        sessions.changed.connect(self._show_title)
        sessions.restored.connect(self._show_play)
        sessions.refused.connect(recovery.failed)
        sessions.declined.connect(recovery.left)
        if self.autosave is not None:
            sessions.changed.connect(self.autosave.note)
            # What was taken up is removed once this window keeps it itself.
            self.autosave.kept.connect(recovery.done)

    # ---- the first paint ----
    def when_painted(self, work: Callable[[], None]) -> None:
        """Do ``work`` once, after the first paint: nothing may delay the window's appearance."""
        self._after_paint = work

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Start what waits for the first paint."""
        super().paintEvent(event)
        if self._after_paint is not None:
            work, self._after_paint = self._after_paint, None
            QTimer.singleShot(0, self, work)

    @cached_property
    def popups(self) -> Popups:
        """The command palette and other popups; what they need is imported with the first."""
        from loopscope.app.window.popups import Popups

        return Popups(self._groups, self.docks, self.views, self.appearance.theme, self)

    @cached_property
    def series(self) -> Series:
        """The series that is open; what it needs is imported with the first model."""
        from loopscope.app.window.series import Series

        return Series(self.bench, self.opening, self.say, self, self.bars.transport_row)

    # ---- what the bench says ----
    def say(self, text: str) -> None:
        """Show a sentence in the status line for a while."""
        self.statusBar().showMessage(text, SENTENCE_MS)

    def _on_status_changed(self, status: Status) -> None:
        loaded = self.bench.session.status.loaded
        if loaded is not None and loaded is not self._shown_model:
            self._shown_model = loaded
            self._show_model(loaded)
        self.bars.show_status(status)
        self.show_progress()

    def _show_model(self, loaded: AnyModel) -> None:
        """Show a model that has come, and begin what it was loaded for."""
        recorded = self.recordings.model_loaded(loaded)
        session = self.sessions.model_loaded(loaded)
        self.series.model_loaded(loaded)
        anew = session is None and not recorded
        self._first_run = self.opening.begin(loaded) if anew else None
        prompt = "" if self._first_run is None else self._first_run.prompt
        self.bars.show_model(loaded, loaded.architecture.starts, prompt)
        self._show_title()

    def _show_title(self) -> None:
        """Name file and model; Qt shows the mark of what is unsaved as the system does."""
        recording, loaded = self.bench.session.recording, self.bench.session.status.loaded
        model = "" if loaded is None else model_name(loaded.checkpoint)
        if loaded is None and recording is not None:
            model = f"{recording.info.checkpoint}, without its model"
        parts = [self.sessions.name, self.recordings.name, model, "Loopscope"]
        first, *others = (part.replace("[*]", "[* ]") for part in parts if part)
        title = " – ".join([f"{first}[*]", *others])
        if title != self.windowTitle():
            self.setWindowTitle(title)
        self.setWindowModified(self.sessions.unsaved)

    def _show_play(self) -> None:
        """Show the speed of play that a session has brought."""
        self.bars.transport.set_speed(self.bench.transport.rate)
        self.show_progress()

    def _on_run_changed(self) -> None:
        recording, request = self.bench.session.recording, self.bench.session.request
        self.bars.show_run()
        if recording is None or request is None:
            return
        if self.bench.session.without_model:
            self._shown_model = None
            self.bars.show_recording(recording)
            self._show_title()
            return
        self.settings.remember_prompt(request.prompt, here=not self.elsewhere.is_open)
        self.bars.prompt.set_history(self.settings.history)
        loaded = self.bench.session.status.loaded
        if request is self._first_run and loaded is not None:
            self._first_run = None
            self._put_cursor(loaded, recording)

    def _put_cursor(self, loaded: AnyModel, recording: Recording) -> None:
        """Put the cursor of a first run at the answer, or where it was asked to be."""
        session, wanted = self.bench.session, self.opening.cursor_of(loaded)
        if wanted is None:
            token = first_token(loaded, recording.info.token_labels)
            session.select({"token": token, "tokens": ()})
            return
        selection, following = wanted
        session.set_following(following)
        session.return_to(selection)

    def show_progress(self) -> None:
        """Show how far the run and the cursor are, and what can be done now."""
        recording = self.bench.session.recording
        self.tree.follow_run()
        self.views.show_why_not()
        show_states(self.commands, self.bench)
        self.views.show_empty(recording is not None and recording.n_recurrences == 0)
        self.views.show_waits_for(waits_for(self.bench.session.status) if recording is None else "")
        self.bars.show_progress_of_run()

    def _on_selection_changed(self, selection: Selection, hover: dict[str, int]) -> None:
        self.bars.show_selection(selection, hover)
        if selection is not self._selection:  # else the pointer moved, which no control shows
            self._selection = selection
            self.show_progress()

    def _on_runs_changed(self) -> None:
        self.views.show_second_run()
        self.bars.show_second_run()

    def _on_focus_changed(self, old: QWidget | None, new: QWidget | None) -> None:
        lift_text_keys(self.commands, typing=isinstance(new, QLineEdit))
        self.docks.note_focus(new)

    def provenance(self) -> dict[str, str]:
        """What is shown, in words, for the report of an error."""
        recording = self.bench.session.recording
        if recording is None:
            return {}
        return recording.info.provenance() | {"recurrences": str(recording.n_recurrences)}

    def show_error(self, line: str, report: str, file: str) -> None:
        """Show an error that nothing caught, with its report, in a window of its own."""
        self.say(line)
        self.popups.errors.add(line, report, file)

    # ---- commands of the window itself ----
    def _show_theme(self, theme: Theme) -> None:
        parts = (self.bench, self.bars, self.views, self.tree, self.exporter, self.studies)
        for part in parts:
            part.set_theme(theme)
        if "popups" in vars(self):  # made
            self.popups.set_theme(theme)

    @override
    def createPopupMenu(self) -> QMenu | None:
        """No menu of docks in Qt's order; views and titles have one of their own."""
        return None

    # ---- dropping a folder ----
    @override
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept one local folder, prompt file, session or recording."""
        if dropped_path(event.mimeData().urls()):
            event.acceptProposedAction()

    @override
    def dropEvent(self, event: QDropEvent) -> None:
        """Open the dropped folder, prompt file, session or recording."""
        path = dropped_path(event.mimeData().urls())
        if path is None:
            return
        event.acceptProposedAction()
        self.files.open(path)

    # ---- remembering ----
    def remember(self) -> None:
        """Leave in the settings what the next start takes up."""
        here = not self.elsewhere.is_open
        remembering.remember(self.settings, self, self.docks, self.bench, here=here)

    def _close_unasked(self) -> None:
        self._closing = True
        self.close()

    def end(self) -> None:
        """Close unasked as the process is told to end: the session is kept for the next start."""
        if self.autosave is not None:
            self.autosave.keep()
        self._end()
        self.recordings.end()
        self._close_unasked()

    @override
    def closeEvent(self, event: QCloseEvent) -> None:
        """Remember everything, stop the worker; safe in mid-run.

        Where runs would be lost that is asked about first, and the window closes when it is said;
        where a recording takes long to complete, when that is done.
        """
        asked = self._closing or self._ended
        if not asked and self.unsaved.asks("closing", self._close_unasked):
            event.ignore()
            return
        self._end()
        if self.recordings.close(self._close_unasked):
            super().closeEvent(event)
        else:
            event.ignore()

    def _end(self) -> None:
        """Remember everything and stop the worker, once."""
        if self._ended:
            return
        self._ended = True
        self.docks.end()
        if self._remember:
            self.remember()
        if self.autosave is not None:
            self.autosave.end()
        self.sessions.end()
        self.elsewhere.meter.end()
        self.studies.end()
        self.bench.close()


def _application() -> QApplication:
    app = QApplication.instance()
    assert isinstance(app, QApplication)
    return app
