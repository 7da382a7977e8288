"""Where the views stand: the default arrangement, presets and maximising."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QByteArray, QEvent, QPointF, Qt
from PySide6.QtGui import QCursor, QMouseEvent
from PySide6.QtWidgets import QApplication, QDockWidget, QMainWindow, QWidget

# Each preset and the views it shows. The rest is hidden but can be shown again.
PRESETS: dict[str, tuple[str, ...]] = {
    "Step": (
        "state_space", "settling", "distance", "heads", "graph", "readout", "pattern", "head_map",
    ),
    "State space": ("state_space", "settling", "distance"),
    "Heads": ("heads", "pattern", "head_map"),
    "Looped against deep": ("graph", "correspondence", "depth"),
    "Runs and cuts": ("runs", "state_space", "readout", "settling"),
    "Measures": ("depth", "settling", "stability", "paths"),
    "Prompt set": ("quality", "prompts", "exits", "readout"),
    "Figures": ("state_space", "settling", "heads", "graph"),
    "Sculptor and assembly line": ("graph", "lens"),
    "Study": ("study", "state_space", "readout", "settling"),
}  # fmt: skip


def end_drag() -> None:
    """Drop the dock that is being dragged, if one is.

    Qt leaves a gap in its layout for a dock in the air. Arranged anew by a key pressed meanwhile,
    it reads that gap after it is gone: it crashes, or never returns.
    """
    dock = QWidget.mouseGrabber()
    if isinstance(dock, QDockWidget):
        at, left = QCursor.pos(), Qt.MouseButton.LeftButton
        release = QMouseEvent(
            QEvent.Type.MouseButtonRelease, QPointF(dock.mapFromGlobal(at)), QPointF(at), left,
            Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier,
        )  # fmt: skip
        QApplication.sendEvent(dock, release)


class Layout:
    """Arranges the docks of one main window."""

    def __init__(self, window: QMainWindow, docks: dict[str, QDockWidget]) -> None:
        self.window, self.docks = window, docks
        self.maximised: str | None = None
        # The arrangement that a maximised view hides.
        self.before_maximised: QByteArray | None = None
        self._sizes: list[tuple[list[QDockWidget], list[int], Qt.Orientation]] = []
        self._arrange: dict[str, Callable[[dict[str, QDockWidget]], None]] = {
            "Step": self._step,
            "State space": self._state_space,
            "Heads": self._heads,
            "Looped against deep": self._looped_against_deep,
            "Runs and cuts": self._runs_and_cuts,
            "Measures": self._measures,
            "Prompt set": self._prompt_set,
            "Figures": self._figures,
            "Sculptor and assembly line": self._sculptor,
            "Study": self._study,
        }

    def apply(self, preset: str = "Step") -> None:
        """Arrange the docks as ``preset`` says."""
        keys = PRESETS[preset]
        self.maximised = self.before_maximised = None
        for dock in self.docks.values():
            self.window.removeDockWidget(dock)
            dock.setFloating(False)
        docks = {key: self.docks[key] for key in keys}
        self._sizes = []
        self._arrange[preset](docks)
        for dock in docks.values():
            dock.show()
        for key, dock in self.docks.items():
            if key not in docks:
                # It has a place to appear in when it is asked for: a tab beside the last view.
                self.window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, dock)
                self.window.tabifyDockWidget(docks[keys[-1]], dock)
                dock.hide()
        # Only docks that are there take a size.
        for some, sizes, way in self._sizes:
            self.window.resizeDocks(some, sizes, way)

    def _start(self, dock: QDockWidget) -> None:
        self.window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, dock)

    def _right_of(self, left: QDockWidget, right: QDockWidget) -> None:
        self.window.splitDockWidget(left, right, Qt.Orientation.Horizontal)

    def _below(self, top: QDockWidget, bottom: QDockWidget) -> None:
        self.window.splitDockWidget(top, bottom, Qt.Orientation.Vertical)

    def _step(self, d: dict[str, QDockWidget]) -> None:
        self._start(d["state_space"])
        self._right_of(d["state_space"], d["graph"])
        self._below(d["state_space"], d["settling"])
        self._below(d["settling"], d["heads"])
        self._right_of(d["settling"], d["distance"])
        self._below(d["graph"], d["readout"])
        self._below(d["readout"], d["pattern"])
        self.window.tabifyDockWidget(d["pattern"], d["head_map"])
        d["pattern"].raise_()
        width, height = self.window.width(), self.window.height()
        self._resize([d["state_space"], d["graph"]], [width * 53 // 100, width * 47 // 100], "h")
        self._resize([d["settling"], d["distance"]], [width * 22 // 100, width * 31 // 100], "h")
        tall = [height * 38 // 100, height * 28 // 100, height * 34 // 100]
        self._resize([d["state_space"], d["settling"], d["heads"]], tall, "v")
        self._resize([d["graph"], d["readout"], d["pattern"]], tall, "v")

    def _state_space(self, d: dict[str, QDockWidget]) -> None:
        self._start(d["state_space"])
        self._right_of(d["state_space"], d["settling"])
        self._below(d["settling"], d["distance"])
        width, height = self.window.width(), self.window.height()
        self._resize([d["state_space"], d["settling"]], [width * 66 // 100, width // 3], "h")
        self._resize([d["settling"], d["distance"]], [height // 2] * 2, "v")

    def _heads(self, d: dict[str, QDockWidget]) -> None:
        self._start(d["heads"])
        self._right_of(d["heads"], d["pattern"])
        self._below(d["pattern"], d["head_map"])
        self._resize([d["heads"], d["pattern"]], [self.window.width() // 2] * 2, "h")
        self._resize([d["pattern"], d["head_map"]], [self.window.height() // 2] * 2, "v")

    def _looped_against_deep(self, d: dict[str, QDockWidget]) -> None:
        self._start(d["graph"])
        self._below(d["graph"], d["correspondence"])
        self._right_of(d["correspondence"], d["depth"])
        width, height = self.window.width(), self.window.height()
        self._resize([d["correspondence"], d["depth"]], [width * 62 // 100, width * 38 // 100], "h")
        # The graph is wide and low: what a tall window has more goes to the matrix.
        graph = min(height * 52 // 100, 430)
        self._resize([d["graph"], d["correspondence"]], [graph, height - graph], "v")

    def _runs_and_cuts(self, d: dict[str, QDockWidget]) -> None:
        self._start(d["runs"])
        self._right_of(d["runs"], d["state_space"])
        self._below(d["state_space"], d["readout"])
        self._right_of(d["readout"], d["settling"])
        width, height = self.window.width(), self.window.height()
        tree = min(max(width * 29 // 100, 340), 460)
        self._resize([d["runs"], d["state_space"]], [tree, width - tree], "h")
        self._resize([d["readout"], d["settling"]], [(width - tree) // 2] * 2, "h")
        tall = [height * 56 // 100, height * 44 // 100]
        self._resize([d["state_space"], d["readout"]], tall, "v")

    def _measures(self, d: dict[str, QDockWidget]) -> None:
        self._start(d["depth"])
        self._right_of(d["depth"], d["settling"])
        self._below(d["depth"], d["stability"])
        self._below(d["settling"], d["paths"])
        width, height = self.window.width(), self.window.height()
        self._resize([d["depth"], d["settling"]], [width * 62 // 100, width * 38 // 100], "h")
        for column in (("depth", "stability"), ("settling", "paths")):
            self._resize([d[key] for key in column], [height // 2] * 2, "v")

    def _prompt_set(self, d: dict[str, QDockWidget]) -> None:
        self._start(d["quality"])
        self._right_of(d["quality"], d["prompts"])
        self._below(d["quality"], d["exits"])
        self._below(d["prompts"], d["readout"])
        width, height = self.window.width(), self.window.height()
        self._resize([d["quality"], d["prompts"]], [width // 2] * 2, "h")
        for column in (("quality", "exits"), ("prompts", "readout")):
            self._resize([d[key] for key in column], [height // 2] * 2, "v")

    def _figures(self, d: dict[str, QDockWidget]) -> None:
        self._start(d["state_space"])
        self._right_of(d["state_space"], d["graph"])
        self._below(d["state_space"], d["settling"])
        self._below(d["graph"], d["heads"])
        width, height = self.window.width(), self.window.height()
        self._resize([d["state_space"], d["graph"]], [width // 2] * 2, "h")
        for column in (("state_space", "settling"), ("graph", "heads")):
            self._resize([d[key] for key in column], [height // 2] * 2, "v")

    def _sculptor(self, d: dict[str, QDockWidget]) -> None:
        self._start(d["graph"])
        self._below(d["graph"], d["lens"])
        height = self.window.height()
        graph = min(height * 40 // 100, 380)
        self._resize([d["graph"], d["lens"]], [graph, height - graph], "v")

    def _study(self, d: dict[str, QDockWidget]) -> None:
        self._start(d["study"])
        self._right_of(d["study"], d["state_space"])
        self._below(d["state_space"], d["readout"])
        self._below(d["readout"], d["settling"])
        width, height = self.window.width(), self.window.height()
        self._resize([d["study"], d["state_space"]], [width * 64 // 100, width * 36 // 100], "h")
        tall = [height // 3] * 3
        self._resize([d["state_space"], d["readout"], d["settling"]], tall, "v")

    def _resize(self, docks: list[QDockWidget], sizes: list[int], way: str) -> None:
        orientation = Qt.Orientation.Horizontal if way == "h" else Qt.Orientation.Vertical
        self._sizes.append((docks, sizes, orientation))

    def toggle_maximised(self, key: str) -> None:
        """Show one view alone, or all that were there before."""
        if self.maximised is not None:
            maximised = self.maximised
            self.restore()
            if key == maximised:
                return
        self.before_maximised = self.window.saveState()
        self.maximised = key
        for other, dock in self.docks.items():
            dock.setVisible(other == key)

    def restore(self) -> None:
        """Leave the maximised state."""
        if self.maximised is not None and self.before_maximised is not None:
            self.window.restoreState(self.before_maximised)
        self.maximised = self.before_maximised = None
