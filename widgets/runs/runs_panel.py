"""Runs and cuts: the tree of runs, and the form that cuts a branch off the one shown."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget
from typing_extensions import override

from loopscope.widgets.palette import Theme
from loopscope.widgets.runs.cut_form import CutForm
from loopscope.widgets.runs.run_list import RunList


class RunsPanel(QWidget):
    """`RunList` beside `CutForm`, or above it where there is more height than width."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.list, self.form = RunList(), CutForm()
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.addWidget(self.list)
        self.splitter.addWidget(self.form)
        self.splitter.setStretchFactor(0, 3)
        self.splitter.setStretchFactor(1, 2)
        self.splitter.setChildrenCollapsible(False)
        # Until the user drags the handle, the form has the height that it needs.
        self._dragged = False
        self.splitter.splitterMoved.connect(self._on_dragged)
        box = QVBoxLayout(self)
        box.setContentsMargins(0, 0, 0, 0)
        box.addWidget(self.splitter)

    @override
    def resizeEvent(self, event: object) -> None:
        """Stand the two above each other in a narrow dock."""
        narrow = self.width() < 560
        way = Qt.Orientation.Vertical if narrow else Qt.Orientation.Horizontal
        if self.splitter.orientation() != way:
            self.splitter.setOrientation(way)
            self._dragged = False
        super().resizeEvent(event)  # type: ignore[arg-type]
        if narrow and not self._dragged:
            form = min(self.form.whole_height, 3 * self.height() // 5)
            self.splitter.setSizes([self.height() - form, form])

    def _on_dragged(self, *_: int) -> None:
        self._dragged = True

    def set_theme(self, theme: Theme) -> None:
        """Take the theme's colours."""
        self.list.set_theme(theme)
        self.form.set_theme(theme)
