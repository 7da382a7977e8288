"""The views in the docks of a window: made, given their settings, and told what there is to say."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, QPoint, Qt, Signal
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QDockWidget, QMainWindow, QWidget

from loopscope.app.bench.bench import Bench
from loopscope.app.view_spec import ViewSpec
from loopscope.app.views import BY_KEY, VIEW_SPECS
from loopscope.app.window.docks import Docks
from loopscope.app.window.second_drawings import SecondDrawings
from loopscope.app.window.settings import Settings
from loopscope.core.sessions.view_settings import read_settings
from loopscope.core.typed_json import plain
from loopscope.widgets.kit.frame import ViewFrame
from loopscope.widgets.kit.title_bar import TitleBar
from loopscope.widgets.palette import Theme

# Pixels that a view may be pressed to: a small screen has to hold three of them and all the bars.
LEAST_WIDTH, LEAST_HEIGHT = 180, 64


class ViewDocks(QObject):
    """The views of one window in its docks; ``frames`` has those that are made, by their keys.

    The title of the current view is marked. ``window`` is the one that it is of.

    Parameters
    ----------
    docks
        Of the window; each view adds its own.

    Signals
    -------
    export_requested(str), command_requested(str)
        A view's key; a command's name.
    menu_requested(QPoint)
        A right click, on the screen, in the view that is now current.
    step_requested()
        The button of an empty view.
    """

    export_requested = Signal(str)
    menu_requested = Signal(QPoint)
    command_requested = Signal(str)
    step_requested = Signal()

    def __init__(
        self, window: QMainWindow, docks: Docks, bench: Bench, settings: Settings, theme: Theme
    ) -> None:
        super().__init__(window)
        self.window = window
        self._docks, self._bench, self._settings, self._theme = docks, bench, settings, theme
        self.frames: dict[str, ViewFrame] = {}
        self._second = SecondDrawings(bench, self.frames)
        self._empty, self._waits_for = False, ""
        # Settings of a session for views that were not made yet.
        self._waiting: dict[str, Any] = {}
        for spec in VIEW_SPECS:
            self._add(spec, window)
        docks.seen.connect(self._on_seen)
        docks.current_changed.connect(self._on_current_changed)
        docks.maximised_changed.connect(self._on_maximised_changed)
        bench.analysis.options_set.connect(self._on_options_set)
        bench.analysis.data_shown.connect(self._on_data_shown)
        bench.analysis.second_shown.connect(self._second.describe)
        bench.analysis.failed.connect(lambda key, text: self.frames[key].set_error(text))
        bench.analysis.lagged.connect(lambda key, r: self.frames[key].set_lag(r))
        bench.measuring.progressed.connect(self._on_measuring_progressed)
        bench.measuring.failed.connect(lambda key, why: self.frames[key].set_failure(why))

    # ---- making ----
    def _add(self, spec: ViewSpec[Any, Any], window: QMainWindow) -> None:
        dock = QDockWidget(spec.title, window)
        dock.toggleViewAction().setStatusTip(f"Show {spec.shows}")
        self._docks.add(
            spec.key, dock, lambda: self._make(spec, dock), lambda: self._stand_in(dock)
        )

    def _stand_in(self, dock: QDockWidget) -> None:
        """Give a dock a title, as high as that of a view, and the ground of a view."""
        title, ground = TitleBar(dock.windowTitle()), QWidget()
        title.add_button("close", f"Hide {dock.windowTitle()}").clicked.connect(dock.close)
        title.set_theme(self._theme)
        ground.setBackgroundRole(QPalette.ColorRole.Base)
        ground.setAutoFillBackground(True)
        dock.setTitleBarWidget(title)
        dock.setWidget(ground)

    def _make(self, spec: ViewSpec[Any, Any], dock: QDockWidget) -> None:
        key = spec.key
        display = self._bench.analysis.add(spec, self.options(key))
        display.view.set_theme(self._theme)
        frame = ViewFrame(spec.title, display.view)
        # Noted before the dock takes it: a floating dock is shown anew with its title bar.
        self.frames[key] = frame
        # Whatever it shows: results that come do not move the docks.
        frame.setMinimumSize(LEAST_WIDTH, LEAST_HEIGHT)
        frame.set_theme(self._theme)
        frame.set_request(spec.request)
        frame.set_options(display.options)
        self._connect(key, frame, dock)
        display.view.command_requested.connect(self.command_requested)
        frame.set_empty(self._empty)
        frame.set_waits_for(self._waits_for if frame.view.NEEDS_RUN else "")
        for stand_in in (dock.titleBarWidget(), dock.widget()):
            if stand_in is not None:
                stand_in.deleteLater()
        dock.setTitleBarWidget(frame.title_bar)
        dock.setWidget(frame)

    def _connect(self, key: str, frame: ViewFrame, dock: QDockWidget) -> None:
        frame.measure_requested.connect(lambda: self._bench.measuring.measure(key))
        frame.measure_cancelled.connect(lambda: self._bench.measuring.cancel(key))
        frame.recheck_requested.connect(lambda: self._bench.comparison.measure(recheck=True))
        frame.options_changed.connect(lambda options: self._on_options_chosen(key, options))
        frame.export_requested.connect(lambda: self.export_requested.emit(key))
        frame.maximise_toggled.connect(lambda _: self._docks.maximise(key))
        frame.close_requested.connect(dock.close)
        frame.step_requested.connect(self.step_requested)
        frame.title_bar.pressed.connect(lambda: self._on_title_pressed(key))
        frame.menu_requested.connect(lambda at: self._on_menu_requested(key, at))

    # ---- settings ----
    def plain_options(self) -> dict[str, dict[str, Any]]:
        """The settings of views by their keys as plain values, also of views not made yet."""
        made = {key: display.options for key, display in self._bench.displays.items()}
        return self._settings.options | {
            key: plain(options) for key, options in (self._waiting | made).items()
        }

    def options(self, key: str) -> Any:
        """The options of a view, made or not."""
        if key in self.frames:
            return self._bench.displays[key].options
        if key in self._waiting:
            return self._waiting[key]
        spec = BY_KEY[key]
        return read_settings(spec.options(), self._settings.options.get(key, {}))[0]

    def set_options(self, key: str, options: Any) -> None:
        """Give a view other options; its settings show them."""
        if key in self.frames:
            self._bench.analysis.set_options(key, options)
        else:
            self._waiting[key] = options

    def _on_options_chosen(self, key: str, options: Any) -> None:
        self._docks.take(key)
        self._bench.analysis.set_options(key, options)

    def _on_options_set(self, key: str) -> None:
        self.frames[key].set_options(self._bench.displays[key].options)

    # ---- commands ----
    def measure(self, key: str) -> None:
        """Make a view's measurement, whether the view has been shown or not."""
        self._docks.fill(key)
        self._bench.measuring.measure(key)

    def show_settings(self, key: str) -> None:
        """Bring a view into sight and open its settings."""
        self._docks.show(key)
        self.frames[key].show_settings()

    def reset(self) -> None:
        """Show everything in each view."""
        for display in self._bench.displays.values():
            display.view.reset_view()

    def show_joint_pca(self) -> None:
        """Draw the state space as arXiv 2604.11791 does: the final token, layers jointly."""
        from loopscope.core.views.state_space.data import joint_pca

        key, recording = "state_space", self._bench.session.recording
        self._docks.show(key)
        self.set_options(key, joint_pca(self._bench.displays[key].options))
        if recording is not None:
            last = recording.n_tokens - 1
            self._bench.session.select({"token": last, "tokens": (last,)})

    # ---- what docks and frames say ----
    def _on_seen(self) -> None:
        self.show_second_run()
        self._bench.pulse.wake()

    def _on_current_changed(self, current: str) -> None:
        for key, frame in self.frames.items():
            frame.title_bar.set_current(key == current)

    def _on_maximised_changed(self, maximised: str) -> None:
        for key, frame in self.frames.items():
            frame.set_maximised(key == maximised)

    def _on_title_pressed(self, key: str) -> None:
        """A click on a title moves no cursor, and gives the view the keyboard."""
        self._docks.take(key)
        self.frames[key].view.setFocus(Qt.FocusReason.MouseFocusReason)

    def _on_menu_requested(self, key: str, at: QPoint) -> None:
        self._docks.take(key)
        self.menu_requested.emit(at)

    # ---- what is shown ----
    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self._theme = theme
        for frame in self.frames.values():
            frame.set_theme(theme)

    def show_empty(self, empty: bool) -> None:
        """Offer the button that runs a recurrence while nothing has been run."""
        if empty != self._empty:
            self._empty = empty
            for frame in self.frames.values():
                frame.set_empty(empty)

    def show_waits_for(self, text: str) -> None:
        """Say in each view that needs a run what it waits for, before there is one; "" for none."""
        self._waits_for = text
        for frame in self.frames.values():
            frame.set_waits_for(text if frame.view.NEEDS_RUN else "")

    def show_second_run(self) -> None:
        """Draw each visible view a second time while there is a second run, or no longer."""
        self._second.update()
        self.show_why_not()

    def _on_data_shown(self, key: str) -> None:
        if self._bench.displays[key].data is not None:
            self.frames[key].set_error(None)
            self._second.show_statement(key)

    def _on_measuring_progressed(self, key: str, share: float | None) -> None:
        self.frames[key].show_measuring(share)

    def show_why_not(self) -> None:
        """Say in each view in sight why its measurement cannot be made."""
        for key, frame in self.frames.items():
            if frame.measuring.isVisible():
                frame.measuring.set_why(self._bench.measuring.why_not(key))
