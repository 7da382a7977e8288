"""The main window: docks, bars, menus. What the commands do; the bench does the rest."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray, Qt, QTimer, QUrl
from PySide6.QtGui import (
    QAction,
    QActionGroup,
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QGuiApplication,
    QKeySequence,
    QPaintEvent,
)
from PySide6.QtWidgets import (
    QApplication,
    QDockWidget,
    QFileDialog,
    QLineEdit,
    QMainWindow,
    QMenu,
    QToolBar,
    QVBoxLayout,
    QWidget,
)

from loopscope.app.bench.bench import Bench
from loopscope.app.view_spec import ViewSpec
from loopscope.app.views import BY_KEY, VIEW_SPECS
from loopscope.app.window.actions import COMMANDS, MENUS, TEXT_KEYS, make_actions
from loopscope.app.window.exporting import Exporter
from loopscope.app.window.layout import PRESETS, Layout
from loopscope.app.window.prompt_files import BUNDLED_PROMPTS, PromptFiles, is_prompt_file
from loopscope.app.window.run_commands import RunCommands
from loopscope.app.window.settings import Settings
from loopscope.app.window.tree_commands import RUNS, TreeCommands
from loopscope.app.window.words import device_words, model_line, place
from loopscope.core.checkpoint.request import LoadRequest
from loopscope.core.errors import LoopscopeError
from loopscope.core.interventions.base import Intervention
from loopscope.core.interventions.registry import as_json, from_json
from loopscope.core.run.card import card, card_text
from loopscope.core.run.requests import RunRequest
from loopscope.core.run.status import RunnerState, Status
from loopscope.widgets.bars.header import Header
from loopscope.widgets.bars.prompt_bar import PromptBar
from loopscope.widgets.bars.transport import TransportBar
from loopscope.widgets.kit.command_palette import CommandPalette
from loopscope.widgets.kit.frame import ViewFrame
from loopscope.widgets.kit.plain_text import PlainLabel, plain_tip
from loopscope.widgets.kit.shortcuts_page import ShortcutsPage
from loopscope.widgets.kit.theme import apply_theme
from loopscope.widgets.palette import THEMES, Theme

DEFAULT_PROMPT = "ha bc de fg gh cd ab ef ? 3 : a b c d e f g h"


class Window(QMainWindow):
    """The bench in a window.

    Parameters
    ----------
    bench
        Wires runner, cursor and views.
    settings
        What is remembered; saved on closing when ``remember`` is true.
    """

    def __init__(
        self, bench: Bench, settings: Settings, theme: Theme, *, remember: bool = True
    ) -> None:
        super().__init__()
        self.bench, self.settings, self.theme = bench, settings, theme
        self.application: QApplication
        self.interrupted = False
        self._after_paint: Callable[[], None] | None = None
        self._fresh = self._empty = False
        self._cursor: Any = None  # the selection that the controls show
        self._opening = settings.checkpoint
        self._loop: tuple[int, int, float] | None = None
        self._remember = remember
        self._last_panel = "state_space"
        self._first_recurrences: int | None = None
        self._first_prompt: str | None = None
        self._first_cuts: tuple[Intervention, ...] | None = None
        self.setWindowTitle("Loopscope")
        self.setAcceptDrops(True)
        self.setDockNestingEnabled(True)
        self.resize(*settings.size)
        self.run_commands, self.tree = RunCommands(self), TreeCommands(self)
        self.actions_by_name = make_actions(self, (self, self.run_commands, self.tree))
        self._make_bars()
        self.docks: dict[str, QDockWidget] = {}
        self.frames: dict[str, ViewFrame] = {}
        for spec in VIEW_SPECS:
            self._make_dock(spec)
        self.docks[RUNS] = self.tree.make_dock()
        self.layout_of_views = Layout(self, self.docks)
        self._make_menus()
        self.palette_popup = CommandPalette(list(self._all_actions()), self)
        self.shortcuts_page = ShortcutsPage(list(self._all_actions()), self)
        self.exporter = Exporter(bench, self)
        self.prompt_files = PromptFiles(bench, self)
        self.set_theme(theme)
        self._restore_layout()
        self._connect()
        self._show_place()
        self._on_progressed()

    # ---- making ----
    def _make_bars(self) -> None:
        self.header, self.prompt_bar, self.transport = Header(), PromptBar(), TransportBar()
        top = QWidget()
        box = QVBoxLayout(top)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(self.header)
        box.addWidget(self.prompt_bar)
        self._add_bar("Prompt", top, Qt.ToolBarArea.TopToolBarArea)
        self._add_bar("Transport", self.transport, Qt.ToolBarArea.BottomToolBarArea)
        self.place = PlainLabel()
        self.place.setContentsMargins(14, 0, 8, 0)
        self.beside_words = PlainLabel()
        self.statusBar().addPermanentWidget(self.beside_words)
        self.statusBar().addPermanentWidget(self.place)
        self.statusBar().setSizeGripEnabled(False)

    def _add_bar(self, name: str, widget: QWidget, area: Qt.ToolBarArea) -> None:
        bar = QToolBar(name, self)
        bar.setObjectName(name)
        bar.setMovable(False)
        bar.toggleViewAction().setVisible(False)
        bar.addWidget(widget)
        self.addToolBar(area, bar)

    def _make_dock(self, spec: ViewSpec) -> None:
        dock = QDockWidget(spec.title, self)
        dock.setObjectName(spec.key)
        dock.toggleViewAction().setStatusTip(f"Show {spec.shows}")
        self.docks[spec.key] = dock
        if spec.key in PRESETS["Step"]:
            self._fill_dock(spec)
        else:
            # Views that are not there at first are made when they are: the first paint is sooner.
            dock.visibilityChanged.connect(lambda on, p=spec: self._fill_dock(p) if on else None)
        dock.visibilityChanged.connect(lambda on: self.show_beside() if on else None)
        # A view that is asked for comes to the front of its tabs.
        dock.toggleViewAction().triggered.connect(lambda on, d=dock: d.raise_() if on else None)

    def _fill_dock(self, spec: ViewSpec) -> None:
        """Make a dock's view, once."""
        if spec.key in self.frames:
            return
        display = self.bench.analysis.add(spec, self._saved_options(spec.key))
        display.view.set_theme(self.theme)
        frame, dock = ViewFrame(spec.title, display.view), self.docks[spec.key]
        frame.set_theme(self.theme)
        frame.set_request(spec.request)
        dock.setTitleBarWidget(frame.title_bar)
        dock.setWidget(frame)
        frame.measure_requested.connect(lambda k=spec.key: self.bench.measuring.measure(k))
        frame.measure_cancelled.connect(lambda k=spec.key: self.bench.measuring.cancel(k))
        frame.set_options(display.options)
        frame.options_changed.connect(lambda o, k=spec.key: self._on_options_chosen(k, o))
        display.view.options_changed.connect(frame.set_options)
        frame.export_requested.connect(lambda k=spec.key: self.exporter.ask(k))
        frame.maximise_toggled.connect(lambda _=False, k=spec.key: self.maximise(k))
        frame.close_requested.connect(dock.close)
        frame.step_requested.connect(self.run_commands.do_step_recurrence)
        display.view.command_requested.connect(lambda name: self.actions_by_name[name].trigger())
        frame.set_empty(self._empty)
        self.frames[spec.key] = frame

    def _make_menus(self) -> None:
        menus = {name: self.menuBar().addMenu(name) for name in MENUS}
        for command in COMMANDS:
            menus[command.menu].addAction(self.actions_by_name[command.name])
        recent = QMenu("Open recent", self)
        recent.aboutToShow.connect(lambda: self._fill_recent(recent))
        menus["File"].insertMenu(self.actions_by_name["open_bundled"], recent)
        views = menus["View"].addMenu("Views")
        for dock in self.docks.values():
            views.addAction(dock.toggleViewAction())
        self.tree.make_pace_menu(menus["Run"])
        presets = menus["View"].addMenu("Presets")
        self.preset_actions: list[QAction] = []
        group = QActionGroup(self)
        for i, name in enumerate(PRESETS):
            action = QAction(f"Preset: {name}", self)
            action.setShortcut(QKeySequence(f"Ctrl+{i + 1}"))
            action.triggered.connect(lambda _=False, n=name: self.layout_of_views.apply(n))
            group.addAction(action)
            presets.addAction(action)
            self.preset_actions.append(action)

    def _all_actions(self) -> list[QAction]:
        views = [dock.toggleViewAction() for dock in self.docks.values()]
        return [*self.actions_by_name.values(), *self.preset_actions, *views]

    def _fill_recent(self, menu: QMenu) -> None:
        menu.clear()
        for path in self.settings.recent:
            menu.addAction(path, lambda p=path: self.open_checkpoint(p))
        if not self.settings.recent:
            menu.addAction("nothing opened yet").setEnabled(False)

    def _connect(self) -> None:
        bench, bar, transport = self.bench, self.prompt_bar, self.transport
        bench.session.status_changed.connect(self._on_status_changed)
        bench.session.run_changed.connect(self._on_run_changed)
        bench.session.progressed.connect(self._on_progressed)
        bench.session.selection_changed.connect(self._on_selection_changed)
        bench.analysis.data_shown.connect(self._on_data_shown)
        bench.analysis.second_shown.connect(self._caption)
        bench.analysis.lagged.connect(lambda key, r: self.frames[key].set_lag(r))
        bench.analysis.failed.connect(lambda key, text: self.frames[key].set_error(text))
        bench.measuring.progressed.connect(
            lambda key, share: self.frames[key].measuring.show_progress(share)
        )
        bench.session.message.connect(lambda text: self.statusBar().showMessage(text, 8000))
        bar.prompt_edited.connect(self._on_prompt_edited)
        bar.seed_changed.connect(lambda seed: bench.restart(seed=seed))
        bar.start_changed.connect(lambda s, x: bench.restart(start=s, start_scale=x))
        bar.select_requested.connect(bench.session.select)
        bar.hover_changed.connect(bench.session.set_hover)
        run = self.run_commands
        transport.step_recurrence.connect(run.do_step_recurrence)
        transport.step_layer.connect(run.do_step_layer)
        transport.play_toggled.connect(bench.transport.set_playing)
        transport.stop_requested.connect(run.do_stop)
        transport.reset_requested.connect(run.do_reset)
        transport.scrub_requested.connect(bench.session.scrub)
        transport.previous_layer.connect(run.do_previous_layer)
        transport.previous_recurrence.connect(run.do_previous_recurrence)
        transport.follow_toggled.connect(bench.transport.set_following)
        transport.speed_changed.connect(bench.transport.set_rate)
        transport.stop_at_settling_toggled.connect(bench.transport.set_stop_at_settling)
        self.header.device_chosen.connect(self._on_device_chosen)
        self.header.cancel_requested.connect(bench.runner.cancel_loading)
        self.header.cancel_requested.connect(bench.jobs.cancel_all)
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        app.focusChanged.connect(self._on_focus_changed)

    # ---- opening ----
    def when_painted(self, work: Callable[[], None]) -> None:
        """Do ``work`` once, after the first paint: nothing may delay the window's appearance."""
        self._after_paint = work

    def paintEvent(self, event: QPaintEvent) -> None:
        """Start what waits for the first paint."""
        super().paintEvent(event)
        if self._after_paint is not None:
            work, self._after_paint = self._after_paint, None
            QTimer.singleShot(0, work)

    def open_checkpoint(
        self,
        path: str,
        *,
        prompt: str | None = None,
        recurrences: int | None = None,
        device: str | None = None,
        dtype: str | None = None,
        loop: tuple[int, int, float] | None = None,
        interventions: tuple[Intervention, ...] | None = None,
    ) -> None:
        """Load ``path`` and run its last prompt (or ``prompt``) when it is there.

        ``interventions`` are made into that run; None makes those of the last time, if the prompt
        is that of the last time as well.
        """
        self._first_prompt, self._first_recurrences = prompt, recurrences
        self._first_cuts = interventions
        self._opening = path
        device, dtype = device or self.settings.device, dtype or self.settings.dtype
        self.header.set_wish(device, dtype)
        self.settings.device, self.settings.dtype = device, dtype
        self._loop = loop
        self.bench.open(LoadRequest(path, device, dtype, loop))

    def _on_device_chosen(self, device: str, dtype: str) -> None:
        request = self.bench.session.request
        if request is not None:
            s = self.settings
            s.seed, s.start, s.start_scale = request.seed, request.start, request.start_scale
        self.open_checkpoint(
            self.settings.checkpoint,
            prompt=request.prompt if request else None,
            recurrences=self.bench.session.recording.n_recurrences
            if self.bench.session.recording
            else None,
            device=device,
            dtype=dtype,
            loop=self._loop,
        )

    def _on_loaded(self) -> None:
        """Begin the first run on a model that was just loaded."""
        loaded = self.bench.session.status.loaded
        assert loaded is not None
        # A start state chosen for one checkpoint says nothing about another: that has its own.
        same = self.settings.checkpoint == self._opening
        self.settings.remember_checkpoint(self._opening)
        checkpoint = loaded.checkpoint
        self.header.show_model(
            model_line(checkpoint), card_text(card(checkpoint, loaded.tokenizer.problem))
        )
        self.setWindowTitle(f"{checkpoint.name} – Loopscope")
        self.header.show_device(*device_words(loaded, None))
        self.header.show_notice(loaded.warning)
        arch = checkpoint.architecture
        starts = ("embedding",) if arch.initial_state == "embedding" else ("zeros", "random")
        self.prompt_bar.set_starts(starts)
        prompt = self._first_prompt or self.settings.prompts.get(self._opening)
        if prompt is None:
            prompt = DEFAULT_PROMPT if arch.task == "hops" else "The square root of 16 is"
            if arch.masked and (mask := loaded.tokenizer.mask_token):
                prompt += f" {mask}."
            if loaded.tokenizer.problem:
                prompt = "#" + ",".join(str(i % arch.vocab_size) for i in range(1, 9))
        self.prompt_bar.set_prompt(prompt)
        recurrences = self._first_recurrences
        if recurrences is None:
            recurrences = min(self.settings.recurrences, 2 * arch.trained_recurrences)
        self.bench.session.request = None
        self._fresh = True
        self.bench.begin(
            RunRequest(
                prompt,
                seed=self.settings.seed,
                start=self.settings.start if same and self.settings.start in starts else "default",
                start_scale=self.settings.start_scale if same else 1.0,
                recurrences=recurrences,
                interventions=self._cuts_to_begin_with(same),
            )
        )

    def _cuts_to_begin_with(self, same: bool) -> tuple[Intervention, ...]:
        """Interventions asked for, or those of the last time; what cannot be read is left out."""
        cuts, saved = self._first_cuts, self.settings.interventions
        self._first_cuts, self.settings.interventions = (), []
        if cuts is None and same and self._first_prompt is None:
            with contextlib.suppress(LoopscopeError):
                return from_json(saved)
        return cuts or ()

    def reloop(
        self, first: int, last: int, damping: float, prompt: str | None, recurrences: int
    ) -> None:
        """Loop another span of the deep model and run the prompt again."""
        self._first_prompt, self._first_recurrences = prompt, recurrences
        self._loop = first, last, damping
        self.bench.reloop(first, last, damping)

    # ---- what the bench says ----
    def _on_status_changed(self, status: Status) -> None:
        loading = {RunnerState.STARTING: -1.0, RunnerState.LOADING: status.progress}.get(
            status.state
        )
        doing = "loading torch…" if status.state is RunnerState.STARTING else status.doing
        job = self.bench.jobs.current
        if loading is None and job is not None:
            loading, doing = job.progress, job.name
        self.header.show_progress(loading, doing)
        loaded = self.bench.session.status.loaded
        if loaded is not None and loaded is not getattr(self, "_shown_model", None):
            self._shown_model = loaded
            self._on_loaded()
        about_prompt = status.error_about == "prompt"
        self.prompt_bar.show_error(status.error if about_prompt else None)
        if status.error and not about_prompt:
            self.header.show_notice(status.error)
        elif status.notice:
            self.statusBar().showMessage(status.notice, 15000)
        elif loaded is not None:
            self.header.show_notice(loaded.warning)
        if loaded is not None:
            self.header.show_device(*device_words(loaded, self.bench.session.recording))
        self._on_progressed()

    def _on_run_changed(self) -> None:
        recording, request = self.bench.session.recording, self.bench.session.request
        if recording is None or request is None:
            return
        self.prompt_bar.show_tokens(recording.info.token_labels)
        self.prompt_bar.set_prompt(request.prompt)
        self.prompt_bar.set_run(request.seed, recording.info.start, request.start_scale)
        self.settings.remember_prompt(request.prompt)
        self.prompt_bar.set_history(self.settings.history)
        if self._fresh:
            # The last token (or the last masked one) is the one whose answer a reader waits for.
            self._fresh = False
            loaded = self.bench.session.status.loaded
            mask = None if loaded is None else loaded.tokenizer.mask_token
            labels = recording.info.token_labels
            masked = [i for i, label in enumerate(labels) if mask and label == mask]
            token = masked[-1] if masked else recording.n_tokens - 1
            self.bench.session.select({"token": token, "tokens": ()})
        self._show_place()

    def _on_progressed(self) -> None:
        bench, recording = self.bench, self.bench.session.recording
        self.tree.progressed()
        self._tell_why_not()
        self.actions_by_name["play"].setText("Pause" if bench.transport.playing else "Play")
        for name, on in (
            ("follow", bench.transport.following),
            ("stop_at_settling", bench.transport.stop_at_settling),
        ):
            self.actions_by_name[name].setChecked(on)
        self.transport.set_enabled(recording is not None)
        empty = recording is not None and recording.n_recurrences == 0
        if empty != self._empty:
            self._empty = empty
            for frame in self.frames.values():
                frame.set_empty(empty)
        if recording is None:
            return
        under_way = recording.layers_done % recording.n_layers
        arch = recording.info.architecture
        mark = arch.layer_mark(under_way - 1) if under_way and arch.inner_cycles else ""
        self.transport.show_run(
            recording.n_recurrences,
            bench.session.selection.recurrence,
            arch.trained_recurrences,
            bench.transport.playing,
            bench.transport.following,
            under_way or None,
            recording.n_layers,
            mark,
        )
        self._show_place()

    def _on_selection_changed(self, selection: Any, hover: dict[str, int]) -> None:
        self.prompt_bar.show_selection(selection, hover)
        if selection is not self._cursor:  # else the pointer moved, which no control shows
            self._cursor = selection
            self._on_progressed()

    def _show_place(self) -> None:
        recording = self.bench.session.recording
        self.place.setText(
            "" if recording is None else place(self.bench.session.selection, recording)
        )

    def _on_data_shown(self, key: str) -> None:
        data = self.bench.displays[key].data
        if data is not None:
            self.frames[key].set_error(None)
            self.frames[key].set_data(data)

    def show_beside(self) -> None:
        """Draw each visible view a second time while a run stands beside, or no longer."""
        analysis, second = self.bench.analysis, self.bench.session.second
        shown = self.bench.session.run
        for key, frame in self.frames.items():
            display = self.bench.displays[key]
            twice = (
                second is not None
                and shown is not None
                and display.spec.drawn_twice(shown.stepper.recording, second.stepper.recording)
            )
            if not twice and display.second is not None:
                frame.show_beside(None)
                analysis.drop_second(display)
            elif twice and display.second is None and display.view.isVisible():
                frame.show_beside(analysis.draw_second(display).view)
            self._caption(key)
        self._tell_why_not()
        words, model = "" if second is None else f"○ beside: {second.name}", None
        if second is None:
            model = self.bench.second_runs.model
        why = "" if model is None else model.why_not
        if model is not None:
            words = f"{model.name} cannot run this prompt" if why else f"○ beside: {model.name} …"
        self.beside_words.setText(words)
        self.beside_words.setToolTip(plain_tip(why))

    def _tell_why_not(self) -> None:
        """Say in each panel in sight why its measurement cannot be made."""
        for key, frame in self.frames.items():
            if frame.measuring.isVisible():
                frame.measuring.set_why(self.bench.measuring.why_not(key))

    def _caption(self, key: str) -> None:
        """Name the two runs over the two drawings of a view."""
        display, session = self.bench.displays[key], self.bench.session
        if session.second is None or session.run is None:
            self.frames[key].set_captions("", "")
            return
        if display.second is None:
            one, other, both = session.run.name, session.second.name, display.view.BOTH
            on_one = both is not None and display.spec.compute_second is not None
            words = f"● {one}: {both[0]}   ○ {other}: {both[1]}" if both and on_one else ""
            self.frames[key].set_captions(words, "")
            return
        data = display.second.data
        said = f": {data.statement}" if data is not None else ""
        # The marks are those of the list of runs.
        self.frames[key].set_captions(f"● {session.run.name}", f"○ {session.second.name}{said}")

    def _on_options_chosen(self, key: str, options: Any) -> None:
        self._last_panel = key
        self.bench.analysis.set_options(key, options)

    def _on_prompt_edited(self, text: str) -> None:
        if self.bench.session.status.loaded is None or self.bench.session.request is None:
            return
        if (
            text != self.bench.session.request.prompt
            or self.bench.session.status.error_about == "prompt"
        ):
            self.bench.restart(prompt=text)

    def _on_focus_changed(self, old: QWidget | None, new: QWidget | None) -> None:
        """Single keys are text while a text field has the focus."""
        typing = isinstance(new, QLineEdit)
        for name in TEXT_KEYS:
            keys = next(c.keys for c in COMMANDS if c.name == name)
            kept = [] if typing else QKeySequence.listFromString(keys)
            self.actions_by_name[name].setShortcuts(kept)
        while new is not None:
            if isinstance(new, QDockWidget):
                if new.objectName() in BY_KEY:
                    self._last_panel = new.objectName()
                return
            new = new.parentWidget()

    # ---- commands: File ----
    def do_open(self) -> None:
        """Choose a checkpoint folder."""
        start = self.settings.checkpoint
        start = "" if start.startswith("bundled:") else str(Path(start).parent)
        folder = QFileDialog.getExistingDirectory(self, "Open checkpoint folder", start)
        if folder:
            self.open_checkpoint(folder)

    def do_open_bundled(self) -> None:
        """Open the bundled looped model."""
        self.open_checkpoint("bundled:looped")

    def do_open_bundled_deep(self) -> None:
        """Open the bundled deep model."""
        self.open_checkpoint("bundled:deep")

    def do_open_bundled_shallow(self) -> None:
        """Open the bundled shallow model."""
        self.open_checkpoint("bundled:shallow")

    def do_open_prompts(self) -> None:
        """Choose a prompt file."""
        self.prompt_files.ask()

    def do_bundled_prompts(self) -> None:
        """Use the prompts that ship with Loopscope."""
        self.prompt_files.open(BUNDLED_PROMPTS)

    def do_card(self) -> None:
        """Show the checkpoint card."""
        self.header.show_card()

    def do_export_view(self) -> None:
        """Export the view last clicked."""
        self.exporter.ask(self.layout_of_views.maximised or self._last_panel)

    def do_export_all(self) -> None:
        """Export every view to one folder."""
        self.exporter.ask(None)

    def do_screenshot(self) -> None:
        """Put a picture of the window on the clipboard."""
        QGuiApplication.clipboard().setPixmap(self.grab())
        self.statusBar().showMessage("A picture of the window is on the clipboard", 5000)

    def do_quit(self) -> None:
        """Close the window."""
        self.close()

    # ---- commands: Edit ----
    def do_prompt(self) -> None:
        """Put the keyboard into the prompt line."""
        self.prompt_bar.edit()

    def do_all_tokens(self) -> None:
        """Let every token drive the views."""
        self.bench.session.select({"tokens": ()})

    def do_clear_hover(self) -> None:
        """Clear hover marks, or restore a maximised view."""
        self.bench.session.set_hover({})
        self.layout_of_views.restore()

    # ---- commands: View, Help ----
    def interrupt(self) -> None:
        """Ctrl-C in the terminal: close as if by hand."""
        self.interrupted = True
        self.close()

    def maximise(self, key: str) -> None:
        """Show one view alone, or all of them again."""
        self._last_panel = key
        self._fill_dock(BY_KEY[key])
        self.layout_of_views.toggle_maximised(key)
        for other, frame in self.frames.items():
            frame.set_maximised(other == self.layout_of_views.maximised)

    def measure(self, key: str) -> None:
        """Make a view's measurement, whether the view has been shown or not."""
        self._fill_dock(BY_KEY[key])
        self.bench.measuring.measure(key)

    def do_maximise(self) -> None:
        """Show the view last clicked alone, or all again."""
        self.maximise(self._last_panel)

    def do_reset_views(self) -> None:
        """Show everything in each view."""
        for display in self.bench.displays.values():
            display.view.reset_view()

    def do_joint_pca(self) -> None:
        """Draw the state space as the source paper does: the final token, layers jointly."""
        from loopscope.core.views.state_space.data import joint_pca

        key, recording = "state_space", self.bench.session.recording
        self._fill_dock(BY_KEY[key])
        self.docks[key].show()
        self.docks[key].raise_()
        options = joint_pca(self.bench.displays[key].options)
        self.bench.analysis.set_options(key, options)
        self.frames[key].set_options(options)
        if recording is not None:
            last = recording.n_tokens - 1
            self.bench.session.select({"token": last, "tokens": (last,)})

    def do_theme(self) -> None:
        """Switch between dark and light."""
        self.set_theme(THEMES["light" if self.theme.dark else "dark"])
        self.settings.theme = self.theme.name

    def set_theme(self, theme: Theme) -> None:
        """Take a theme, views included."""
        self.theme = theme
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        apply_theme(app, theme)
        self.bench.set_theme(theme)
        bars = (self.header, self.prompt_bar, self.transport)
        popups = (self.palette_popup, self.shortcuts_page, self.tree)
        for widget in (*bars, *self.frames.values(), *popups):
            widget.set_theme(theme)

    def do_restore_layout(self) -> None:
        """Put every view back where it was at first."""
        self.layout_of_views.apply("Step")

    def do_palette(self) -> None:
        """Find a command by its name."""
        self.palette_popup.open()

    def do_shortcuts(self) -> None:
        """Show all commands with their keys."""
        self.shortcuts_page.show()
        self.shortcuts_page.raise_()

    def do_about(self) -> None:
        """Say what this is."""
        import sys

        import PySide6

        from loopscope.core.version import package_version

        self.statusBar().showMessage(
            f"Loopscope {package_version()}, Apache-2.0  ·  Python {sys.version.split()[0]}  ·  "
            f"PySide6 {PySide6.__version__}  ·  runs local checkpoints, touches no network",
            20000,
        )

    # ---- dropping a folder ----
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept one local folder or prompt file."""
        if self._dropped(event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open the dropped folder or prompt file."""
        folder = self._dropped(event.mimeData().urls())
        if folder and is_prompt_file(Path(folder)):
            event.acceptProposedAction()
            self.prompt_files.open(folder)
        elif folder:
            event.acceptProposedAction()
            self.open_checkpoint(folder)

    @staticmethod
    def _dropped(urls: list[QUrl]) -> str | None:
        if len(urls) != 1 or not urls[0].isLocalFile():
            return None
        path = Path(urls[0].toLocalFile())
        # A file of the folder (config.json, a shard) stands for its folder.
        return str(path if path.is_dir() or is_prompt_file(path) else path.parent)

    # ---- remembering ----
    def _saved_options(self, key: str) -> Any:
        options = BY_KEY[key].options()
        saved = self.settings.options.get(key, {})
        names = {f.name: f for f in dataclasses.fields(options) if "label" in f.metadata}
        fitting = {
            name: value
            for name, value in saved.items()
            if name in names and type(value) is type(getattr(options, name))
        }
        return dataclasses.replace(options, **fitting)

    def _restore_layout(self) -> None:
        self.layout_of_views.apply("Step")
        if self.settings.geometry:
            self.restoreGeometry(QByteArray.fromHex(self.settings.geometry.encode()))
        if self.settings.layout:
            self.restoreState(QByteArray.fromHex(self.settings.layout.encode()))
        self.transport.set_speed(self.settings.speed)
        self.bench.transport.rate = self.settings.speed
        self.prompt_bar.set_history(self.settings.history)

    def _gather_settings(self) -> None:
        self.layout_of_views.restore()
        s, recording = self.settings, self.bench.session.recording
        s.size = [self.width(), self.height()]
        s.geometry = bytes(self.saveGeometry().toHex().data()).decode()
        s.layout = bytes(self.saveState().toHex().data()).decode()
        s.speed = self.bench.transport.rate if math.isfinite(self.bench.transport.rate) else 1e9
        if recording is not None and self.bench.session.request is not None:
            s.recurrences = recording.n_recurrences
            s.seed, s.start = self.bench.session.request.seed, recording.info.start
            s.start_scale = self.bench.session.request.start_scale
            s.interventions = as_json(recording.info.interventions)
        for key, display in self.bench.displays.items():
            s.options[key] = {
                f.name: getattr(display.options, f.name)
                for f in dataclasses.fields(display.options)
                if "label" in f.metadata
            }

    def closeEvent(self, event: QCloseEvent) -> None:
        """Remember everything, stop the worker; safe in mid-run."""
        if self._remember:
            self._gather_settings()
            self.settings.save()
        self.bench.close()
        super().closeEvent(event)
