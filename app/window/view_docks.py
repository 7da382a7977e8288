"""The docks that hold views: made when they are first shown, filled, captioned, arranged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from PySide6.QtCore import QByteArray, QObject, QPoint, Qt, Signal
from PySide6.QtGui import QAction, QPalette
from PySide6.QtWidgets import QDockWidget, QMainWindow, QWidget

from loopscope.app.bench.bench import Bench
from loopscope.app.bench.displays import Display, Drawing
from loopscope.app.view_spec import ViewSpec
from loopscope.app.views import BY_KEY, VIEW_SPECS
from loopscope.app.window.current_view import CurrentView
from loopscope.app.window.layout import Layout, end_drag
from loopscope.app.window.settings import Settings
from loopscope.core.sessions.view_settings import read_settings
from loopscope.core.typed_json import plain
from loopscope.widgets.kit.frame import ViewFrame
from loopscope.widgets.kit.title_bar import TitleBar
from loopscope.widgets.palette import Theme

# Pixels that a view may be pressed to: a small screen has to hold three of them and all the bars.
LEAST_WIDTH, LEAST_HEIGHT = 180, 64


class ViewDocks(QObject):
    """The docks of one main window; ``docks`` and ``frames`` are by the key of the view.

    A dock's view is made when the dock is first seen. While docks are arranged nothing is made:
    Qt's `restoreState` does not bear a dock that changes under it.

    ``current`` is the key of the view that commands act on, and its title is marked; "" while no
    view is in sight.

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

    def __init__(self, window: QMainWindow, bench: Bench, settings: Settings, theme: Theme) -> None:
        super().__init__(window)
        self._window, self._bench, self._settings, self._theme = window, bench, settings, theme
        self.docks: dict[str, QDockWidget] = {}
        self.frames: dict[str, ViewFrame] = {}
        # What fills a dock that has not been seen yet.
        self._unfilled: dict[str, Callable[[], None]] = {}
        self.layout = Layout(window, self.docks)
        self._current = CurrentView(lambda: (k for k in BY_KEY if k in self._seen))
        self._empty, self._waits_for = False, ""
        # Settings of a session for views that were not made yet.
        self._waiting: dict[str, Any] = {}
        self._arranging, self._held = 0, False
        self._seen: set[str] = set()
        self._behind: set[str] = set()
        for spec in VIEW_SPECS:
            self._make(spec)
        bench.analysis.options_set.connect(self._on_options_set)
        bench.analysis.data_shown.connect(self._on_data_shown)
        bench.analysis.second_shown.connect(self._on_second_shown)
        bench.analysis.failed.connect(lambda key, text: self.frames[key].set_error(text))
        bench.analysis.lagged.connect(lambda key, r: self.frames[key].set_lag(r))
        window.tabifiedDockWidgetActivated.connect(self._on_raised)
        bench.measuring.progressed.connect(self._on_measuring_progressed)
        bench.measuring.failed.connect(lambda key, why: self.frames[key].set_failure(why))

    # ---- making ----
    def _make(self, spec: ViewSpec[Any, Any]) -> None:
        dock = QDockWidget(spec.title, self._window)
        dock.toggleViewAction().setStatusTip(f"Show {spec.shows}")
        self.add(spec.key, dock, lambda: self._fill(spec))

    def add(self, key: str, dock: QDockWidget, fill: Callable[[], None]) -> None:
        """Arrange a dock along with those of views; ``fill`` is called when it is first seen."""
        dock.setObjectName(key)
        self.docks[key], self._unfilled[key] = dock, fill
        dock.visibilityChanged.connect(lambda seen: self._on_visibility(key, seen))
        dock.visibilityChanged.connect(lambda seen: self._note_behind(key, seen))
        dock.toggleViewAction().triggered.connect(lambda on: self._on_toggled(key, on))

    def _note_behind(self, key: str, seen: bool) -> None:
        """Note that a dock is behind other tabs: it is not seen, and not hidden either."""
        dock = self.docks[key]
        if seen:
            self._behind.discard(key)
        elif not dock.isHidden() and not dock.isFloating():
            self._behind.add(key)

    def _on_toggled(self, key: str, on: bool) -> None:
        """Bring a dock to the front of its tabs; one that was behind them is not hidden."""
        if on or key in self._behind:
            self.show(key)

    def _on_raised(self, dock: QDockWidget) -> None:
        """A tab was chosen; while docks are arranged nobody chooses."""
        if not self._arranging:
            self.take(dock.objectName())

    def _on_visibility(self, key: str, seen: bool) -> None:
        """Make the view of a dock that is seen now.

        Qt calls a dock behind other tabs visible, which this signal does not; but for the signal a
        dock that floats at negative coordinates, on a screen at the left, is not visible either.
        """
        dock = self.docks[key]
        seen = seen or (dock.isFloating() and dock.isVisible())
        (self._seen.add if seen else self._seen.discard)(key)
        if self._arranging:
            return
        if seen and self._held:
            if key in self._unfilled and key in BY_KEY:
                self._stand_in(key)
        elif seen:
            self.fill(key)
            self.show_second_run()
            self._bench.pulse.wake()
        self._mark_current()

    def hold(self) -> Callable[[], None]:
        """Make no view of a dock that is seen before what is returned is called.

        Views take as long as all the rest of the window: it appears without them. A dock has its
        title and an empty ground meanwhile.
        """
        self._held = True

        def release() -> None:
            self._held = False
            with self._arranged():  # fills what is seen
                pass

        return release

    def _stand_in(self, key: str) -> None:
        """Give a dock a title, as high as that of a view, and the ground of a view."""
        dock = self.docks[key]
        title, ground = TitleBar(BY_KEY[key].title), QWidget()
        title.add_button("close", f"Hide {BY_KEY[key].title}").clicked.connect(dock.close)
        title.set_theme(self._theme)
        ground.setBackgroundRole(QPalette.ColorRole.Base)
        ground.setAutoFillBackground(True)
        dock.setTitleBarWidget(title)
        dock.setWidget(ground)

    def fill(self, key: str) -> None:
        """Make what is in a dock, once."""
        if key in self._unfilled:
            self._unfilled.pop(key)()

    def _fill(self, spec: ViewSpec[Any, Any]) -> None:
        key, dock = spec.key, self.docks[spec.key]
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
        self._connect(key, frame)
        display.view.command_requested.connect(self.command_requested)
        frame.set_empty(self._empty)
        frame.set_waits_for(self._waits_for if frame.view.NEEDS_RUN else "")
        for stand_in in (dock.titleBarWidget(), dock.widget()):
            if stand_in is not None:
                stand_in.deleteLater()
        dock.setTitleBarWidget(frame.title_bar)
        dock.setWidget(frame)

    def plain_options(self) -> dict[str, dict[str, Any]]:
        """The settings of views by their keys as plain values, also of views not made yet."""
        made = {key: display.options for key, display in self._bench.displays.items()}
        return self._settings.options | {
            key: plain(options) for key, options in (self._waiting | made).items()
        }

    def is_view(self, key: str) -> bool:
        """Whether there is a view with this key."""
        return key in BY_KEY

    def _connect(self, key: str, frame: ViewFrame) -> None:
        frame.measure_requested.connect(lambda: self._bench.measuring.measure(key))
        frame.measure_cancelled.connect(lambda: self._bench.measuring.cancel(key))
        frame.recheck_requested.connect(lambda: self._bench.comparison.measure(recheck=True))
        frame.options_changed.connect(lambda options: self._on_options_chosen(key, options))
        frame.export_requested.connect(lambda: self.export_requested.emit(key))
        frame.maximise_toggled.connect(lambda _: self.maximise(key))
        frame.close_requested.connect(self.docks[key].close)
        frame.step_requested.connect(self.step_requested)
        frame.title_bar.pressed.connect(lambda: self._on_title_pressed(key))
        frame.menu_requested.connect(lambda at: self._on_menu_requested(key, at))

    def _on_options_chosen(self, key: str, options: Any) -> None:
        self.take(key)
        self._bench.analysis.set_options(key, options)

    def _on_options_set(self, key: str) -> None:
        self.frames[key].set_options(self._bench.displays[key].options)

    def actions(self) -> list[QAction]:
        """The actions that show and hide each dock."""
        return [dock.toggleViewAction() for dock in self.docks.values()]

    def show_actions(self) -> list[QAction]:
        """New actions that bring each dock into sight; those in sight are ticked."""
        made = []
        for key, dock in self.docks.items():
            action = QAction(dock.windowTitle(), self)
            action.setStatusTip(dock.toggleViewAction().statusTip())
            action.setCheckable(True)
            dock.visibilityChanged.connect(action.setChecked)
            action.triggered.connect(lambda _=False, key=key: self.show(key))
            made.append(action)
        return made

    # ---- arranging ----
    @contextmanager
    def _arranged(self) -> Iterator[None]:
        """Fill what is seen, and draw the second run, when all docks are where they belong."""
        end_drag()
        self._arranging += 1
        try:
            yield
        finally:
            self._arranging -= 1
        if not self._arranging and not self._held:
            for key in list(self._seen):
                self.fill(key)
            self.show_second_run()
            self._mark_current()
            self._bench.pulse.wake()

    def end(self) -> None:
        """Make nothing any more: a dock may still be on its way while the window closes."""
        end_drag()
        self._arranging += 1

    def apply(self, preset: str) -> None:
        """Arrange the docks as a preset says."""
        with self._arranged():
            self.layout.apply(preset)
        self._show_maximised()

    def restore(self, state: str) -> None:
        """Arrange the docks as Qt's ``state``, hexadecimal, says; damaged, it changes nothing."""
        with self._arranged():
            self._window.restoreState(QByteArray.fromHex(state.encode()))

    def state(self) -> str:
        """The arrangement of the docks, as `restore` reads it; of a maximised view, all of them."""
        state = self.layout.before_maximised or self._window.saveState()
        return bytes(state.toHex().data()).decode()

    def rearrange(self, state: str, maximised: str, current: str) -> None:
        """Arrange the docks as a session says; keys that are no views are left out."""
        self.unmaximise()
        if state:
            self.restore(state)
        if maximised in BY_KEY:
            self.maximise(maximised)
        self.take(current)

    def maximise(self, key: str) -> None:
        """Show one view alone, or all of them again."""
        self.take(key)
        self.fill(key)
        with self._arranged():
            self.layout.toggle_maximised(key)
        self._show_maximised()

    def unmaximise(self) -> None:
        """Show all views again."""
        with self._arranged():
            self.layout.restore()
        self._show_maximised()

    def _show_maximised(self) -> None:
        for key, frame in self.frames.items():
            frame.set_maximised(key == self.layout.maximised)

    def show(self, key: str) -> None:
        """Bring a view, or another dock, to the front of its tabs; a view becomes current."""
        self.fill(key)
        self.docks[key].show()
        self.docks[key].raise_()
        self.take(key)

    def measure(self, key: str) -> None:
        """Make a view's measurement, whether the view has been shown or not."""
        self.fill(key)
        self._bench.measuring.measure(key)

    def options(self, key: str) -> Any:
        """The options of a view, made or not."""
        if key in self.frames:
            return self._bench.displays[key].options
        if key in self._waiting:
            return self._waiting[key]
        spec = BY_KEY[key]
        return read_settings(spec.options(), self._settings.options.get(key, {}))[0]

    def show_settings(self, key: str) -> None:
        """Bring a view into sight and open its settings."""
        self.show(key)
        self.frames[key].show_settings()

    def set_options(self, key: str, options: Any) -> None:
        """Give a view other options; its settings show them."""
        if key in self.frames:
            self._bench.analysis.set_options(key, options)
        else:
            self._waiting[key] = options

    def reset(self) -> None:
        """Show everything in each view."""
        for display in self._bench.displays.values():
            display.view.reset_view()

    def show_joint_pca(self) -> None:
        """Draw the state space as arXiv 2604.11791 does: the final token, layers jointly."""
        from loopscope.core.views.state_space.data import joint_pca

        key, recording = "state_space", self._bench.session.recording
        self.show(key)
        self.set_options(key, joint_pca(self._bench.displays[key].options))
        if recording is not None:
            last = recording.n_tokens - 1
            self._bench.session.select({"token": last, "tokens": (last,)})

    # ---- the current view ----
    @property
    def current(self) -> str:
        """The key of the view that commands act on; "" while none is in sight."""
        return self._current.key

    def take(self, key: str) -> None:
        """Make a view the current one; a dock of something else changes nothing."""
        if key in BY_KEY:
            self._current.take(key)
            self._mark_current()

    def _mark_current(self) -> None:
        current = self.current
        for key, frame in self.frames.items():
            frame.title_bar.set_current(key == current)

    def _on_title_pressed(self, key: str) -> None:
        """A click on a title moves no cursor, and gives the view the keyboard."""
        self.take(key)
        self.frames[key].view.setFocus(Qt.FocusReason.MouseFocusReason)

    def _on_menu_requested(self, key: str, at: QPoint) -> None:
        self.take(key)
        self.menu_requested.emit(at)

    def note_focus(self, widget: QWidget | None) -> None:
        """Take the view that ``widget`` is in for the current one."""
        while widget is not None:
            if isinstance(widget, QDockWidget):
                self.take(widget.objectName())
                return
            widget = widget.parentWidget()

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

    def _on_data_shown(self, key: str) -> None:
        if self._bench.displays[key].data is not None:
            self.frames[key].set_error(None)
            self._show_statement(key)

    def _show_statement(self, key: str) -> None:
        """Let the title speak of the drawing that is in sight, the first of two."""
        display, frame = self._bench.displays[key], self.frames[key]
        second = display.second if frame.shown_pane == 1 else None
        data = display.data if second is None else second.data
        if data is not None:
            frame.set_data(data)

    def _on_measuring_progressed(self, key: str, share: float | None) -> None:
        self.frames[key].show_measuring(share)

    def show_why_not(self) -> None:
        """Say in each view in sight why its measurement cannot be made."""
        for key, frame in self.frames.items():
            if frame.measuring.isVisible():
                frame.measuring.set_why(self._bench.measuring.why_not(key))

    # ---- the second run ----
    def show_second_run(self) -> None:
        """Draw each visible view a second time while there is a second run, or no longer."""
        for key in self.frames:
            self._show_second(key)
            self._on_second_shown(key)
        self.show_why_not()

    def _show_second(self, key: str) -> None:
        analysis, display, frame = self._bench.analysis, self._bench.displays[key], self.frames[key]
        wanted = self._second_drawing(display)
        there = "" if display.second is None else _kind(display.second)
        if there and there != wanted:
            frame.show_second_run(None)
            analysis.drop_second(display)
            there = ""
        if wanted and not there and frame.isVisible():
            drawing = analysis.draw_second(display, difference=wanted == "difference")
            frame.show_second_run(drawing.view)
        two_runs = self._bench.session.two_runs
        alone = two_runs if two_runs != "difference" or wanted == "difference" else "both"
        frame.show_panes(alone if display.second is not None else "first")

    def _second_drawing(self, display: Display) -> str:
        """What a view is drawn a second time for: "second", "difference", or "" for nothing."""
        second, run = self._bench.session.second, self._bench.session.run
        if second is None or run is None:
            return ""
        if self._bench.session.two_runs == "difference" and display.spec.has_difference:
            return "difference"
        recordings = run.stepper.recording, second.stepper.recording
        return "second" if display.spec.drawn_twice(*recordings) else ""

    def _on_second_shown(self, key: str) -> None:
        self._caption(key)
        self._show_statement(key)

    def _caption(self, key: str) -> None:
        """Name the two runs over the two drawings of a view."""
        display, session, frame = self._bench.displays[key], self._bench.session, self.frames[key]
        if session.second is None or session.run is None:
            frame.set_captions("", "")
            return
        # The marks are those of the list of runs.
        one, other = f"● {session.run.name}", f"○ {session.second.name}"
        if display.second is None:
            both = display.view.BOTH
            on_one = both is not None and display.spec.compute_second is not None
            text = f"{one}: {both[0]}   {other}: {both[1]}" if both and on_one else ""
            frame.set_captions(text, "")
            return
        data = display.second.data
        if display.second.difference:
            frame.set_captions("", f"{one} − {other}")
            return
        statement = f": {data.statement}" if data is not None else ""
        frame.set_captions(one, f"{other}{statement}")


def _kind(drawing: Drawing) -> str:
    return "difference" if drawing.difference else "second"
