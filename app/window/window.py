"""The main window: docks, bars and menus put together; the bench does the rest."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, QTimer, QUrl
from PySide6.QtGui import (
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QGuiApplication,
    QPaintEvent,
)
from PySide6.QtWidgets import (
    QApplication,
    QFileDialog,
    QLineEdit,
    QMainWindow,
    QMenu,
    QStyle,
    QWidget,
)
from typing_extensions import override

from loopscope.app.bench.bench import Bench
from loopscope.app.window.actions import Targets, lift_text_keys, make_actions, show_states
from loopscope.app.window.autosave import Autosave, Recovery
from loopscope.app.window.bars import Bars
from loopscope.app.window.chat import ChatPrompt
from loopscope.app.window.copying import Copying
from loopscope.app.window.elsewhere import Elsewhere
from loopscope.app.window.exporting import Exporter
from loopscope.app.window.memory_meter import MemoryMeter
from loopscope.app.window.menus import RecentMenu, make_menus
from loopscope.app.window.opening import Opening, first_token, starts_of
from loopscope.app.window.page_export import PageExport
from loopscope.app.window.prompt_files import PromptFiles, is_prompt_file
from loopscope.app.window.recordings import Recordings
from loopscope.app.window.run_commands import RunCommands
from loopscope.app.window.scripts import Scripts
from loopscope.app.window.sessions import Sessions
from loopscope.app.window.settings import BUNDLED, TEXT_SIZES, Settings
from loopscope.app.window.tree_commands import RUNS, TreeCommands
from loopscope.app.window.unsaved import Unsaved
from loopscope.app.window.view_docks import ViewDocks
from loopscope.app.window.view_menu import ViewMenu
from loopscope.app.window.words import model_name, waits_for
from loopscope.core.plugins import left_out
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.status import Status
from loopscope.core.selection import Selection
from loopscope.core.sessions.file import is_session_file
from loopscope.widgets.kit.theme import apply_text_size, apply_theme
from loopscope.widgets.palette import THEMES, Theme

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyModel
    from loopscope.widgets.kit.command_palette import CommandPalette
    from loopscope.widgets.kit.error_panel import ErrorPanel
    from loopscope.widgets.kit.shortcuts_page import ShortcutsPage

TITLE_BAR = QStyle.PixelMetric.PM_TitleBarHeight
# The preset whose views need least room.
SMALL = "State space"
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
        self.bench, self.settings, self.theme = bench, settings, theme
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
        self.views = ViewDocks(self, bench, settings, theme)
        self.running = RunCommands(bench, self.say, self)
        self.tree = TreeCommands(bench, settings, self.say, self)
        self.views.add(RUNS, self.tree.dock, self.tree.make_panel)
        self.opening = Opening(bench, settings, self)
        self.recordings = Recordings(bench, settings, self.opening, self.say, self)
        self.elsewhere = Elsewhere(bench, settings, self.opening, self.say, self)
        self.exporter = Exporter(bench, settings, self.say, self)
        self.prompt_files = PromptFiles(bench, settings, self.say, self)
        self.sessions = Sessions(
            bench, settings, self.views, self.opening, self.prompt_files, self.recordings,
            self.say, self,
        )  # fmt: skip
        self.unsaved = Unsaved(self.sessions, attended=attended, window=self)
        self.opening.before = self.unsaved.before
        self.recovery = Recovery(lambda file: self.sessions.open(file, recovered=True), self)
        self.autosave: Autosave | None = None
        if attended:
            keep = self.sessions.worth_keeping
            self.autosave = Autosave(keep, bench.in_background, self.say, self)
        self.chat = ChatPrompt(bench, self.say, self)
        targets = Targets(
            self, bench, self.bars, self.views, self.opening, self.exporter,
            PageExport(bench, self.say, self), self.chat, self.prompt_files, self.running,
            self.tree, self.sessions, Scripts(bench, self.say, self.recordings.place_of),
            Copying(bench, self.views, self.say), self.recordings, self.elsewhere,
        )  # fmt: skip
        self.commands = make_actions(self, targets)
        recent = RecentMenu(settings, self.open_path, self)
        self._groups = make_menus(self, self.commands, self.views, self.tree, recent)
        self.view_menu = ViewMenu(self.views, self.commands, self)
        self.set_theme(theme)
        self._restore()
        self.meter = MemoryMeter(bench, self)
        self.statusBar().addPermanentWidget(self.elsewhere.meter)
        self.statusBar().addPermanentWidget(self.meter)
        self._connect()
        self.show_progress()
        self.say("; ".join(plugin.text() for plugin in left_out()))

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

    # ---- popups, made when they are first asked for ----
    @cached_property
    def palette_popup(self) -> CommandPalette:
        """The command palette."""
        from loopscope.app.window.setting_actions import setting_actions
        from loopscope.widgets.kit.command_palette import CommandPalette

        actions = [action for group in self._groups.values() for action in group]
        popup = CommandPalette(actions, self, lambda holder: setting_actions(self.views, holder))
        popup.set_theme(self.theme)
        return popup

    @cached_property
    def shortcuts_page(self) -> ShortcutsPage:
        """The page of all commands with their keys."""
        from loopscope.app.window.gestures import GESTURES
        from loopscope.widgets.kit.shortcuts_page import ShortcutsPage

        page = ShortcutsPage(self._groups, self, GESTURES)
        page.set_theme(self.theme)
        return page

    @cached_property
    def error_panel(self) -> ErrorPanel:
        """The window of errors that nothing caught."""
        from loopscope.widgets.kit.error_panel import ErrorPanel

        return ErrorPanel(self)

    # ---- the screen ----
    def fit_into_screen(self) -> None:
        """Be no larger than the screen, frame included, and wholly on it.

        What the frame takes is not known before the window is shown; a title bar is counted then.
        Views that cannot be so small give way to the preset that needs least room.
        """
        room, frame = self.screen().availableGeometry(), self.frameGeometry()
        across = frame.width() - self.width()
        down = max(frame.height() - self.height(), self.style().pixelMetric(TITLE_BAR))
        width, height = room.width() - across, room.height() - down
        least = self.minimumSizeHint()
        if least.width() > width or least.height() > height:
            self.views.apply(SMALL)
            self.say(f"The views are larger than this screen; preset {SMALL} is shown instead")
            layout = self.layout()
            assert layout is not None
            layout.activate()
        self.resize(min(self.width(), width), min(self.height(), height))
        frame = self.frameGeometry()
        if not room.contains(frame):
            right = max(room.left(), min(frame.left(), room.right() + 1 - frame.width()))
            lower = max(room.top(), min(frame.top(), room.bottom() + 1 - frame.height()))
            self.move(right, lower)

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
        anew = session is None and not recorded
        self._first_run = self.opening.begin(loaded) if anew else None
        prompt = "" if self._first_run is None else self._first_run.prompt
        self.bars.show_model(loaded, starts_of(loaded), prompt)
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
            token = first_token(loaded, recording.info.token_labels)
            self.bench.session.select({"token": token, "tokens": ()})

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
        self.views.note_focus(new)

    def provenance(self) -> dict[str, str]:
        """What is shown, in words, for the report of an error."""
        recording = self.bench.session.recording
        if recording is None:
            return {}
        return recording.info.provenance() | {"recurrences": str(recording.n_recurrences)}

    def show_error(self, line: str, report: str, file: str) -> None:
        """Show an error that nothing caught, with its report, in a window of its own."""
        self.say(line)
        self.error_panel.add(line, report, file)

    # ---- commands of the window itself ----
    def open_path(self, path: str) -> None:
        """Open a checkpoint folder, a prompt file, a session or a recording."""
        from loopscope.core.recordings.reader import is_recording

        if is_session_file(path):
            self.unsaved.before("opening another", lambda: self.sessions.open(Path(path)))
        elif is_recording(Path(path)):
            self.unsaved.before("opening another", lambda: self.recordings.open(Path(path)))
        elif is_prompt_file(Path(path)):
            self.prompt_files.open(path)
        else:
            self.opening.open(path)

    def ask_for_session(self) -> None:
        """Choose a session and open it, once what is unsaved was asked about."""
        self.unsaved.before("opening another", self.sessions.ask_to_open)

    def ask_for_checkpoint(self) -> None:
        """Choose a checkpoint folder and open it."""
        last = self.settings.checkpoint
        start = "" if last.startswith(BUNDLED) else str(Path(last).parent)
        folder = QFileDialog.getExistingDirectory(self, "Open checkpoint folder", start)
        if folder:
            self.opening.open(folder)

    def copy_picture(self) -> None:
        """Put a picture of the window on the clipboard."""
        QGuiApplication.clipboard().setPixmap(self.grab())
        self.say("A picture of the window is on the clipboard")

    def show_shortcuts(self) -> None:
        """Show all commands with their keys."""
        self.shortcuts_page.show()
        self.shortcuts_page.raise_()
        self.shortcuts_page.activateWindow()

    def switch_theme(self) -> None:
        """Change between the dark and the light colours."""
        self.set_theme(THEMES["light" if self.theme.dark else "dark"])
        self.settings.theme = self.theme.name

    def change_text_size(self, by: int) -> None:
        """Make all text larger or smaller by so many percent of the system's size; 0 is its own."""
        low, high = TEXT_SIZES
        size = min(max(self.settings.text_size + by, low), high) if by else 100
        self.settings.text_size = size
        self.set_theme(self.theme)  # what has measured its text measures it again
        self.say(f"Text at {size} % of the system's size")

    def set_theme(self, theme: Theme) -> None:
        """Take a theme and the text size, views included."""
        self.theme = theme
        apply_text_size(_application(), self.settings.text_size)
        apply_theme(_application(), theme)
        self.bench.set_theme(theme)
        self.bars.set_theme(theme)
        self.views.set_theme(theme)
        self.tree.set_theme(theme)
        self.exporter.set_theme(theme)
        for name in ("palette_popup", "shortcuts_page"):
            if name in vars(self):  # made
                getattr(self, name).set_theme(theme)

    @override
    def createPopupMenu(self) -> QMenu | None:
        """No menu of docks in Qt's order; views and titles have one of their own."""
        return None

    # ---- dropping a folder ----
    @override
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept one local folder, prompt file, session or recording."""
        if self._dropped(event.mimeData().urls()):
            event.acceptProposedAction()

    @override
    def dropEvent(self, event: QDropEvent) -> None:
        """Open the dropped folder, prompt file, session or recording."""
        path = self._dropped(event.mimeData().urls())
        if path is None:
            return
        event.acceptProposedAction()
        self.open_path(path)

    @staticmethod
    def _dropped(urls: list[QUrl]) -> str | None:
        from loopscope.core.recordings.reader import is_recording

        if len(urls) != 1 or not urls[0].isLocalFile():
            return None
        path = Path(urls[0].toLocalFile())
        # A file of the folder (config.json, a shard) stands for its folder.
        files = (is_prompt_file, is_session_file, is_recording)
        itself = path.is_dir() or any(is_file(path) for is_file in files)
        return str(path if itself else path.parent)

    # ---- remembering ----
    def _restore(self) -> None:
        settings = self.settings
        self.views.apply("Step")
        if settings.geometry:
            self.restoreGeometry(QByteArray.fromHex(settings.geometry.encode()))
        if settings.layout:
            self.views.restore(settings.layout)
        self.bars.transport.set_speed(settings.speed)
        self.bench.transport.rate = settings.speed
        self.bars.prompt.set_history(settings.history)
        if settings.problem:
            self.say(settings.problem)

    def remember(self) -> None:
        """Gather what the settings keep, and save them."""
        self.views.unmaximise()
        settings, bench = self.settings, self.bench
        settings.size = [self.width(), self.height()]
        settings.geometry = bytes(self.saveGeometry().toHex().data()).decode()
        settings.layout = bytes(self.saveState().toHex().data()).decode()
        settings.remember_speed(bench.transport.rate)
        settings.step_pairing = bench.session.step_pairing
        recording, request = bench.session.recording, bench.session.request
        here = not bench.session.without_model and not self.elsewhere.is_open
        if recording is not None and request is not None and here:
            settings.remember_run(request, recording)
        for key, display in bench.displays.items():
            settings.remember_options(key, display.options)
        settings.save()

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
        self.views.end()
        if self._remember:
            self.remember()
        if self.autosave is not None:
            self.autosave.end()
        self.sessions.end()
        self.elsewhere.meter.end()
        self.bench.close()


def _application() -> QApplication:
    app = QApplication.instance()
    assert isinstance(app, QApplication)
    return app
