"""Runs and cuts in the window: the dock, and what its commands do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QDockWidget, QFileDialog, QMenu, QWidget

from loopscope.app.bench.bench import Bench
from loopscope.app.bench.run_tree import Run
from loopscope.app.window.settings import Settings
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import LoopscopeError
from loopscope.core.files import write_text
from loopscope.core.interventions.base import Intervention, Source
from loopscope.core.interventions.registry import as_json, load_interventions
from loopscope.core.run.pairing import STEP_PAIRINGS, StepPairing
from loopscope.widgets.kit.title_bar import TitleBar
from loopscope.widgets.palette import LIGHT, Theme

if TYPE_CHECKING:
    from loopscope.widgets.runs.runs_panel import RunsPanel

RUNS, TITLE = "runs", "Runs and cuts"
FILTER = "Interventions (*.json);;All files (*)"


class TreeCommands(QObject):
    """The runs of one window: its dock, its menu of step pairings, its commands."""

    def __init__(
        self, bench: Bench, settings: Settings, say: Callable[[str], None], parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._bench, self._runs, self._session = bench, bench.runs, bench.session
        self._settings = settings
        self._say, self._parent = say, parent
        self._theme, self.title_bar = LIGHT, TitleBar(TITLE)
        self._panel: RunsPanel | None = None
        self._session.step_pairing = next(p for p in STEP_PAIRINGS if p == settings.step_pairing)
        self._step_pairings: dict[StepPairing, QAction] = {}
        self._session.runs_changed.connect(self.refresh)
        self.dock = self._make_dock()

    def _make_dock(self) -> QDockWidget:
        """Make the dock, which is no view: it is about all runs."""
        dock = QDockWidget(TITLE, self._parent)
        dock.toggleViewAction().setStatusTip("Show the runs as a tree and the form that cuts them")
        # While it is hidden the list does not follow the run.
        dock.visibilityChanged.connect(lambda on: self.refresh() if on else None)
        self.title_bar.add_button("close", f"Hide {TITLE}").clicked.connect(dock.close)
        dock.setTitleBarWidget(self.title_bar)
        return dock

    @property
    def panel(self) -> RunsPanel:
        """The list of runs and the form of a cut."""
        self.make_panel()
        assert self._panel is not None
        return self._panel

    def make_panel(self) -> None:
        """Fill the dock, once: when it is first seen, or the list or the form is asked for."""
        if self._panel is not None:
            return
        from loopscope.widgets.runs.runs_panel import RunsPanel

        self._panel = panel = RunsPanel()
        panel.form.make_source = self._source
        rows, form = panel.list, panel.form
        rows.show_requested.connect(lambda i: self._with(i, self._runs.show))
        rows.second_run_requested.connect(self._set_second_run)
        rows.delete_requested.connect(lambda i: self._with(i, self._runs.delete))
        rows.message.connect(self._say)
        rows.renamed.connect(
            lambda i, name: self._with(i, lambda run: self._runs.rename(run, name))
        )
        form.branch_requested.connect(lambda intervention: self._runs.branch((intervention,)))
        panel.set_theme(self._theme)
        self.dock.setWidget(panel)
        self.refresh()
        self.follow_run()

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self._theme = theme
        if self._panel is not None:
            self._panel.set_theme(theme)
        self.title_bar.set_theme(theme)

    def make_step_pairing_menu(self, menu: QMenu) -> None:
        """Add how the second run follows to a menu."""
        submenu = menu.addMenu("Second run goes")
        group = QActionGroup(self._parent)
        for pairing, words in STEP_PAIRINGS.items():
            action: QAction = submenu.addAction(words[0].upper() + words[1:])
            action.setCheckable(True)
            action.setChecked(pairing == self._session.step_pairing)
            action.setStatusTip(f"The cursor and the steps of the second run follow {words}")
            action.triggered.connect(lambda _=False, p=pairing: self._runs.set_step_pairing(p))
            group.addAction(action)
            self._step_pairings[pairing] = action

    # ---- what is shown ----
    def refresh(self) -> None:
        """List the runs anew and say what the second run is."""
        self.title_bar.statement.set_whole(self._statement())
        if self._step_pairings:
            self._step_pairings[self._session.step_pairing].setChecked(True)
        if self._panel is not None:
            self._list_runs(self._panel)

    def _list_runs(self, panel: RunsPanel) -> None:
        from loopscope.widgets.runs.run_list import RunRow

        runs = list(self._runs.tree)
        rows = []
        for run in runs:
            short, words = run.effect
            parent = None if run.parent is None else run.parent.id
            n = run.stepper.recording.n_recurrences
            rows.append(RunRow(run.id, parent, run.name, run.description, n, short, words))
        second = self._session.second
        shown_run = -1 if self._session.run is None else self._session.run.id
        second_run = -1 if second is None or second.run is None else second.run.id
        panel.list.show_runs(rows, shown_run, second_run)
        panel.form.show_sources([(run.id, run.name) for run in runs])

    def _statement(self) -> str:
        """Say how many runs there are and what is shown."""
        current, second = self._session.run, self._session.second
        if current is None:
            return "There is no run yet."
        n = len(self._runs.tree)
        text = f"{n} run{'s' * (n != 1)}; {current.name} is shown"
        done = len(current.stepper.recording.info.interventions)
        text += f", cut {done} time{'s' * (done != 1)}" if done else ""
        if second is not None:
            text += (
                f"; the second run is {second.name}, {STEP_PAIRINGS[self._session.step_pairing]}"
            )
        elif (model := self._bench.second_runs.model) is not None and model.why_not:
            text += f"; {model.name} is not the second run: {model.why_not}"
        return text

    def follow_run(self) -> None:
        """The run or the cursor has moved: the form and the list follow."""
        if self._panel is None:
            return
        recording = self._session.recording
        arch = None if recording is None else recording.info.architecture
        n_tokens = 0 if recording is None else recording.n_tokens
        self._panel.form.show_place(arch, n_tokens, self._session.selection)
        if self._panel.isVisible():
            self.refresh()

    def _with(self, run_id: int, act: Callable[[Run], None]) -> None:
        run = self._runs.tree.find(run_id)
        if run is not None:
            act(run)

    def _set_second_run(self, run_id: int) -> None:
        self._runs.put_second(None if run_id < 0 else self._runs.tree.find(run_id))

    def _source(self, run_id: int, recurrence: int, layer: int) -> Source | None:
        run = self._runs.tree.find(run_id)
        return None if run is None else run.source(recurrence, layer)

    # ---- commands ----
    def branch_by_form(self) -> None:
        """Press the form's button; show the form when it is hidden."""
        if not self.dock.isVisible():
            self.dock.show()
            self.dock.raise_()
            self._say("Choose what to cut, then Ctrl+B again")
        elif self.panel.form.branch():
            self._say("")
        else:
            self._say(f"Cannot branch here. {self.panel.form.words.text()}")

    def swap(self) -> None:
        """Show the second run, and make the one shown the second."""
        second = self._session.second
        if second is None:
            self._say("There is no second run; put one beside in Runs and cuts")
        elif second.run is None:
            self._say("The second run is of another model or file: open that to see it by itself")
        else:
            self._runs.show(second.run)

    def show_alone(self) -> None:
        """Take away the second run."""
        if self._session.second is None and self._bench.second_runs.model is None:
            self._say("This run is shown alone already")
        self._runs.put_second(None)

    def ask_to_save_interventions(self) -> None:
        """Save the interventions of the run shown."""
        recording = self._session.recording
        interventions = () if recording is None else recording.info.interventions
        if not interventions:
            self._say("This run has no interventions to save")
            return
        path, _ = QFileDialog.getSaveFileName(
            self._parent, "Save interventions", "interventions.json", FILTER
        )
        if path:
            self.save_interventions(Path(path), interventions)

    def save_interventions(self, path: Path, interventions: tuple[Intervention, ...]) -> None:
        """Write interventions to a file; says how it ended."""
        path = path if path.suffix else path.with_suffix(".json")
        try:
            write_text(path, json.dumps(as_json(interventions), indent=1) + "\n")
        except LoopscopeError as error:
            self._say(str(error))
            return
        n = len(interventions)
        self._say(f"Saved {n} intervention{'s' * (n != 1)} to {path}")

    def ask_for_interventions(self) -> None:
        """Choose a file of interventions and make them into this run."""
        path, _ = QFileDialog.getOpenFileName(self._parent, "Replay interventions", "", FILTER)
        if path:
            self.replay_interventions(Path(path))

    def replay_interventions(self, path: Path) -> None:
        """Make the interventions of a file into the run shown, as a branch of it."""
        try:
            interventions = load_interventions(path)
        except LoopscopeError as error:
            self._say(str(error))
            return
        if not interventions:
            self._say(f"{path} holds no interventions; nothing was cut")
            return
        self._runs.branch(interventions)

    def ask_for_second_model(self) -> None:
        """Choose a second checkpoint."""
        folder = QFileDialog.getExistingDirectory(self._parent, "Open a checkpoint beside", "")
        if folder:
            self.open_second_model(folder)

    def open_second_model(self, path: str) -> None:
        """Load a second checkpoint and run the prompt on it, beside the run shown."""
        if self._session.request is None:
            self._say("Open a first checkpoint before a second one")
            return
        settings = self._settings
        self._bench.second_runs.open_model(LoadRequest(path, settings.device, settings.dtype))
