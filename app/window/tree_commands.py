"""Runs and cuts in the window: the dock, and what its commands do."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QDockWidget, QFileDialog, QMenu

from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import LoopscopeError
from loopscope.core.files import write_text
from loopscope.core.interventions.base import Intervention, Source
from loopscope.core.interventions.registry import as_json, load_interventions
from loopscope.core.run.pairing import PACES, Pace
from loopscope.widgets.kit.title_bar import TitleBar
from loopscope.widgets.palette import Theme
from loopscope.widgets.runs.run_list import RunRow
from loopscope.widgets.runs.runs_panel import RunsPanel

if TYPE_CHECKING:
    from loopscope.app.window.window import Window

RUNS, TITLE = "runs", "Runs and cuts"
CUTS = "Interventions (*.json);;All files (*)"


class TreeCommands:
    """The runs of one window: its dock, its menu of paces, its commands."""

    def __init__(self, window: Window) -> None:
        self.window, self.bench, self.runs = window, window.bench, window.bench.runs
        self.panel, self.title_bar = RunsPanel(), TitleBar(TITLE)
        self.panel.form.make_source = self._source
        rows, form = self.panel.list, self.panel.form
        rows.show_requested.connect(lambda i: self._with(i, self.runs.show))
        rows.beside_requested.connect(self._put_beside)
        rows.delete_requested.connect(lambda i: self._with(i, self.runs.delete))
        rows.message.connect(self._say)
        rows.renamed.connect(lambda i, name: self._with(i, lambda run: self.runs.rename(run, name)))
        form.branch_requested.connect(self.branch)
        if window.settings.pace in PACES:
            self.bench.session.pace = window.settings.pace
        self.bench.session.runs_changed.connect(self.refresh)

    def make_dock(self) -> QDockWidget:
        """Make the dock, which is no view: it is about all runs."""
        dock = QDockWidget(TITLE, self.window)
        dock.setObjectName(RUNS)
        dock.toggleViewAction().setStatusTip("Show the runs as a tree and the form that cuts them")
        dock.toggleViewAction().triggered.connect(lambda on: dock.raise_() if on else None)
        # While it is hidden the list does not follow the run.
        dock.visibilityChanged.connect(lambda on: self.refresh() if on else None)
        dock.setWidget(self.panel)
        self.title_bar.add_button("close", f"Hide {TITLE}").clicked.connect(dock.close)
        dock.setTitleBarWidget(self.title_bar)
        return dock

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self.panel.set_theme(theme)
        self.title_bar.set_theme(theme)

    def make_pace_menu(self, menu: QMenu) -> None:
        """Add how the run beside follows to a menu."""
        paces = menu.addMenu("Run beside goes")
        group = QActionGroup(self.window)
        for pace, words in PACES.items():
            action: QAction = paces.addAction(words[0].upper() + words[1:])
            action.setCheckable(True)
            action.setChecked(pace == self.bench.session.pace)
            action.setStatusTip(f"The cursor and the steps of the run beside follow {words}")
            action.triggered.connect(lambda _=False, p=pace: self._set_pace(p))
            group.addAction(action)

    def _set_pace(self, pace: Pace) -> None:
        self.window.settings.pace = pace
        self.bench.second_runs.set_pace(pace)

    # ---- what is shown ----
    def refresh(self) -> None:
        """List the runs anew and say what stands beside."""
        runs = list(self.runs.tree)
        rows = []
        for run in runs:
            short, words = run.effect
            parent = None if run.parent is None else run.parent.id
            n = run.stepper.recording.n_recurrences
            rows.append(RunRow(run.id, parent, run.name, run.description, n, short, words))
        second = self.bench.session.second
        shown = -1 if self.bench.session.run is None else self.bench.session.run.id
        second_run = -1 if second is None or second.run is None else second.run.id
        self.panel.list.show_runs(rows, shown, second_run)
        self.panel.form.show_sources([(run.id, run.name) for run in runs])
        self.title_bar.statement.set_whole(self._statement())
        self.window.show_beside()

    def _statement(self) -> str:
        """Say how many runs there are and what is shown."""
        current, second = self.bench.session.run, self.bench.session.second
        if current is None:
            return "There is no run yet."
        n = len(self.runs.tree)
        text = f"{n} run{'s' * (n != 1)}; {current.name} is shown"
        cuts = len(current.stepper.recording.info.interventions)
        text += f", cut {cuts} time{'s' * (cuts != 1)}" if cuts else ""
        if second is not None:
            text += f"; beside it {second.name}, {PACES[self.bench.session.pace]}"
        elif (model := self.bench.second_runs.model) is not None and model.why_not:
            text += f"; {model.name} does not stand beside: {model.why_not}"
        return text

    def progressed(self) -> None:
        """The run or the cursor has moved: the form and the list follow."""
        actions, history = self.window.actions_by_name, self.runs.history
        for name, changes in (("undo", history.done), ("redo", history.undone)):
            actions[name].setEnabled(bool(changes))
            word = name.capitalize()
            actions[name].setText(f"{word} {changes[-1].text}" if changes else word)
        second_run = self.bench.session.second is not None
        actions["swap"].setEnabled(second_run)
        actions["alone"].setEnabled(second_run or self.bench.second_runs.model is not None)
        recording = self.bench.session.recording
        arch = None if recording is None else recording.info.architecture
        n_tokens = 0 if recording is None else recording.n_tokens
        self.panel.form.show_place(arch, n_tokens, self.bench.session.selection)
        if self.panel.isVisible():
            self.refresh()

    def _with(self, run_id: int, act: Any) -> None:
        run = self.runs.tree.find(run_id)
        if run is not None:
            act(run)

    def _put_beside(self, run_id: int) -> None:
        self.bench.second_runs.show(None if run_id < 0 else self.runs.tree.find(run_id))

    def _source(self, run_id: int, recurrence: int, layer: int) -> Source | None:
        run = self.runs.tree.find(run_id)
        return None if run is None else run.source(recurrence, layer)

    # ---- commands ----
    def branch(self, cut: Intervention) -> None:
        """Cut a branch off the run shown."""
        self.runs.branch((cut,))

    def do_branch(self) -> None:
        """Press the form's button; show the form when it is hidden."""
        dock = self.window.docks[RUNS]
        if not dock.isVisible():
            dock.show()
            dock.raise_()
            self._say("Choose what to cut, then Ctrl+B again")
        elif not self.panel.form.branch():
            self._say(f"Cannot branch here. {self.panel.form.words.text()}")

    def do_undo(self) -> None:
        """Take the last change back."""
        self.runs.undo()

    def do_redo(self) -> None:
        """Make the last undone change again."""
        self.runs.redo()

    def do_swap(self) -> None:
        """Show the run beside, and put the one shown beside it."""
        second = self.bench.session.second
        if second is None:
            self._say("No run stands beside; put one there in Runs and cuts")
        elif second.run is None:
            self._say("The run beside is of another model: open that one to step it by itself")
        else:
            self.runs.show(second.run)

    def do_alone(self) -> None:
        """Take away the run beside."""
        if self.bench.session.second is None and self.bench.second_runs.model is None:
            self._say("This run is shown alone already")
        self.bench.second_runs.show(None)

    def do_save_cuts(self) -> None:
        """Save the interventions of the run shown."""
        recording = self.bench.session.recording
        cuts = () if recording is None else recording.info.interventions
        if not cuts:
            self._say("This run has no interventions to save")
            return
        path, _ = QFileDialog.getSaveFileName(
            self.window, "Save interventions", "interventions.json", CUTS
        )
        if path:
            self.save_cuts(Path(path), cuts)

    def save_cuts(self, path: Path, cuts: tuple[Intervention, ...]) -> None:
        """Write interventions to a file; says how it ended."""
        path = path if path.suffix else path.with_suffix(".json")
        try:
            write_text(path, json.dumps(as_json(cuts), indent=1) + "\n")
        except LoopscopeError as error:
            self._say(str(error))
            return
        self._say(f"Saved {len(cuts)} intervention{'s' * (len(cuts) != 1)} to {path}")

    def do_replay_cuts(self) -> None:
        """Choose a file of interventions and make them into this run."""
        path, _ = QFileDialog.getOpenFileName(self.window, "Replay interventions", "", CUTS)
        if path:
            self.replay_cuts(Path(path))

    def replay_cuts(self, path: Path) -> None:
        """Make the interventions of a file into the run shown, as a branch of it."""
        try:
            cuts = load_interventions(path)
        except LoopscopeError as error:
            self._say(str(error))
            return
        if not cuts:
            self._say(f"{path} holds no interventions; nothing was cut")
            return
        self.runs.branch(cuts)

    def do_open_beside(self) -> None:
        """Choose a second checkpoint."""
        folder = QFileDialog.getExistingDirectory(self.window, "Open a checkpoint beside", "")
        if folder:
            self.open_second_model(folder)

    def do_deep_beside(self) -> None:
        """Put the bundled deep twin beside."""
        self.open_second_model("bundled:deep")

    def open_second_model(self, path: str) -> None:
        """Load a second checkpoint and run the prompt on it, beside the run shown."""
        if self.bench.session.request is None:
            self._say("Open a first checkpoint before a second one")
            return
        settings, runner = self.window.settings, self.bench.runner

        def loaded(future: Future[Any]) -> None:
            if future.cancelled():
                self._say(f"{path} was not opened: cancelled")
            elif (error := future.exception()) is not None:
                self._say(f"{error}")
            else:
                model = future.result()
                self.bench.second_runs.show_model(model, model.checkpoint.name)

        request = LoadRequest(path, settings.device, settings.dtype)
        self.bench.background.wait(runner.open_second_model(request), loaded)

    def _say(self, text: str) -> None:
        self.window.statusBar().showMessage(text, 10_000)
