"""A study in the window: its dock, following it, starting it, opening a cell of it as a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QDockWidget, QFileDialog, QMainWindow

from loopscope.app.bench.background import OneThread
from loopscope.app.bench.bench import Bench
from loopscope.app.bench.run_tree import Change
from loopscope.app.window.docks import Docks
from loopscope.app.window.exporting import Exporter
from loopscope.app.window.opening import Opening
from loopscope.app.window.settings import Settings, absolute
from loopscope.core.sessions.saved import SavedStudy
from loopscope.widgets.kit.measure_row import time_text
from loopscope.widgets.kit.title_bar import TitleBar
from loopscope.widgets.palette import LIGHT, Theme

if TYPE_CHECKING:
    from loopscope.app.window.study_process import StudyProcess
    from loopscope.core.sweeps.grid import Run
    from loopscope.core.sweeps.picture import Choice
    from loopscope.core.sweeps.study import StudyCheckpoint
    from loopscope.core.sweeps.watching import FoundStudy, Seen, Watch
    from loopscope.widgets.kit.export_dialog import ExportDialog
    from loopscope.widgets.studies.panel import Standing, StudyPanel

STUDY, TITLE = "study", "Study"
BUNDLED_STUDY = "bundled:hops"
FILTER = "Studies (*.toml);;All files (*)"
# Milliseconds between two looks into the folder of the study that is in sight.
LOOK_MS = 1000


def is_study(path: Path) -> bool:
    """Whether a path is a study's TOML file, or the folder of its rows."""
    return path.suffix.lower() == ".toml" or (path / "rows").is_dir()


class Studies(QObject):
    """The study that is open in one window, or none.

    found : what was opened.  seen : what is shown of it; None before it was looked at.
    dialog : of the last export.
    """

    def __init__(
        self, bench: Bench, settings: Settings, opening: Opening, docks: Docks,
        exporter: Exporter, say: Callable[[str], None], window: QMainWindow,
    ) -> None:  # fmt: skip
        super().__init__(window)
        self._bench, self._settings, self._opening = bench, settings, opening
        self._docks, self._exporter, self._say, self._window = docks, exporter, say, window
        self._theme, self.title_bar = LIGHT, TitleBar(TITLE)
        self._panel: StudyPanel | None = None
        self.found: FoundStudy | None = None
        self.seen: Seen | None = None
        self.dialog: ExportDialog | None = None
        self._watch: Watch | None = None
        self._choice: Choice | None = None
        self._problem = ""
        # What reads the folder: nothing else waits for it.
        self._reader = OneThread("loopscope-study")
        self._looking = self._again = False
        self._started_with = 0
        self.dock = self._make_dock()
        docks.add(STUDY, self.dock, self.make_panel)
        self._timer = QTimer(self, interval=LOOK_MS)
        self._timer.timeout.connect(lambda: self.look(anew=False))

    def _make_dock(self) -> QDockWidget:
        dock = QDockWidget(TITLE, self._window)
        dock.toggleViewAction().setStatusTip("Show a study: a grid of runs, drawn as they come")
        dock.visibilityChanged.connect(self._on_visible)
        export = self.title_bar.add_button("export", "Export what is drawn of the study")
        export.clicked.connect(self.export)
        self.title_bar.add_button("close", f"Hide {TITLE}").clicked.connect(dock.close)
        dock.setTitleBarWidget(self.title_bar)
        return dock

    @cached_property
    def process(self) -> StudyProcess:
        """What runs the study; made with the first."""
        from loopscope.app.window.study_process import StudyProcess

        process = StudyProcess(self)
        process.ended.connect(self._on_ended)
        return process

    @property
    def panel(self) -> StudyPanel:
        """The panel in the dock; what it needs is imported with it."""
        self.make_panel()
        assert self._panel is not None
        return self._panel

    def make_panel(self) -> None:
        """Fill the dock, once."""
        if self._panel is not None:
            return
        from loopscope.widgets.studies.panel import StudyPanel

        self._panel = panel = StudyPanel()
        panel.chosen.connect(self._on_chosen)
        panel.cell_chosen.connect(self._on_cell)
        panel.start_requested.connect(self.start)
        panel.cancel_requested.connect(self.cancel)
        panel.command_requested.connect(self._on_command)
        panel.message.connect(self._say)
        panel.set_theme(self._theme)
        self.dock.setWidget(panel)

    def _on_command(self, name: str) -> None:
        self.ask() if name == "open_study" else self.open(BUNDLED_STUDY)

    def _on_visible(self, visible: bool) -> None:
        if visible and self.found is not None:
            self._timer.start()
            self.look(anew=False)
        else:
            self._timer.stop()

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self._theme = theme
        self.title_bar.set_theme(theme)
        if self._panel is not None:
            self._panel.set_theme(theme)

    # ---- opening ----
    def ask(self) -> None:
        """Choose a study's TOML file, or the one in the folder of its rows."""
        path, _ = QFileDialog.getOpenFileName(self._window, "Open a study", "", FILTER)
        if path:
            self.open(path)

    def open(self, path: str, folder: str = "", choice: Choice | None = None) -> None:
        """Read what ``path`` names and show it; what is wrong with it stands in the panel.

        ``folder`` is where its rows are; "" for NAME-study beside the file.
        """
        if self.process.running:
            self._say("A study is running: cancel it before another is opened")
            return
        self._show_dock()
        self._read(path, folder, choice)

    def _read(self, path: str, folder: str, choice: Choice | None) -> None:
        rows_of = Path(path).name == "study.toml" and (Path(path).parent / "rows").is_dir()
        path = absolute(str(Path(path).parent) if rows_of else path)

        def work() -> tuple[FoundStudy, Watch]:
            from loopscope.core.sweeps.watching import Watch, find_study

            found = find_study(path, Path(folder) if folder else None)
            return found, Watch(found)

        def read(future: Future[tuple[FoundStudy, Watch]]) -> None:
            error = future.exception()
            if error is not None:
                self._say(str(error))
                self._close(str(error))
                return
            self._settings.remember_recent(path)
            self._take(*future.result(), choice)

        self._in_background(work, read)

    def _show_dock(self) -> None:
        """Bring the dock into sight, with room: a study is looked at for itself."""
        if not self.dock.isVisible():
            self._docks.apply(TITLE)
        self.make_panel()
        self._docks.show(STUDY)

    def _close(self, problem: str) -> None:
        self.found = self.seen = self._watch = None
        self._timer.stop()
        self.title_bar.statement.set_whole("")
        self.panel.show_nothing(problem)

    def _take(self, found: FoundStudy, watch: Watch, choice: Choice | None) -> None:
        from loopscope.core.sweeps.picture import Choice

        self.found, self._watch, self.seen = found, watch, None
        self._choice, self._problem = choice or Choice(), found.problem
        self._timer.start()
        self.look()

    # ---- following ----
    def look(self, *, anew: bool = True) -> None:
        """Look into the folder, and draw what there is where something was added or ``anew``."""
        if self._looking:
            self._again = self._again or anew
            return
        watch, choice = self._watch, self._choice
        if watch is None or choice is None:
            return
        self._looking = True

        def work() -> Seen | None:
            return watch.look(choice, anew=anew)

        def done(future: Future[Seen | None]) -> None:
            self._looking = False
            if watch is self._watch and not future.cancelled():
                self._show(future)
            if self._again:
                self._again = False
                self.look()

        self._in_background(work, done)

    def _show(self, future: Future[Seen | None]) -> None:
        error = future.exception()
        if error is not None:
            self._problem = str(error)
        elif (seen := future.result()) is not None:
            self.seen, self._problem = seen, seen.failures or self._problem
            if self._choice is not None and not self._choice.measure:
                self._choice = seen.choice
            self.title_bar.statement.set_whole(seen.picture.statement)
            self.panel.show_picture(seen.picture, seen.choice, seen.there)
        self._show_standing()

    def _show_standing(self) -> None:
        if self.found is not None:
            self.panel.show_standing(self._standing(self.found))

    def _standing(self, found: FoundStudy) -> Standing:
        from loopscope.widgets.studies.panel import Standing

        done, cells = (0, 0) if self.seen is None else (self.seen.done, self.seen.cells)
        of = f" of {cells:,}" if cells else ""
        words = f"{found.name}: {done:,}{of} cells"
        if self.process.cancelled and self.process.running:
            words += "; ending, what was measured stays"
        elif self.process.running:
            words += self._time_left(done, cells)
        elif done < cells and not found.file:
            words += "; shown as they come. Open its TOML file to run what is missing"
        if self.seen is not None and self.seen.others:
            words += f"; {self.seen.others:,} of another study"
        can = "cancel" if self.process.running else "start" if found.file and done < cells else ""
        return Standing(
            words, done / cells if cells else None, can,  # type: ignore[arg-type]
            "it is ending" if self.process.cancelled and self.process.running else "",
            self._problem,
        )  # fmt: skip

    def _time_left(self, done: int, cells: int) -> str:
        made, seconds = done - self._started_with, time.monotonic() - self.process.began
        return f", {time_text(seconds / made * (cells - done))} left" if made > 0 else "; running"

    # ---- running ----
    def start(self) -> None:
        """Run what is missing; asks for a folder where none is known."""
        found = self.found
        if found is None or not found.file or self.process.running:
            self._say("There is no study to start: open its TOML file")
            return
        folder = found.folder or _ask_for_folder(self._window, found.file)
        if folder is None:
            return
        if found.folder is None:
            from loopscope.core.sweeps.watching import Watch

            self.found = replace(found, folder=folder)
            self._watch = Watch(self.found)
        self._problem = ""
        self._started_with = 0 if self.seen is None else self.seen.done
        self.process.start(found.file, str(folder), self.panel.address.text().strip())
        self._show_standing()

    def cancel(self) -> None:
        """End the study that was started here; what was measured stays."""
        self.process.cancel()
        self._show_standing()

    def _on_ended(self, why: str) -> None:
        self._problem = why
        if not self._bench.closing.is_set():
            self.look()
            self._show_standing()

    # ---- choosing ----
    def _on_chosen(self, choice: Choice) -> None:
        before = self._choice
        assert before is not None
        self._draw(choice)
        change = Change(
            "Study: what is drawn", lambda: self._draw(before), lambda: self._draw(choice),
            of_runs=False,
        )  # fmt: skip
        self._bench.runs.history.note(change)
        self._bench.session.settings_changed.emit(STUDY)
        self._bench.session.progressed.emit()

    def _draw(self, choice: Choice) -> None:
        self._choice = choice
        self.look()

    def _on_cell(self, row: int) -> None:
        watch, seen = self._watch, self.seen
        if watch is None or seen is None:
            return
        choice = seen.choice

        def work() -> tuple[StudyCheckpoint, Run, int]:
            return watch.cell(choice, row)

        def found(future: Future[tuple[StudyCheckpoint, Run, int]]) -> None:
            if (error := future.exception()) is not None:
                self._problem = str(error)
            else:
                from loopscope.app.window.study_runs import open_run

                self._problem = open_run(self._bench, self._opening, *future.result(), self._say)
            self._show_standing()

        self._in_background(work, found)

    def export(self) -> ExportDialog | None:
        """Ask how what is drawn is to be written."""
        from loopscope.app.window.study_export import ask

        self.dialog = ask(self._bench, self._exporter, lambda: self.seen, self._say)
        return self.dialog

    # ---- remembering ----
    def saved(self) -> SavedStudy | None:
        """What a session keeps of it; None where none is open."""
        found, choice = self.found, self._choice
        if found is None or choice is None:
            return None
        folder = "" if found.folder is None else str(found.folder.absolute())
        return SavedStudy(
            path=found.file or folder, folder=folder, measure=choice.measure, kind=choice.kind,
            along=choice.along, by=choice.by, kept=choice.kept,
        )  # fmt: skip

    def restore(self, saved: SavedStudy | None) -> None:
        """Open the study of a session as it was drawn; the docks stand as the session says.

        A study that this window runs stays open.
        """
        if self.process.running:
            return
        if saved is None:
            if self.found is not None:
                self._close("")
            return
        from loopscope.core.sweeps.picture import Choice

        choice = Choice(saved.measure, saved.kind, saved.along, saved.by, dict(saved.kept))
        self.make_panel()
        self._read(saved.path, saved.folder, choice)

    def end(self) -> None:
        """The window closes: a study that it started ends, and what was measured stays."""
        self._timer.stop()
        if "process" in vars(self):  # made
            self.process.end()
        self._reader.close()

    def _in_background(self, work: Callable[[], Any], done: Callable[[Future[Any]], None]) -> None:
        if not self._bench.closing.is_set():
            self._bench.background.wait(self._reader.submit(work), done)


def _ask_for_folder(window: QMainWindow, file: str) -> Path | None:
    """A folder for the rows: the one chosen where it is one of rows, else one in it."""
    chosen = QFileDialog.getExistingDirectory(window, "Where do the results go?")
    if not chosen:
        return None
    own = Path(chosen)
    return own if (own / "rows").is_dir() else own / f"{Path(file.split(':')[-1]).stem}-study"
