"""The bars around the views: header, prompt, transport and status line, and what they show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import QMainWindow, QToolBar, QVBoxLayout, QWidget

from loopscope.app.bench.bench import Bench
from loopscope.app.window.words import device_words, model_line, place
from loopscope.core.run.card import card, card_text
from loopscope.core.run.recording import Recording
from loopscope.core.run.status import RunnerState, Status
from loopscope.core.selection import Selection
from loopscope.widgets.bars.header import Header
from loopscope.widgets.bars.prompt_bar import PromptBar
from loopscope.widgets.bars.transport import TransportBar
from loopscope.widgets.kit.plain_text import PlainLabel, plain_tip
from loopscope.widgets.kit.shortening import StatusLine
from loopscope.widgets.palette import Theme

if TYPE_CHECKING:
    from loopscope.core.run.elsewhere import AnyModel


class Bars(QObject):
    """The bars of one main window; they ask the bench and show what it says."""

    def __init__(self, window: QMainWindow, bench: Bench) -> None:
        super().__init__(window)
        self._window, self._bench = window, bench
        self.header, self.prompt, self.transport = Header(), PromptBar(), TransportBar()
        top = QWidget()
        box = QVBoxLayout(top)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(0)
        box.addWidget(self.header)
        box.addWidget(self.prompt)
        self._add("Prompt", top, Qt.ToolBarArea.TopToolBarArea)
        self.transport_row = self._add(
            "Transport", self.transport, Qt.ToolBarArea.BottomToolBarArea
        )
        self.place = PlainLabel()
        self.place.setContentsMargins(14, 0, 8, 0)
        self.second_run = PlainLabel()
        window.setStatusBar(StatusLine(window))
        window.statusBar().addPermanentWidget(self.second_run)
        window.statusBar().addPermanentWidget(self.place)
        self._connect_prompt()
        self._connect_transport()
        self.header.cancel_requested.connect(bench.runner.cancel_loading)
        self.header.cancel_requested.connect(bench.jobs.cancel_all)

    def _add(self, name: str, widget: QWidget, area: Qt.ToolBarArea) -> QToolBar:
        bar = QToolBar(name, self._window)
        bar.setObjectName(name)
        bar.setMovable(False)
        bar.toggleViewAction().setVisible(False)
        bar.addWidget(widget)
        self._window.addToolBar(area, bar)
        return bar

    def _connect_prompt(self) -> None:
        bench, bar = self._bench, self.prompt
        bar.prompt_edited.connect(self._on_prompt_edited)
        bar.seed_changed.connect(lambda seed: bench.restart(seed=seed))
        bar.start_changed.connect(
            lambda start, scale: bench.restart(start=start, start_scale=scale)
        )
        bar.select_requested.connect(bench.session.select)
        bar.hover_changed.connect(bench.session.set_hover)

    def _connect_transport(self) -> None:
        bench, bar = self._bench, self.transport
        bar.step_recurrence.connect(bench.transport.step_recurrence)
        bar.step_layer.connect(bench.transport.step_layer)
        bar.play_toggled.connect(bench.transport.set_playing)
        bar.stop_requested.connect(bench.transport.stop)
        bar.scrub_requested.connect(bench.session.scrub)
        bar.scrub.range_requested.connect(bench.session.show_between)
        bar.scrub.zoom_requested.connect(bench.session.zoom)
        bar.scrub.whole_requested.connect(bench.session.show_whole)
        bench.session.range_changed.connect(self._show_range)
        bar.previous_layer.connect(lambda: bench.session.scrub_layer(-1))
        bar.previous_recurrence.connect(
            lambda: bench.session.scrub(bench.session.selection.recurrence - 1)
        )
        bar.follow_toggled.connect(bench.transport.set_following)
        bar.speed_changed.connect(bench.transport.set_rate)
        bar.stop_at_settling_toggled.connect(bench.transport.set_stop_at_settling)

    def _on_prompt_edited(self, text: str) -> None:
        status, request = self._bench.session.status, self._bench.session.request
        if request is None:
            return
        if self._bench.session.no_model:
            self._bench.restart()  # says why not
            self.prompt.set_prompt(request.prompt)
            return
        if text != request.prompt or status.error_about == "prompt":
            self._bench.restart(prompt=text)

    # ---- what is shown ----
    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        for bar in (self.header, self.prompt, self.transport):
            bar.set_theme(theme)

    def show_model(self, loaded: AnyModel, starts: tuple[str, ...], prompt: str) -> None:
        """Show a model that was just loaded, the start states it can have and its prompt."""
        self.header.show_model(
            model_line(loaded.checkpoint),
            card_text(card(loaded.checkpoint, loaded.tokenizer.problem)),
        )
        self.header.show_device(*device_words(loaded, None))
        self.header.show_notice(loaded.warning)
        self.prompt.set_starts(starts)
        self.prompt.set_prompt(prompt)

    def show_recording(self, recording: Recording) -> None:
        """Show a run that has no model: what it was made with."""
        info = recording.info
        said = "\n".join(f"{key}  {value}" for key, value in info.provenance().items())
        self.header.show_model(f"{info.checkpoint}  ·  recorded", said)
        self.header.show_device(f"recorded on {info.device}  ·  {info.dtype}", "", "")

    def show_status(self, status: Status) -> None:
        """Show what the runner does, and what went wrong where it went wrong."""
        self._show_progress(status)
        loaded, about_prompt = self._bench.session.status.loaded, status.error_about == "prompt"
        self.prompt.show_error(status.error if about_prompt else None)
        offered = status.error and status.error_about == "checkpoint" and status.offer
        self.header.show_offer(
            f"Read as {status.offer.family}" if offered and status.offer else "",
            "Its own code may compute something else; title, card and exports will say so",
        )
        if status.error and not about_prompt:
            self.header.show_notice(status.error)
        elif status.notice:
            self._window.statusBar().showMessage(status.notice, 15_000)
        elif loaded is not None:
            self.header.show_notice(loaded.warning)
        elif self._bench.session.without_model:
            self.header.show_notice("recording alone: File > Go on with a checkpoint… steps on")
        if loaded is not None:
            self.header.show_device(*device_words(loaded, self._bench.session.recording))

    def _show_progress(self, status: Status) -> None:
        job = self._bench.jobs.current
        if status.state is RunnerState.STARTING:
            self.header.show_progress(-1.0, "loading torch…")
        elif status.state is RunnerState.LOADING:
            self.header.show_progress(status.progress, status.doing)
        elif job is not None:
            self.header.show_progress(job.progress, job.name)
        else:
            self.header.show_progress(None)

    def show_run(self) -> None:
        """Show the run that has come: its tokens, prompt, seed and start."""
        recording, request = self._bench.session.recording, self._bench.session.request
        if recording is None or request is None:
            return
        self.prompt.show_tokens(recording.info.token_labels, recording.info.architecture.layout)
        self.prompt.set_prompt(request.prompt)
        self.prompt.set_run(request.seed, recording.info.start, request.start_scale)
        self.show_place()

    def show_selection(self, selection: Selection, hover: dict[str, int]) -> None:
        """Mark the cursor's tokens and those pointed at."""
        self.prompt.show_selection(selection, hover)

    def show_progress_of_run(self) -> None:
        """Show in the transport how far the run and the cursor are, and what views show."""
        self._show_range()
        recording, play = self._bench.session.recording, self._bench.transport
        self.transport.set_enabled(recording is not None)
        self.transport.set_why_no_steps(self._bench.session.no_model)
        self.transport.set_stop_at_settling(play.stop_at_settling)
        if recording is None:
            return
        under_way = recording.layers_done % recording.n_layers
        self.transport.show_run(
            recording.n_recurrences,
            self._bench.session.selection.recurrence,
            recording.info.architecture.trained_recurrences,
            play.playing,
            play.following,
            under_way or None,
            recording.n_layers,
            _mark_under_way(recording, under_way),
        )
        self.show_place()

    def show_place(self) -> None:
        """Say where the cursor is."""
        recording = self._bench.session.recording
        self.place.setText(
            "" if recording is None else place(self._bench.session.selection, recording)
        )

    def _show_range(self) -> None:
        session = self._bench.session
        latest, shown = session.n_recurrences, session.shown_range
        ends = shown.ends(latest)
        self.transport.scrub.show_range(None if ends == (0, latest) else ends)

    def show_second_run(self) -> None:
        """Name the second run, or say why there is none although one was asked for."""
        second, model = self._bench.session.second, self._bench.second_runs.model
        text = why = ""
        if second is not None:
            text = f"○ second run: {second.name}"
        elif model is not None:
            why, name = model.why_not, model.name
            text = f"{name} cannot run this prompt" if why else f"○ second run: {name} …"
        self.second_run.setText(text)
        self.second_run.setToolTip(plain_tip(why))


def _mark_under_way(recording: Recording, under_way: int) -> str:
    """Name the last layer run of a recurrence under way, where layers have cycles."""
    arch = recording.info.architecture
    return arch.layer_mark(under_way - 1) if under_way and arch.inner_cycles else ""
