"""The docks of a window: filled when they are first seen, arranged, and one of them current."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from PySide6.QtCore import QByteArray, QObject, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QDockWidget, QMainWindow, QWidget

from loopscope.app.window.current_view import CurrentView
from loopscope.app.window.layout import Layout, end_drag


class Docks(QObject):
    """The docks of one main window; ``by_key`` has them by the key of what they hold.

    What is in a dock is made when the dock is first seen. While docks are arranged nothing is
    made: Qt's `restoreState` does not bear a dock that changes under it.

    ``current`` is the key of the view that commands act on; "" while no view is in sight.

    Signals
    -------
    seen()
        Docks have come into sight, and what is in them is made.
    current_changed(str)
        The key of the current view, also when it is the same as before.
    maximised_changed(str)
        The key of the view that is shown alone, "" where all are shown.
    """

    seen = Signal()
    current_changed = Signal(str)
    maximised_changed = Signal(str)

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        self.by_key: dict[str, QDockWidget] = {}
        # What fills a dock that has not been seen yet.
        self._unfilled: dict[str, Callable[[], None]] = {}
        # Of views only: what a dock shows while its view may not be made.
        self._stand_ins: dict[str, Callable[[], None]] = {}
        self.layout = Layout(window, self.by_key)
        self._current = CurrentView(lambda: (k for k in self._stand_ins if k in self._in_sight))
        self._arranging, self._held = 0, False
        self._in_sight: set[str] = set()
        self._behind: set[str] = set()
        window.tabifiedDockWidgetActivated.connect(self._on_raised)

    def add(
        self,
        key: str,
        dock: QDockWidget,
        fill: Callable[[], None],
        stand_in: Callable[[], None] | None = None,
    ) -> None:
        """Arrange a dock along with the others.

        ``fill`` makes what is in it. One with a ``stand_in``, which is called where the dock is
        seen before that may be made, holds a view and can be current.
        """
        dock.setObjectName(key)
        self.by_key[key], self._unfilled[key] = dock, fill
        if stand_in is not None:
            self._stand_ins[key] = stand_in
        dock.visibilityChanged.connect(lambda seen: self._on_visibility(key, seen))
        dock.visibilityChanged.connect(lambda seen: self._note_behind(key, seen))
        dock.toggleViewAction().triggered.connect(lambda on: self._on_toggled(key, on))

    # ---- what is seen ----
    def _note_behind(self, key: str, seen: bool) -> None:
        """Note that a dock is behind other tabs: it is not seen, and not hidden either."""
        dock = self.by_key[key]
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
        """Make what is in a dock that is seen now.

        Qt calls a dock behind other tabs visible, which this signal does not; but for the signal a
        dock that floats at negative coordinates, on a screen at the left, is not visible either.
        """
        dock = self.by_key[key]
        seen = seen or (dock.isFloating() and dock.isVisible())
        (self._in_sight.add if seen else self._in_sight.discard)(key)
        if self._arranging:
            return
        if seen and self._held:
            if key in self._unfilled and key in self._stand_ins:
                self._stand_ins[key]()
        elif seen:
            self.fill(key)
            self.seen.emit()
        self._tell_current()

    def hold(self) -> Callable[[], None]:
        """Make nothing of a dock that is seen before what is returned is called.

        Views take as long as all the rest of the window: it appears without them.
        """
        self._held = True

        def release() -> None:
            self._held = False
            with self._arranged():  # fills what is seen
                pass

        return release

    def fill(self, key: str) -> None:
        """Make what is in a dock, once."""
        if key in self._unfilled:
            self._unfilled.pop(key)()

    def actions(self) -> list[QAction]:
        """The actions that show and hide each dock."""
        return [dock.toggleViewAction() for dock in self.by_key.values()]

    def show_actions(self) -> list[QAction]:
        """New actions that bring each dock into sight; those in sight are ticked."""
        made = []
        for key, dock in self.by_key.items():
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
        """Make what is seen when all docks are where they belong."""
        end_drag()
        self._arranging += 1
        try:
            yield
        finally:
            self._arranging -= 1
        if not self._arranging and not self._held:
            for key in [key for key in self.by_key if key in self._in_sight]:
                self.fill(key)
            self.seen.emit()
            self._tell_current()

    def end(self) -> None:
        """Make nothing any more: a dock may still be on its way while the window closes."""
        end_drag()
        self._arranging += 1

    def apply(self, preset: str) -> None:
        """Arrange the docks as a preset says."""
        with self._arranged():
            self.layout.apply(preset)
        self._tell_maximised()

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
        if maximised in self._stand_ins:
            self.maximise(maximised)
        self.take(current)

    def maximise(self, key: str) -> None:
        """Show one view alone, or all of them again."""
        self.take(key)
        self.fill(key)
        with self._arranged():
            self.layout.toggle_maximised(key)
        self._tell_maximised()

    def unmaximise(self) -> None:
        """Show all views again."""
        with self._arranged():
            self.layout.restore()
        self._tell_maximised()

    def _tell_maximised(self) -> None:
        self.maximised_changed.emit(self.layout.maximised or "")

    def show(self, key: str) -> None:
        """Bring a dock to the front of its tabs; a view becomes current."""
        self.fill(key)
        self.by_key[key].show()
        self.by_key[key].raise_()
        self.take(key)

    # ---- the current view ----
    @property
    def current(self) -> str:
        """The key of the view that commands act on; "" while none is in sight."""
        return self._current.key

    def take(self, key: str) -> None:
        """Make a view the current one; a dock of something else changes nothing."""
        if key in self._stand_ins:
            self._current.take(key)
            self._tell_current()

    def _tell_current(self) -> None:
        self.current_changed.emit(self.current)

    def note_focus(self, widget: QWidget | None) -> None:
        """Take the view that ``widget`` is in for the current one."""
        while widget is not None:
            if isinstance(widget, QDockWidget):
                self.take(widget.objectName())
                return
            widget = widget.parentWidget()
