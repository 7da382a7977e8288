"""Path independence on the screen."""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtWidgets import QWidget

from loopscope.core.views.paths import NOT_YET, Options
from loopscope.widgets.plots.curves_view import CurvesView


class PathsView(CurvesView):
    """How far apart runs from other start states are, by recurrence."""

    DEPENDS_ON: ClassVar[frozenset[str]] = frozenset({"tokens"})

    def __init__(self, options: Options | None = None, parent: QWidget | None = None) -> None:
        super().__init__(options or Options(), parent)

    def clear(self) -> None:
        """Go back to empty."""
        super().clear()
        self.plot.show_empty(NOT_YET)
