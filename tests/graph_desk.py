"""A computation graph on the screen with everything it says, for tests that use the mouse."""

from __future__ import annotations

from PySide6.QtCore import QPoint
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from recordings import synthetic_recording

from loopscope.core.selection import Selection
from loopscope.core.views.graph.compute import Options, compute
from loopscope.core.views.graph.data import Data
from loopscope.widgets.views.graph.view import GraphView


class Desk:
    """A view that shows ``shown``: its data, or a number of recurrences of a synthetic run."""

    def __init__(
        self, qtbot: QtBot, shown: int | Data, selection: Selection,
        options: Options | None = None, size: tuple[int, int] = (520, 330),
    ) -> None:  # fmt: skip
        self.qtbot, self.view = qtbot, GraphView(options)
        self.picked: list[dict[str, int]] = []
        self.hovered: list[dict[str, int]] = []
        self.said: list[str] = []
        self.options: list[Options] = []
        self.view.select_requested.connect(self.picked.append)
        self.view.hover_changed.connect(self.hovered.append)
        self.view.message.connect(self.said.append)
        self.view.options_changed.connect(self.options.append)
        qtbot.addWidget(self.view)
        self.view.resize(*size)
        self.view.show()
        qtbot.waitExposed(self.view)
        if isinstance(shown, int):
            recording = synthetic_recording(recurrences=shown)
            shown = compute(recording, selection, self.view.options)
        self.data = shown
        self.view.show_data(shown)
        self.view.show_selection(selection, {})
        QApplication.processEvents()

    def at(
        self, key: str, recurrence: int | None = None, branch: int | None = None, band: int = 0
    ) -> QPoint:
        """Middle of a node on the screen; without a recurrence that of the looped graph."""
        pixels = self.view.pixels
        in_loop = recurrence is None
        boxes = pixels.loop_of(band)
        if not in_loop:
            strip = pixels.bands[band].strip
            first, last = pixels.in_sight(strip)
            boxes = [b for i in range(first, last + 1) for b in strip.boxes(i)]
        for box in boxes:
            at = None if box.recurrence is None and not in_loop else recurrence
            if (box.node.key, box.recurrence, box.branch) == (key, at, branch):
                return pixels.rect_of(box, band, in_loop).center().toPoint()
        raise LookupError(f"{key} at {recurrence} is not in sight")

    def near(self, point: QPoint, colour: str) -> bool:
        """Whether a colour is found straight above ``point``, within one row."""
        image = self.view.grab().toImage()
        wanted = QColor(colour)
        return any(image.pixelColor(point.x(), point.y() - dy) == wanted for dy in range(1, 26))

    def accent_at(self, point: QPoint) -> bool:
        """Whether the cursor's outline is above ``point``."""
        return self.near(point, self.view.theme.accent)
